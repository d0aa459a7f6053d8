"""Which side of the dataset a document is on.

A document's side is a hash of its id, a cluster's split follows from its members: the split has no memory, and an
addition never moves a cluster from train to test.
"""

import hashlib
from collections.abc import Iterable
from typing import Literal

from twin_assets.documents import digest

Split = Literal["train", "validation", "test"]
Size = Literal["small", "medium", "full"]

ORDER: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}
SHARE_OF_SIZE: dict[Size, float] = {"small": 0.1, "medium": 0.4, "full": 1.0}
"""Of the clusters in train. What is held out is the same in every size, so that models of all sizes compare."""


def side_of(document_id: str) -> Split:
    """80/10/10 by a hash of the id."""
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
    """Whether a cluster belongs to a size of the dataset; what belongs to one belongs to all larger ones."""
    return split != "train" or chance("size", cluster_id) < SHARE_OF_SIZE[size]


def chance(*what: object) -> float:
    """A number in [0, 1) that is always the same for the same things."""
    return int(digest([str(one) for one in what], 12), 16) / 16**12
