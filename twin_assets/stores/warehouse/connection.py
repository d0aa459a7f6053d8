"""The connection to the warehouse's database, and what all its collections do with one.

NeoSQLite (one SQLite file in WAL mode, many processes at once) by default, MongoDB when `MONGODB_URI` is set: both
speak pymongo's language, so that every collection is read and written by the same code.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from twin_assets.settings import Settings

if TYPE_CHECKING:
    from pymongo.collection import Collection
    from pymongo.database import Database

T = TypeVar("T")

BULK = 200
"""Documents per bulk write: enough to be quick, and few enough that a writer never holds SQLite's lock for long."""

ATTEMPTS = 100
"""How often a change that reads first is tried when another writer comes between, which only MongoDB lets happen."""


class Connection:
    """A pymongo-shaped database, connected to once per thread.

    connect: returns the database. transaction: surrounds every write, where the database does not itself keep other
    writers out until a write is complete.
    """

    def __init__(
        self,
        connect: Callable[[], "Database[dict[str, Any]]"],
        transaction: Callable[[Any], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._connect = connect
        self._transaction = transaction
        self._local = threading.local()

    @classmethod
    def open(cls, settings: Settings) -> "Connection":
        """Connect to MongoDB when the settings name one, else to the NeoSQLite file, which is created if missing."""
        if settings.mongodb_uri:
            from pymongo import MongoClient

            client: MongoClient[dict[str, Any]] = MongoClient(settings.mongodb_uri.get_secret_value(), tz_aware=True)
            return cls(lambda: client[settings.mongodb_database])
        import neosqlite

        path = settings.warehouse_path
        path.parent.mkdir(parents=True, exist_ok=True)
        return cls(lambda: neosqlite.Connection(str(path), timeout=60, check_same_thread=False), _sqlite_transaction)

    @property
    def db(self) -> "Database[dict[str, Any]]":
        """The database of the calling thread."""
        if not hasattr(self._local, "db"):
            self._local.db = self._connect()
        return self._local.db  # type: ignore[no-any-return]

    @contextmanager
    def writing(self) -> "Iterator[Database[dict[str, Any]]]":
        """The database of the calling thread, with other writers kept out until the block ends."""
        with self._transaction(self.db):
            yield self.db


class Repository:
    """One collection of the warehouse. Each kind of document has a subclass with the reads and writes it needs."""

    collection: ClassVar[str]
    indexes: ClassVar[tuple[str | list[tuple[str, int]], ...]] = ()

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        for index in self.indexes:
            self._rows.create_index(index)

    @property
    def _rows(self) -> "Collection[dict[str, Any]]":
        return self._connection.db[self.collection]

    @contextmanager
    def _writing(self) -> "Iterator[Collection[dict[str, Any]]]":
        with self._connection.writing() as db:
            yield db[self.collection]

    def _replace(self, key: str, document: dict[str, Any]) -> None:
        with self._writing() as rows:
            rows.replace_one({"_id": key}, {"_id": key, **document}, upsert=True)

    def _change(self, author: str, key: str, fields: dict[str, Any]) -> bool:
        """Set some fields of one of the author's documents. Returns whether there is such a document."""
        with self._writing() as rows:
            result = rows.update_one({"_id": key, "author": author}, {"$set": fields})
        return result.matched_count > 0


@contextmanager
def _sqlite_transaction(db: Any) -> Iterator[None]:
    """A SQLite transaction, which locks other writers out from its start.

    NeoSQLite 1.17 upserts in two statements, a look and a write. Without a transaction, two processes that both find a
    document missing both insert it, and one of them fails.
    """
    with db.start_session() as session, session.start_transaction():
        yield


def batched(items: Iterable[T], size: int = BULK) -> Iterator[list[T]]:
    """The items in lists of `size`, of which the last may be shorter."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def without_id(row: dict[str, Any]) -> dict[str, Any]:
    """A row's fields without its key."""
    return {key: value for key, value in row.items() if key != "_id"}


def without_none(query: dict[str, Any]) -> dict[str, Any]:
    """The fields of a query that ask for something."""
    return {key: value for key, value in query.items() if value is not None}
