"""The Writing tab: what it lists, what its radio does and for whom, and in a real browser a document left out."""

import time
from datetime import UTC, datetime, timedelta
from html import unescape

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat

from twin_assets.documents import AuthorProfile, Category, Consent
from twin_assets.errors import NotThere
from twin_assets.serving.access import OPERATOR, Access, Caller
from twin_assets.serving.app import document_list
from twin_assets.serving.app.documents_actions import LEFT_OUT_OF, PER_PAGE, DocumentsActions, FilterForm
from twin_assets.serving.server import build_app
from twin_assets.stores import Stores
from twin_assets_tests.conftest import raw, setting
from twin_assets_tests.serving.app.test_page import EVIL
from twin_assets_tests.serving.world import collector, running

BEN = Caller("ben")
GAUGE = "ada:files:gauge"


@pytest.fixture
def actions(stores: Stores) -> DocumentsActions:
    """Of ada, who has written three things, and ben, who has written one."""
    for author, name in (("ada", "Ada Example"), ("ben", "Ben Other")):
        stores.warehouse.profiles.add(AuthorProfile(id=author, name=name, consent=Consent(who=name)))
    stores.warehouse.documents.upsert(
        [
            raw("gauge", "I check the gauge by hand.", title="The Gauge", url="https://skerrow.example/gauge"),
            raw("post", "Fog again.", title=None, platform="x", category=Category.POST, visibility="private"),
            raw("median", "def despike(): ...", category=Category.CODE),
            raw("secret", "Ben's own words.", author="ben"),
        ]
    )
    return DocumentsActions(stores, collector(stores), Access(stores.warehouse, "127.0.0.1"))


def instance_of(stores: Stores) -> dg.DagsterInstance:
    """The instance that the app of these stores works with."""
    folder = stores.settings.data_dir / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    return dg.DagsterInstance.local_temp(str(folder))


def said(actions: DocumentsActions, use: str, who: Caller = OPERATOR, document_id: str = GAUGE) -> str:
    return unescape(actions.use_for(who, "ada", document_id, use).message)


def left_out(stores: Stores, document_id: str = GAUGE) -> list[str]:
    return next(stores.warehouse.documents.by_id([document_id])).left_out


def shown(actions: DocumentsActions, **fields: str) -> set[str]:
    """Which of ada's documents a search shows."""
    html = actions.page(OPERATOR, "ada", FilterForm(**fields)).html
    return {name for name in ("gauge", "post", "median") if f'data-document="ada:files:{name}"' in html}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, {"gauge", "post", "median"}),
        ({"title": " gAUGe "}, {"gauge"}),
        ({"title": "gauge.*"}, set()),
        ({"title": "gau\0ge"}, {"gauge"}),
        ({"platform": "x"}, {"post"}),
        ({"category": "code"}, {"median"}),
        ({"category": "poem"}, {"gauge", "post", "median"}),
        ({"visibility": "private"}, {"post"}),
        ({"visibility": "public", "category": "code"}, {"median"}),
        ({"left_out": "yes"}, {"median"}),
        ({"left_out": "no"}, {"gauge", "post"}),
    ],
)
def test_documents_are_found_by_title_platform_kind_visibility_and_use(actions, stores, fields, names):
    stores.warehouse.documents.leave_out("ada:files:median", ["quoting"])
    assert shown(actions, **fields) == names


def test_platforms_to_choose_from_are_those_of_the_authors_own_documents(actions):
    assert [value for _, value in actions.platforms(OPERATOR, "ada")] == ["", "files", "x"]
    assert [value for _, value in actions.platforms(BEN, "ben")] == ["", "files"]
    assert [value for _, value in actions.platforms(OPERATOR, None)] == [""]


