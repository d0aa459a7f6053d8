"""Hybrid search over an author's embeddings: the nearest vectors and the best full-text matches, fused by their scores.

Ranks hide how well a part tells its candidates apart; fused by ranks with equal weights, a weak part drags a strong one
down. So each candidate gets its cosine and its BM25 score, each as a z-score over the candidates of this query. Then
the query moves towards the best hit and the candidates are scored once more. One setting for all collections: it was
chosen on half of the queries of each, and benchmarks/RESULTS.md has what each part adds on the other half.
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
"""Raised with whatever changes what is found, here or in the full-text index's settings."""

VECTOR_WEIGHT = 0.6
"""Of the vectors; the rest is the full text's."""

COLUMN_WEIGHTS = {"text": 1.0, "title": 0.5, "heading_path": 0.3}
"""Of the columns' BM25 scores, whose sum is the full text's. Without the title cranfield's falls from 0.359 to 0.304
nDCG@10. Headings help to find code, whose path and names they are, and cost a little with articles."""

FEEDBACK = 0.5
"""How far the query moves towards the best hit: Rocchio 1971, alpha 1, beta 0.5, with one document, which is presumed
relevant. More documents gained nothing, and the expansion of the full text's query (RM3) neither."""

MIN_SPREAD = 0.08
"""Least standard deviation by which cosines are divided, at the low end of what queries of real collections have: where
all candidates are alike to the model, their differences are no evidence."""

CANDIDATES = 50
"""Of each part, at least."""

RERANKED = 30
"""Hits that a cross-encoder reads, at least."""

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
    """A row of `embeddings`, or a hit, as the passage that a prompt shows."""
    return Passage(row["chunk_id"], row["title"] or "", row["url"] or "", row["text"].strip())


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
        return passage_of(vars(self))


class Reranker:
    """A sentence-transformers CrossEncoder, which reads query and passage together; it loads on first use."""

    def __init__(self, name: str, device: str | None = None) -> None:
        self._name = name
        self._device = device

    def scores(self, query: str, texts: list[str]) -> "npt.NDArray[np.float32]":
        """How well each text answers `query`, shape (len(texts),)."""
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
                f"TWIN_RERANKER names {self._name}, and no cross-encoder can be loaded from there: give a folder or a "
                f"hub name, or take the setting out ({str(error).splitlines()[0]})"
            ) from error


@cache
def load_reranker(settings: Settings) -> Reranker | None:
    """The configured reranker, one per process and settings; None when none is named, as by default."""
    device = None if settings.device == "auto" else settings.device
    return Reranker(settings.reranker, device) if settings.reranker else None


def retrieval_identity(embedding_model: str, settings: Settings) -> str:
    """What decides which passages are found: this module, the embedding model, and the reranker if there is one."""
    found_by = f"search {SEARCH_VERSION}, {embedding_model} {EMBEDDING_VERSION}"
    return f"{found_by}, reranked by {settings.reranker}" if settings.reranker else found_by


def search(
    table: TableHandle,
    embedder: Embedder,
    query: str,
    k: int = 10,
    *,
    category: Category | str | None = None,
    platform: str | None = None,
    published_after: datetime | None = None,
    published_before: datetime | None = None,
    exclude_clusters: Collection[str] = (),
    quotable_only: bool = False,
    trainable_only: bool = False,
    query_vector: "Vector | None" = None,
    reranker: Reranker | None = None,
) -> list[Hit]:
    """The k best chunks for `query`, best first: one of each chunk text, and one document of each cluster.

    published_after, published_before: from the first moment on, and before the second; without a time zone they are
    UTC. A document without a date is then left out. query_vector: the query's unit vector, shape (dimension,), when
    the caller has it already. Returns nothing when the author has no embeddings yet or the query no words.
    """
    if not table.exists or not query.strip() or k < 1:
        return []
    where = _filter(
        category, platform, published_after, published_before, exclude_clusters, quotable_only, trainable_only
    )
    wanted = max(CANDIDATES, 2 * k)
    weight = VECTOR_WEIGHT * legible_share(query, embedder.languages)
    found = _matches(table, query, where, wanted)
    if weight:
        vector = embedder.encode([query])[0] if query_vector is None else query_vector
        nearest = _nearest(table, vector, where, wanted)
        found = list({one.row["chunk_id"]: one for one in (*nearest, *found)}.values())
        scores = _fused(found, vector, weight)
    else:
        scores = [one.bm25 for one in found]
    ordered = sorted(zip(scores, found, strict=True), key=lambda pair: (-pair[0], pair[1].row["chunk_id"]))
    hits = [_hit(one.row, score) for score, one in ordered]
    return _reranked(_distinct(hits, max(k, RERANKED)), query, reranker)[:k] if reranker else _distinct(hits, k)


def legible_share(query: str, languages: Collection[str] | None) -> float:
    """The share of a query's letters in a script that a model of these languages reads; 1 when they are not known.

    The script and not the language decides: an English model embeds German well enough to help (RESULTS.md), while
    Chinese and Cyrillic are [UNK] and single letters to it. Only the English model names its languages.
    """
    letters = [letter for letter in query if letter.isalpha()]
    if languages is None or not letters:
        return 1.0
    return sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters) / len(letters)


@dataclass(frozen=True)
class _Candidate:
    """A row that a part found, its vector, and its BM25 score: 0 when the full text did not find it."""

    row: dict[str, Any]
    vector: "Vector"
    bm25: float


def _filter(
    category: Category | str | None,
    platform: str | None,
    published_after: datetime | None,
    published_before: datetime | None,
    exclude_clusters: Collection[str],
    quotable_only: bool,
    trainable_only: bool,
) -> str | None:
    parts = [f"category = '{Category(category)}'"] if category else []
    if platform:
        parts.append(is_in("platform", [platform]))
    if published_after:
        parts.append(f"published_at >= {_moment(published_after)}")
    if published_before:
        parts.append(f"published_at < {_moment(published_before)}")
    if exclude_clusters:
        parts.append(f"NOT ({is_in('cluster_id', sorted(exclude_clusters))})")
    if quotable_only:
        parts.append("quotable = true")
    if trainable_only:
        parts.append("trainable = true")
    return " AND ".join(parts) or None


def _moment(when: datetime) -> str:
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return f"arrow_cast('{aware.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z', 'Timestamp(Microsecond, Some(\"UTC\"))')"


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
    """The query's rows, best first; score: the column that orders them, named because LanceDB warns when it is not."""
    # Any: LanceDB's query builders share methods and no public base class.
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
    """Score of each candidate: `weight` of its cosine's z-score and the rest of its BM25's, after feedback."""
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
