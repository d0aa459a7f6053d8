"""Find what has to change in each table: the smallest `Changes` that bring it up to date with its input.

A row is made again when its `input_hash` or its `made_by` differs from what it would be today. All other rows stay
untouched, so that the cost of a run follows the size of the change.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from twin_assets import schemas
from twin_assets.content.chunking import CHUNKING_VERSION, Chunker
from twin_assets.content.repositories import RULES
from twin_assets.documents import AuthorProfile, Category, digest
from twin_assets.features.cleaning import CLEANING_VERSION, cleaned_row
from twin_assets.features.duplicates import DUPLICATES_VERSION, Member, clusters, signature, text_hash
from twin_assets.features.memo import Memo
from twin_assets.features.redaction import REDACTION_VERSION
from twin_assets.language.embedding import EMBEDDING_VERSION, Embedder, model_identity
from twin_assets.orchestration.progress import Tell
from twin_assets.settings import Settings
from twin_assets.stores.features import LINEAGE, Changes, TableHandle, data_version_after
from twin_assets.stores.warehouse import Warehouse

if TYPE_CHECKING:
    import pyarrow as pa

DOCUMENT_COLUMNS = [
    "document_id", "platform", "category", "title", "url", "language", "published_at", "cluster_id", "trainable",
    "quotable",
]  # fmt: skip

EMBED_GROUP = 1_024
"""This many chunks are embedded between two progress messages."""


@dataclass(frozen=True)
class Update:
    """The changes to a table, and the counts that are reported with them."""

    changes: Changes
    before: int
    after: int
    explained: int
    """How many of the rows that go were deleted, edited or left out by the author."""
    unchanged: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    """How many documents cleaning rejected, by reason."""
    masked: Mapping[str, int] = field(default_factory=dict)
    """How many secrets and addresses were masked in the new rows, by kind."""
    documents_after: Collection[str] = ()
    """Ids of the documents that have a row after the update; filled for `chunks` only."""


def made_by_cleaning() -> str:
    """A hash of the code and rules that make `cleaned_documents`."""
    return digest(["cleaning", CLEANING_VERSION, REDACTION_VERSION, DUPLICATES_VERSION, RULES], 16)


def made_by_chunking(settings: Settings) -> str:
    """A hash of the code and settings that make `chunks`, including the tokenizer that measures them."""
    return digest(["chunking", CHUNKING_VERSION, settings.chunk_tokens, model_identity(settings)], 16)


def made_by_embedding(settings: Settings) -> str:
    """A hash of the code and model that make `embeddings`."""
    return digest(["embedding", EMBEDDING_VERSION, model_identity(settings)], 16)


def cleaning_changes(
    warehouse: Warehouse, profile: AuthorProfile, current: TableHandle, tell: Tell, memo: Memo | None = None
) -> Update:
    """Clean the documents that are new or changed, and drop the rows of those that may no longer be used.

    A document goes when it is deleted, left out of training and quoting, or rejected by cleaning. When a copy comes or
    goes, so that a document's cluster changes, its row is written again without cleaning it again. memo: the documents
    that cleaning rejected in the last run; without it they are cleaned in each run.
    """
    made_by = made_by_cleaning()
    documents = _compare_with_table(warehouse, profile, current, made_by)
    cleaned = _clean_outdated(warehouse, profile, documents, made_by, tell, memo or Memo())
    return _cleaning_update(current, documents, cleaned, made_by)


@dataclass(frozen=True)
class _Documents:
    """The author's documents as the warehouse has them, beside the rows that the table has of them."""

    stored: Collection[str]
    """Ids of all documents, tombstones included."""
    usable: Mapping[str, str]
    """Ids of the documents that may be used, each with a digest of its content and of what it may be used for."""
    rows: Mapping[str, Mapping[str, Any]]
    """Cluster and lineage of each row of the table, by document id."""
    up_to_date: Collection[str]
    """Ids of the documents whose row need not be made again, unless their cluster changes."""


@dataclass(frozen=True)
class _CleaningResult:
    """What cleaning made of the documents that were not up to date."""

    rows: list[dict[str, Any]]
    """New rows, without cluster and lineage."""
    rejected: dict[str, str]
    """Ids of the documents that give no row, each with the reason."""
    masked: Counter[str]


def _compare_with_table(warehouse: Warehouse, profile: AuthorProfile, current: TableHandle, made_by: str) -> _Documents:
    """Step 1: find the documents that may be used, and those whose row is up to date."""
    stored = warehouse.documents.fingerprints(profile.id)
    usable = {
        row["_id"]: digest([row["content_hash"], sorted(row["left_out"]), profile.train_private], 32)
        for row in stored
        if row["deleted_at"] is None and set(row["left_out"]) != {"training", "quoting"}
    }
    rows = {row["document_id"]: row for row in current.rows(["document_id", "cluster_id", *LINEAGE])}
    up_to_date = {
        document_id
        for document_id, row in rows.items()
        if document_id in usable and _lineage(row) == (_input_hash(usable[document_id], row["cluster_id"]), made_by)
    }
    return _Documents({row["_id"] for row in stored}, usable, rows, up_to_date)


