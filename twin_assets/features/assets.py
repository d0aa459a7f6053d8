"""The feature pipeline's assets: each pins its input, asks `changes` what to do, checks it, and hands it to the store.

An asset holds its table's lock from pinning the input to the commit. It yields its result inside the `with`, and
Dagster stores a yielded result before the asset goes on. A second run for the same author waits for the lock and then
finds nothing to do.
"""

from collections import Counter
from collections.abc import Collection, Iterator

import dagster as dg

from twin_assets import schemas
from twin_assets.content.chunking import Chunker, Tokens
from twin_assets.features import checks
from twin_assets.features.changes import (
    Update,
    chunking_changes,
    cleaning_changes,
    embedding_changes,
    made_by_chunking,
    made_by_cleaning,
    made_by_embedding,
)
from twin_assets.features.instructions.dataset import about_dataset, build, dataset_rows, made_by_dataset
from twin_assets.features.memo import open_memo
from twin_assets.features.preview import dataset_card, preview
from twin_assets.language.embedding import load_embedder
from twin_assets.orchestration.partitions import CHANGED, FOLLOWS, author_of, authors
from twin_assets.settings import Settings
from twin_assets.stores import open_stores
from twin_assets.stores.features import Changes, Snapshot, TableHandle, snapshot_data_version
from twin_assets.stores.features_io import column_schema

OWNERS = ["team:twin"]
SETTINGS = Settings()
"""The settings as they are when the definitions load, because a code version is part of a definition."""

Results = Iterator[dg.AssetCheckResult | dg.MaterializeResult[Changes | Snapshot]]

ON_FULL_DISK_OR_CONFLICT = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL)


def _metadata(update: Update, asset: str) -> dict[str, dg.MetadataValue | int | str]:
    rows = update.changes.upserts
    return {
        "dagster/row_count": update.after,
        "written": rows.num_rows,
        "deleted": len(update.changes.deletes),
        "unchanged": update.unchanged,
        "bytes_written": rows.nbytes,
        "left_out": dg.MetadataValue.json(dict(update.rejected)),  # the key that earlier materializations have
        "preview": dg.MetadataValue.md(preview(rows, asset)),
        **({"masked": dg.MetadataValue.json(dict(update.masked))} if asset == "cleaned_documents" else {}),
    }


def _result(asset: str, update: Update) -> dg.MaterializeResult[Changes | Snapshot]:
    return dg.MaterializeResult(
        asset_key=asset,
        value=update.changes,
        metadata=_metadata(update, asset),
        data_version=dg.DataVersion(update.changes.data_version),
    )


def _counts(update: Update, max_drop: float) -> list[checks.Verdict]:
    return [
        checks.not_empty(update.before, update.after, update.explained),
        checks.no_sudden_drop(update.before, update.after, update.explained, max_drop),
    ]


def _rows_without_document(dataset: TableHandle, documents: Collection[str]) -> int:
    """How many rows belong to a document that has been deleted or left out of training since."""
    return sum(row["document_id"] not in documents for row in dataset.rows(["document_id"]))


def cleaned_documents_asset(raw_keys: list[dg.AssetKey]) -> dg.AssetsDefinition:
    """The asset `cleaned_documents`, which depends on every platform's raw asset."""

    @dg.asset(
        name="cleaned_documents",
        deps=raw_keys,
        partitions_def=authors,
        group_name="features",
        kinds={"python", "lancedb"},
        owners=OWNERS,
        code_version=made_by_cleaning(),
        automation_condition=CHANGED,
        io_manager_key="features",
        retry_policy=ON_FULL_DISK_OR_CONFLICT,
        check_specs=checks.check_specs("cleaned_documents", ["schema", "not_empty", "no_sudden_drop", "no_drift"]),
        metadata={"dagster/column_schema": column_schema(schemas.CLEANED_DOCUMENTS)},
    )
    def cleaned_documents(context: dg.AssetExecutionContext) -> Results:
        """One row per usable document: its cleaned text, language, cluster of duplicates and permitted uses."""
        stores, author = open_stores(), author_of(context)
        with stores.features.writing(author, "cleaned_documents"):
            current = stores.features.table(author, "cleaned_documents")
            profile = stores.warehouse.profiles.get(author)
            with open_memo(stores.settings.memo(author, "cleaned_documents")) as memo:
                update = cleaning_changes(stores.warehouse, profile, current, context.log.info, memo)
            rows = update.changes.upserts
            verdicts = [
                checks.schema(rows, schemas.CLEANED_DOCUMENTS, "document_id"),
                *_counts(update, stores.settings.max_drop),
                checks.no_drift(current, rows, "n_words"),
            ]
            yield from checks.report("cleaned_documents", verdicts)
            yield _result("cleaned_documents", update)

    return cleaned_documents


@dg.asset(
    partitions_def=authors,
    group_name="features",
    kinds={"python", "lancedb"},
    owners=OWNERS,
    code_version=made_by_chunking(SETTINGS),
    automation_condition=FOLLOWS,
    io_manager_key="features",
    retry_policy=ON_FULL_DISK_OR_CONFLICT,
    check_specs=checks.check_specs(
        "chunks", ["schema", "not_empty", "no_sudden_drop", "chunks_have_documents", "no_drift"]
    ),
    metadata={"dagster/column_schema": column_schema(schemas.CHUNKS)},
)
def chunks(context: dg.AssetExecutionContext, cleaned_documents: TableHandle) -> Results:
    """Documents cut into pieces that fit the embedding model; the pieces of a document together are its text."""
    stores, author = open_stores(), author_of(context)
    with stores.features.writing(author, "chunks"):
        current = stores.features.table(author, "chunks")
        chunker = Chunker(Tokens(load_embedder(stores.settings).tokenizer), stores.settings.chunk_tokens)
        update = chunking_changes(cleaned_documents, current, chunker, made_by_chunking(stores.settings))
        documents = (row["document_id"] for row in cleaned_documents.rows(["document_id"]))
        verdicts = [
            checks.schema(update.changes.upserts, schemas.CHUNKS, "chunk_id"),
            *_counts(update, stores.settings.max_drop),
            checks.chunks_have_documents(update.documents_after, documents),
            checks.no_drift(current, update.changes.upserts, "n_tokens"),
        ]
        yield from checks.report("chunks", verdicts)
        yield _result("chunks", update)


