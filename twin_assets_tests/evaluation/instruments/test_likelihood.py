"""Bits per byte of held-out answers, resampled over clusters."""

import math
from datetime import UTC, datetime

import pytest

from twin_assets.evaluation.instruments.likelihood import (
    ClusterScore,
    ScoredRow,
    bits_per_byte,
    by_cluster,
    difference_interval,
    likelihoods,
)


def score(n: int, base: float, adapter: float, category: str = "post", n_bytes: int = 100, day: int | None = None):
    when = datetime(2026, 1, day, tzinfo=UTC) if day else None
    return ClusterScore(f"c{n}", category, when, 1, n_bytes, base, adapter)


def test_a_uniform_guess_over_bytes_is_eight_bits_per_byte():
    assert bits_per_byte(math.log(256) * 40, 40) == pytest.approx(8)


def test_no_bytes_have_no_bits():
    with pytest.raises(ValueError, match="at least one byte"):
        bits_per_byte(1.0, 0)


def test_rows_of_one_cluster_are_summed_to_one():
    rows = [ScoredRow("a", "post", None, 10, 2.0, 1.0), ScoredRow("b", "code", None, 5, 1.0, 1.0)]
    clusters = by_cluster([*rows, ScoredRow("a", "post", None, 30, 4.0, 3.0)])
    assert clusters == [
        ClusterScore("a", "post", None, 2, 40, 6.0, 4.0),
        ClusterScore("b", "code", None, 1, 5, 1.0, 1.0),
    ]


def test_long_clusters_weigh_by_their_bytes():
    row = likelihoods([score(1, 100, 50, n_bytes=100), score(2, 900, 900, n_bytes=900)])[0]
    assert row.base == pytest.approx(bits_per_byte(1000, 1000), abs=1e-4)
    assert row.adapter == pytest.approx(bits_per_byte(950, 1000), abs=1e-4)
    assert (row.n_clusters, row.n_bytes) == (2, 1000)


def test_each_category_and_the_newest_quarter_have_rows_of_their_own():
    scores = [score(n, 100, 90, "post" if n % 2 else "article", day=n) for n in range(1, 9)]
    scores[-1] = score(8, 100, 10, "article", day=8)
    rows = {row.name: row for row in likelihoods(scores)}
    assert list(rows) == ["all", "article", "post", "newest"]
    assert rows["newest"].n_clusters == 2
    assert rows["newest"].adapter == pytest.approx(bits_per_byte(100, 200), abs=1e-4)


def test_one_category_without_dates_is_one_row():
    assert [row.name for row in likelihoods([score(1, 10, 9), score(2, 10, 9)])] == ["all"]


def test_the_interval_holds_the_difference_and_excludes_zero_only_when_clusters_agree():
    agreed = [score(n, 100 + n, 80 + n) for n in range(12)]
    split = [score(n, 100, 80 if n % 2 else 118) for n in range(12)]
    low, high = difference_interval(agreed)
    assert low <= bits_per_byte(-20, 100) <= high < 0
    low, high = difference_interval(split)
    assert low < 0 < high
    assert difference_interval(split) == difference_interval(split)


def test_nothing_held_out_is_no_row():
    assert likelihoods([]) == []