def _clean_outdated(
    warehouse: Warehouse, profile: AuthorProfile, documents: _Documents, made_by: str, tell: Tell, memo: Memo
) -> _CleaningResult:
    """Step 2: clean the usable documents that are not up to date, except those that the memo knows to be rejected."""
    keys = {
        document_id: digest([document, made_by], 32)
        for document_id, document in documents.usable.items()
        if document_id not in documents.up_to_date
    }
    rejected_before = {
        document_id: str(entry["reason"]) for document_id, key in keys.items() if (entry := memo.get(key))
    }
    cleaned = _clean(warehouse, profile, [one for one in keys if one not in rejected_before], tell)
    for document_id, reason in cleaned.rejected.items():
        memo.put(keys[document_id], {"reason": reason})
    return replace(cleaned, rejected=rejected_before | cleaned.rejected)


def _cleaning_update(current: TableHandle, documents: _Documents, cleaned: _CleaningResult, made_by: str) -> Update:
    """Step 3: put the new rows into their clusters, and list the rows that go."""
    before, usable, rejected = documents.rows, documents.usable, cleaned.rejected
    gone = sorted((before.keys() - usable.keys()) | (before.keys() & rejected.keys()))
    rows = cleaned.rows
    if rows or gone:
        clusters_before = {document_id: before[document_id]["cluster_id"] for document_id in documents.up_to_date}
        rows = _clustered(current, documents.up_to_date, rows, clusters_before)
    for row in rows:
        row["input_hash"], row["made_by"] = _input_hash(usable[row["document_id"]], row["cluster_id"]), made_by
    lineage = {document_id: _lineage(row) for document_id, row in before.items()}
    update = _update(lineage, schemas.from_dicts(rows, schemas.CLEANED_DOCUMENTS), gone, "document_id", {}, {})
    explained = sum(_is_explained(document_id, documents, rejected) for document_id in gone)
    return replace(update, explained=explained, rejected=Counter(rejected.values()), masked=cleaned.masked)


def _is_explained(document_id: str, documents: _Documents, rejected: Collection[str]) -> bool:
    """True if a row goes because its document was deleted, edited or left out.

    A document that vanished from the warehouse without a tombstone explains nothing, nor does one that is as it was and
    that only newer code rejects.
    """
    if document_id in rejected:
        row = documents.rows[document_id]
        return bool(row["input_hash"] != _input_hash(documents.usable[document_id], row["cluster_id"]))
    return document_id in documents.stored


