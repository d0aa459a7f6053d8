"""What its author deletes at the source is gone from everything that draws on it."""

import random

import dagster as dg
import pytest

from twin_assets.collection.assets import assets as raw_assets
from twin_assets.documents import Source
from twin_assets.features import assets as features
from twin_assets.language.embedding import load_embedder
from twin_assets.language.search import search
from twin_assets.orchestration.partitions import add_partitions
from twin_assets.stores.features_io import FeaturesIOManager
from twin_assets_tests.collection.site import Page, Site, article, sitemap
from twin_assets_tests.conftest import WORDS, setting

TABLES = ("cleaned_documents", "chunks", "embeddings", "instruction_dataset")


@pytest.fixture
def site():
    server = Site()
    yield server
    server.close()


def test_a_deletion_is_followed_from_the_source_to_search_and_dataset(project, ada, site, monkeypatch):
    monkeypatch.setenv("TWIN_REQUEST_INTERVAL_S", "0")
    for number in range(8):
        text = "|".join(" ".join(random.Random(f"{number} {n}").choices(WORDS, k=60)) for n in range(4))
        site.pages[f"/{number}"] = article(f"Piece number {number}", text)
    secret = "The osprey came back to the broken pier on a Thursday."
    site.pages["/0"] = article("The osprey", "|".join([secret] * 4))
    listed = [(f"{site.url}/{number}", "2024-01-01") for number in range(8)]
    site.pages["/sitemap.xml"] = sitemap(listed)
    source = Source(id="blog", platform="blog", where=f"{site.url}/sitemap.xml")
    project.warehouse.profiles.change("ada", setting(sources=[source]))
    instance = dg.DagsterInstance.ephemeral()
    add_partitions(instance, ["ada"], [])
    blog = [asset for asset in raw_assets if asset.key.path == ["raw", "blog"]]

    def run() -> None:
        for stage in (blog, features.assets([])):
            resources = {"features": FeaturesIOManager()}
            assert dg.materialize(stage, partition_key="ada", instance=instance, resources=resources).success

    def everything() -> str:
        tables = (project.features.table("ada", name) for name in TABLES)
        return "".join(str(row) for table in tables for row in table.rows(table.lance.schema.names))

    def found() -> set[str]:
        table = project.features.table("ada", "embeddings")
        return {hit.url for hit in search(table, load_embedder(project.settings), secret, 20)}

    run()
    assert f"{site.url}/0" in found()
    assert "osprey" in everything()

    site.pages["/0"] = Page(b"gone", status=410)
    site.pages["/sitemap.xml"] = sitemap(listed[1:])
    run()
    assert f"{site.url}/0" not in found()
    assert "osprey" not in everything()
    assert len(found()) == 7
