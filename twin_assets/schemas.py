"""The pyarrow schema of every feature-store table.

Each row carries `input_hash` (what it was made from) and `made_by` (how); a row is redone when either differs.
"""

from collections.abc import Sequence

import pyarrow as pa

TIME = pa.timestamp("us", tz="UTC")

_LINEAGE = [
    pa.field("input_hash", pa.string(), nullable=False),
    pa.field("made_by", pa.string(), nullable=False),
]

_DOCUMENT = [
    pa.field("document_id", pa.string(), nullable=False),
    pa.field("platform", pa.string(), nullable=False),
    pa.field("category", pa.string(), nullable=False),
    pa.field("title", pa.string()),
    pa.field("url", pa.string()),
    pa.field("language", pa.string()),
    pa.field("published_at", TIME),
    pa.field("cluster_id", pa.string(), nullable=False),
    pa.field("trainable", pa.bool_(), nullable=False),
    pa.field("quotable", pa.bool_(), nullable=False),
]

CLEANED_DOCUMENTS = pa.schema(
    [
        *_DOCUMENT,
        pa.field("source_id", pa.string(), nullable=False),
        pa.field("visibility", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("n_words", pa.int32(), nullable=False),
        *_LINEAGE,
    ]
)

CHUNKS = pa.schema(
    [
        pa.field("chunk_id", pa.string(), nullable=False),
        *_DOCUMENT,
        pa.field("position", pa.int32(), nullable=False),
        pa.field("heading_path", pa.string(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("n_tokens", pa.int32(), nullable=False),
        *_LINEAGE,
    ]
)


def embeddings(dimension: int) -> pa.Schema:
    """`chunks` with a unit vector of `dimension` float32 each."""
    return CHUNKS.append(pa.field("vector", pa.list_(pa.float32(), dimension), nullable=False))


PASSAGE = pa.struct(
    [
        pa.field("chunk_id", pa.string()),
        pa.field("title", pa.string()),
        pa.field("url", pa.string()),
        pa.field("text", pa.string()),
    ]
)

INSTRUCTION_DATASET = pa.schema(
    [
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("cluster_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("published_at", TIME),
        pa.field("instruction", pa.string(), nullable=False),
        pa.field("passages", pa.list_(PASSAGE), nullable=False),
        pa.field("answer", pa.string(), nullable=False),
        *_LINEAGE,
    ]
)

PREFERENCE_PAIRS = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("example_id", pa.string(), nullable=False),
        pa.field("instruction", pa.string(), nullable=False),
        pa.field("passages", pa.list_(PASSAGE), nullable=False),
        pa.field("chosen", pa.string(), nullable=False),
        pa.field("rejected", pa.string(), nullable=False),
        *_LINEAGE,
    ]
)

KEYS = {
    "cleaned_documents": "document_id",
    "chunks": "chunk_id",
    "embeddings": "chunk_id",
    "instruction_dataset": "example_id",
    "preference_pairs": "pair_id",
}
"""The column that identifies a row of each table."""


def align(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """`rows` with exactly the columns of `schema`, in its order and types. Raises KeyError on a missing column."""
    return pa.table([rows.column(field.name).cast(field.type) for field in schema], schema=schema)


def from_dicts(rows: Sequence[dict[str, object]], schema: pa.Schema) -> pa.Table:
    """A table of `schema` from plain dicts, one per row; a value of the wrong type raises pyarrow.ArrowInvalid."""
    return pa.Table.from_pylist(list(rows), schema=schema)
