"""The schema of every feature-store table, as plain columns; the pyarrow schema is made only when it is needed.

Definitions show these columns in the UI and must load fast, and importing pyarrow takes longer than all of them. Each
row carries `input_hash` (what it was made from) and `made_by` (how); a row is made again when either differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

TIME = "timestamp[us, tz=UTC]"
PASSAGES = "list<item: struct<chunk_id: string, title: string, url: string, text: string>>"
TURNS = "list<item: struct<prompt: string, draft: string>>"
TEXTS = "list<item: string>"
VECTOR = "fixed_size_list<item: float>"


@dataclass(frozen=True)
class Column:
    """A column of a table. type: the name that pyarrow prints for its type."""

    name: str
    type: str = "string"
    nullable: bool = False


@dataclass(frozen=True)
class Schema:
    """The columns of a table, in order."""

    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    @cached_property
    def arrow(self) -> "pa.Schema":
        """The schema in pyarrow's form."""
        import pyarrow as pa

        return pa.schema([pa.field(one.name, _arrow_type(one.type), nullable=one.nullable) for one in self.columns])


_LINEAGE = (Column("input_hash"), Column("made_by"))

_DOCUMENT = (
    Column("document_id"),
    Column("platform"),
    Column("category"),
    Column("title", nullable=True),
    Column("url", nullable=True),
    Column("language", nullable=True),
    Column("published_at", TIME, nullable=True),
    Column("cluster_id"),
    Column("trainable", "bool"),
    Column("quotable", "bool"),
)

CLEANED_DOCUMENTS = Schema(
    (
        *_DOCUMENT,
        Column("source_id"),
        Column("visibility"),
        Column("text"),
        Column("n_words", "int32"),
        Column("text_hash"),
        Column("signature", "binary"),
        *_LINEAGE,
    )
)

CHUNKS = Schema(
    (
        Column("chunk_id"),
        *_DOCUMENT,
        Column("position", "int32"),
        Column("heading_path"),
        Column("start", "int32"),
        Column("end", "int32"),
        Column("text"),
        Column("n_tokens", "int32"),
        *_LINEAGE,
    )
)


def embeddings(dimension: int) -> Schema:
    """The schema of `embeddings`: the columns of `chunks` and a unit vector of `dimension` float32 values."""
    return Schema((*CHUNKS.columns, Column("vector", f"{VECTOR}[{dimension}]")))


INSTRUCTION_DATASET = Schema(
    (
        Column("example_id"),
        Column("document_id"),
        Column("cluster_id"),
        Column("split"),
        Column("task"),
        Column("category"),
        Column("language", nullable=True),
        Column("published_at", TIME, nullable=True),
        Column("template", nullable=True),
        Column("instruction"),
        Column("passages", PASSAGES),
        Column("answer"),
        *_LINEAGE,
    )
)

PREFERENCE_PAIRS = Schema(
    (
        Column("pair_id"),
        Column("example_id"),
        Column("instruction"),
        Column("passages", PASSAGES),
        Column("history", TURNS),
        Column("examples", TEXTS),
        Column("chosen"),
        Column("rejected"),
        *_LINEAGE,
    )
)

KEYS = {
    "cleaned_documents": "document_id",
    "chunks": "chunk_id",
    "embeddings": "chunk_id",
    "instruction_dataset": "example_id",
    "preference_pairs": "pair_id",
}
"""The column that identifies a row of each table."""


def from_dicts(rows: Sequence[dict[str, object]], schema: Schema) -> "pa.Table":
    """Make a table from plain dicts, one per row. Raises pyarrow.ArrowInvalid for a value of the wrong type."""
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows), schema=schema.arrow)


def _arrow_type(name: str) -> "pa.DataType":
    import pyarrow as pa

    if name.startswith(VECTOR):
        return pa.list_(pa.float32(), int(name.removeprefix(f"{VECTOR}[").removesuffix("]")))
    passage = pa.struct([pa.field(field, pa.string()) for field in ("chunk_id", "title", "url", "text")])
    turn = pa.struct([pa.field(field, pa.string()) for field in ("prompt", "draft")])
    plain = (pa.string(), pa.binary(), pa.int32(), pa.bool_(), pa.timestamp("us", tz="UTC"))
    named = (*plain, *(pa.list_(item) for item in (passage, turn, pa.string())))
    return {str(type_): type_ for type_ in named}[name]
