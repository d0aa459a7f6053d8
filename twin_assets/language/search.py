"""Hybrid search over an author's embeddings: vectors and full text, fused by weighted reciprocal rank.

Equal weights are no free lunch: where one part is much weaker the fusion loses to the better one alone. So the vector
weighs VECTOR_WEIGHT and the full text the rest.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from twin_assets.documents import Category
from twin_assets.language.embedding import Embedder
from twin_assets.language.prompts import Passage
from twin_assets.stores.features import TableHandle, is_in

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

VECTOR_WEIGHT = 0.7
RANK_CONSTANT = 60
"""Cormack, Clarke and Büttcher 2009, Reciprocal Rank Fusion, section 2: k = 60."""

CANDIDATES = 50

COLUMNS = (
    "chunk_id",
    "document_id",
    "cluster_id",
    "title",
    "url",
    "text",
    "category",
    "platform",
    "published_at",
    "quotable",
)


@dataclass(frozen=True)
class Hit:
    """A chunk that answers a query; `score` orders hits of one query and means nothing beyond it."""

    chunk_id: str
    document_id: str
    cluster_id: str
    title: str
    url: str
    text: str
    category: str
    platform: str
    published_at: datetime | None
    quotable: bool
    score: float

    @property
    def passage(self) -> Passage:
        """The hit as the passage that a prompt shows."""
        return Passage(self.chunk_id, self.title, self.url, self.text.strip())


def search(
    table: TableHandle,
    embedder: Embedder,
    query: str,
    k: int = 10,
    *,
    category: Category | str | None = None,
    exclude_clusters: Collection[str] = (),
    quotable_only: bool = False,
    query_vector: "npt.NDArray[np.float32] | None" = None,
) -> list[Hit]:
    """The k best chunks for `query`, best first: one of each chunk text, and one document of each cluster.

    query_vector: the query's unit vector, shape (dimension,), when the caller has it already.
    Returns nothing when the author has no embeddings yet or the query no words.
    """
    if not table.exists or not query.strip() or k < 1:
        return []
    where = _filter(category, exclude_clusters, quotable_only)
    wanted = max(CANDIDATES, 2 * k)
    vector = embedder.encode([query])[0] if query_vector is None else query_vector
    nearest = table.lance.search(vector, vector_column_name="vector").distance_type("cosine")
    rankings = [(VECTOR_WEIGHT, _run(nearest, "_distance", where, wanted))]
    if words := " ".join(re.findall(r"\w+", query)):
        full_text = table.lance.search(words, query_type="fts")
        rankings.append((1 - VECTOR_WEIGHT, _run(full_text, "_score", where, wanted)))
    return _distinct(_fuse(rankings), k)


def _filter(category: Category | str | None, exclude_clusters: Collection[str], quotable_only: bool) -> str | None:
    parts = [f"category = '{Category(category)}'"] if category else []
    if exclude_clusters:
        parts.append(f"NOT ({is_in('cluster_id', sorted(exclude_clusters))})")
    if quotable_only:
        parts.append("quotable = true")
    return " AND ".join(parts) or None


def _run(query: Any, score: str, where: str | None, limit: int) -> list[dict[str, Any]]:
    """The query's rows, best first; score: the column that orders them, named because LanceDB warns when it is not."""
    # Any: LanceDB's query builders share methods and no public base class.
    if where:
        query = query.where(where, prefilter=True)
    rows: list[dict[str, Any]] = query.select([*COLUMNS, score]).limit(limit).to_list()
    return rows


def _fuse(rankings: list[tuple[float, list[dict[str, Any]]]]) -> list[Hit]:
    scores: dict[str, float] = {}
    rows: dict[str, dict[str, Any]] = {}
    for weight, ranking in rankings:
        for rank, row in enumerate(ranking, 1):
            scores[row["chunk_id"]] = scores.get(row["chunk_id"], 0.0) + weight / (RANK_CONSTANT + rank)
            rows[row["chunk_id"]] = row
    ordered = sorted(scores, key=lambda chunk_id: (-scores[chunk_id], chunk_id))
    return [_hit(rows[chunk_id], scores[chunk_id]) for chunk_id in ordered]


def _hit(row: dict[str, Any], score: float) -> Hit:
    fields = {name: row[name] for name in COLUMNS}
    return Hit(**fields | {"title": row["title"] or "", "url": row["url"] or ""}, score=round(score, 6))


def _distinct(hits: list[Hit], k: int) -> list[Hit]:
    seen: set[str] = set()
    documents: dict[str, str] = {}
    kept: list[Hit] = []
    for hit in hits:
        if hit.text not in seen and documents.setdefault(hit.cluster_id, hit.document_id) == hit.document_id:
            seen.add(hit.text)
            kept.append(hit)
        if len(kept) == k:
            break
    return kept
