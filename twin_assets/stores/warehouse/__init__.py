"""The warehouse: raw documents, author profiles, model manifests, interactions, and what crawls must remember.

What a run writes is an idempotent upsert on a natural key, so that a run killed between two writes can simply run
again. What people change at the same time (profiles, ratings, the production alias) is changed as it is stored when
the write happens, never as it was read earlier.
"""

from collections.abc import Sequence

from twin_assets.settings import Settings
from twin_assets.stores.warehouse.connection import Connection
from twin_assets.stores.warehouse.crawls import CrawlRequests, Crawls, CrawlStates, Imports
from twin_assets.stores.warehouse.documents import DocumentFilter, Documents, KnownDocument, ListedDocument
from twin_assets.stores.warehouse.interactions import Interactions, MonitoringReports
from twin_assets.stores.warehouse.models import JudgedDatasets, ModelAliases, ModelManifests
from twin_assets.stores.warehouse.profiles import Profiles

__all__ = ["DocumentFilter", "KnownDocument", "ListedDocument", "Warehouse"]


class Warehouse:
    """One connection and the collections reached through it; only what concerns several of them is a method here."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.profiles = Profiles(connection)
        self.documents = Documents(connection, self.profiles)
        self.crawl_states = CrawlStates(connection)
        self.crawls = Crawls(connection)
        self.crawl_requests = CrawlRequests(connection)
        self.imports = Imports(connection)
        self.manifests = ModelManifests(connection)
        self.aliases = ModelAliases(connection)
        self.judged_datasets = JudgedDatasets(connection)
        self.interactions = Interactions(connection)
        self.monitoring_reports = MonitoringReports(connection)

    @classmethod
    def open(cls, settings: Settings) -> "Warehouse":
        """Open MongoDB when the settings name one, else the NeoSQLite file, which is created if missing."""
        return cls(Connection.open(settings))

    def source_places(self, author: str) -> dict[str, str | None]:
        """Where each source that the warehouse knows is or was, by id; None when only what it delivered is left.

        A source that was removed from the profile is among them: its documents and its crawler's state stay.
        """
        ids = [*self.crawl_states.source_ids(author), *self.documents.source_ids(author)]
        reports = [*self.imports.for_author(author), *self.crawls.for_author(author).values()]
        return dict.fromkeys(ids) | {row["source_id"]: row.get("where") for row in reports}

    def erase(self, author: str, collections: Sequence[str] = ()) -> dict[str, int]:
        """Delete everything of the author's from these collections, by default from all. Returns the counts by name.

        The default is whatever collections the database has, not a list, so that a new one is never forgotten.
        """
        theirs = {"$or": [{"author": author}, {"_id": author}]}
        names = collections or sorted(self.connection.db.list_collection_names())
        with self.connection.writing() as db:
            return {name: db[name].delete_many(theirs).deleted_count for name in names}