def test_pages_are_of_25_newest_first_and_a_page_that_is_no_more_is_the_last_one(actions, stores):
    first = datetime(2026, 1, 1, tzinfo=UTC)
    dated = [raw(f"d{n}", "text", published_at=first + timedelta(days=n)) for n in range(2 * PER_PAGE)]
    stores.warehouse.documents.upsert(dated)
    newest = actions.page(OPERATOR, "ada", FilterForm())
    assert newest.html.index(f'files:d{2 * PER_PAGE - 1}"') < newest.html.index(f'files:d{PER_PAGE}"')
    assert (newest.position, newest.has_newer, newest.has_older) == ("1 to 25 of 53", False, True)
    last = actions.page(OPERATOR, "ada", FilterForm(), number=99)
    assert (last.number, last.position, last.has_newer, last.has_older) == (2, "51 to 53 of 53", True, False)
    assert actions.page(OPERATOR, "ada", FilterForm(), number=-1) == newest


def test_an_empty_list_says_why(actions, stores):
    stores.warehouse.documents.mark_deleted(["ben:files:secret"])
    assert "Nothing is collected yet" in actions.page(BEN, "ben", FilterForm()).html
    assert "No document matches" in actions.page(OPERATOR, "ada", FilterForm(title="nowhere")).html
    assert actions.page(OPERATOR, None, FilterForm()).html == ""


def test_what_was_deleted_at_its_source_is_neither_listed_nor_chosen(actions, stores):
    stores.warehouse.documents.mark_deleted([GAUGE])
    assert shown(actions) == {"post", "median"}
    assert "no longer exists" in actions.choose(OPERATOR, "ada", GAUGE).heading
    assert "no longer exists" in said(actions, "nothing")


def test_a_post_without_a_title_is_listed_by_its_first_words(actions):
    assert ">Fog again.</button>" in actions.page(OPERATOR, "ada", FilterForm()).html


def test_a_chosen_document_shows_its_link_its_use_and_at_most_1500_characters(actions, stores):
    chosen = actions.choose(OPERATOR, "ada", GAUGE)
    assert 'href="https://skerrow.example/gauge"' in chosen.heading
    assert (chosen.id, chosen.use) == (GAUGE, "training and quoting")
    assert "I check the gauge by hand." in chosen.beginning
    stores.warehouse.documents.upsert([raw("gauge", "tide " * 1000)])
    beginning = actions.choose(OPERATOR, "ada", GAUGE).beginning
    assert beginning.count("tide") == 300
    assert "…</div>" in beginning
    assert actions.choose(OPERATOR, "ada", None).id is None


def test_html_is_shown_as_text():
    page = raw("a", "<p>It is <b>late</b>.</p>", content_type="text/html")
    assert "It is **late**." in document_list.beginning(page)


@pytest.mark.parametrize(("allowed", "says"), [(True, "and models learn from it"), (False, "do not learn from it")])
def test_what_being_private_means_is_said(actions, stores, allowed, says):
    stores.warehouse.profiles.change("ada", setting(train_private=allowed))
    assert says in actions.choose(OPERATOR, "ada", "ada:files:post").heading
    assert "never quoted" not in actions.choose(OPERATOR, "ada", GAUGE).heading


def test_what_others_wrote_is_shown_and_never_obeyed(actions, stores):
    evil = raw(EVIL, EVIL, title=EVIL, url="javascript:alert(1)", platform=EVIL)
    stores.warehouse.documents.upsert([evil])
    chosen = actions.choose(OPERATOR, "ada", evil.id)
    page = actions.page(OPERATOR, "ada", FilterForm()).html + chosen.heading + chosen.beginning
    assert "<img" not in page
    assert "javascript:" not in page


@pytest.mark.parametrize("use", LEFT_OUT_OF)
def test_a_document_is_used_for_what_was_chosen_and_for_nothing_else(actions, stores, use):
    for before in LEFT_OUT_OF.values():
        stores.warehouse.documents.leave_out(GAUGE, list(before))
        assert actions.use_for(OPERATOR, "ada", GAUGE, use).worked
        assert set(left_out(stores)) == set(LEFT_OUT_OF[use])
        assert actions.choose(OPERATOR, "ada", GAUGE).use == use


