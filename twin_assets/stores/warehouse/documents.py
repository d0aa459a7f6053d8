"""Raw documents: what was collected, with tombstones for what was deleted at its source."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from pydantic import BaseModel

from twin_assets.documents import Category, RawDocument, Use, Visibility, digest, utcnow
from twin_assets.stores.warehouse.connection import Connection, Repository, batched, without_id, without_none
from twin_assets.stores.warehouse.profiles import Profiles

DERIVED = ("content_hash", "listed_at")
"""What is stored with a document besides its own fields.

`listed_at` is `published_at` as text, and lists are ordered by it: NeoSQLite 1.17 stores a time that it updates as
other text than one that it inserts, so that the two cannot be sorted together.
"""
NEWEST_FIRST = [("listed_at", -1), ("_id", 1)]
"""The order of lists, in which documents without a date come last."""


class KnownDocument(BaseModel):
    """What a crawl must know of a stored document to tell new, changed and unchanged apart."""

    content_hash: str
    fetched_at: datetime
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    archived_at: datetime | None = None
    """When the export that it came from was made; None when it came from a live source."""


@dataclass(frozen=True)
class DocumentFilter:
    """Which of an author's documents to list, never tombstones.

    title: text that the title must contain, in upper or lower case. None anywhere else: any value will do.
    """

    title: str = ""
    platform: str | None = None
    category: Category | None = None
    visibility: Visibility | None = None
    left_out: bool | None = None

    def query(self, author: str) -> dict[str, Any]:
        """The filter as a pymongo query.

        It uses neither `$or` nor `$options`, which NeoSQLite 1.17 evaluates in Python, row by row. It compares with
        `None` by `$eq`, because a plain `None` beside a regular expression finds nothing there.
        """
        about = {"platform": self.platform, "category": self.category, "visibility": self.visibility}
        query = {"author": author, "deleted_at": {"$eq": None}, **without_none(about)}
        if self.title:
            query["title"] = {"$regex": f"(?i){re.escape(self.title)}"}
        if self.left_out is not None:
            query["left_out"] = {"$in" if self.left_out else "$nin": list(get_args(Use))}
        return query


class ListedDocument(BaseModel):
    """A document as a list shows it, without its text."""

    id: str
    platform: str
    category: Category
    title: str | None
    visibility: Visibility
    published_at: datetime | None
    left_out: list[Use]


class Documents(Repository):
    """Every author's documents, tombstones included, on `RawDocument.id`."""

    collection = "raw_documents"
    # The third index is for pages of a list: the middle one of 10,000 documents takes 0.1 s with it, 1.6 s without.
    indexes = ("author", "source_id", [("author", 1), ("deleted_at", 1), ("listed_at", -1)])

    def __init__(self, connection: Connection, profiles: Profiles) -> None:
        super().__init__(connection)
        self._profiles = profiles

    def upsert(self, documents: Iterable[RawDocument]) -> int:
        """Insert or update documents, but keep what the author set by hand (`left_out`). Returns how many."""
        from pymongo import UpdateOne

        written = 0
        for group in batched(documents):
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
            with self._writing() as rows:
                rows.bulk_write(requests, ordered=False)
            written += len(group)
        return written

    def mark_deleted(self, ids: Sequence[str], at: datetime | None = None) -> int:
        """Turn documents into tombstones that were deleted at `at`, by default now. Returns how many were alive."""
        marked = 0
        for group in batched(ids):
            with self._writing() as rows:
                result = rows.update_many(
                    {"_id": {"$in": group}, "deleted_at": None}, {"$set": {"deleted_at": at or utcnow()}}
                )
            marked += result.modified_count
        return marked

    def for_author(
        self, author: str, *, platform: str | None = None, source_id: str | None = None, deleted: bool = True
    ) -> Iterator[RawDocument]:
        """The author's documents ordered by id, tombstones included unless `deleted` is False."""
        query = without_none({"author": author, "platform": platform, "source_id": source_id})
        if not deleted:
            query["deleted_at"] = None
        for row in self._rows.find(query).sort("_id", 1):
            yield _raw(row)

    def by_id(self, ids: Sequence[str]) -> Iterator[RawDocument]:
        """The documents with these ids; unknown ids are skipped."""
        for group in batched(ids):
            for row in self._rows.find({"_id": {"$in": group}}):
                yield _raw(row)

    def newest(self, author: str, platform: str, n: int) -> list[dict[str, Any]]:
        """The `title, category, url, published_at` of the n documents of a platform that were published last."""
        fields = {"title": 1, "category": 1, "url": 1, "published_at": 1}
        query = {"author": author, "platform": platform, "deleted_at": None}
        return [without_id(row) for row in self._rows.find(query, fields).sort(NEWEST_FIRST).limit(n)]

    def page(self, author: str, wanted: DocumentFilter, *, skip: int = 0, limit: int = 25) -> list[ListedDocument]:
        """One page of the author's documents without their texts, the latest published first."""
        fields = dict.fromkeys(ListedDocument.model_fields, 1)
        rows = self._rows.find(wanted.query(author), fields).sort(NEWEST_FIRST).skip(skip).limit(limit)
        return [ListedDocument.model_validate({**row, "id": row["_id"]}) for row in rows]

    def count(self, author: str, wanted: DocumentFilter) -> int:
        """How many documents pass the filter, on all pages together."""
        return self._rows.count_documents(wanted.query(author))

    def platforms(self, author: str) -> list[str]:
        """The platforms that the author has documents from, including those of removed sources."""
        return sorted(self._rows.distinct("platform", DocumentFilter().query(author)))

    def source_ids(self, author: str) -> list[str]:
        """The ids of the sources that the author's documents came from, tombstones included."""
        return self._rows.distinct("source_id", {"author": author})

    def known(self, author: str, source_id: str) -> dict[str, KnownDocument]:
        """The documents of one source by `_id`, without their texts."""
        fields = dict.fromkeys(KnownDocument.model_fields, 1)
        query = {"author": author, "source_id": source_id}
        rows = self._rows.find(query, fields)
        return {row["_id"]: KnownDocument.model_validate(row) for row in rows}

    def fingerprints(self, author: str, platform: str | None = None) -> list[dict[str, Any]]:
        """The `_id, content_hash, deleted_at, left_out` of every document of the author, ordered by id.

        deleted_at is good only for a comparison with None: the type of a time depends on the database.
        """
        fields = {"content_hash": 1, "deleted_at": 1, "left_out": 1}
        query = without_none({"author": author, "platform": platform})
        # NeoSQLite 1.17 does this in SQL, while its `find` first reads and copies each document with its text.
        stages: list[dict[str, Any]] = [{"$match": query}, {"$project": fields}, {"$sort": {"_id": 1}}]
        return list(self._rows.aggregate(stages))

    def data_version(self, author: str, platform: str) -> str:
        """A hash of a platform's documents: their ids, contents and deletions, and what they may be used for."""
        rows = self.fingerprints(author, platform)
        facts = [[row["_id"], row["content_hash"], row["deleted_at"] is not None, *row["left_out"]] for row in rows]
        return digest([*facts, "train_private"] if self._profiles.trains_on_private(author) else facts, 32)

    def count_by_category(self, author: str) -> list[dict[str, Any]]:
        """The `platform, category, alive, deleted` counts of the author's documents."""
        counts: dict[tuple[str, str], dict[str, Any]] = {}
        fields = {"platform": 1, "category": 1, "deleted_at": 1}
        for row in self._rows.find({"author": author}, fields):
            key = (row["platform"], row["category"])
            entry = counts.setdefault(key, {"platform": key[0], "category": key[1], "alive": 0, "deleted": 0})
            entry["alive" if row.get("deleted_at") is None else "deleted"] += 1
        return [counts[key] for key in sorted(counts)]

    def leave_out(self, document_id: str, uses: list[Use]) -> None:
        """Keep a document out of training, quoting or both; an empty list lets it be used again."""
        with self._writing() as rows:
            rows.update_one({"_id": document_id}, {"$set": {"left_out": sorted(uses)}})


def _raw(row: dict[str, Any]) -> RawDocument:
    return RawDocument.model_validate({k: v for k, v in row.items() if k not in ("_id", *DERIVED)})


def _derived(document: RawDocument) -> dict[str, Any]:
    at = document.published_at
    return {"content_hash": document.content_hash, "listed_at": at.isoformat() if at else None}
