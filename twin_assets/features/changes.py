"""What has to change in each table: the smallest `Changes` that bring it up to date with its input.

A row is redone when its `input_hash` or its `made_by` differs from what it would be now; all else stays untouched, so
that cost follows the change.
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
"""Chunks embedded between two lines of progress."""


@dataclass(frozen=True)
class Update:
    """Changes, and what a person wants to know about them."""

    changes: Changes
    before: int
    after: int
    explained: int
    """Rows whose loss deletions, edits or left-out documents explain."""
    unchanged: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    masked: Mapping[str, int] = field(default_factory=dict)
    """Secrets and addresses masked in what was written, by kind; never what they were."""
    keys_after: Collection[str] = ()


def made_by_cleaning() -> str:
    """How `cleaned_documents` are made now."""
    return digest(["cleaning", CLEANING_VERSION, REDACTION_VERSION, DUPLICATES_VERSION, RULES], 16)


def made_by_chunking(settings: Settings) -> str:
    """How `chunks` are made now; the tokenizer that measures them belongs to it."""
    return digest(["chunking", CHUNKING_VERSION, settings.chunk_tokens, model_identity(settings)], 16)


def made_by_embedding(settings: Settings) -> str:
    """How `embeddings` are made now."""
    return digest(["embedding", EMBEDDING_VERSION, model_identity(settings)], 16)


def cleaning_changes(
    warehouse: Warehouse, profile: AuthorProfile, current: TableHandle, tell: Tell, known: Memo | None = None
) -> Update:
    """Clean the documents that are new or changed, drop those that are gone, left out of everything, empty or foreign.

    A document whose cluster has changed, since a copy of it came or went, is written again as it stands. known: those
    that gave no row the last time, which would otherwise be cleaned each time.
    """
    known, made_by = known or Memo(), made_by_cleaning()
    stored = warehouse.documents.fingerprints(profile.id)
    alive = {
        row["_id"]: digest([row["content_hash"], sorted(row["left_out"]), profile.train_private], 32)
        for row in stored
        if row["deleted_at"] is None and set(row["left_out"]) != {"training", "quoting"}
    }
    before = {row["document_id"]: row for row in current.rows(["document_id", "cluster_id", *LINEAGE])}
    fresh = {
        name
        for name, row in before.items()
        if name in alive and _lineage(row) == (_input_hash(alive[name], row["cluster_id"]), made_by)
    }
    keys = {name: digest([document, made_by], 32) for name, document in alive.items() if name not in fresh}
    left_out = {name: entry["reason"] for name, key in keys.items() if (entry := known.get(key))}
    stale = [name for name in keys if name not in left_out]
    rows, left_out_now, masked = _cleaned(warehouse, profile, stale, tell)
    for name, reason in left_out_now.items():
        known.put(keys[name], {"reason": reason})
    left_out |= left_out_now
    gone = sorted((before.keys() - alive.keys()) | (before.keys() & left_out.keys()))
    if rows or gone:
        rows = _clustered(current, fresh, rows, {name: before[name]["cluster_id"] for name in fresh})
    for row in rows:
        row["input_hash"], row["made_by"] = _input_hash(alive[row["document_id"]], row["cluster_id"]), made_by
    # What vanished from the warehouse without a tombstone, or that new code leaves out, nobody asked for.
    lost = before.keys() - {row["_id"] for row in stored}
    emptied = {
        name
        for name in before.keys() & left_out.keys()
        if before[name]["input_hash"] == _input_hash(alive[name], before[name]["cluster_id"])
    }
    lineage = {name: _lineage(row) for name, row in before.items()}
    update = _update(lineage, schemas.from_dicts(rows, schemas.CLEANED_DOCUMENTS), gone, "document_id", {}, {})
    explained = len(gone) - len(lost) - len(emptied)
    return replace(update, explained=explained, left_out=Counter(left_out.values()), masked=masked)


def _lineage(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["input_hash"], row["made_by"]


def _input_hash(document: str, cluster_id: str) -> str:
    """What a cleaned row is made from: the document as it is stored and used, and the cluster that it is in."""
    return digest([document, cluster_id], 32)


def _cleaned(
    warehouse: Warehouse, profile: AuthorProfile, stale: list[str], tell: Tell
) -> tuple[list[dict[str, Any]], dict[str, str], Counter[str]]:
    """Rows of these documents without their cluster, why others have none by id, and what was masked by kind."""
    rows: list[dict[str, Any]] = []
    left_out: dict[str, str] = {}
    masked: Counter[str] = Counter()
    for document in warehouse.documents.by_id(stale):
        public = document.visibility == "public"
        cleaned = cleaned_row(
            document,
            trainable=(public or profile.train_private) and "training" not in document.left_out,
            quotable=public and "quoting" not in document.left_out,
        )
        if cleaned.row is None:
            left_out[document.id] = cleaned.left_out or ""
            continue
        masked.update(cleaned.masked)
        text = cleaned.row["text"]
        rows.append(cleaned.row | {"text_hash": text_hash(text), "signature": signature(text)})
        if len(rows) % 500 == 0:
            tell(f"cleaned {len(rows)} of {len(stale)} documents")
    return rows, left_out, masked


def _clustered(
    current: TableHandle, fresh: Collection[str], rows: list[dict[str, Any]], clusters_before: Mapping[str, str]
) -> list[dict[str, Any]]:
    """`rows` in their clusters, and the rows of `fresh` documents whose cluster is another one now."""
    names = [field.name for field in fields(Member)]
    # A table that other code made may lack these columns; then nothing in it is fresh.
    kept = [row for row in current.rows(names) if row["document_id"] in fresh] if fresh else []
    found = clusters([Member(**{name: row[name] for name in names}) for row in (*kept, *rows)])
    moved = [name for name, cluster_id in clusters_before.items() if found[name] != cluster_id]
    again = current.rows_in(schemas.CLEANED_DOCUMENTS.names, "document_id", moved)
    return [row | {"cluster_id": found[row["document_id"]]} for row in (*rows, *again)]


def chunking_changes(cleaned: TableHandle, current: TableHandle, chunker: Chunker, made_by: str) -> Update:
    """Cut the documents whose cleaned row is new or changed, drop the chunks of those that are gone."""
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
    # Other code or settings that make fewer chunks of the same text explain nothing.
    inputs_now = {document_id: input_hash for document_id, (input_hash, _) in wanted.items()}
    recut = sum(before[chunk_id][0] == inputs_now.get(chunk_id.rsplit("#", 1)[0]) for chunk_id in gone)
    return replace(update, explained=len(gone) - recut, keys_after=documents_after)


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
    """Embed the chunks that are new or changed, drop those that are gone."""
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
    """What is embedded of a chunk: its text under its document's title and headings, which say what it is about."""
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
