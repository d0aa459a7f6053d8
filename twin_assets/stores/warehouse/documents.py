"""Warehouse: raw documents, author profiles, model manifests, interactions; one pymongo-shaped code path.

NeoSQLite (one SQLite file in WAL mode, many processes at once) by default, MongoDB when `MONGODB_URI` is set.
What a run writes is an idempotent upsert on a natural key, so that one killed between two writes can simply run again.
What people change at the same time (profiles, ratings, the alias) is changed as it stands when it is written.
"""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, get_args
from uuid import uuid4

from pydantic import BaseModel

from twin_assets.documents import (
    AuthorProfile,
    Category,
    Gate,
    Interaction,
    ModelManifest,
    RawDocument,
    Stage,
    Use,
    Visibility,
    digest,
    utcnow,
)
from twin_assets.errors import BadInput, NotThere, TwinError
from twin_assets.settings import Settings

if TYPE_CHECKING:
    from pymongo.database import Database

T = TypeVar("T")

BULK = 200
"""Documents per bulk write; large enough to be quick, small enough that a writer never holds SQLite's lock for long."""

TRIES = 100
"""How often a change that reads first begins anew when another came between, which only MongoDB lets happen."""

DERIVED = ("content_hash", "listed_at")
"""What a stored document has besides its fields. `listed_at` is `published_at` as text, which lists are ordered by: a
time that NeoSQLite 1.17 updates becomes other text than one that it inserts, and is sorted below all of those."""
NEWEST_FIRST = [("listed_at", -1), ("_id", 1)]
"""Documents without a date come last."""

INDEXES: dict[str, tuple[str | list[tuple[str, int]], ...]] = {
    # The third is for pages of a list: the middle one of 10,000 documents takes 0.1 s with it, 1.6 s without.
    "raw_documents": ("author", "source_id", [("author", 1), ("deleted_at", 1), ("listed_at", -1)]),
    "model_manifests": ("author",),
    "interactions": ("author",),
    "monitoring_reports": ("author",),
    "crawls": ("author",),
    "imports": ("author",),
    "judged_datasets": ("author",),
}


class KnownDocument(BaseModel):
    """What a crawl must know of a stored document to tell new, changed and unchanged apart."""

    content_hash: str
    fetched_at: datetime
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    archived_at: datetime | None = None
    """When the export it came from was made; None when it came from a live source."""


@dataclass(frozen=True)
class DocumentFilter:
    """Which of an author's documents to list; tombstones never. None: any; title: words that it holds, in any case."""

    title: str = ""
    platform: str | None = None
    category: Category | None = None
    visibility: Visibility | None = None
    left_out: bool | None = None

    def query(self, author: str) -> dict[str, Any]:
        """As pymongo has it.

        Without `$or` and `$options`, which NeoSQLite 1.17 evaluates in Python, row by row; there a plain `None` would
        find nothing, and `$eq` does.
        """
        about = {"platform": self.platform, "category": self.category, "visibility": self.visibility}
        query = {"author": author, "deleted_at": {"$eq": None}, **_without_none(about)}
        if self.title:
            query["title"] = {"$regex": f"(?i){re.escape(self.title)}"}
        if self.left_out is not None:
            query["left_out"] = {"$in" if self.left_out else "$nin": list(get_args(Use))}
        return query


class ListedDocument(BaseModel):
    """What a list shows of a document: all but its text."""

    id: str
    platform: str
    category: Category
    title: str | None
    visibility: Visibility
    published_at: datetime | None
    left_out: list[Use]


