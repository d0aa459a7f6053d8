"""Put the dataset together: cleaned texts from one pinned table, context from the real retriever over another."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from twin_assets import schemas
from twin_assets.features.instructions import Built, build_dataset, made_by_instructions, split_clusters, topic_of
from twin_assets.language.embedding import Embedder
from twin_assets.language.prompts import Passage
from twin_assets.language.search import search
from twin_assets.settings import Settings
from twin_assets.stores.features import TableHandle

if TYPE_CHECKING:
    import pyarrow as pa

CANDIDATES = 12
"""Chunks looked at per example: enough for three once the held-out and the answer's own are passed over."""

COLUMNS = [
    "document_id", "cluster_id", "category", "language", "published_at", "title", "text", "trainable", "input_hash",
]  # fmt: skip


def build(
    cleaned: TableHandle,
    embeddings: TableHandle,
    embedder: Embedder,
    settings: Settings,
    progress: Callable[[str], None],
) -> Built:
    """Every example of the author. Queries are embedded in one batch, each is answered by `search`."""
    documents = sorted(cleaned.rows(COLUMNS), key=lambda row: row["document_id"])
    splits = split_clusters((row["document_id"], row["cluster_id"]) for row in documents)
    topics = sorted({topic_of(row) for row in documents if row["trainable"]})
    vectors = dict(zip(topics, embedder.encode(topics), strict=True)) if topics else {}
    done = 0

    def retrieve(query: str, cluster: str) -> list[tuple[str, Passage]]:
        nonlocal done
        done += 1
        if done % 200 == 0:
            progress(f"context retrieved for {done} of {len(documents)} documents")
        hits = search(
            embeddings,
            embedder,
            query,
            CANDIDATES,
            exclude_clusters={cluster},
            quotable_only=True,
            query_vector=vectors[query],
        )
        return [(hit.cluster_id, hit.passage) for hit in hits]

    made_by = made_by_instructions(settings.answer_bytes, embedder.identity)
    return build_dataset(documents, splits, retrieve, settings.answer_bytes, made_by)


def dataset_rows(built: Built) -> "pa.Table":
    """The built examples as a table."""
    return schemas.from_dicts(built.rows, schemas.INSTRUCTION_DATASET)
