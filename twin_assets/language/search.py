"""Hybrid search over an author's embeddings: the nearest vectors and the best full-text matches, fused by their scores.

Fusing by rank hides how clearly each half separates its candidates, so that a weak half drags a strong one down. Here
every candidate gets a cosine and a BM25 score instead, each as a z-score over this query's candidates. Then the query
vector moves towards the best hit, and the candidates are scored once more. All collections use the same settings, which
were chosen on half of each collection's queries; benchmarks/RESULTS.md shows the effect of each part on the other half.
"""

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin_assets.documents import Category
from twin_assets.errors import TwinError
from twin_assets.language.embedding import EMBEDDING_VERSION, Embedder
from twin_assets.language.prompts import Passage
from twin_assets.settings import Settings
from twin_assets.stores.features import TableHandle, is_in

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from sentence_transformers import CrossEncoder

    Vector = npt.NDArray[np.float32]
    Scores = npt.NDArray[np.float64]

SEARCH_VERSION = "1"
"""Raise it when a change, here or in the full-text index's settings, changes what a search finds."""

VECTOR_WEIGHT = 0.6
"""The vectors' weight in a score; the full text has the rest."""

COLUMN_WEIGHTS = {"text": 1.0, "title": 0.5, "heading_path": 0.3}
"""The weight of each column's BM25 score in the full-text score. Without titles, cranfield falls from 0.359 to 0.304
nDCG@10. Headings help to find code, where they are paths and names, and cost a little for articles."""

FEEDBACK = 0.5
"""How far the query vector moves towards the best hit: Rocchio 1971 with alpha 1, beta 0.5 and one presumed relevant
document. Neither more documents nor expanding the full-text query (RM3) gained anything."""

MIN_SPREAD = 0.08
"""Cosines are divided by at least this standard deviation, which is low for queries of real collections: where the
model finds all candidates alike, their differences mean nothing."""

CANDIDATES = 50
"""The vectors and the full text each give at least this many candidates."""

RERANKED = 30
"""A cross-encoder reads at least this many hits."""

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


def passage_of(row: Mapping[str, Any]) -> Passage:
    """Turn a row of `embeddings`, or a hit, into the passage that a prompt shows."""
    return Passage(row["chunk_id"], row["title"] or "", row["url"] or "", row["text"].strip())


@dataclass(frozen=True)
class Hit:
    """A chunk that a search found. `score` orders the hits of one query; it means nothing across queries."""

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
        return passage_of(vars(self))


@dataclass(frozen=True)
class SearchFilter:
    """Which chunks a search may find; by default all of them.

    published_after is inclusive and published_before exclusive; a time without a time zone is taken as UTC. A document
    without a date is never found when one of them is set.
    """

    category: Category | str | None = None
    platform: str | None = None
    published_after: datetime | None = None
    published_before: datetime | None = None
    excluded_clusters: Collection[str] = ()
    quotable_only: bool = False
    trainable_only: bool = False

    @property
    def condition(self) -> str | None:
        """The filter as LanceDB's SQL; None when it lets every chunk through."""
        parts = [f"category = '{Category(self.category)}'"] if self.category else []
        if self.platform:
            parts.append(is_in("platform", [self.platform]))
        if self.published_after:
            parts.append(f"published_at >= {_timestamp(self.published_after)}")
        if self.published_before:
            parts.append(f"published_at < {_timestamp(self.published_before)}")
        if self.excluded_clusters:
            parts.append(f"NOT ({is_in('cluster_id', sorted(self.excluded_clusters))})")
        if self.quotable_only:
            parts.append("quotable = true")
        if self.trainable_only:
            parts.append("trainable = true")
        return " AND ".join(parts) or None


EVERYTHING = SearchFilter()


def _timestamp(when: datetime) -> str:
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return f"arrow_cast('{aware.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z', 'Timestamp(Microsecond, Some(\"UTC\"))')"


class Reranker:
    """A sentence-transformers CrossEncoder, which reads query and passage together. It is loaded on first use."""

    def __init__(self, name: str, device: str | None = None) -> None:
        self._name = name
        self._device = device

    def scores(self, query: str, texts: list[str]) -> "npt.NDArray[np.float32]":
        """A score of how well each text answers `query`, shape (len(texts),)."""
        import numpy as np

        found = self._model.predict([(query, text) for text in texts], show_progress_bar=False)
        return np.asarray(found, dtype=np.float32).reshape(len(texts))

    @cached_property
    def _model(self) -> "CrossEncoder":
        from sentence_transformers import CrossEncoder

        try:
            return CrossEncoder(self._name, device=self._device, local_files_only=Path(self._name).is_dir())
        except (OSError, ValueError) as error:
            raise TwinError(
                f"TWIN_RERANKER is {self._name}, but no cross-encoder can be loaded from there: give a folder or a "
                f"hub name, or remove the setting ({str(error).splitlines()[0]})"
            ) from error


@cache
def load_reranker(settings: Settings) -> Reranker | None:
    """The configured reranker, loaded once per process and settings; None, the default, if no reranker is set."""
    device = None if settings.device == "auto" else settings.device
    return Reranker(settings.reranker, device) if settings.reranker else None