class Warehouse:
    """The pymongo-shaped store. `connect` gives a database; it is called once per thread.

    `transaction` surrounds every write, where the database does not keep others out of the middle of one by itself.
    """

    def __init__(
        self,
        connect: Callable[[], "Database[dict[str, Any]]"],
        transaction: Callable[[Any], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._connect = connect
        self._transaction = transaction
        self._local = threading.local()
        for collection, fields in INDEXES.items():
            for field in fields:
                self._db[collection].create_index(field)

    @classmethod
    def open(cls, settings: Settings) -> "Warehouse":
        """MongoDB when the settings name one, else the NeoSQLite file, made when it is not there."""
        if settings.mongodb_uri:
            from pymongo import MongoClient

            client: MongoClient[dict[str, Any]] = MongoClient(settings.mongodb_uri.get_secret_value(), tz_aware=True)
            return cls(lambda: client[settings.mongodb_database])
        import neosqlite

        path = settings.warehouse_path
        path.parent.mkdir(parents=True, exist_ok=True)
        return cls(lambda: neosqlite.Connection(str(path), timeout=60, check_same_thread=False), _transaction)

    @property
    def _db(self) -> "Database[dict[str, Any]]":
        if not hasattr(self._local, "db"):
            self._local.db = self._connect()
        return self._local.db  # type: ignore[no-any-return]

    @contextmanager
    def _writing(self) -> "Iterator[Database[dict[str, Any]]]":
        with self._transaction(self._db):
            yield self._db

    def upsert_documents(self, documents: Iterable[RawDocument]) -> int:
        """Write documents on their `_id`; what the author set by hand (`left_out`) stays. Returns how many."""
        from pymongo import UpdateOne

        written = 0
        for group in _batched(documents, BULK):
            requests = [
                UpdateOne(
                    {"_id": document.id},
                    {
                        "$set": document.model_dump(exclude={"left_out"}) | _derived(document),
                        "$setOnInsert": {"left_out": []},
                    },
                    upsert=True,
                )
                for document in group
            ]
            with self._writing() as db:
                db["raw_documents"].bulk_write(requests, ordered=False)
            written += len(group)
        return written

    def bury(self, ids: Sequence[str], at: datetime | None = None) -> int:
        """Turn documents into tombstones, as of now or of `at`. Returns how many were alive."""
        buried = 0
        for group in _id_groups(ids):
            with self._writing() as db:
                result = db["raw_documents"].update_many(
                    {"_id": {"$in": group}, "deleted_at": None}, {"$set": {"deleted_at": at or utcnow()}}
                )
            buried += result.modified_count
        return buried

    def documents(
        self, author: str, *, platform: str | None = None, source_id: str | None = None, deleted: bool = True
    ) -> Iterator[RawDocument]:
        """The author's documents ordered by id, tombstones included unless `deleted` is False."""
        query = _without_none({"author": author, "platform": platform, "source_id": source_id})
        if not deleted:
            query["deleted_at"] = None
        for row in self._db["raw_documents"].find(query).sort("_id", 1):
            yield _raw(row)

    def documents_by_id(self, ids: Sequence[str]) -> Iterator[RawDocument]:
        """Documents with these ids; ids that are not there are passed over."""
        for group in _id_groups(ids):
            for row in self._db["raw_documents"].find({"_id": {"$in": group}}):
                yield _raw(row)

    def newest_documents(self, author: str, platform: str, n: int) -> list[dict[str, Any]]:
        """`title, category, url, published_at` of the n latest published of a platform, without their texts."""
        fields = {"title": 1, "category": 1, "url": 1, "published_at": 1}
        query = {"author": author, "platform": platform, "deleted_at": None}
        return [_own(row) for row in self._db["raw_documents"].find(query, fields).sort(NEWEST_FIRST).limit(n)]

    def list_documents(
        self, author: str, wanted: DocumentFilter, *, skip: int = 0, limit: int = 25
    ) -> list[ListedDocument]:
        """A page of the author's documents, the latest published first, without their texts."""
        fields = dict.fromkeys(ListedDocument.model_fields, 1)
        rows = self._db["raw_documents"].find(wanted.query(author), fields).sort(NEWEST_FIRST).skip(skip).limit(limit)
        return [ListedDocument.model_validate({**row, "id": row["_id"]}) for row in rows]

    def count_listed(self, author: str, wanted: DocumentFilter) -> int:
        """How many documents all pages of such a list hold."""
        return self._db["raw_documents"].count_documents(wanted.query(author))

    def platforms(self, author: str) -> list[str]:
        """The platforms that the author has documents of, those of removed sources included."""
        return sorted(self._db["raw_documents"].distinct("platform", DocumentFilter().query(author)))

    def known_documents(self, author: str, source_id: str) -> dict[str, KnownDocument]:
        """What is stored of one source, by `_id`, without the texts."""
        fields = dict.fromkeys(KnownDocument.model_fields, 1)
        query = {"author": author, "source_id": source_id}
        rows = self._db["raw_documents"].find(query, fields)
        return {row["_id"]: KnownDocument.model_validate(row) for row in rows}

    def fingerprints(self, author: str, platform: str | None = None) -> list[dict[str, Any]]:
        """`_id, content_hash, deleted_at, left_out` of every document of the author, ordered by id.

        deleted_at is None or something else: how a time looks is the store's own.
        """
        fields = {"content_hash": 1, "deleted_at": 1, "left_out": 1}
        query = _without_none({"author": author, "platform": platform})
        # NeoSQLite 1.17 does this in SQL, while `find` reads and copies each document with its text first.
        stages: list[dict[str, Any]] = [{"$match": query}, {"$project": fields}, {"$sort": {"_id": 1}}]
        return list(self._db["raw_documents"].aggregate(stages))

    def raw_data_version(self, author: str, platform: str) -> str:
        """Hash over (_id, content_hash, deleted) of a platform's documents, and what they may be used for."""
        rows = self.fingerprints(author, platform)
        facts = [[row["_id"], row["content_hash"], row["deleted_at"] is not None, *row["left_out"]] for row in rows]
        profile = self._db["author_profiles"].find_one({"_id": author}) or {}
        return digest([*facts, "train_private"] if profile.get("train_private") else facts, 32)

    def count_documents(self, author: str) -> list[dict[str, Any]]:
        """`platform, category, alive, deleted` counts of the author's documents."""
        counts: dict[tuple[str, str], dict[str, Any]] = {}
        fields = {"platform": 1, "category": 1, "deleted_at": 1}
        for row in self._db["raw_documents"].find({"author": author}, fields):
            key = (row["platform"], row["category"])
            entry = counts.setdefault(key, {"platform": key[0], "category": key[1], "alive": 0, "deleted": 0})
            entry["alive" if row.get("deleted_at") is None else "deleted"] += 1
        return [counts[key] for key in sorted(counts)]

    def leave_out(self, document_id: str, uses: list[Use]) -> None:
        """Keep a document out of training, quoting or both; an empty list takes it back in."""
        with self._writing() as db:
            db["raw_documents"].update_one({"_id": document_id}, {"$set": {"left_out": sorted(uses)}})

    def add_profile(self, profile: AuthorProfile) -> None:
        """Write a new author's profile. Raises BadInput, and changes nothing, when the id is taken."""
        with self._writing() as db:
            new = {"$setOnInsert": _revised(profile)}
            taken = db["author_profiles"].update_one({"_id": profile.id}, new, upsert=True).matched_count
        if taken:
            raise BadInput(f"author {profile.id} is there already: choose another id, or add sources to this one")

    def change_profile(self, author: str, change: Callable[[AuthorProfile], None]) -> AuthorProfile:
        """Apply `change` to the profile as it stands when it is written, so that no two changes undo each other.

        change: alters the profile that it is given, and may be called again on one read anew; what it raises leaves
        the stored one as it was. Returns the profile as written. Raises NotThere for an author who is unknown, or
        erased meanwhile.
        """
        for _ in range(TRIES):
            with self._writing() as db:
                row = self._profile_row(author)
                profile = _profile(row)
                change(profile)
                # None finds the rows without a revision, which are those of earlier versions of this project.
                as_read = {"_id": author, "revision": row.get("revision")}
                if db["author_profiles"].replace_one(as_read, {"_id": author, **_revised(profile)}).matched_count:
                    return profile
        raise TwinError(f"others change the profile of {author} all the time: nothing was changed, try again")

    def profile(self, author: str) -> AuthorProfile:
        """Raises NotThere for an unknown author."""
        return _profile(self._profile_row(author))

    def _profile_row(self, author: str) -> dict[str, Any]:
        row = self._db["author_profiles"].find_one({"_id": author})
        if row is None:
            known = ", ".join(p.id for p in self.profiles()) or "none yet"
            raise NotThere(f"no author {author!r} (known: {known}): add one with `twin author add`")
        return row

    def profiles(self) -> list[AuthorProfile]:
        """Every author's profile, ordered by id."""
        return [_profile(row) for row in self._db["author_profiles"].find().sort("_id", 1)]

    def profiles_after(self, author: str, limit: int) -> list[AuthorProfile]:
        """At most `limit` profiles of the authors whose ids come after this one, ordered by id."""
        rows = self._db["author_profiles"].find({"_id": {"$gt": author}}).sort("_id", 1).limit(limit)
        return [_profile(row) for row in rows]

    def crawl_state(self, author: str, source_id: str) -> dict[str, Any]:
        """What the source's crawler saved at its last checkpoint."""
        row = self._db["crawl_states"].find_one({"_id": f"{author}:{source_id}"})
        return dict(row["state"]) if row else {}

    def save_crawl_state(self, author: str, source_id: str, state: dict[str, Any]) -> None:
        """Save a crawler's state; its documents must have been written before."""
        self._replace("crawl_states", f"{author}:{source_id}", {"author": author, "state": state})

    def save_crawl(self, author: str, source_id: str, report: dict[str, Any]) -> None:
        """Keep the outcome of a source's latest crawl."""
        self._replace("crawls", f"{author}:{source_id}", {"author": author, "source_id": source_id, **report})

    def crawls(self, author: str) -> dict[str, dict[str, Any]]:
        """The latest crawl of each of the author's sources, by source id."""
        return {row["source_id"]: _own(row) for row in self._db["crawls"].find({"author": author})}

    def source_places(self, author: str) -> dict[str, str | None]:
        """Where each source lies or lay that anything is kept of, by its id; None: only what came from it is left.

        A source that was removed from the profile is among them: its documents and its crawler's state stay.
        """
        states = self._db["crawl_states"].find({"author": author}, {"_id": 1})
        ids = [row["_id"].removeprefix(f"{author}:") for row in states]
        ids += self._db["raw_documents"].distinct("source_id", {"author": author})
        reports = [*self.imports(author), *self.crawls(author).values()]
        return dict.fromkeys(ids) | {row["source_id"]: row.get("where") for row in reports}

    def save_import(self, author: str, source_id: str, archived_at: datetime, report: dict[str, Any]) -> None:
        """Keep the outcome of reading an export that was made at `archived_at`."""
        key = f"{author}:{source_id}:{archived_at.isoformat()}"
        about = {"author": author, "source_id": source_id, "archived_at": archived_at, "imported_at": utcnow()}
        self._replace("imports", key, {**report, **about})

    def imports(self, author: str) -> list[dict[str, Any]]:
        """The author's exports that were read, oldest first."""
        rows = [_own(row) for row in self._db["imports"].find({"author": author})]
        return sorted(rows, key=lambda row: row["archived_at"])

    def last_archive(self, author: str, source_id: str) -> datetime | None:
        """When the newest export that was read into a source had been made."""
        return max((row["archived_at"] for row in self.imports(author) if row["source_id"] == source_id), default=None)

    def ask_for_crawl(self, author: str, source_id: str) -> None:
        """Ask the crawl sensor for a crawl now."""
        request = {"author": author, "source_id": source_id, "asked_at": utcnow()}
        self._replace("crawl_requests", f"{author}:{source_id}", request)

    def crawl_requests(self) -> list[dict[str, Any]]:
        """Crawls asked for and not yet begun: `author, source_id, asked_at`."""
        return [_own(row) for row in self._db["crawl_requests"].find().sort("_id", 1)]

    def crawl_begins(self, author: str, source_id: str) -> None:
        """A crawl of this source has begun: what was asked for until now is being answered."""
        with self._writing() as db:
            db["crawl_requests"].delete_many({"_id": f"{author}:{source_id}"})

    def judged_datasets(self, author: str) -> dict[str, str]:
        """Recipe to what was last found to ask for no training of it: see `training/sensors.py`."""
        return {row["recipe"]: row["judged"] for row in self._db["judged_datasets"].find({"author": author})}

    def save_judged_dataset(self, author: str, recipe: str, judged: str) -> None:
        """Keep that this asks for no training of the recipe."""
        found = {"author": author, "recipe": recipe, "judged": judged}
        self._replace("judged_datasets", f"{author}:{recipe}", found)

    def save_manifest(self, manifest: ModelManifest) -> None:
        """Write a manifest on `author@version`: from now on the version exists."""
        self._replace("model_manifests", manifest.id, manifest.model_dump(exclude={"path"}))

    def manifests(self, author: str) -> list[ModelManifest]:
        """The author's model versions, oldest first."""
        rows = self._db["model_manifests"].find({"author": author})
        found = [ModelManifest.model_validate(_own(row)) for row in rows]
        return sorted(found, key=lambda manifest: (manifest.created_at, manifest.version))

    def alias(self, author: str) -> dict[str, Any] | None:
        """`version, who, reason, at, history` of the author's production alias."""
        row = self._db["model_aliases"].find_one({"_id": author})
        return _own(row) if row else None

    def move_alias(self, author: str, version: str, who: str, reason: str) -> None:
        """Point `production` at a version; one write, so that a reader sees the old or the new one.

        Raises TwinError when others move it all the time.
        """
        entry = {"version": version, "who": who, "reason": reason, "at": utcnow()}
        for _ in range(TRIES):
            with self._writing() as db:
                before = self.alias(author)
                # Not by `$push`: NeoSQLite 1.17 would push the entry as text.
                history = [*before["history"], entry] if before else [entry]
                moved = {"_id": author, **entry, "history": history}
                if before is None:
                    new = db["model_aliases"].update_one({"_id": author}, {"$setOnInsert": moved}, upsert=True)
                    done = not new.matched_count
                else:
                    as_read = {"_id": author, "history": {"$size": len(before["history"])}}
                    done = bool(db["model_aliases"].replace_one(as_read, moved).matched_count)
            if done:
                return
        raise TwinError(f"others move the production alias of {author} all the time: nothing was changed, try again")

    def set_stage(self, manifest: ModelManifest, stage: Stage, who: str, reason: str) -> None:
        """Move a version to another stage; a manifest that is gone stays gone."""
        moved = {"stage": stage, "promoted_by": who, "promoted_at": utcnow(), "reason": reason or None}
        self._change("model_manifests", manifest.author, manifest.id, moved)

    def save_evaluation(self, manifest: ModelManifest, evaluation: dict[str, object], gates: Sequence[Gate]) -> None:
        """Write an evaluation and its verdict into a manifest; one that is gone stays gone."""
        verdict = {"evaluation": evaluation, "gates": [gate.model_dump() for gate in gates]}
        self._change("model_manifests", manifest.author, manifest.id, verdict)

    def save_interaction(self, interaction: Interaction) -> None:
        """Write an interaction on its id."""
        self._replace("interactions", interaction.id, interaction.model_dump())

    def change_interaction(self, author: str, interaction_id: str, changes: dict[str, Any]) -> None:
        """Set these fields of an interaction. Raises NotThere, and writes nothing, when the author has none such."""
        if not self._change("interactions", author, interaction_id, changes):
            raise NotThere(f"{author} has no draft {interaction_id}")

    def interactions(self, author: str) -> list[Interaction]:
        """The author's interactions, oldest first."""
        rows = [Interaction.model_validate(_own(row)) for row in self._db["interactions"].find({"author": author})]
        return sorted(rows, key=lambda interaction: interaction.created_at)

    def save_monitoring_report(self, author: str, day: str, report: dict[str, Any]) -> None:
        """Write the report of one day."""
        self._replace("monitoring_reports", f"{author}:{day}", {"author": author, "day": day, **report})

    def erase(self, author: str, collections: Sequence[str] = ()) -> dict[str, int]:
        """Delete what is the author's from these collections, from all there are by default. Returns how many of each.

        All there are, and not a list of names: a collection that is added later is never forgotten.
        """
        theirs = {"$or": [{"author": author}, {"_id": author}]}
        names = collections or sorted(self._db.list_collection_names())
        with self._writing() as db:
            return {name: db[name].delete_many(theirs).deleted_count for name in names}

    def _replace(self, collection: str, key: str, document: dict[str, Any]) -> None:
        with self._writing() as db:
            db[collection].replace_one({"_id": key}, {"_id": key, **document}, upsert=True)

    def _change(self, collection: str, author: str, key: str, fields: dict[str, Any]) -> bool:
        """Set fields of one of the author's documents and leave the others alone. Returns whether it is there."""
        with self._writing() as db:
            result = db[collection].update_one({"_id": key, "author": author}, {"$set": fields})
        return result.matched_count > 0


@contextmanager
def _transaction(db: Any) -> Iterator[None]:
    """One of SQLite's, which locks others out from its start.

    NeoSQLite 1.17 upserts in two statements, a look and a write: without it two processes that find the same document
    new both insert it, and one of them fails.
    """
    with db.start_session() as session, session.start_transaction():
        yield


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def _id_groups(ids: Sequence[str]) -> Iterator[list[str]]:
    return _batched(ids, BULK)


def _own(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "_id"}


def _profile(row: dict[str, Any]) -> AuthorProfile:
    return AuthorProfile.model_validate({k: v for k, v in row.items() if k not in ("_id", "revision")})


def _revised(profile: AuthorProfile) -> dict[str, Any]:
    """A profile as it is stored: `revision` is another after each write, also when an erased author is added again."""
    return {**profile.model_dump(), "revision": uuid4().hex}


def _raw(row: dict[str, Any]) -> RawDocument:
    return RawDocument.model_validate({k: v for k, v in row.items() if k not in ("_id", *DERIVED)})


def _derived(document: RawDocument) -> dict[str, Any]:
    at = document.published_at
    return {"content_hash": document.content_hash, "listed_at": at.isoformat() if at else None}


def _without_none(query: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in query.items() if value is not None}
