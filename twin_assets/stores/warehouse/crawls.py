"""What collection keeps beside the documents: each crawler's state, the outcome of crawls and imports, and requests."""

from datetime import datetime
from typing import Any

from twin_assets.documents import utcnow
from twin_assets.stores.warehouse.connection import Repository, without_id


class CrawlStates(Repository):
    """What each source's crawler saved at its last checkpoint, to go on from there."""

    collection = "crawl_states"

    def load(self, author: str, source_id: str) -> dict[str, Any]:
        """The state that the source's crawler saved; empty before its first checkpoint."""
        row = self._rows.find_one({"_id": f"{author}:{source_id}"})
        return dict(row["state"]) if row else {}

    def save(self, author: str, source_id: str, state: dict[str, Any]) -> None:
        """Save a crawler's state. The documents it accounts for must have been written first."""
        self._replace(f"{author}:{source_id}", {"author": author, "state": state})

    def source_ids(self, author: str) -> list[str]:
        """The ids of the author's sources that have a state."""
        return [row["_id"].removeprefix(f"{author}:") for row in self._rows.find({"author": author}, {"_id": 1})]


class Crawls(Repository):
    """The outcome of each source's latest crawl."""

    collection = "crawls"
    indexes = ("author",)

    def save(self, author: str, source_id: str, report: dict[str, Any]) -> None:
        """Keep the outcome of a source's latest crawl, in place of the one before."""
        self._replace(f"{author}:{source_id}", {"author": author, "source_id": source_id, **report})

    def for_author(self, author: str) -> dict[str, dict[str, Any]]:
        """The latest crawl of each of the author's sources, by source id."""
        return {row["source_id"]: without_id(row) for row in self._rows.find({"author": author})}


class CrawlRequests(Repository):
    """Crawls that a person has asked for; the crawl sensor starts them."""

    collection = "crawl_requests"

    def add(self, author: str, source_id: str) -> None:
        """Ask the crawl sensor to crawl this source now."""
        self._replace(f"{author}:{source_id}", {"author": author, "source_id": source_id, "asked_at": utcnow()})

    def all(self) -> list[dict[str, Any]]:
        """The `author, source_id, asked_at` of every crawl that was asked for and has not begun."""
        return [without_id(row) for row in self._rows.find().sort("_id", 1)]

    def remove(self, author: str, source_id: str) -> None:
        """Delete the request for this source, because its crawl has begun."""
        with self._writing() as rows:
            rows.delete_many({"_id": f"{author}:{source_id}"})


class Imports(Repository):
    """The exports that were read, one entry for each source and each time an export was made."""

    collection = "imports"
    indexes = ("author",)

    def save(self, author: str, source_id: str, archived_at: datetime, report: dict[str, Any]) -> None:
        """Keep the outcome of reading an export that was made at `archived_at`."""
        key = f"{author}:{source_id}:{archived_at.isoformat()}"
        about = {"author": author, "source_id": source_id, "archived_at": archived_at, "imported_at": utcnow()}
        self._replace(key, {**report, **about})

    def for_author(self, author: str) -> list[dict[str, Any]]:
        """The outcome of each of the author's imports, ordered by when the export was made."""
        rows = [without_id(row) for row in self._rows.find({"author": author})]
        return sorted(rows, key=lambda row: row["archived_at"])

    def last_archived_at(self, author: str, source_id: str) -> datetime | None:
        """When the newest export that was read into a source was made; None when none was read."""
        made = [row["archived_at"] for row in self.for_author(author) if row["source_id"] == source_id]
        return max(made, default=None)
