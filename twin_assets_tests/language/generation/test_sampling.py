"""Tokens are drawn as transformers' processors would have them drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from twin_assets.language.generation.sampling import Sampling, TokenSampler, nucleus

LOGITS = hnp.arrays(np.float32, st.integers(5, 3000), elements=st.floats(-20, 20, width=32), unique=True)


@settings(deadline=None)
@given(logits=LOGITS, top_p=st.floats(0.05, 1.0), temperature=st.floats(0.2, 2.0))
def test_the_distribution_is_that_of_transformers(logits, top_p, temperature):
    import torch
    from transformers import TemperatureLogitsWarper, TopPLogitsWarper

    given_ids, scores = torch.zeros(1, 1, dtype=torch.long), torch.tensor(logits)[None]
    wanted = TopPLogitsWarper(top_p)(given_ids, TemperatureLogitsWarper(temperature)(given_ids, scores.clone()))[0]
    tokens, probabilities = nucleus(logits / np.float32(temperature), top_p)
    kept = set(torch.isfinite(wanted).nonzero().flatten().tolist())
    softmax = torch.softmax(scores[0] / temperature, -1).numpy()
    # Sums of many floats end a hair apart: tokens that differ must be worth next to nothing.
    assert softmax[sorted(kept ^ set(tokens.tolist()))].sum() < 1e-4 + 2 * softmax[tokens[-1]]
    assert probabilities == pytest.approx(softmax[tokens], rel=1e-3, abs=1e-7)
    assert (np.diff(probabilities) <= 1e-12).all()


def test_tokens_come_as_often_as_their_probability_says():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    sampler = TokenSampler(Sampling(temperature=1, top_p=0.9, repetition_penalty=1, seed=3))
    drawn = np.bincount([sampler.next(logits.copy()) for _ in range(4000)], minlength=4) / 4000
    assert drawn == pytest.approx(np.array([0.5, 0.3, 0.15, 0]) / 0.95, abs=0.03)


def test_a_token_said_before_becomes_less_likely_as_in_transformers():
    import torch
    from transformers import RepetitionPenaltyLogitsProcessor

    logits = np.array([2.0, -1.0, 0.5, 1.9], np.float32)
    sampler = TokenSampler(Sampling(temperature=0, repetition_penalty=1.3))
    sampler.drawn += [0, 1]
    shaped = sampler._shaped(logits.copy())
    wanted = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([[0, 1]]), torch.tensor(logits)[None])[0]
    assert shaped == pytest.approx(wanted.numpy())
    assert sampler.next(logits) == 3, "0 was the likeliest until it had been said"


def test_a_banned_token_is_never_drawn():
    sampler = TokenSampler(Sampling(temperature=0, repetition_penalty=1), banned=lambda drawn: [1] if drawn else [])
    logits = np.array([0.0, 5.0, 3.0], np.float32)
    assert [sampler.next(logits.copy()) for _ in range(3)] == [1, 2, 2]


@pytest.mark.parametrize("seed", [0, 7, -1, 2**63 - 1])
def test_a_seed_repeats_and_another_does_not(seed):
    def draft(of: int) -> list[int]:
        sampler = TokenSampler(Sampling(temperature=1, seed=of))
        return [sampler.next(np.zeros(500, np.float32)) for _ in range(8)]

    assert draft(seed) == draft(seed) != draft(seed // 2 + 1)
