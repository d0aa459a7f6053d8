"""The Sources tab: what its buttons do and for whom, and in a real browser from a new author to what was collected."""

import threading
import zipfile
from collections.abc import Sequence
from datetime import timedelta
from html import unescape
from pathlib import Path

import dagster as dg
import pytest
from fastapi.testclient import TestClient

from twin_assets.collection import inbox
from twin_assets.collection.sensors import crawl_due
from twin_assets.definitions import defs
from twin_assets.documents import ApiKey, AuthorProfile, Consent, Proof, Source, utcnow
from twin_assets.errors import NotThere
from twin_assets.operations import runs as dagster_runs
from twin_assets.operations.collection_status import CollectionResult, Overview, Phase, SourceStatus
from twin_assets.operations.collector import NewSource
from twin_assets.serving.access import OPERATOR, Access, Caller, new_key
from twin_assets.serving.app import source_cards
from twin_assets.serving.app.sources_actions import EVERY, SourcesDesk
from twin_assets.serving.failures import BodyLimit
from twin_assets.serving.server import build_app
from twin_assets.stores import Stores
from twin_assets_tests.conftest import setting
from twin_assets_tests.serving.app.test_page import EVIL
from twin_assets_tests.serving.world import collector, running

BEN = Caller("ben")
BLOG = NewSource("https://skerrow.example/feed.xml")


@pytest.fixture(autouse=True)
def uploads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is uploaded here goes away with the test."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))


@pytest.fixture
def two_authors(stores: Stores) -> Stores:
    for author, name in (("ada", "Ada Example"), ("ben", "Ben Other")):
        stores.warehouse.add_profile(AuthorProfile(id=author, name=name, consent=Consent(who=name)))
    return stores


@pytest.fixture
def desk(two_authors: Stores) -> SourcesDesk:
    return SourcesDesk(collector(two_authors), Access(two_authors.warehouse, "127.0.0.1"))


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    path = tmp_path / "notes.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tide.md", "# The tide\n\nIt is late.")
    return path


def test_the_operator_adds_an_author_who_states_that_the_writing_is_theirs(desk, stores):
    for name, who, agreed, says in (
        ("", "Eve", True, "give the author"),
        ("Eve", "Eve", False, "tick the statement"),
        ("Eve", " ", True, "tick the statement"),
    ):
        refused = desk.add_author(OPERATOR, "eve", name, who, agreed=agreed)
        assert says in unescape(refused.said)
        assert not refused.worked
    assert desk.add_author(OPERATOR, "eve", "Eve", "Eve Example", agreed=True).worked
    assert stores.warehouse.profile("eve").consent.who == "Eve Example"
    assert "Eve Example stated on" in desk.show(OPERATOR, "eve").html


def test_nobody_else_adds_an_author(desk, stores):
    assert "only the operator" in desk.add_author(BEN, "eve", "Eve", "Eve", agreed=True).said
    assert [profile.id for profile in stores.warehouse.profiles()] == ["ada", "ben"]


def test_who_logged_in_as_one_author_sees_and_changes_nothing_of_another(desk, stores, zipped):
    desk.add_source(OPERATOR, "ada", BLOG)
    [source] = stores.warehouse.profile("ada").sources
    with pytest.raises(NotThere):
        desk.show(BEN, "ada")
    for refused in (
        desk.add_source(BEN, "ada", BLOG),
        desk.remove(BEN, "ada", source.id),
        desk.collect(BEN, "ada", EVERY),
        desk.receive(BEN, "ada", zipped, own_files=True),
    ):
        assert "there is no author" in refused.said
    assert stores.warehouse.profile("ada").sources == [source]
    assert stores.warehouse.crawl_requests() == []
    assert not inbox.inbox_of(stores, "ada").exists()


def test_who_logged_in_names_no_folder_and_no_secret_of_the_server(desk, stores, tmp_path):
    (tmp_path / "writing").mkdir()
    assert desk.add_source(OPERATOR, "ben", NewSource(str(tmp_path / "writing"))).worked
    assert "give a URL or a handle" in desk.add_source(BEN, "ben", NewSource(str(tmp_path / "writing"))).said
    assert "ask its operator" in desk.add_source(BEN, "ben", NewSource(BLOG.where, token_env="MONGODB_URI")).said
    assert desk.add_source(BEN, "ben", BLOG).worked
    assert {source.token_env for source in stores.warehouse.profile("ben").sources} == {None}


