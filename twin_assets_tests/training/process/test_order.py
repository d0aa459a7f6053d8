"""Which windows a step learns from, and how fast."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_assets.training.process.order import StepOrder, share_of_rate

SCHEDULERS = ["cosine", "linear", "constant_with_warmup"]


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**40))
def test_each_epoch_has_each_window_once_and_a_step_needs_no_history(n_windows, batch, epochs, seed):
    steps_per_epoch = -(-n_windows // batch)
    order = StepOrder(n_windows, batch, steps_per_epoch * epochs, seed)
    steps = list(order)
    for epoch in range(epochs):
        seen = Counter(i for step in steps[epoch * steps_per_epoch : (epoch + 1) * steps_per_epoch] for i in step)
        assert seen == Counter(range(n_windows))
    assert [order.of_step(step) for step in reversed(range(len(order)))] == steps[::-1]


def test_epochs_and_seeds_have_orders_of_their_own():
    order = StepOrder(50, 50, 2, seed=1)
    assert order.of_step(0) != order.of_step(1)
    assert order.of_step(0) != StepOrder(50, 50, 2, seed=2).of_step(0)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_rate_rises_over_the_warm_up_and_then_follows_its_schedule(scheduler):
    rates = [share_of_rate(scheduler, 0.1, step / 100, 1 / 100) for step in range(100)]
    assert 0 < rates[0] <= 0.1
    assert rates[:10] == sorted(rates[:10])
    assert rates[10] > 0.8
    assert rates[99] == (1.0 if scheduler == "constant_with_warmup" else pytest.approx(0.005, abs=0.0051))


@given(st.sampled_from(SCHEDULERS), st.floats(0, 0.99), st.floats(0, 1), st.floats(1e-6, 1))
def test_a_rate_is_a_share(scheduler, warmup, progress, ahead):
    assert 0 <= share_of_rate(scheduler, warmup, progress, ahead) <= 1


def test_without_a_warm_up_the_first_step_is_at_the_full_rate():
    assert share_of_rate("cosine", 0.0, 0.0, 0.01) == 1
