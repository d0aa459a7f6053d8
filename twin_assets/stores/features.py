"""Feature store: LanceDB tables, one database per author under `<root>/<author>/`.

Readers see only published versions. A commit is one Lance transaction, followed by a small publication record that
names the version and what it was made from. A run killed between the two leaves the old version published, and the next
run undoes what was not published and commits it again. LanceDB takes seconds to import, so it is imported on first use.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from filelock import FileLock, Timeout

from twin_assets.documents import digest, utcnow
from twin_assets.errors import NotThere
from twin_assets.schemas import KEYS
from twin_assets.stores.stop_words import ENGLISH
from twin_assets.stores.trees import remove_tree

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.db import DBConnection
    from lancedb.table import LanceTable
    from upath import UPath

KEEP_VERSIONS = timedelta(days=1)
"""Table versions older than this are deleted; a reader may still have a younger one pinned."""
KEEP_ALL = timedelta(days=36_500)
"""Optimizing a table with this age limit deletes none of its versions."""

VECTOR_INDEX_ROWS = 20_000
"""A table with fewer rows has no vector index, because an exact scan is quick enough.

Measured on 100,000 vectors of 384 numbers: a scan takes 229 ms, a search by IVF-PQ 8 ms, building its index 61 s.
"""

FULL_TEXT_COLUMNS = ("text", "title", "heading_path")
FULL_TEXT: dict[str, Any] = {
    "base_tokenizer": "icu/split",
    "stem": True,
    "remove_stop_words": True,
    "custom_stop_words": list(ENGLISH),
    "with_position": False,
}
"""The settings of a full-text index, named as in `lancedb.index.FTS` and in an index's own `index_details`.

ICU finds words in scripts that put no space between them, and `/split` also cuts identifiers and dotted names. The
English stop words are listed because the default ones, of many languages, include `ai`, `os`, `man` and digits. An
index with other settings is built again.
"""

SCALAR_INDEXES = {
    "chunk_id": "BTree",
    "document_id": "BTree",
    "cluster_id": "BTree",
    "published_at": "BTree",
    "category": "Bitmap",
    "platform": "Bitmap",
    "quotable": "Bitmap",
}
"""The kind of index for each column that searches filter by or that rows are looked up and merged by."""

LINEAGE = ("input_hash", "made_by")
"""The columns that say what a row was made from and by which code."""


@dataclass(frozen=True)
class Publication:
    """A table version that readers may use, with what it was made from."""

    table: str
    version: int
    data_version: str
    rows: int
    inputs: dict[str, int] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    published_at: str = ""


@dataclass(frozen=True)
class Changes:
    """What an asset wants written to a table: rows to upsert and keys to delete.

    inputs: the pinned version of each table that the rows were made from, directly or not. about: facts that the next
    reader needs, such as the embedding model.
    """

    upserts: "pa.Table"
    deletes: tuple[str, ...] = ()
    inputs: Mapping[str, int] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    data_version: str = ""

    @property
    def empty(self) -> bool:
        """True if there is nothing to write."""
        return self.upserts.num_rows == 0 and not self.deletes


@dataclass(frozen=True)
class Snapshot:
    """All rows of an immutable table. The other fields are as in `Changes`."""

    rows: "pa.Table"
    inputs: Mapping[str, int] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    data_version: str = ""


class TableHandle:
    """A read-only view of one table, pinned to the version that is published when it is first read."""

    def __init__(self, store: "FeatureStore", author: str, name: str, publication: Publication | None = None) -> None:
        self._store = store
        self.author = author
        self.name = name
        self._given = publication

    @cached_property
    def publication(self) -> Publication | None:
        """The pinned publication; None when the table was never published."""
        return self._given or self._store.published(self.author, self.name)

    @property
    def exists(self) -> bool:
        """True if there is a published version."""
        return self.publication is not None

    @property
    def pinned(self) -> Publication:
        """The pinned publication. Raises NotThere when there is none."""
        if self.publication is None:
            raise NotThere(f"{self.author} has no {self.name} yet: run `twin run {self.author}`")
        return self.publication

    @cached_property
    def lance(self) -> "LanceTable":
        """The pinned Lance table, for search to query. Raises NotThere when there is none."""
        publication = self.pinned
        return self._store.connect(self.author).open_table(publication.table, version=publication.version)

    @cached_property
    def full_text_columns(self) -> frozenset[str]:
        """The columns with a full-text index; a table that an older version of this project wrote may have fewer."""
        return frozenset(
            column for index in self.lance.list_indices() if index.index_type == "FTS" for column in index.columns
        )

    def scan(
        self, columns: Sequence[str], where: str | None = None, batch_size: int = 1_000
    ) -> Iterator["pa.RecordBatch"]:
        """The rows that pass the SQL filter `where`, in batches; nothing when the table does not exist."""
        if not self.exists:
            return
        query = self.lance.search().select(list(columns))
        if where:
            query = query.where(where)
        yield from query.to_batches(batch_size)

    def read(self, columns: Sequence[str], where: str | None = None) -> "pa.Table | None":
        """Like `scan`, but as one table in memory, so only for few rows or small columns; None when there is no row."""
        import pyarrow as pa

        batches = [batch for batch in self.scan(columns, where) if batch.num_rows]
        return pa.Table.from_batches(batches).select(list(columns)) if batches else None

    def rows(self, columns: Sequence[str], where: str | None = None) -> Iterator[dict[str, Any]]:
        """Like `scan`, but one dict per row."""
        for batch in self.scan(columns, where):
            yield from batch.to_pylist()

    def rows_in(self, columns: Sequence[str], column: str, values: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The rows whose `column` is one of `values`."""
        wanted = list(values)
        for start in range(0, len(wanted), 500):
            yield from self.rows(columns, is_in(column, wanted[start : start + 500]))

    def count(self, where: str | None = None) -> int:
        """The number of rows; 0 when the table does not exist."""
        return self.lance.count_rows(where) if self.exists else 0

    def lineage(self, key: str | None = None) -> dict[str, tuple[str, str]]:
        """The `(input_hash, made_by)` of every row by its key, which is the table's own by default."""
        key = key or KEYS[self.name.split("-")[0]]
        return {row[key]: (row["input_hash"], row["made_by"]) for row in self.rows([key, *LINEAGE])}