def _lineage(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["input_hash"], row["made_by"]


def _input_hash(document: str, cluster_id: str) -> str:
    """The `input_hash` of a cleaned row. document: the digest from `_Documents.usable`."""
    return digest([document, cluster_id], 32)


def _clean(warehouse: Warehouse, profile: AuthorProfile, document_ids: list[str], tell: Tell) -> _CleaningResult:
    """Clean these documents; a private one may be learned from only if the profile says so, and is never quoted."""
    rows: list[dict[str, Any]] = []
    rejected: dict[str, str] = {}
    masked: Counter[str] = Counter()
    for document in warehouse.documents.by_id(document_ids):
        public = document.visibility == "public"
        cleaned = cleaned_row(
            document,
            trainable=(public or profile.train_private) and "training" not in document.left_out,
            quotable=public and "quoting" not in document.left_out,
        )
        if cleaned.row is None:
            rejected[document.id] = cleaned.rejected_because or ""
            continue
        masked.update(cleaned.masked)
        text = cleaned.row["text"]
        rows.append(cleaned.row | {"text_hash": text_hash(text), "signature": signature(text)})
        if len(rows) % 500 == 0:
            tell(f"cleaned {len(rows)} of {len(document_ids)} documents")
    return _CleaningResult(rows, rejected, masked)


def _clustered(
    current: TableHandle, up_to_date: Collection[str], rows: list[dict[str, Any]], clusters_before: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Give each new row its cluster, and add the rows of up-to-date documents whose cluster has changed."""
    names = [field.name for field in fields(Member)]
    # A table made by other code may lack these columns; then none of its rows is up to date.
    kept = [row for row in current.rows(names) if row["document_id"] in up_to_date] if up_to_date else []
    found = clusters([Member(**{name: row[name] for name in names}) for row in (*kept, *rows)])
    moved = [name for name, cluster_id in clusters_before.items() if found[name] != cluster_id]
    again = current.rows_in(schemas.CLEANED_DOCUMENTS.names, "document_id", moved)
    return [row | {"cluster_id": found[row["document_id"]]} for row in (*rows, *again)]


def chunking_changes(cleaned: TableHandle, current: TableHandle, chunker: Chunker, made_by: str) -> Update:
    """Cut the documents whose cleaned row is new or changed, and drop the chunks of documents that are gone."""
    wanted = {document_id: (digest([*lineage], 32), made_by) for document_id, lineage in cleaned.lineage().items()}
    before: dict[str, tuple[str, str]] = {}
    held: dict[str, set[str]] = defaultdict(set)
    lineages: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in current.rows(["chunk_id", "document_id", "input_hash", "made_by"]):
        before[row["chunk_id"]] = (row["input_hash"], row["made_by"])
        held[row["document_id"]].add(row["chunk_id"])
        lineages[row["document_id"]].add((row["input_hash"], row["made_by"]))
    stale = [document_id for document_id, lineage in wanted.items() if lineages[document_id] != {lineage}]
    rows: list[dict[str, Any]] = []
    for document in cleaned.rows_in([*DOCUMENT_COLUMNS, "text"], "document_id", stale):
        rows += _chunk_rows(document, chunker, wanted[document["document_id"]])
    made = {row["chunk_id"] for row in rows}
    redone = set(stale) | (held.keys() - wanted.keys())
    gone = sorted(chunk_id for document_id in redone for chunk_id in held.get(document_id, ()) if chunk_id not in made)
    inputs = {**cleaned.pinned.inputs, "cleaned_documents": cleaned.pinned.version}
    update = _update(before, schemas.from_dicts(rows, schemas.CHUNKS), gone, "chunk_id", inputs, {})
    documents_after = (held.keys() & wanted.keys()) - set(stale) | {row["document_id"] for row in rows}
    # Newer code or settings that make fewer chunks of the same text do not explain a loss.
    inputs_now = {document_id: input_hash for document_id, (input_hash, _) in wanted.items()}
    recut = sum(before[chunk_id][0] == inputs_now.get(chunk_id.rsplit("#", 1)[0]) for chunk_id in gone)
    return replace(update, explained=len(gone) - recut, documents_after=documents_after)


def _chunk_rows(document: dict[str, Any], chunker: Chunker, lineage: tuple[str, str]) -> Iterator[dict[str, Any]]:
    facts = {name: document[name] for name in DOCUMENT_COLUMNS}
    for chunk in chunker.chunks(document["text"], Category(document["category"]), document["title"]):
        yield {
            "chunk_id": f"{document['document_id']}#{chunk.position:04d}",
            **facts,
            **vars(chunk),
            "input_hash": lineage[0],
            "made_by": lineage[1],
        }


def embedding_changes(
    chunks: TableHandle, current: TableHandle, embedder: Embedder, made_by: str, tell: Tell
) -> Update:
    """Embed the chunks that are new or changed, and drop those that are gone."""
    import pyarrow as pa

    wanted = {chunk_id: (digest([*lineage], 32), made_by) for chunk_id, lineage in chunks.lineage().items()}
    before = current.lineage()
    stale = [chunk_id for chunk_id, lineage in wanted.items() if before.get(chunk_id) != lineage]
    schema = schemas.embeddings(embedder.dimension)
    tables = []
    for start in range(0, len(stale), EMBED_GROUP):
        group = stale[start : start + EMBED_GROUP]
        tables.append(_embedded(chunks, group, embedder, schema, wanted))
        tell(f"embedded {start + len(group)} of {len(stale)} chunks")
    rows = pa.concat_tables(tables) if tables else schema.arrow.empty_table()
    inputs = {**chunks.pinned.inputs, "chunks": chunks.pinned.version}
    about = {"embedding_model": embedder.identity, "dimension": embedder.dimension}
    return _update(before, rows, sorted(before.keys() - wanted.keys()), "chunk_id", inputs, about)


def _embedded(
    chunks: TableHandle,
    ids: list[str],
    embedder: Embedder,
    schema: schemas.Schema,
    wanted: Mapping[str, tuple[str, str]],
) -> "pa.Table":
    rows = list(chunks.rows_in(schemas.CHUNKS.names, "chunk_id", ids))
    vectors = embedder.encode([embedded_text(row) for row in rows])
    for row, vector in zip(rows, vectors, strict=True):
        row["input_hash"], row["made_by"] = wanted[row["chunk_id"]]
        row["vector"] = vector
    return schemas.from_dicts(rows, schema)


def embedded_text(chunk: Mapping[str, Any]) -> str:
    """The text that is embedded for a chunk: its own, below the headings or title that say what it is about."""
    above = chunk["heading_path"] or chunk["title"] or ""
    return f"{above}\n{chunk['text']}" if above and not chunk["text"].lstrip("# ").startswith(above) else chunk["text"]


def _update(
    before: Mapping[str, tuple[str, str]],
    upserts: "pa.Table",
    gone: list[str],
    key: str,
    inputs: Mapping[str, int],
    about: Mapping[str, Any],
) -> Update:
    changes = Changes(upserts, tuple(gone), inputs, about)
    changed = Counter(name in before for name in upserts.column(key).to_pylist())
    return Update(
        changes=replace(changes, data_version=data_version_after(before, changes, key)),
        before=len(before),
        after=len(before) - len(gone) + changed[False],
        explained=len(gone),
        unchanged=len(before) - len(gone) - changed[True],
    )
