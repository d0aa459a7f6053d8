"""What the app asks of collection: profiles, sources, uploads, and how each source stands."""

import json
import os
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import pytest

from twin_assets.collection import crawl as seam
from twin_assets.collection import inbox
from twin_assets.collection.crawl import crawl
from twin_assets.collection.events import Found, Item
from twin_assets.collection.sensors import crawl_due
from twin_assets.content.web import WebClient
from twin_assets.definitions import defs
from twin_assets.documents import Category, Consent, Source, utcnow
from twin_assets.errors import BadInput, BadSource, NotThere
from twin_assets.operations import runs
from twin_assets.operations.collection_status import Overview, SourceStatus
from twin_assets.operations.collector import Collector, NewSource
from twin_assets.operations.sources import add_source
from twin_assets.orchestration.partitions import authors
from twin_assets_tests.conftest import raw

BLOG = "https://skerrow.example/feed.xml"
TWEET = {"tweet": {"id_str": "1", "created_at": "Tue Jan 02 10:00:00 +0000 2024", "full_text": "The tide is late."}}
ACCOUNT = {"account": {"accountId": "9", "username": "ada"}}


@pytest.fixture
def collector(project, dagster_instance):
    return Collector(project, lambda: nullcontext(dagster_instance))


@pytest.fixture
def ada(collector, project):
    collector.add_author("ada", "Ada Example", Consent(who="Ada Example"))
    return project.warehouse.profiles.get("ada")


@pytest.fixture
def writing(tmp_path) -> Path:
    """A folder with one piece that can be read and one that cannot."""
    folder = tmp_path / "writing"
    folder.mkdir()
    (folder / "tide.md").write_text("# The tide\n\nIt is late again.")
    (folder / "broken.md").write_bytes(b"\0\1\2")
    return folder


@pytest.fixture
def upload(tmp_path):
    """upload(name, members) -> a zip as the server keeps it until somebody takes it over."""

    def make(name: str, members: dict[str, str]) -> Path:
        folder = tmp_path / "uploads"
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(folder / name, "w") as archive:
            for member, text in members.items():
                archive.writestr(member, text)
        return folder / name

    return make


def export_of_x() -> dict[str, str]:
    parts = {"account": [ACCOUNT], "tweets": [TWEET]}
    members = {f"data/{name}.js": f"window.YTD.{name}.part0 = {json.dumps(rows)}" for name, rows in parts.items()}
    return members | {"Your archive.html": "<html></html>"}


def only(overview: Overview) -> SourceStatus:
    [standing] = overview.sources
    return standing


def test_a_profile_is_kept_with_its_consent_and_becomes_a_partition(ada, dagster_instance):
    assert ada.consent.who == "Ada Example"
    assert abs(ada.consent.when - utcnow()).total_seconds() < 60
    assert [choice.name for choice in ada.recipes] == ["smollm2-cpu"]
    assert dagster_instance.get_dynamic_partitions(str(authors.name)) == ["ada"]


@pytest.mark.parametrize(("author", "says"), [("ada", "already exists"), ("Ada L", "use 1 to 63"), ("", "use 1 to")])
def test_an_id_that_is_taken_or_none_is_refused(collector, ada, author, says):
    with pytest.raises(BadInput, match=says):
        collector.add_author(author, "Ada", Consent(who="Ada"))


def test_an_id_whose_erasure_has_not_ended_is_refused(collector, ada, project):
    (project.settings.data_dir / "eve.erasing").write_text("[]")
    with pytest.raises(BadInput, match="the erasure of eve has not finished"):
        collector.add_author("eve", "Eve", Consent(who="Eve"))


def test_the_place_tells_its_platform_and_a_choice_overrides_it(collector, ada, writing):
    assert collector.add_source("ada", NewSource(BLOG, cron="0 6 * * *"), of_this_machine=True).platform == "blog"
    assert collector.add_source("ada", NewSource(f" {writing} "), of_this_machine=True).platform == "files"
    with pytest.raises(BadSource, match="files cannot read"):
        collector.add_source("ada", NewSource(BLOG, platform="files"), of_this_machine=True)


def test_a_place_that_is_added_again_in_the_app_keeps_what_only_twin_can_say(collector, ada, project):
    added = add_source(project, "ada", "medium", "@ada", token_env="A_TOKEN", options={"responses": "yes"})
    assert collector.add_source("ada", NewSource("@ada"), of_this_machine=True) == added


