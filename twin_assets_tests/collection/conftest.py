import os
import time
import zipfile
from pathlib import Path

import pytest

from twin_assets.collection import inbox
from twin_assets.collection.crawl import CrawlReport, crawl
from twin_assets.collection.locations import platform_for, source_id_for
from twin_assets.collection.registry import crawlers
from twin_assets.content.web import WebClient
from twin_assets.documents import Source
from twin_assets_tests.collection.site import Site


@pytest.fixture
def site():
    server = Site()
    yield server
    server.close()


@pytest.fixture
def drop(stores):
    """drop(name, members, age) puts a zip into ada's inbox that was last changed `age` seconds ago."""

    def put(name: str, members: dict[str, str], age: float = 100) -> Path:
        path = inbox.inbox_of(stores, "ada") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for member, text in members.items():
                archive.writestr(member, text)
        os.utime(path, (time.time() - age, time.time() - age))
        return path

    return put


@pytest.fixture
def collect(stores, settings):
    """collect(where) -> CrawlReport of a crawl into the test's warehouse."""

    def run(where: object) -> CrawlReport:
        platform = platform_for(str(where))
        source = Source(id=source_id_for(platform, str(where), {}), platform=platform, where=str(where))
        with WebClient(settings, settings.web_cache("ada")) as http:
            return crawl("ada", source, crawlers()[platform], stores.warehouse, http)

    return run


@pytest.fixture
def documents(stores):
    """documents() -> external_id to document, tombstones included."""
    return lambda: {document.external_id: document for document in stores.warehouse.documents("ada")}
