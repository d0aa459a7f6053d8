"""Decide which split of the dataset a document is in: train, validation or test.

A document's side is a hash of its id, and a cluster's split follows from its members. So the split has no memory, and
an added document never moves a cluster from train to test.
"""

import hashlib
from collections.abc import Iterable
from typing import Literal

from twin_assets.documents import digest

Split = Literal["train", "validation", "test"]
Size = Literal["small", "medium", "full"]

ORDER: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}
SHARE_OF_SIZE: dict[Size, float] = {"small": 0.1, "medium": 0.4, "full": 1.0}
"""The share of training clusters in each size. All sizes hold out the same, so that their models can be compared."""


def side_of(document_id: str) -> Split:
    """The side of a document: 80/10/10 by a hash of its id."""
    bucket = int.from_bytes(hashlib.sha256(document_id.encode()).digest()[:8], "big") % 10
    return "test" if bucket == 9 else "validation" if bucket == 8 else "train"


def split_clusters(documents: Iterable[tuple[str, str]]) -> dict[str, Split]:
    """The split of each cluster of (document_id, cluster_id): train if any member is, else validation, else test."""
    splits: dict[str, Split] = {}
    for document_id, cluster_id in documents:
        side = side_of(document_id)
        if cluster_id not in splits or ORDER[side] < ORDER[splits[cluster_id]]:
            splits[cluster_id] = side
    return splits


def is_in_size(cluster_id: str, split: Split, size: Size) -> bool:
    """True if a cluster belongs to a size of the dataset; each size includes all smaller ones."""
    return split != "train" or chance("size", cluster_id) < SHARE_OF_SIZE[size]


def chance(*what: object) -> float:
    """A number in [0, 1) from a hash of the arguments, the same in every run."""
    return int(digest([str(one) for one in what], 12), 16) / 16**12
