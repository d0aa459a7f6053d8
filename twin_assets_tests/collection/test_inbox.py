"""Exports that are dropped into an author's inbox folder."""

import dagster as dg
import pytest

from twin_assets.collection import inbox
from twin_assets.collection.assets import assets, jobs
from twin_assets.collection.crawl import CrawlReport, read_archive
from twin_assets.collection.registry import ArchiveCrawler, crawlers
from twin_assets.collection.sensors import crawl_due
from twin_assets.content.archives import open_archive
from twin_assets.documents import Source
from twin_assets.errors import BadSource
from twin_assets.orchestration.partitions import add_partitions
from twin_assets_tests.benchmarks.fuzz import LAYOUTS


def test_what_still_grows_is_left_alone(stores, drop):
    drop("new.zip", {"a": "b"}, age=1)
    done = drop("done.zip", {"a": "b"}, age=10)
    assert inbox.ready_exports(stores, "ada") == [done]


def test_an_author_without_an_inbox_has_nothing_waiting(stores):
    assert inbox.ready_exports(stores, "nobody") == []


def test_what_is_no_export_is_refused_with_what_to_do(drop, tmp_path):
    with pytest.raises(BadSource, match=r"notes\.zip is not a known export .*twin source add ID files"):
        inbox.platform_of(drop("notes.zip", {"notes.md": "# Hello"}))
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(BadSource, match=r"a\.txt is not a zip archive"):
        inbox.platform_of(tmp_path / "a.txt")


def test_setting_aside_never_overwrites(drop):
    first = inbox.set_aside(drop("a.zip", {"a": "1"}), inbox.IMPORTED)
    second = inbox.set_aside(drop("a.zip", {"a": "2"}), inbox.REFUSED, "because")
    third = inbox.set_aside(drop("a.zip", {"a": "3"}), inbox.REFUSED)
    assert [first.name, second.name, third.name] == ["a.zip", "a.zip", "a-2.zip"]
    assert second.with_name("a.zip.why.txt").read_text() == "because\n"


@pytest.fixture
def tick(project, ada):
    """tick() -> the jobs that one evaluation of the crawl sensor asks for; the jobs are run."""
    instance = dg.DagsterInstance.ephemeral()
    add_partitions(instance, ["ada"], [])
    definitions = dg.Definitions(assets=assets, jobs=jobs, sensors=[crawl_due])

    def run() -> list[str]:
        context = dg.build_sensor_context(instance=instance, repository_def=definitions.get_repository_def())
        with dg.partition_loading_context(dynamic_partitions_store=instance):
            requests = list(crawl_due.evaluate_tick(context).run_requests or [])
        for request in requests:
            definitions.resolve_job_def(request.job_name).execute_in_process(partition_key="ada", instance=instance)
        return [request.job_name for request in requests]

    return run


def test_a_dropped_export_is_told_by_its_contents_read_and_moved_aside(project, tick, drop):
    drop("whatever-name.zip", LAYOUTS["medium"])
    assert tick() == ["collect_medium"]
    documents = list(project.warehouse.documents("ada"))
    assert {document.platform for document in documents} == {"medium"}
    assert len(documents) == 4
    assert project.warehouse.profile("ada").sources[0].id == "medium-inbox"
    assert project.warehouse.source_places("ada") == {"medium-inbox": "inbox"}
    assert [path.name for path in (inbox.inbox_of(project, "ada") / "imported").iterdir()] == ["whatever-name.zip"]
    (imported,) = project.warehouse.imports("ada")
    assert (imported["new"], imported["file"], imported["error"]) == (4, "whatever-name.zip", None)
    assert tick() == []


def test_exports_of_several_platforms_go_each_to_their_own(project, tick, drop):
    drop("a.zip", LAYOUTS["substack"])
    drop("b.zip", {f"linkedin-export/{name}": text for name, text in LAYOUTS["linkedin"].items()})
    drop("c.zip", LAYOUTS["x"])
    assert sorted(tick()) == ["collect_linkedin", "collect_substack", "collect_x"]
    platforms = {document.platform for document in project.warehouse.documents("ada")}
    assert platforms == {"linkedin", "substack", "x"}


def test_what_is_no_export_is_moved_aside_with_the_reason_once_it_can_be_no_slow_copy(project, tick, drop):
    young = drop("young.zip", {"notes.md": "x"}, age=20)
    assert tick() == []
    assert young.exists()
    drop("young.zip", {"notes.md": "x"}, age=200)
    assert tick() == []
    refused = inbox.inbox_of(project, "ada") / "refused"
    assert sorted(path.name for path in refused.iterdir()) == ["young.zip", "young.zip.why.txt"]
    assert "is not a known export" in (refused / "young.zip.why.txt").read_text()


def test_an_export_whose_crawl_died_is_read_again(project, tick, drop):
    path = drop("a.zip", LAYOUTS["medium"])
    source = Source(id="medium-inbox", platform="medium", where="inbox")
    crawler = crawlers()["medium"]
    with open_archive(path) as archive:
        report = CrawlReport(source.id, "medium", str(path))
        read_archive("ada", source, crawler, archive, project.warehouse, report)
    assert path.exists()  # it died before the file was moved
    assert tick() == ["collect_medium"]
    assert len(list(project.warehouse.documents("ada"))) == 4
    assert not path.exists()


def test_every_platform_with_exports_says_how_to_ask_for_one(stores, ada):
    with_exports = {name: crawler for name, crawler in crawlers().items() if isinstance(crawler, ArchiveCrawler)}
    for platform, crawler in with_exports.items():
        source = Source(id=f"{platform}-inbox", platform=platform, where="inbox")
        assert crawler.needs_archives(source)
        notice = inbox.archive_notice(stores, "ada", source)
        assert notice == f"no export of {platform} has been read yet. {crawler.archive_steps}"
