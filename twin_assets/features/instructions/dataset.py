"""Build the dataset from the cleaned texts of one pinned table, with context that `search` finds in another."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from twin_assets import schemas
from twin_assets.documents import digest
from twin_assets.features.instructions.examples import (
    BuiltDataset,
    Passages,
    build_rows,
    example_input_hash,
    made_by_instructions,
    make_examples,
    with_instruction,
)
from twin_assets.features.instructions.instruction_model import InstructionModel, InstructionPrompt
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
"""This many chunks are searched per example: enough for three after those held out or of the answer are dropped."""

MAX_GROWTH = 1.2
"""When the chunks that may be quoted have grown by this factor, all context is looked up again, to show newer ones."""

CONTEXT_FILTER = "quotable = true AND trainable = true"
"""The chunks that context may show. They have to be trainable too, since a model also learns from what it is shown."""

COLUMNS = [
    "document_id", "cluster_id", "category", "language", "published_at", "title", "text", "trainable", "visibility",
    "input_hash",
]  # fmt: skip


def made_by_dataset(settings: Settings) -> str:
    """A hash of what makes the dataset: the rules for its rows, and its size."""
    return digest([_made_by_rows(settings, model_identity(settings)), settings.dataset_size], 16)


def _made_by_rows(settings: Settings, embedding_model: str) -> str:
    retrieval = retrieval_identity(embedding_model, settings)
    return made_by_instructions(settings.answer_bytes, retrieval, settings.instruction_model)


def about_dataset(settings: Settings) -> dict[str, str]:
    """What the record of a dataset version says about how it was made, beside its inputs."""
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
    memo: Memo | None = None,
) -> BuiltDataset:
    """Make every example of the author. Queries are embedded in one batch, and `search` finds context for each.

    before: the version that this one follows. An unchanged example keeps its context from there if all its passages are
    unchanged. Once the chunks that may be quoted have grown by MAX_GROWTH, context is looked up for all examples.
    """
    documents = sorted(cleaned.rows(COLUMNS), key=lambda row: str(row["document_id"]))
    splits = split_clusters((row["document_id"], row["cluster_id"]) for row in documents)
    examples, rejected = make_examples(documents, splits, settings.answer_bytes, settings.dataset_size, memo)
    if settings.instruction_model:
        model = InstructionModel(settings, cleaned.author, tell)
        examples, refused = _with_model_instructions(
            examples, model, [row["document_id"] for row in documents if row["trainable"]]
        )
        rejected["instruction of the model refused, the rule's stands"] += refused

    made_by = _made_by_rows(settings, embedder.identity)
    quotable = embeddings.count(CONTEXT_FILTER)
    looked_up_among = before.pinned.about.get("looked_up_among", 0) if before and before.exists else 0
    kept: dict[str, Passages] = {}
    if before and quotable <= looked_up_among * MAX_GROWTH:
        kept = _kept_contexts(before, embeddings, examples, splits, made_by)
        looked_up_among = min(looked_up_among, quotable)
    else:
        looked_up_among = quotable
    retrieve = partial(_retrieve, embeddings, embedder, settings, tell)
    rows = build_rows(examples, splits, retrieve, made_by, kept)
    looked_up = sum(bool(example.query) and example.id not in kept for example in examples)
    return BuiltDataset(rows, dict(+rejected), looked_up, looked_up_among)


def _retrieve(
    embeddings: TableHandle,
    embedder: Embedder,
    settings: Settings,
    tell: Tell,
    queries: Sequence[tuple[str, str]],
) -> Iterator[list[tuple[str, Passage]]]:
    """For each (query, cluster of the answer), yield the (cluster_id, passage) pairs that `search` finds."""
    if not queries:
        return
    vectors = embedder.encode([query for query, _ in queries])
    for done, ((query, cluster), vector) in enumerate(zip(queries, vectors, strict=True), 1):
        if done % 200 == 0:
            tell(f"context retrieved for {done} of {len(queries)} examples")
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
    """The passages of each unchanged example whose passages are all unchanged and may still be shown, by example id."""
    with_query = {example.id: example for example in examples if example.query}
    kept = {
        row["example_id"]: row["passages"]
        for row in before.rows(["example_id", "passages", "input_hash", "made_by"], is_in("made_by", [made_by]))
        if (example := with_query.get(row["example_id"]))
        and row["input_hash"] == example_input_hash(example, row["passages"])
    }
    shown = {passage["chunk_id"] for passages in kept.values() for passage in passages}
    columns = ["chunk_id", "cluster_id", "title", "url", "text"]
    available = {
        row["chunk_id"]: (row["cluster_id"], vars(passage_of(row)))
        for row in embeddings.rows(columns, CONTEXT_FILTER)
        if row["chunk_id"] in shown and splits.get(row["cluster_id"]) == "train"
    }

    def are_unchanged(example: Example, passages: Passages) -> bool:
        documents: dict[str, str] = {}
        for passage in passages:
            cluster, now = available.get(passage["chunk_id"], ("", {}))
            document = passage["chunk_id"].rsplit("#", 1)[0]
            # Two documents that were found side by side may have become one cluster since.
            if now != passage or documents.setdefault(cluster, document) != document:
                return False
        return example.document["cluster_id"] not in documents

    return {name: passages for name, passages in kept.items() if are_unchanged(with_query[name], passages)}


def _with_model_instructions(
    examples: Sequence[Example], model: InstructionModel, documents: Sequence[str]
) -> tuple[list[Example], int]:
    """The examples with instructions by the model where it wrote a usable one, and how many it did not.

    Private writing is not sent to the model. documents: ids of all trainable documents.
    """
    prompts = {
        number: InstructionPrompt(
            "rewrite" if example.task == "rewrite" else "write",
            example.document["category"],
            language_name(example.document["language"]) or "English",
            example.answer,
            example.document["document_id"],
        )
        for number, example in enumerate(examples)
        if example.task in ("write", "rewrite") and example.document["visibility"] == "public"
    }
    texts = dict(zip(prompts, model.write(list(prompts.values()), documents), strict=True))
    result = [
        _with_model_instruction(example, text, model.name) if (text := texts.get(number)) else example
        for number, example in enumerate(examples)
    ]
    return result, sum(text is None for text in texts.values())


def _with_model_instruction(example: Example, text: str, model: str) -> Example:
    if example.task == "write":
        return with_instruction(example, text, f"{model}/write")
    kind, _, variant = example.template.rpartition("/")
    language = language_name(example.document["language"])
    instruction = task_instruction(kind, int(variant), material=text, language=language, is_part=example.is_part)
    return with_instruction(example, instruction, f"{model}/rewrite")


def dataset_rows(built: BuiltDataset) -> "pa.Table":
    """The rows of a built dataset as a table."""
    return schemas.from_dicts(built.rows, schemas.INSTRUCTION_DATASET)