def test_a_token_in_place_of_its_name_is_refused_and_not_kept(collector, ada, project):
    with pytest.raises(BadInput, match="never the token") as error:
        collector.add_source("ada", NewSource(BLOG, token_env="ghp_16C7e42F292c"), of_this_machine=True)
    assert "ghp" not in str(error.value)
    assert project.warehouse.profiles.get("ada").sources == []


@pytest.mark.parametrize("where", ["{}", "~/writing", "./writing", "../writing", "writing", "..\\writing", "/nowhere"])
def test_from_elsewhere_no_folder_of_this_machine_can_be_named(collector, ada, writing, monkeypatch, where):
    monkeypatch.chdir(writing.parent)
    monkeypatch.setenv("HOME", str(writing.parent))
    for platform in (None, "files"):
        with pytest.raises(BadSource, match="give a URL or a handle"):
            collector.add_source("ada", NewSource(where.format(writing), platform), of_this_machine=False)


def test_from_elsewhere_a_url_is_a_source_and_folders_are_not_offered(collector, ada):
    assert collector.add_source("ada", NewSource(BLOG), of_this_machine=False).where == BLOG
    assert "files" in collector.platforms(of_this_machine=True)
    assert "files" not in collector.platforms(of_this_machine=False)


@pytest.mark.parametrize("where", ["", " ", "a" * 3000, "nonsense place", "\0"])
def test_what_is_no_place_is_refused_in_words(collector, ada, where):
    with pytest.raises(BadSource):
        collector.add_source("ada", NewSource(where), of_this_machine=True)


def collect_what_is_asked_for(instance: dg.DagsterInstance) -> None:
    """What a daemon does: ask the sensor, execute the runs that it wants."""
    repository = defs.get_repository_def()
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        tick = crawl_due.evaluate_tick(dg.build_sensor_context(instance=instance, repository_def=repository))
    for request in tick.run_requests or []:
        runs.run_job(instance, request.job_name, request.job_name, request.partition_key)


def test_a_source_goes_from_asked_for_to_collected_with_every_failure_named(
    collector, ada, writing, dagster_instance, project
):
    source = collector.add_source("ada", NewSource(str(writing)), of_this_machine=True)
    assert only(collector.overview("ada")).phase == "never"
    collector.request_crawl("ada", source.id)
    before = collector.overview("ada")
    assert (only(before).phase, before.under_way, before.daemon_runs) == ("waiting", True, False)
    collect_what_is_asked_for(dagster_instance)
    after = collector.overview("ada")
    standing = only(after)
    assert (standing.phase, after.under_way, standing.crawl.new) == ("done", False, 1)
    assert [row["item"] for row in standing.crawl.failed] == ["broken.md"]
    (writing / "tide.md").unlink()
    (writing / "broken.md").unlink()
    collector.request_crawl("ada", source.id)
    collect_what_is_asked_for(dagster_instance)
    failed = only(collector.overview("ada"))
    assert failed.phase == "failed"
    assert "holds no usable file" in failed.crawl.error


def test_a_running_crawl_shows_what_it_has_done_and_one_that_died_was_broken_off(
    collector, ada, writing, dagster_instance, project
):
    source = collector.add_source("ada", NewSource(str(writing)), of_this_machine=True)
    project.warehouse.crawls.save("ada", source.id, {"started_at": utcnow(), "finished_at": None, "new": 7})
    job = defs.resolve_job_def("collect_files")
    run = dagster_instance.create_run_for_job(
        job, tags={"dagster/partition": "ada"}, status=dg.DagsterRunStatus.STARTED
    )
    standing = only(collector.overview("ada"))
    assert (standing.phase, standing.crawl.new) == ("collecting", 7)
    dagster_instance.report_run_failed(run)
    assert only(collector.overview("ada")).phase == "broken off"


class Watched:
    """A platform that notes, before each item, what a watcher would see."""

    platform: ClassVar[str] = "watched"
    accepted: ClassVar[str] = "anything"

    def __init__(self, look: Any) -> None:
        self.look, self.seen = look, []

    def accepts(self, where: str) -> bool:
        return True

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Any:
        for n in range(3):
            self.seen.append(self.look())
            yield Found(Item(external_id=str(n), content=f"text {n}", category=Category.POST))


def test_the_report_of_a_crawl_can_be_seen_while_it_runs(project, monkeypatch):
    monkeypatch.setattr(seam, "NOTE_S", 0)
    watched = Watched(lambda: project.warehouse.crawls.for_author("ada")["one"])
    with WebClient(project.settings) as http:
        crawl("ada", Source(id="one", platform="watched", where="x"), watched, project.warehouse, http)
    assert [(row["new"], row["finished_at"]) for row in watched.seen] == [(0, None), (1, None), (2, None)]
    assert project.warehouse.crawls.for_author("ada")["one"]["finished_at"] is not None


