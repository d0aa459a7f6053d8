"""Chooses the held-out rows to score and the prompts to draft for, by hashes, so that every run chooses the same."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from twin_assets.documents import digest
from twin_assets.evaluation.result import Options

Row = dict[str, Any]
"""A row of `instruction_dataset`."""


@dataclass(frozen=True)
class HeldOut:
    """The chosen rows, cluster by cluster. n_left_out: how many rows exceeded the options' limits."""

    rows: list[Row]
    n_clusters: int
    n_left_out: int


def choose(rows: Iterable[Row], options: Options) -> HeldOut:
    """Choose at most `max_clusters` clusters, in the order of their ids' hashes, and the first rows of each."""
    clusters: dict[str, list[Row]] = {}
    for row in rows:
        clusters.setdefault(row["cluster_id"], []).append(row)
    chosen = sorted(clusters, key=lambda cluster_id: digest(cluster_id, 16))[: options.max_clusters]
    kept = [
        row
        for cluster_id in chosen
        for row in sorted(clusters[cluster_id], key=_position)[: options.max_rows_per_cluster]
    ]
    return HeldOut(kept, len(chosen), sum(len(group) for group in clusters.values()) - len(kept))


def _position(row: Row) -> tuple[bool, str]:
    return row["task"] != "write", str(row["example_id"])


def draft_rows(rows: Sequence[Row], n: int) -> list[Row]:
    """Choose `n` rows that ask for a new piece, at most one per cluster, taking turns between the categories."""
    by_category: dict[str, list[Row]] = {}
    seen: set[str] = set()
    for row in rows:
        if row["task"] == "write" and row["cluster_id"] not in seen:
            seen.add(row["cluster_id"])
            by_category.setdefault(row["category"], []).append(row)
    turns: list[Row] = []
    queues = [by_category[name] for name in sorted(by_category)]
    for turn in range(max((len(queue) for queue in queues), default=0)):
        turns += [queue[turn] for queue in queues if turn < len(queue)]
    return turns[:n]
