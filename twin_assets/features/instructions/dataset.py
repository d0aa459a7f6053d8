"""Put the dataset together: cleaned texts from one pinned table, context from the real retriever over another."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from twin_assets import schemas
from twin_assets.documents import digest
from twin_assets.features.instructions.examples import (
    Built,
    Passages,
    build_rows,
    made_by_instructions,
    made_from,
    make_examples,
    with_instruction,
)
from twin_assets.features.instructions.instruction_model import InstructionModel, Wanted
from twin_assets.features.instructions.requests import INSTRUCTIONS_VERSION, Example, language_name
from twin_assets.features.instructions.splits import Split, split_clusters
from twin_assets.features.memo import Memo
from twin_assets.language.embedding import Embedder, model_identity
from twin_assets.language.prompts import Passage, task_instruction
from twin_assets.language.search import SearchFilter, load_reranker, passage_of, retrieval_identity, search
from twin_assets.orchestration.progress import Tell
from twin_assets.settings import Settings
from twin_assets.stores.features import TableHandle, is_in

if TYPE_CHECKING:
    import pyarrow as pa

CANDIDATES = 12
"""Chunks looked at per example: enough for three once the held-out and the answer's own are passed over."""

GROWTH = 1.2
"""By so much what may be quoted may grow before all context is looked up again: newer writing is to be shown too."""

SHOWN = "quotable = true AND trainable = true"
"""What context may be of: a model learns from what it is shown as well."""

COLUMNS = [
    "document_id", "cluster_id", "category", "language", "published_at", "title", "text", "trainable", "visibility",
    "input_hash",
]  # fmt: skip


def made_by_dataset(settings: Settings) -> str:
    """How the dataset is made now: how each row is, and how many there are."""
    return digest([_made_by_rows(settings, model_identity(settings)), settings.dataset_size], 16)


def _made_by_rows(settings: Settings, embedding_model: str) -> str:
    retrieval = retrieval_identity(embedding_model, settings)
    return made_by_instructions(settings.answer_bytes, retrieval, settings.instruction_model)


def about_dataset(settings: Settings) -> dict[str, str]:
    """What a version's record says of how it was made, beside its inputs."""
    generator = f"rules {INSTRUCTIONS_VERSION}"
    if settings.instruction_model:
        generator += f", instructions of public pieces by {settings.instruction_model}"
    return {"size": settings.dataset_size, "generator": generator, "made_by": made_by_dataset(settings)}


def build(
    cleaned: TableHandle,
    embeddings: TableHandle,
    embedder: Embedder,
    settings: Settings,
    tell: Tell,
    before: TableHandle | None = None,
    known: Memo | None = None,
) -> Built:
    """Every example of the author. Queries are embedded in one batch, each is answered by `search`.

    before: the version that this one follows. An example that is asked for as it was keeps its context from there, as
    long as each passage stands as it stood, until what may be quoted has grown by GROWTH since all was looked up.
    """
    documents = sorted(cleaned.rows(COLUMNS), key=lambda row: str(row["document_id"]))
    splits = split_clusters((row["document_id"], row["cluster_id"]) for row in documents)
    examples, left_out = make_examples(documents, splits, settings.answer_bytes, settings.dataset_size, known)
    if settings.instruction_model:
        model = InstructionModel(settings, cleaned.author, tell)
        examples, refused = _written(examples, model, [row["document_id"] for row in documents if row["trainable"]])
        left_out["instruction of the model refused, the rule's stands"] += refused

    made_by = _made_by_rows(settings, embedder.identity)
    quotable = embeddings.count(SHOWN)
    looked_up_among = before.pinned.about.get("looked_up_among", 0) if before and before.exists else 0
    kept: dict[str, Passages] = {}
    if before and quotable <= looked_up_among * GROWTH:
        kept = _kept_contexts(before, embeddings, examples, splits, made_by)
        looked_up_among = min(looked_up_among, quotable)
    else:
        looked_up_among = quotable
    retrieve = partial(_retrieved, embeddings, embedder, settings, tell)
    rows = build_rows(examples, splits, retrieve, made_by, kept)
    looked_up = sum(bool(example.query) and example.id not in kept for example in examples)
    return Built(rows, dict(+left_out), looked_up, looked_up_among)