@dg.asset(
    partitions_def=authors,
    group_name="features",
    kinds={"huggingface", "lancedb"},
    owners=OWNERS,
    code_version=made_by_embedding(SETTINGS),
    automation_condition=FOLLOWS,
    io_manager_key="features",
    retry_policy=ON_FULL_DISK_OR_CONFLICT,
    check_specs=checks.check_specs(
        "embeddings", ["schema", "not_empty", "no_sudden_drop", "vectors_unit_and_finite", "languages_known"]
    ),
    metadata={"dagster/column_schema": column_schema(schemas.embeddings(384))},
)
def embeddings(context: dg.AssetExecutionContext, chunks: TableHandle) -> Results:
    """Chunks with their unit vectors and search indexes: what drafts retrieve and quote."""
    stores, author = open_stores(), author_of(context)
    with stores.features.writing(author, "embeddings"):
        current = stores.features.table(author, "embeddings")
        embedder = load_embedder(stores.settings)
        update = embedding_changes(chunks, current, embedder, made_by_embedding(stores.settings), context.log.info)
        rows = update.changes.upserts
        verdicts = [
            checks.schema(rows, schemas.embeddings(embedder.dimension), "chunk_id"),
            *_counts(update, stores.settings.max_drop),
            checks.vectors_unit_and_finite(rows),
            checks.languages_known(
                (row["language"] for row in chunks.rows(["language"], "category != 'code'")), embedder.languages
            ),
        ]
        yield from checks.report("embeddings", verdicts)
        yield _result("embeddings", update)


@dg.asset(
    partitions_def=authors,
    deps=["cleaned_documents"],
    group_name="features",
    kinds={"python", "lancedb"},
    owners=OWNERS,
    code_version=made_by_dataset(SETTINGS),
    automation_condition=FOLLOWS,
    io_manager_key="features",
    retry_policy=ON_FULL_DISK_OR_CONFLICT,
    check_specs=checks.check_specs(
        "instruction_dataset", ["schema", "not_empty", "no_leak", "answers_are_the_authors"]
    ),
    metadata={"dagster/column_schema": column_schema(schemas.INSTRUCTION_DATASET)},
)
def instruction_dataset(context: dg.AssetExecutionContext, embeddings: TableHandle) -> Results:
    """Instructions with the author's own text as answers, split by cluster; each version is a table of its own."""
    stores, author = open_stores(), author_of(context)
    with stores.features.writing(author, "instruction_dataset"):
        pinned = embeddings.pinned
        cleaned = stores.features.table_at(author, "cleaned_documents", pinned.inputs["cleaned_documents"])
        current = stores.features.table(author, "instruction_dataset")
        with open_memo(stores.settings.memo(author, "instruction_dataset")) as memo:
            embedder = load_embedder(stores.settings)
            built = build(cleaned, embeddings, embedder, stores.settings, context.log.info, current, memo)
        rows = dataset_rows(built)
        texts = {row["document_id"]: row["text"] for row in cleaned.rows(["document_id", "text"], "trainable = true")}
        answers = zip(rows.column("document_id").to_pylist(), rows.column("answer").to_pylist(), strict=True)
        verdicts = [
            checks.schema(rows, schemas.INSTRUCTION_DATASET, "example_id"),
            checks.not_empty(
                current.count(), rows.num_rows, 0 if rows.num_rows else _rows_without_document(current, texts)
            ),
            checks.no_leak(rows),
            checks.answers_are_the_authors(answers, texts),
        ]
        yield from checks.report("instruction_dataset", verdicts)
        data_version = snapshot_data_version(rows, "example_id")
        inputs = {**pinned.inputs, "embeddings": pinned.version}
        splits = Counter(rows.column("split").to_pylist())
        about = about_dataset(stores.settings)
        recorded = {
            "splits": dict(splits),
            "left_out": dict(built.rejected),
            "looked_up_among": built.looked_up_among,
            "follows": current.publication.table if current.publication else None,
            **about,
        }
        yield dg.MaterializeResult(
            asset_key="instruction_dataset",
            value=Snapshot(rows, inputs, recorded, data_version),
            metadata={
                "dagster/row_count": rows.num_rows,
                **{f"{split}_examples": count for split, count in splits.items()},
                "context_looked_up": built.looked_up,
                "left_out": dg.MetadataValue.json(dict(built.rejected)),
                "card": dg.MetadataValue.md(dataset_card(rows, built.rejected, about)),
                "preview": dg.MetadataValue.md(preview(rows, "instruction_dataset")),
            },
            data_version=dg.DataVersion(data_version),
        )


def assets(raw_keys: list[dg.AssetKey]) -> list[dg.AssetsDefinition]:
    """The feature assets. raw_keys: the assets that collect documents, one per platform."""
    return [cleaned_documents_asset(raw_keys), chunks, embeddings, instruction_dataset]


features_job = dg.define_asset_job(
    "features",
    selection=dg.AssetSelection.assets("cleaned_documents", "chunks", "embeddings", "instruction_dataset"),
    description="All tables between the warehouse and training, for one author. Automation and `twin run` start it.",
)