def test_an_uploaded_export_waits_in_the_inbox_and_is_read_into_a_source(
    collector, ada, upload, dagster_instance, project
):
    file = upload("My X export!.zip", export_of_x())
    assert "is an export of x" in collector.receive("ada", file, own_files=False)
    assert not file.exists()
    overview = collector.overview("ada")
    [name] = overview.inbox
    assert name.endswith("-My-X-export.zip")
    assert overview.under_way
    path = overview.inbox_folder / name
    os.utime(path, (path.stat().st_mtime - 60,) * 2)
    collect_what_is_asked_for(dagster_instance)
    after = collector.overview("ada")
    standing = only(after)
    assert (after.inbox, standing.phase, standing.place) == ([], "done", "by exports only")
    assert (standing.export.new, standing.export.file) == (1, name)
    assert "days old" in standing.notice


def test_an_uploaded_zip_of_own_files_is_a_source_and_the_next_of_its_name_takes_its_place(
    collector, ada, upload, dagster_instance, project
):
    for text, counts in (("one", (1, 0)), ("two", (0, 1))):
        collector.receive("ada", upload("notes.zip", {"a.md": text}), own_files=True)
        assert only(collector.overview("ada")).phase == "waiting"
        collect_what_is_asked_for(dagster_instance)
        standing = only(collector.overview("ada"))
        assert (standing.crawl.new, standing.crawl.changed) == counts
    assert standing.place == "notes.zip, uploaded"
    assert Path(standing.source.where).parent == inbox.inbox_of(project, "ada") / inbox.IMPORTED


@pytest.mark.parametrize("name", ["..zip", ".hidden.zip", "~.zip", "a\\..\\b.zip", f"{'é' * 100}.zip"])
def test_an_upload_is_kept_under_a_plain_name_in_its_authors_folder(collector, ada, upload, project, name):
    collector.receive("ada", upload(name, {"a.md": "words"}), own_files=True)
    [kept] = (inbox.inbox_of(project, "ada") / inbox.IMPORTED).iterdir()
    assert not kept.name.startswith(".")
    assert kept.name.isascii()


def test_an_upload_that_is_no_export_is_refused_at_once_and_not_kept(collector, ada, upload, tmp_path):
    file = upload("notes.zip", {"a.md": "words"})
    with pytest.raises(BadSource, match=r"notes\.zip is not an export of .*markdown"):
        collector.receive("ada", file, own_files=False)
    assert not file.exists()
    for content in (b"words", b"PK but no zip"):
        file = tmp_path / "letter.zip"
        file.write_bytes(content)
        with pytest.raises(BadSource, match=r"letter\.zip is not a (readable )?zip archive") as error:
            collector.receive("ada", file, own_files=True)
        assert str(tmp_path) not in str(error.value)
    overview = collector.overview("ada")
    assert (overview.inbox, overview.sources) == ([], [])


def test_what_was_refused_in_the_inbox_is_shown_with_the_reason(collector, ada, project):
    folder = inbox.inbox_of(project, "ada")
    folder.mkdir(parents=True)
    (folder / "a.zip").write_text("no zip")
    inbox.set_aside(folder / "a.zip", inbox.REFUSED, "a.zip is not a zip archive")
    assert collector.overview("ada").refused == [("a.zip", "a.zip is not a zip archive")]


def test_a_removed_source_is_gone_and_its_documents_stay(collector, ada, writing, dagster_instance, project):
    source = collector.add_source("ada", NewSource(str(writing)), of_this_machine=True)
    collector.request_crawl("ada", source.id)
    collect_what_is_asked_for(dagster_instance)
    collector.remove_source("ada", source.id)
    assert collector.overview("ada").sources == []
    assert [document.deleted_at for document in project.warehouse.documents.for_author("ada")] == [None]


def test_a_document_is_left_out_of_what_is_said_and_of_nothing_else(collector, ada, project):
    project.warehouse.documents.upsert([raw("a", "words")])
    first = collector.exclude("ada", "ada:files:a", ["training"])
    assert (first.uses, first.changed, first.daemon_runs) == (["training"], True, False)
    assert collector.exclude("ada", "ada:files:a", ["quoting"]).changed
    assert [document.left_out for document in project.warehouse.documents.for_author("ada")] == [["quoting"]]
    assert not collector.exclude("ada", "ada:files:a", ["quoting"]).changed
    with pytest.raises(NotThere):
        collector.exclude("ada", "ben:files:a", [])