def retrieval_identity(embedding_model: str, settings: Settings) -> str:
    """Names everything that decides which passages are found: this module, the embedding model, and any reranker."""
    found_by = f"search {SEARCH_VERSION}, {embedding_model} {EMBEDDING_VERSION}"
    return f"{found_by}, reranked by {settings.reranker}" if settings.reranker else found_by


def search(
    table: TableHandle,
    embedder: Embedder,
    query: str,
    k: int = 10,
    wanted: SearchFilter = EVERYTHING,
    *,
    query_vector: "Vector | None" = None,
    reranker: Reranker | None = None,
) -> list[Hit]:
    """The k best chunks for `query` among those `wanted`, best first.

    Equal chunk texts are returned once, and of each cluster only one document's chunks. query_vector: the query's unit
    vector, shape (dimension,), if the caller already has it. The list is empty when the author has no embeddings yet,
    or when the query has no words.
    """
    if not table.exists or not query.strip() or k < 1:
        return []
    n_candidates = max(CANDIDATES, 2 * k)
    weight = VECTOR_WEIGHT * readable_share(query, embedder.languages)
    found = _matches(table, query, wanted.condition, n_candidates)
    if weight:
        vector = embedder.encode([query])[0] if query_vector is None else query_vector
        nearest = _nearest(table, vector, wanted.condition, n_candidates)
        found = list({one.row["chunk_id"]: one for one in (*nearest, *found)}.values())
        scores = _fused(found, vector, weight)
    else:
        scores = [one.bm25 for one in found]
    ordered = sorted(zip(scores, found, strict=True), key=lambda pair: (-pair[0], pair[1].row["chunk_id"]))
    hits = [_hit(one.row, score) for score, one in ordered]
    return _reranked(_distinct(hits, max(k, RERANKED)), query, reranker)[:k] if reranker else _distinct(hits, k)


def readable_share(query: str, languages: Collection[str] | None) -> float:
    """The share of a query's letters in a script that the embedding model reads; 1 if its languages are not known.

    The script decides, not the language: an English model embeds German well enough to help (RESULTS.md), while Chinese
    becomes [UNK] and Cyrillic single letters. Only the bundled English model names its languages.
    """
    letters = [letter for letter in query if letter.isalpha()]
    if languages is None or not letters:
        return 1.0
    return sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters) / len(letters)


@dataclass(frozen=True)
class _Candidate:
    """A row that was found, with its vector and its BM25 score, which is 0 if the full text did not find it."""

    row: dict[str, Any]
    vector: "Vector"
    bm25: float


def _nearest(table: TableHandle, vector: "Vector", where: str | None, limit: int) -> list[_Candidate]:
    query = table.lance.search(vector, vector_column_name="vector").distance_type("cosine")
    return _run(query, "_distance", where, limit)


def _matches(table: TableHandle, query: str, where: str | None, limit: int) -> list[_Candidate]:
    from lancedb.query import BooleanQuery, MatchQuery, Occur

    columns = [column for column in COLUMN_WEIGHTS if column in table.full_text_columns]
    if not columns:
        return []
    words = [(Occur.SHOULD, MatchQuery(query, column, boost=COLUMN_WEIGHTS[column])) for column in columns]
    return _run(table.lance.search(BooleanQuery(words), query_type="fts"), "_score", where, limit)


def _run(query: Any, score: str, where: str | None, limit: int) -> list[_Candidate]:
    """The rows that the query finds, best first. score: the column that orders them; LanceDB wants it named."""
    # Any: LanceDB's query builders share methods but no public base class.
    if where:
        query = query.where(where, prefilter=True)
    found = query.select([*COLUMNS, "vector", score]).limit(limit).to_arrow()
    if not found.num_rows:
        return []
    vectors = found["vector"].combine_chunks().flatten().to_numpy().reshape(found.num_rows, -1)
    scores = found[score].to_pylist() if score == "_score" else [0.0] * found.num_rows
    rows = found.select(list(COLUMNS)).to_pylist()
    return [_Candidate(*one) for one in zip(rows, vectors, scores, strict=True)]


def _fused(candidates: list[_Candidate], query: "Vector", weight: float) -> list[float]:
    """The score of each candidate after feedback: z-scores of cosine and BM25, with `weight` on the cosine."""
    import numpy as np

    if not candidates:
        return []
    vectors = np.stack([one.vector for one in candidates])
    words = (1 - weight) * _z_scores(np.array([one.bm25 for one in candidates]))

    def scores(query: "Vector") -> "Scores":
        return weight * _z_scores(vectors @ query, MIN_SPREAD) + words

    moved = query + FEEDBACK * vectors[np.argmax(scores(query))]
    fused: list[float] = scores(moved / np.linalg.norm(moved)).tolist()
    return fused


def _z_scores(values: "Scores | Vector", min_spread: float = 1e-9) -> "Scores":
    import numpy as np

    return np.asarray((values - np.mean(values)) / max(float(np.std(values)), min_spread), dtype=np.float64)


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


def _reranked(hits: list[Hit], query: str, reranker: Reranker) -> list[Hit]:
    scores = reranker.scores(query, [f"{hit.title}\n{hit.text}".strip() for hit in hits]).tolist()
    scored = [replace(hit, score=round(score, 6)) for hit, score in zip(hits, scores, strict=True)]
    return sorted(scored, key=lambda hit: -hit.score)