def test_what_happens_next_is_said_as_twin_says_it(actions):
    training_only = said(actions, "training only")
    assert "“The Gauge” will be left out of quoting after the next features run" in training_only
    assert "start it: twin run ada --until instruction_dataset" in training_only
    assert "trained before" not in training_only
    assert "keeps what it learned from it until you train again" in said(actions, "nothing")
    assert "“The Gauge” is already left out of quoting and training" in said(actions, "nothing")
    assert "will be used again for training and quoting" in said(actions, "training and quoting")
    assert "choose what it may be used for" in said(actions, "everything")


def test_who_logged_in_from_elsewhere_is_sent_to_the_operator_for_the_run(actions):
    assert "ask this server’s operator" in said(actions, "nothing", Caller("ada"))


def test_where_a_daemon_runs_it_starts_the_features(actions, stores):
    with instance_of(stores) as instance:
        for daemon in instance.get_required_daemon_types():
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), daemon, None))
    assert "the daemon starts it now" in said(actions, "nothing")


def test_who_logged_in_as_one_author_sees_and_changes_nothing_of_another(actions, stores):
    with pytest.raises(NotThere):
        actions.page(BEN, "ada", FilterForm())
    with pytest.raises(NotThere):
        actions.platforms(BEN, "ada")
    for author in ("ada", "ben"):
        assert actions.choose(BEN, author, GAUGE).id is None
        assert not actions.use_for(BEN, author, GAUGE, "nothing").worked
    assert not actions.use_for(OPERATOR, "ben", GAUGE, "nothing").worked
    assert left_out(stores) == []
    assert "gauge" not in actions.page(BEN, "ben", FilterForm(title="gauge")).html


def test_another_authors_document_and_none_get_the_same_answer(actions):
    answers = {actions.choose(BEN, "ben", name).heading for name in (GAUGE, "ada:files:none", "ben:files:none")}
    assert len(answers) == 1


def test_leaving_a_document_out_asks_for_the_features_run_that_it_takes(actions, stores):
    assert actions.use_for(OPERATOR, "ada", GAUGE, "quoting only").worked
    with instance_of(stores) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey(["raw", "files"]))
    tags = event.asset_materialization.tags
    assert tags["dagster/data_version"] == stores.warehouse.documents.data_version("ada", "files")


@pytest.mark.browser
def test_in_a_browser_a_document_is_found_left_out_and_seen_to_be(chromium, actions, stores):
    stores.warehouse.documents.upsert([raw(f"n{n}", f"Note {n}.", title=f"Note {n}") for n in range(30)])
    stores.warehouse.documents.upsert([raw("evil", EVIL, title=EVIL)])
    problems = []
    with running(build_app(stores, "127.0.0.1", pytest.fail, collector(stores))) as url:
        page = chromium.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(url)
        page.get_by_role("tab", name="Writing").click()
        page.wait_for_selector("#position >> text=1 to 25 of 34")
        page.click("#older")
        page.wait_for_selector("#position >> text=26 to 34 of 34")
        page.fill("#find-title :is(input, textarea)", "gauge")
        page.wait_for_selector("#position >> text=1 to 1 of 1")
        page.click("#documents tbody button")
        page.wait_for_selector("#beginning >> text=I check the gauge by hand.")
        assert page.get_by_label("training and quoting").is_checked()
        page.get_by_label("quoting only").check()
        page.wait_for_selector("#use-said >> text=will be left out of training after the next features run")
        page.wait_for_selector("#documents .twin-use >> text=training")
        assert left_out(stores) == ["training"]

        page.reload()
        page.get_by_role("tab", name="Writing").click()
        page.get_by_label("Use", exact=True).click()
        page.get_by_role("option", name="left out of something").click()
        page.wait_for_selector("#position >> text=1 to 1 of 1")
        page.click("#documents tbody tr")
        page.wait_for_selector("#use")
        assert page.get_by_label("quoting only").is_checked()
        page.get_by_label("training and quoting").check()
        page.wait_for_selector("#documents >> text=No document matches")
        assert page.title() == "LLM Twin"
        page.close()
    assert left_out(stores) == []
    assert problems == []