def test_one_source_or_all_of_them_are_asked_for(desk, stores):
    assert "no such source" in desk.collect(OPERATOR, "ada", EVERY).said
    for where in (BLOG.where, "https://other.example/"):
        desk.add_source(OPERATOR, "ada", NewSource(where))
    first, second = (source.id for source in stores.warehouse.profile("ada").sources)
    assert "asked for blog" in desk.collect(OPERATOR, "ada", second).said
    assert [request["source_id"] for request in stores.warehouse.crawl_requests()] == [second]
    assert "2 sources" in desk.collect(OPERATOR, "ada", EVERY).said
    assert {request["source_id"] for request in stores.warehouse.crawl_requests()} == {first, second}
    shown = desk.show(OPERATOR, "ada")
    assert shown.under_way
    assert [value for _, value in shown.sources] == [EVERY, first, second]


def test_a_removed_source_is_no_longer_listed_and_its_documents_are_said_to_stay(desk, stores):
    desk.add_source(OPERATOR, "ada", BLOG)
    assert "choose one" in desk.remove(OPERATOR, "ada", EVERY).said
    [source] = stores.warehouse.profile("ada").sources
    assert "the documents that came from it stay" in desk.remove(OPERATOR, "ada", source.id).said
    assert "No source yet" in desk.show(OPERATOR, "ada").html
    assert "choose an author" in desk.remove(OPERATOR, None, source.id).said


def shown(
    *standings: SourceStatus, daemon: bool = True, operator: bool = True, waits: Sequence[str] = (), name: str = "Ada"
) -> str:
    profile = AuthorProfile(id="ada", name=name, consent=Consent(who=name))
    overview = Overview(standings, waits, [("b.zip", f"is no zip {name}")], Path("/data/inbox/ada"), daemon)
    return source_cards.overview(profile, overview, utcnow(), operator=operator)


def standing(phase: Phase = "never", cron: str | None = None, **more: object) -> SourceStatus:
    source = Source(id="blog-x", platform="blog", where="https://x.example", cron=cron)
    return SourceStatus(source, phase, **{"place": "https://x.example"} | more)


def test_failures_are_listed_one_by_one_with_their_reasons_up_to_a_limit():
    failed = [{"item": f"post {n}", "reason": "answered 500"} for n in range(60)]
    crawl = CollectionResult(utcnow() - timedelta(hours=3), new=12, changed=3, unchanged=5, gone=1, failed=failed)
    page = shown(standing("done", crawl=crawl))
    assert "Last crawl 3 hours ago: 12 new, 3 changed, 5 unchanged, 1 gone, 60 failed, 0 skipped" in page
    assert page.count("answered 500") == 50
    assert "… and 10 more" in page


def test_what_others_wrote_is_shown_and_never_obeyed():
    items = [{"item": EVIL, "reason": EVIL}]
    reading = CollectionResult(utcnow(), failed=items, skipped=items, error=EVIL, file=EVIL)
    page = shown(
        standing("failed", crawl=reading, export=reading, notice=EVIL, place=EVIL, cron=EVIL), waits=[EVIL], name=EVIL
    )
    assert "<img" not in page


@pytest.mark.parametrize(("operator", "says"), [(True, "<code>dagster dev</code>"), (False, "ask this server’s")])
def test_what_waits_for_a_daemon_says_so_where_none_runs(operator, says):
    asked = standing("waiting", asked_at=utcnow())
    for waiting in (shown(asked, daemon=False, operator=operator), shown(daemon=False, operator=operator, waits=["a"])):
        assert says in waiting
    assert says in shown(standing(cron="0 6 * * *"), daemon=False, operator=operator)
    assert "within half a minute" in shown(asked)
    assert says not in shown(asked, operator=operator)
    assert says not in shown(standing(), daemon=False, operator=operator)


def test_a_request_that_a_daemon_leaves_lying_sends_to_the_runs():
    assert "Dagster UI" in shown(standing("waiting", asked_at=utcnow() - timedelta(minutes=5)))


def test_the_inbox_and_its_refusals_are_shown_and_the_folder_to_the_operator_only():
    assert "a.zip waits to be read" in shown(waits=["a.zip"])
    assert "b.zip</b> was refused: is no zip" in shown()
    assert "/data/inbox/ada" in shown()
    assert "/data/inbox/ada" not in shown(operator=False)


def test_whether_a_source_is_proven_to_be_the_authors_is_said():
    assert "unproven: the author’s consent" in shown(standing())
    proven = Source(id="b", platform="blog", where="x", proof=Proof(kind="token", url="https://x.example/about"))
    assert "proven by a token on https://x.example/about" in shown(SourceStatus(proven))


def test_when_a_source_is_collected_is_said_in_words():
    assert "every day at six (UTC)" in shown(standing(cron="0 6 * * *"))
    assert "by hand" in shown(standing())
    assert "at cron 5 4 * * * (UTC)" in shown(standing(cron="5 4 * * *"))


