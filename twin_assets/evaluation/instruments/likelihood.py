"""How well base and adapter predict the held-out answers: bits per byte, resampled over clusters.

The unit is a cluster of equal documents, not a row, because rows of the same document are not independent evidence.
Each byte of an answer counts once, the tokens that end a turn are not scored, and both models see the same messages.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from twin_assets.evaluation.result import Likelihood

RESAMPLES = 2_000

NEWEST_SHARE = 4
"""The newest 1/NEWEST_SHARE of the clusters gets its own row, since the base model is least likely to have read it."""

LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class ClusterScore:
    """The negative log-likelihood of a cluster's held-out answers by both models, summed, in nats."""

    cluster_id: str
    category: str
    published_at: datetime | None
    n_rows: int
    n_bytes: int
    base_nats: float
    adapter_nats: float


def bits_per_byte(nll_nats: float, n_bytes: int) -> float:
    """Cross-entropy of a text in bits per UTF-8 byte, comparable across tokenizers.

    nll_nats: summed negative log-likelihood of the text, in nats. n_bytes: its UTF-8 length, > 0.
    Raises ValueError when n_bytes is 0. Source: Gao et al. 2020, The Pile, section 3.1.
    """
    if n_bytes <= 0:
        raise ValueError(f"bits per byte of {n_bytes} bytes: score at least one byte")
    return nll_nats / math.log(2) / n_bytes


def likelihoods(scores: Sequence[ClusterScore]) -> list[Likelihood]:
    """One row for all clusters, one per category, and one for the newest; an empty list without clusters."""
    if not scores:
        return []
    categories = sorted({score.category for score in scores})
    groups = [("all", list(scores))]
    if len(categories) > 1:
        groups += [(name, [score for score in scores if score.category == name]) for name in categories]
    if newest := _newest(scores):
        groups.append(("newest", newest))
    return [_likelihood(name, group) for name, group in groups]


def _newest(scores: Sequence[ClusterScore]) -> list[ClusterScore]:
    dated = sorted(
        (score for score in scores if score.published_at),
        key=lambda score: (score.published_at or LONG_AGO, score.cluster_id),
    )
    return dated[-max(1, len(dated) // NEWEST_SHARE) :] if len(dated) > 1 else []


def _likelihood(name: str, scores: Sequence[ClusterScore]) -> Likelihood:
    n_bytes = sum(score.n_bytes for score in scores)
    base = bits_per_byte(sum(score.base_nats for score in scores), n_bytes)
    adapter = bits_per_byte(sum(score.adapter_nats for score in scores), n_bytes)
    low, high = difference_interval(scores)
    return Likelihood(
        name=name,
        n_clusters=len(scores),
        n_rows=sum(score.n_rows for score in scores),
        n_bytes=n_bytes,
        base=round(base, 4),
        adapter=round(adapter, 4),
        difference=round(adapter - base, 4),
        low=round(low, 4),
        high=round(high, 4),
    )


def difference_interval(scores: Sequence[ClusterScore]) -> tuple[float, float]:
    """The 95% percentile bootstrap interval, over clusters, of adapter minus base bits per byte; deterministic."""
    import numpy as np

    gained = np.asarray([score.adapter_nats - score.base_nats for score in scores]) / math.log(2)
    n_bytes = np.asarray([score.n_bytes for score in scores], dtype=np.float64)
    drawn = np.random.default_rng(0).integers(0, len(scores), size=(RESAMPLES, len(scores)))
    differences = gained[drawn].sum(axis=1) / n_bytes[drawn].sum(axis=1)
    low, high = np.percentile(differences, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class ScoredRow:
    """The negative log-likelihood of one row's answer by both models, in nats."""

    cluster_id: str
    category: str
    published_at: datetime | None
    n_bytes: int
    base_nats: float
    adapter_nats: float


def by_cluster(rows: Iterable[ScoredRow]) -> list[ClusterScore]:
    """Sum the rows of each cluster; clusters are in the order of their first rows."""
    groups: dict[str, list[ScoredRow]] = {}
    for row in rows:
        groups.setdefault(row.cluster_id, []).append(row)
    return [
        ClusterScore(
            cluster_id,
            group[0].category,
            group[0].published_at,
            len(group),
            sum(row.n_bytes for row in group),
            math.fsum(row.base_nats for row in group),
            math.fsum(row.adapter_nats for row in group),
        )
        for cluster_id, group in groups.items()
    ]