def _retrieved(
    embeddings: TableHandle,
    embedder: Embedder,
    settings: Settings,
    tell: Tell,
    asked: Sequence[tuple[str, str]],
) -> Iterator[list[tuple[str, Passage]]]:
    """What `search` finds for each (query, cluster of the answer), as (cluster_id, passage)."""
    if not asked:
        return
    vectors = embedder.encode([query for query, _ in asked])
    for done, ((query, cluster), vector) in enumerate(zip(asked, vectors, strict=True), 1):
        if done % 200 == 0:
            tell(f"context retrieved for {done} of {len(asked)} examples")
        hits = search(
            embeddings,
            embedder,
            query,
            CANDIDATES,
            SearchFilter(excluded_clusters={cluster}, quotable_only=True, trainable_only=True),
            query_vector=vector,
            reranker=load_reranker(settings),
        )
        yield [(hit.cluster_id, hit.passage) for hit in hits]


def _kept_contexts(
    before: TableHandle,
    embeddings: TableHandle,
    examples: Sequence[Example],
    splits: Mapping[str, Split],
    made_by: str,
) -> dict[str, Passages]:
    """The passages of each example that is asked for as it was, where they could still be found as they are."""
    asking = {example.id: example for example in examples if example.query}
    kept = {
        row["example_id"]: row["passages"]
        for row in before.rows(["example_id", "passages", "input_hash", "made_by"], is_in("made_by", [made_by]))
        if (example := asking.get(row["example_id"])) and row["input_hash"] == made_from(example, row["passages"])
    }
    shown = {passage["chunk_id"] for passages in kept.values() for passage in passages}
    columns = ["chunk_id", "cluster_id", "title", "url", "text"]
    standing = {
        row["chunk_id"]: (row["cluster_id"], vars(passage_of(row)))
        for row in embeddings.rows(columns, SHOWN)
        if row["chunk_id"] in shown and splits.get(row["cluster_id"]) == "train"
    }

    def stand(example: Example, passages: Passages) -> bool:
        documents: dict[str, str] = {}
        for passage in passages:
            cluster, now = standing.get(passage["chunk_id"], ("", {}))
            document = passage["chunk_id"].rsplit("#", 1)[0]
            # Two documents that were found side by side may be one cluster by now.
            if now != passage or documents.setdefault(cluster, document) != document:
                return False
        return example.document["cluster_id"] not in documents

    return {name: passages for name, passages in kept.items() if stand(asking[name], passages)}


def _written(
    examples: Sequence[Example], model: InstructionModel, documents: Sequence[str]
) -> tuple[list[Example], int]:
    """The examples with the model's instructions where they are public and it wrote a usable one; how many it did not.

    Private writing goes to nobody.
    """
    wanted = {
        number: Wanted(
            "rewrite" if example.task == "rewrite" else "write",
            example.document["category"],
            language_name(example.document["language"]) or "English",
            example.answer,
            example.document["document_id"],
        )
        for number, example in enumerate(examples)
        if example.task in ("write", "rewrite") and example.document["visibility"] == "public"
    }
    texts = dict(zip(wanted, model.write(list(wanted.values()), documents), strict=True))
    result = [
        _asked_by_model(example, text, model.name) if (text := texts.get(number)) else example
        for number, example in enumerate(examples)
    ]
    return result, sum(text is None for text in texts.values())


def _asked_by_model(example: Example, text: str, model: str) -> Example:
    if example.task == "write":
        return with_instruction(example, text, f"{model}/write")
    kind, _, variant = example.template.rpartition("/")
    language = language_name(example.document["language"])
    instruction = task_instruction(kind, int(variant), material=text, language=language, is_part=example.is_part)
    return with_instruction(example, instruction, f"{model}/rewrite")


def dataset_rows(built: Built) -> "pa.Table":
    """The built examples as a table."""
    return schemas.from_dicts(built.rows, schemas.INSTRUCTION_DATASET)