def is_in(column: str, values: Iterable[str]) -> str:
    """The SQL filter `column IN (…)` with quoted values; it lets no row pass when there are no values."""
    quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({quoted})" if quoted else "false"


def data_version_after(before: Mapping[str, tuple[str, str]], changes: Changes, key: str) -> str:
    """A hash of the rows' (key, input_hash, made_by) once `changes` are applied to `before`."""
    deleted = set(changes.deletes)
    after = {name: value for name, value in before.items() if name not in deleted}
    columns = [changes.upserts.column(name).to_pylist() for name in (key, *LINEAGE)]
    after.update({name: (input_hash, made_by) for name, input_hash, made_by in zip(*columns, strict=True)})
    return digest(sorted([name, *value] for name, value in after.items()), 32)


def snapshot_data_version(rows: "pa.Table", key: str) -> str:
    """A hash of the rows themselves, whatever their order."""
    return digest(sorted(rows.to_pylist(), key=lambda row: str(row[key])), 32)


def _is_conflict(error: BaseException) -> bool:
    return "conflict" in str(error).lower() or "concurrent" in str(error).lower()


class FeatureStore:
    """The tables of all authors. `root` is a path or a URI, `locks` a local folder."""

    def __init__(self, root: str, locks: Path) -> None:
        self.root = root
        self._locks = locks
        self._connections: dict[str, DBConnection] = {}

    def connect(self, author: str) -> "DBConnection":
        """The author's LanceDB database."""
        import lancedb

        if author not in self._connections:
            self._connections[author] = lancedb.connect(f"{self.root}/{author}")
        return self._connections[author]

    def table(self, author: str, name: str) -> TableHandle:
        """A read-only handle; it pins the latest published version on first use."""
        return TableHandle(self, author, name)

    def table_at(self, author: str, name: str, version: int) -> TableHandle:
        """A read-only handle on one version of a table, as named in the `inputs` of another table."""
        return TableHandle(self, author, name, Publication(name, version, data_version="", rows=-1))

    @contextmanager
    def writing(self, author: str, name: str) -> Iterator[None]:
        """Hold the table's lock, from pinning the input to the commit; a second writer waits.

        The operating system releases the lock when the process dies, so that nobody has to clean up.
        """
        path = self._locks / author / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path):
            yield

    @contextmanager
    def pinning(self, author: str, table: str) -> Iterator[None]:
        """Keep an immutable table from deletion while this process works with it, which in training may take days.

        Each pin is a lock file of its own, which the operating system releases when the process dies.
        """
        path = self._pins(author) / f"{table}.{uuid4().hex}.pin"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(path):
                yield
        finally:
            path.unlink(missing_ok=True)

    def published(self, author: str, name: str) -> Publication | None:
        """The table's current publication; None when it was never published."""
        path = self._folder(author) / f"{name}.published.json"
        try:
            return Publication(**json.loads(path.read_text()))
        except FileNotFoundError:
            return None

    def commit(self, author: str, name: str, changes: Changes) -> Publication:
        """Apply `changes` in one Lance transaction, update the indexes, publish. Doing it twice is the same as once."""
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

        retrying = Retrying(
            retry=retry_if_exception(_is_conflict),
            stop=stop_after_attempt(5),
            wait=wait_random_exponential(max=2),
            reraise=True,
        )
        return retrying(self._commit, author, name, changes)

    def _commit(self, author: str, name: str, changes: Changes) -> Publication:
        key = KEYS[name]
        data_version = changes.data_version or data_version_after(self.table(author, name).lineage(), changes, key)
        db = self.connect(author)
        table = self._as_published(author, name, changes.upserts.schema)
        if not table.schema.equals(changes.upserts.schema, check_metadata=False):
            # Another schema (say, vectors of another size) means that every row is made again.
            table = db.create_table(name, schema=changes.upserts.schema, mode="overwrite")
        if not changes.empty:
            merge = table.merge_insert(key).when_matched_update_all().when_not_matched_insert_all()
            if changes.deletes:
                merge = merge.when_not_matched_by_source_delete(is_in(key, changes.deletes))
            merge.execute(changes.upserts)
        self._index(table)
        self._publish(author, name, name, table, data_version, changes)
        # Old versions are deleted only after publishing: the published one must be there whenever a run is killed.
        table.optimize(cleanup_older_than=KEEP_VERSIONS)
        return self._publish(author, name, name, table, data_version, changes)

    def _as_published(self, author: str, name: str, schema: "pa.Schema") -> "LanceTable":
        """The table to write to, without what a killed run wrote and did not publish."""
        db, published = self.connect(author), self.published(author, name)
        if published is None:
            return db.create_table(name, schema=schema, mode="overwrite")
        table = db.open_table(name)
        if table.version != published.version:
            table.restore(published.version)
        return table

    def commit_snapshot(self, author: str, name: str, snapshot: Snapshot) -> Publication:
        """Write `snapshot` as the next immutable table, `<name>-<number>`, unless the current one has the same data."""
        data_version = snapshot.data_version or snapshot_data_version(snapshot.rows, KEYS[name.split("-")[0]])
        current = self.published(author, name)
        if current and current.data_version == data_version:
            return current
        number = max((int(table.rsplit("-", 1)[1]) for table in self.snapshots(author, name)), default=0) + 1
        if current is None or int(current.table.rsplit("-", 1)[1]) < number - 1:
            # A run wrote the newest table and died before publishing it: that table is written again.
            number = max(1, number - 1)
        table_name = f"{name}-{number:05d}"
        table = self.connect(author).create_table(table_name, snapshot.rows, mode="overwrite")
        return self._publish(author, name, table_name, table, data_version, snapshot)

    def snapshots(self, author: str, name: str) -> list[str]:
        """The names of the immutable tables of `name`, oldest first."""
        tables = self.connect(author).list_tables().tables
        return sorted(
            table for table in tables if table.startswith(f"{name}-") and table.removeprefix(f"{name}-").isdigit()
        )

    def snapshot(self, author: str, table: str) -> TableHandle:
        """A handle on one immutable table by its full name. Raises NotThere when there is none."""
        name = table.rsplit("-", 1)[0]
        publication = self.published(author, table)
        if publication is None or table not in self.snapshots(author, name):
            raise NotThere(f"{author} has no table {table}")
        return TableHandle(self, author, name, publication)

    def delete_old_snapshots(self, author: str, name: str, named: Collection[str]) -> list[str]:
        """Delete the immutable tables of `name` that nobody needs: they hold text that was deleted elsewhere.

        named: the tables that models were trained on, which are kept. So are the current table, one that is being
        written after it, one that was replaced less than a day ago (a reader may have it pinned) and one that a process
        holds by `pinning`. Returns the names of the deleted tables. After a kill, the next call deletes the rest.
        """
        current = self.published(author, name)
        if current is None:
            return []
        kept = {*named, *self._pinned_tables(author)}
        older = [table for table in self.snapshots(author, name) if table < current.table]
        gone = [
            table
            for table, follower in pairwise([*older, current.table])
            if table not in kept and self._replaced_long_ago(author, follower)
        ]
        for table in gone:
            # The record goes first: without it readers cannot find the table, but the next call of this method can.
            (self._folder(author) / f"{table}.published.json").unlink(missing_ok=True)
            remove_tree(self._folder(author) / f"{table}.lance")
        return gone

    def _replaced_long_ago(self, author: str, follower: str) -> bool:
        """True if the table that followed was published so long ago that no reader has the one before it pinned."""
        publication = self.published(author, follower)
        if publication is None or not publication.published_at:
            return True  # it is being deleted, or an earlier version of this project wrote it without a time
        return datetime.fromisoformat(publication.published_at) < utcnow() - KEEP_VERSIONS

    def _pins(self, author: str) -> Path:
        return self._locks / author / "pins"

    def _pinned_tables(self, author: str) -> set[str]:
        """The tables that a living process has pinned. Deletes the pins of dead processes."""
        pinned = set()
        for path in self._pins(author).glob("*.pin"):
            try:
                with FileLock(path, timeout=0):
                    path.unlink(missing_ok=True)
            except Timeout:
                pinned.add(path.name.rsplit(".", 2)[0])
        return pinned

    def tables(self, author: str) -> dict[str, Publication]:
        """Every published table of the author, by name."""
        folder = self._folder(author)
        if not folder.exists():
            return {}
        names = sorted(path.name.removesuffix(".published.json") for path in folder.glob("*.published.json"))
        found = {name: self.published(author, name) for name in names}
        return {name: publication for name, publication in found.items() if publication}

    def erase(self, author: str) -> int:
        """Delete all versions of the author's tables. Returns how many files that were."""
        self._connections.pop(author, None)
        return remove_tree(self._folder(author))

    def _folder(self, author: str) -> "UPath":
        from upath import UPath

        return UPath(self.root) / author

    def _publish(
        self, author: str, name: str, table_name: str, table: "LanceTable", data_version: str, made: Changes | Snapshot
    ) -> Publication:
        publication = Publication(
            table=table_name,
            version=table.version,
            data_version=data_version,
            rows=table.count_rows(),
            inputs=dict(made.inputs),
            about=dict(made.about),
            published_at=utcnow().isoformat(),
        )
        text = json.dumps(publication.__dict__, ensure_ascii=False, indent=1)
        if table_name != name:
            _write(self._folder(author) / f"{table_name}.published.json", text)
        _write(self._folder(author) / f"{name}.published.json", text)
        return publication

    def _index(self, table: "LanceTable") -> None:
        """Build the indexes that are missing or have other settings, and update the rest."""
        if "vector" in table.schema.names:
            present = {column: index for index in table.list_indices() for column in index.columns}
            for column, config in _wanted_indexes(table.count_rows()).items():
                if column not in present or _is_outdated(present[column]):
                    table.create_index(column, config=config, replace=True)
        table.optimize(cleanup_older_than=KEEP_ALL)


def _wanted_indexes(rows: int) -> dict[str, Any]:
    """The `lancedb.index` configuration for each column of an `embeddings` table with this many rows."""
    # Any: LanceDB's index configurations share no base class.
    from lancedb import index

    wanted: dict[str, Any] = {column: index.FTS(**FULL_TEXT) for column in FULL_TEXT_COLUMNS}
    wanted |= {column: getattr(index, kind)() for column, kind in SCALAR_INDEXES.items()}
    if rows >= VECTOR_INDEX_ROWS:
        wanted["vector"] = index.IvfPq(distance_type="cosine")
    return wanted


def _is_outdated(index: Any) -> bool:
    """True if this is a full-text index with other settings than `FULL_TEXT`."""
    # Any: LanceDB has no type for an index's description.
    details = index.index_details or {}
    return index.index_type == "FTS" and any(details.get(name) != value for name, value in FULL_TEXT.items())


def _write(path: "UPath", text: str) -> None:
    """Replace a small file in one step: by renaming on a local disk, by a single upload, which is atomic, elsewhere."""
    local = not getattr(path, "protocol", "")
    target = path.with_name(path.name + ".new") if local else path
    target.write_text(text)
    if local:
        Path(str(target)).replace(str(path))