def test_an_upload_may_be_larger_than_a_request_but_not_without_end(two_authors):
    app = build_app(two_authors, "127.0.0.1", pytest.fail, collector(two_authors))
    local = TestClient(app, base_url="http://127.0.0.1:7860")
    large = {"files": ("a.zip", b"PK" + b"x" * 1_500_000)}
    assert local.post("/gradio_api/upload", files=large).status_code == 200
    assert local.post("/gradio_api/queue/join", files=large).status_code == 413
    small = TestClient(BodyLimit(app, 1_000, max_upload_bytes=1_000_000), base_url="http://127.0.0.1:7860")
    assert small.post("/gradio_api/upload", files=large).status_code == 413


def test_from_elsewhere_nobody_uploads_without_a_login(two_authors):
    key, sha256 = new_key()
    two_authors.warehouse.change_profile("ada", setting(api_keys=[ApiKey(label="k", sha256=sha256)]))
    app = build_app(two_authors, "0.0.0.0", pytest.fail, collector(two_authors))
    remote = TestClient(app, base_url="http://twin.example")
    files = {"files": ("a.zip", b"PK")}
    assert remote.post("/gradio_api/upload", files=files).status_code == 401
    remote.post("/login", data={"author": "ada", "key": key})
    assert remote.post("/gradio_api/upload", files=files).status_code == 200
    labels = [str(component["props"].get("value")) for component in remote.get("/config").json()["components"]]
    assert "Add this source" in labels
    assert "Add this author" not in labels


def collect_what_is_asked_for(stores: Stores) -> None:
    """What a daemon does: ask the sensor, execute the runs that it wants."""
    with dg.DagsterInstance.local_temp(str(stores.settings.data_dir / "dagster")) as instance:
        repository = defs.get_repository_def()
        with dg.partition_loading_context(dynamic_partitions_store=instance):
            tick = crawl_due.evaluate_tick(dg.build_sensor_context(instance=instance, repository_def=repository))
        for request in tick.run_requests or []:
            dagster_runs.run_job(instance, request.job_name, request.job_name, request.partition_key)


@pytest.mark.browser
def test_in_a_browser_an_author_and_a_source_are_added_and_what_was_collected_is_seen(
    chromium, project, tmp_path, zipped
):
    writing = tmp_path / "writing"
    writing.mkdir()
    (writing / "tide.md").write_text("# The tide\n\nIt is late again.")
    (writing / "broken.md").write_bytes(b"\0\1\2")
    problems = []
    with running(build_app(project, "127.0.0.1", pytest.fail, collector(project))) as url:
        page = chromium.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(url)
        form = page.locator("#first-author")
        form.locator(".twin-name :is(input, textarea)").fill("Ada Example")
        form.locator(".twin-id :is(input, textarea)").fill("ada")
        form.locator(".twin-consent :is(input, textarea)").fill("Ada Example")
        form.locator(".twin-add-author").click()
        page.wait_for_selector("#first-author >> text=tick the statement")
        form.locator("[type=checkbox]").check()
        form.locator(".twin-add-author").click()
        page.wait_for_selector("#source-said >> text=ada is added")
        page.wait_for_selector("#source-list >> text=Ada Example stated on")

        page.fill("#where :is(input, textarea)", "nowhere at all")
        page.click("#add-source")
        page.wait_for_selector("#source-added >> text=nothing can be collected from")
        page.fill("#where :is(input, textarea)", str(writing))
        page.click("#add-source")
        page.wait_for_selector(".twin-phase.never")
        page.click("#collect")
        page.wait_for_selector(".twin-phase.waiting")
        assert "dagster dev" in page.inner_text("#source-list")

        daemon = threading.Thread(target=collect_what_is_asked_for, args=[project])
        daemon.start()
        page.wait_for_selector(".twin-phase.done")
        daemon.join()
        assert "1 new, 0 changed, 0 unchanged, 0 gone, 1 failed" in page.inner_text(".twin-place")
        assert not page.is_visible("text=broken.md")
        page.click(".twin-items summary")
        assert "is binary" in page.inner_text(".twin-items li >> nth=0")

        page.check("#own-files input")
        with page.expect_file_chooser() as chooser:
            page.click("#upload")
        chooser.value.set_files(zipped)
        page.wait_for_selector("#received >> text=notes.zip is now a source")
        page.wait_for_selector(".twin-place >> text=notes.zip, uploaded")
        page.close()
    assert problems == []
    assert {document.external_id for document in project.warehouse.documents("ada")} == {"tide.md"}
