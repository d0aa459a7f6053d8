"""`raw/<platform>` over a real warehouse: what its materialization and its checks say."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import dagster as dg
import pytest

from twin_assets.collection.assets import CHECKS, assets, jobs, raw_asset
from twin_assets.collection.events import Found, Item, ListingComplete
from twin_assets.collection.registry import crawlers
from twin_assets.documents import Category
from twin_assets.errors import BadSource
from twin_assets.operations.sources import add_source
from twin_assets.orchestration.partitions import add_partitions
from twin_assets_tests.collection.site import Page, article, sitemap

Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def materialize(project, ada) -> Run:
    """materialize(platform or asset) -> result for author ada, on one ephemeral instance."""
    instance = dg.DagsterInstance.ephemeral()
    add_partitions(instance, ["ada"], [])
    by_platform = {asset.key.path[-1]: asset for asset in assets}

    def run(asset: str | dg.AssetsDefinition = "files") -> dg.ExecuteInProcessResult:
        chosen = by_platform[asset] if isinstance(asset, str) else asset
        return dg.materialize([chosen], partition_key="ada", instance=instance, raise_on_error=False)

    return run


@pytest.fixture
def folder(project, ada, tmp_path):
    """A source of ada's: a folder with ten notes."""
    root = tmp_path / "writing"
    root.mkdir()
    for n in range(10):
        (root / f"{n}.md").write_text(f"Note {n} about tides.\n")
    add_source(project, "ada", "files", str(root))
    return root


def materialization(result: dg.ExecuteInProcessResult) -> dg.AssetMaterialization:
    [event] = result.get_asset_materialization_events()
    return event.materialization


def numbers(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    return {name: value.value for name, value in materialization(result).metadata.items()}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def data_version(result: dg.ExecuteInProcessResult) -> str:
    return (materialization(result).tags or {})["dagster/data_version"]


def failure(result: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in result.all_events if event.is_step_failure]
    return str(event.step_failure_data.user_failure_data.description)


def test_every_registered_platform_has_an_asset_and_a_job():
    assert [asset.key.to_user_string() for asset in assets] == [f"raw/{platform}" for platform in crawlers()]
    assert [job.name for job in jobs] == [f"collect_{platform}" for platform in crawlers()]


def test_a_crawl_tells_its_counts_and_passes_its_checks(materialize, folder, project):
    (folder / "photo.jpg").write_bytes(b"x")
    result = materialize()
    found = numbers(result)
    assert (found["dagster/row_count"], found["new"], found["left_out"], found["failed"]) == (10, 10, 1, 0)
    assert found["bytes_read"] > 100
    assert "| files-writing | 10 | 0 | 0 | 0 | 0 | 1 |" in found["sources"]
    assert "photo.jpg" in found["not_read"]
    assert checks(result) == dict.fromkeys(CHECKS, True)
    assert {check.partition for check in result.get_asset_check_evaluations()} == {"ada"}
    assert data_version(result) == project.warehouse.raw_data_version("ada", "files")


def test_a_crawl_that_finds_nothing_new_keeps_the_data_version(materialize, folder):
    first, second = materialize(), materialize()
    assert data_version(first) == data_version(second)
    assert numbers(second)["unchanged"] == 10
    (folder / "1.md").write_text("Rewritten.\n")
    assert data_version(materialize()) != data_version(first)


def test_an_item_that_fails_is_named_and_the_rest_is_materialized(materialize, folder):
    (folder / "binary.md").write_bytes(b"\0\1\2")
    result = materialize()
    assert result.success
    assert checks(result) == dict.fromkeys(CHECKS, True) | {"items_read": False}
    assert "| binary.md | is binary, whatever its name says: give text |" in numbers(result)["not_read"]


def test_a_source_that_cannot_be_read_fails_the_run_and_leaves_the_asset_as_it_was(materialize, folder, tmp_path):
    first = materialize()
    folder.rename(tmp_path / "elsewhere")
    result = materialize()
    assert not result.success
    assert result.get_asset_materialization_events() == []
    assert checks(result)["sources_answered"] is False
    assert "does not exist: nothing is taken as deleted; correct the path, or remove the source" in failure(result)
    (tmp_path / "elsewhere").rename(folder)
    assert data_version(materialize()) == data_version(first)


def test_one_source_that_fails_does_not_stop_the_next_and_is_named(materialize, folder, project, tmp_path):
    lost = tmp_path / "lost"
    lost.mkdir()
    add_source(project, "ada", "files", str(lost))
    lost.rmdir()
    result = materialize()
    assert not result.success
    assert f"source files-lost: {lost} does not exist" in failure(result)
    assert numbers(result)["new"] == 10
    assert checks(result)["sources_answered"] is False


def test_more_gone_than_a_source_may_lose_is_shown(materialize, folder):
    materialize()
    for n in range(6):
        (folder / f"{n}.md").unlink()
    result = materialize()
    assert numbers(result)["gone"] == 6
    assert checks(result)["no_sudden_drop"] is False


def test_tombstones_of_earlier_crawls_do_not_hide_a_drop(materialize, folder):
    materialize()
    for n in range(4):
        (folder / f"{n}.md").unlink()
    assert checks(materialize())["no_sudden_drop"] is True
    for n in range(4, 8):
        (folder / f"{n}.md").unlink()
    assert checks(materialize())["no_sudden_drop"] is False


def test_an_author_without_a_source_on_the_platform_has_nothing_to_do(materialize):
    result = materialize()
    assert result.success
    assert numbers(result)["dagster/row_count"] == 0
    assert numbers(result)["sources"] == "No source on this platform."


def test_a_blog_that_is_not_there_names_the_url_and_the_way_out(materialize, project, ada, site):
    add_source(project, "ada", "blog", f"{site.url}/feed.xml")
    result = materialize("blog")
    assert not result.success
    assert f"{site.url}/feed.xml answered 404 Not Found" in failure(result)
    assert "correct the URL if it moved" in failure(result)


def test_requests_to_a_blog_are_counted(materialize, project, ada, site):
    site.pages["/sitemap.xml"] = sitemap([(f"{site.url}/1", None), (f"{site.url}/2", None)])
    site.pages["/1"] = article("One", "A page about the harbour and its gauges, of some length. " * 5)
    site.pages["/2"] = Page(b"", status=404)
    add_source(project, "ada", "blog", f"{site.url}/sitemap.xml")
    result = materialize("blog")
    assert numbers(result)["requests"] == 4  # robots.txt, the sitemap, two pages
    assert checks(result)["items_read"] is False


class Empty:
    """A source that can be read and holds nothing."""

    platform: ClassVar[str] = "files"
    accepted: ClassVar[str] = "a folder"

    def accepts(self, where: str) -> bool:
        return True

    def collect(self, source: Any, state: Any, http: Any) -> Iterator[Any]:
        yield ListingComplete()


class BreaksOff(Empty):
    """A source that gives some documents before its token expires."""

    def collect(self, source: Any, state: Any, http: Any) -> Iterator[Any]:
        yield Found(Item("a", "Words.", Category.POST))
        raise BadSource("the token has expired: make a new one")


def test_a_source_that_holds_nothing_is_shown(materialize, folder):
    result = materialize(raw_asset(Empty()))
    assert checks(result)["not_empty"] is False


def test_what_a_source_gave_before_it_broke_off_is_made_known_downstream(materialize, folder, project):
    result = materialize(raw_asset(BreaksOff()))
    assert not result.success
    assert "the token has expired: make a new one" in failure(result)
    assert data_version(result) == project.warehouse.raw_data_version("ada", "files")
    assert checks(result)["sources_answered"] is False
