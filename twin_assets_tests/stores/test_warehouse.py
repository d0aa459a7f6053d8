"""The same rules on both: a NeoSQLite file, and MongoDB's protocol as nx-27017 speaks it."""

import multiprocessing
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from twin_assets.documents import ApiKey, AuthorProfile, Category, Consent, Gate, Interaction, RawDocument, utcnow
from twin_assets.errors import BadInput, NotThere
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets.stores.warehouse import DocumentFilter
from twin_assets_tests.conftest import raw
from twin_assets_tests.stores.conftest import manifest

GATE = Gate(name="recitation", value=1.0, limit=2.0, passed=True)


@pytest.fixture(scope="module")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of a server that answers like MongoDB."""
    from pymongo import MongoClient

    folder: Path = tmp_path_factory.mktemp("mongodb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    files = ["--data-dir", str(folder), "--log-file", str(folder / "log"), "--pid-file", str(folder / "pid")]
    server = subprocess.Popen([Path(sys.executable).with_name("nx-27017"), "--port", str(port), *files])
    uri = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    with MongoClient(uri, serverSelectionTimeoutMS=30_000) as client:
        client.admin.command("ping")
    yield uri
    server.terminate()
    server.wait(30)


@pytest.fixture(params=["neosqlite", "mongodb"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """The embedded warehouse, then a database of its own in MongoDB."""
    if request.param == "neosqlite":
        return settings
    name = f"test_{abs(hash(settings.data_dir))}"
    return settings.model_copy(
        update={"mongodb_uri": SecretStr(request.getfixturevalue("mongodb")), "mongodb_database": name}
    )


def test_a_document_comes_back_as_it_was_written(stores):
    document = raw(
        "a", "Tea & “toast” 🌊\n", published_at=datetime(2024, 1, 2, tzinfo=UTC), metadata={"tags": ["x"], "n": 1}
    )
    stores.warehouse.documents.upsert([document])
    assert list(stores.warehouse.documents.for_author("ada")) == [document]


def test_upserts_are_idempotent_and_keep_what_the_author_set(stores):
    stores.warehouse.documents.upsert([raw("a", "one")])
    stores.warehouse.documents.leave_out("ada:files:a", ["training"])
    before = stores.warehouse.documents.fingerprints("ada")
    stores.warehouse.documents.upsert([raw("a", "one")])
    assert stores.warehouse.documents.fingerprints("ada") == before
    assert next(stores.warehouse.documents.for_author("ada")).left_out == ["training"]


def test_a_tombstone_changes_the_data_version_and_a_second_one_does_not(stores):
    stores.warehouse.documents.upsert([raw("a", "one"), raw("b", "two")])
    alive = stores.warehouse.documents.data_version("ada", "files")
    assert stores.warehouse.documents.mark_deleted(["ada:files:a"]) == 1
    dead = stores.warehouse.documents.data_version("ada", "files")
    assert stores.warehouse.documents.mark_deleted(["ada:files:a"]) == 0
    assert stores.warehouse.documents.data_version("ada", "files") == dead != alive


def test_leaving_a_document_out_changes_the_data_version_and_taking_it_back_restores_it(stores):
    stores.warehouse.documents.upsert([raw("a", "one"), raw("b", "two")])
    before = stores.warehouse.documents.data_version("ada", "files")
    stores.warehouse.documents.leave_out("ada:files:a", ["training"])
    assert stores.warehouse.documents.data_version("ada", "files") != before
    stores.warehouse.documents.leave_out("ada:files:a", [])
    assert stores.warehouse.documents.data_version("ada", "files") == before


def test_erasing_an_author_counts_what_goes_and_leaves_the_others(stores, ada):
    ben = AuthorProfile(id="ben", name="Ben", consent=Consent(who="Ben"))
    stores.warehouse.profiles.add(ben)
    for author in ("ada", "ben"):
        stores.warehouse.documents.upsert([raw("a", "one", author=author), raw("b", "two", author=author)])
        stores.warehouse.crawl_requests.add(author, "files")
        stores.warehouse.crawl_states.save(author, "files", {"n": 1})
        stores.warehouse.imports.save(author, "files", utcnow(), {})
        stores.warehouse.aliases.move(author, "v1", "me", "good")
        stores.warehouse.monitoring_reports.save(author, "2026-11-24", {})
    assert stores.warehouse.erase("ada", ["author_profiles"]) == {"author_profiles": 1}
    counts = {name: count for name, count in stores.warehouse.erase("ada").items() if count}
    assert counts == {
        "raw_documents": 2, "crawl_requests": 1, "crawl_states": 1, "imports": 1, "model_aliases": 1,
        "monitoring_reports": 1,
    }  # fmt: skip
    assert not any(stores.warehouse.erase("ada").values())
    assert stores.warehouse.profiles.all() == [ben]
    assert len(stores.warehouse.documents.fingerprints("ben")) == 2
    assert (stores.warehouse.crawl_states.load("ben", "files"), stores.warehouse.aliases.find("ben")["version"]) == (
        {"n": 1},
        "v1",
    )


def test_one_author_never_sees_anothers_documents(stores):
    stores.warehouse.documents.upsert([raw("a", "mine"), raw("a", "theirs", author="bob")])
    assert [document.content for document in stores.warehouse.documents.for_author("ada")] == ["mine"]


def test_an_unknown_author_is_named_with_the_way_out(stores, ada):
    with pytest.raises(NotThere, match=r"no author 'bob' \(known: ada\): add one with `twin author add`"):
        stores.warehouse.profiles.get("bob")


def test_a_profile_is_added_once_and_never_over_another(stores, ada):
    with pytest.raises(BadInput, match="author ada already exists: choose another id"):
        stores.warehouse.profiles.add(AuthorProfile(id="ada", name="Another", consent=Consent(who="Another")))
    assert stores.warehouse.profiles.all() == [ada]


def with_key(label: str) -> Callable[[AuthorProfile], None]:
    return lambda profile: profile.api_keys.append(ApiKey(label=label, sha256="0" * 64))


def test_changes_of_one_profile_at_the_same_time_are_all_kept(stores, ada):
    start = threading.Barrier(4)

    def add_keys(name: str) -> None:
        start.wait(60)
        for n in range(8):
            stores.warehouse.profiles.change("ada", with_key(f"{name}{n}"))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add_keys, "abcd"))
    kept = sorted(key.label for key in stores.warehouse.profiles.get("ada").api_keys)
    assert kept == [f"{name}{n}" for name in "abcd" for n in range(8)]


def test_a_change_that_fails_changes_nothing_and_the_next_one_works(stores, ada):
    def fail(profile: AuthorProfile) -> None:
        profile.name = "Nobody"
        raise BadInput("no")

    with pytest.raises(BadInput, match="no"):
        stores.warehouse.profiles.change("ada", fail)
    assert stores.warehouse.profiles.get("ada") == ada
    changed = stores.warehouse.profiles.change("ada", with_key("k"))
    assert stores.warehouse.profiles.get("ada") == changed != ada


def test_an_author_who_is_erased_while_the_profile_is_changed_does_not_come_back(stores, ada):
    with pytest.raises(NotThere, match="no author 'ada'"):
        stores.warehouse.profiles.change("ada", lambda profile: stores.warehouse.erase(profile.id))
    assert stores.warehouse.profiles.all() == []


def test_an_author_who_is_added_again_while_the_old_profile_is_changed_stays_as_added(stores, ada):
    again = AuthorProfile(id="ada", name="Another", consent=Consent(who="Another"))

    def change(profile: AuthorProfile) -> None:
        if profile.name == ada.name:
            stores.warehouse.erase("ada")
            stores.warehouse.profiles.add(again)
        profile.train_private = True

    assert stores.warehouse.profiles.change("ada", change) == again.model_copy(update={"train_private": True})


def test_a_profile_written_before_there_were_revisions_can_be_changed(stores, ada):
    stores.warehouse.connection.db["author_profiles"].update_one({"_id": "ada"}, {"$unset": {"revision": ""}})
    stores.warehouse.profiles.change("ada", with_key("k"))
    assert [key.label for key in stores.warehouse.profiles.get("ada").api_keys] == ["k"]


@pytest.mark.parametrize("slug", ["Ada", "a b", "-a", "", "a/b", "..", "a" * 64])
def test_an_author_id_is_a_slug(slug):
    with pytest.raises(ValidationError):
        AuthorProfile(id=slug, name="x", consent=Consent(who="x"))


@given(st.text(), st.text())
def test_content_hash_follows_the_content_and_nothing_else(one, other):
    first, second = raw("a", one), raw("b", one, metadata={"likes": 3}, title="a")
    assert first.content_hash == second.content_hash
    assert (raw("a", other).content_hash == first.content_hash) == (one == other)


def _in_four_processes(write: Callable[[Settings, str, Barrier], None], settings: Settings) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(4)
    writers = [context.Process(target=write, args=(settings, name, start)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]


def _write(settings: Settings, name: str, start: Barrier) -> None:
    warehouse = Stores(settings).warehouse
    start.wait(60)
    for n in range(50):
        warehouse.documents.upsert([raw(f"{name}-{n}", f"text {n}"), raw("shared", f"by {name}, {n}")])
        warehouse.crawl_states.save("ada", name, {"n": n})


def test_four_processes_write_at_once_without_an_error_or_a_lost_document(settings, stores):
    _in_four_processes(_write, settings)
    assert len(stores.warehouse.documents.fingerprints("ada")) == 201
    assert all(stores.warehouse.crawl_states.load("ada", name) == {"n": 49} for name in "abcd")


def _write_the_same(settings: Settings, name: str, start: Barrier) -> None:
    warehouse = Stores(settings).warehouse
    for n in range(10):
        start.wait(60)
        warehouse.documents.upsert([raw(f"{n}-{m}", f"by {name}") for m in range(50)])
        warehouse.crawl_states.save("ada", f"{n}", {"by": name})


def test_documents_that_four_processes_find_new_at_the_same_time_are_written_once(settings, stores):
    _in_four_processes(_write_the_same, settings)
    assert len(stores.warehouse.documents.fingerprints("ada")) == 500


def test_what_the_author_sets_while_a_crawl_writes_is_kept(stores):
    ids = [f"ada:files:{n}" for n in range(100)]

    def crawl(version: int) -> None:
        stores.warehouse.documents.upsert([raw(f"{n}", f"version {version}") for n in range(100)])

    crawl(0)
    with ThreadPoolExecutor(1) as crawler:
        crawls = [crawler.submit(crawl, version) for version in range(1, 8)]
        for document_id in ids:
            stores.warehouse.documents.leave_out(document_id, ["training"])
        for done in crawls:
            done.result()
    assert all(document.left_out == ["training"] for document in stores.warehouse.documents.for_author("ada"))
    assert all(document.content == "version 7" for document in stores.warehouse.documents.for_author("ada"))


def test_what_a_crawl_must_know_of_a_source_comes_without_the_texts(stores):
    stores.warehouse.documents.upsert([raw("a", "one"), raw("b", "two"), raw("c", "three", source_id="other")])
    stores.warehouse.documents.mark_deleted(["ada:files:b"])
    known = stores.warehouse.documents.known("ada", "files")
    assert {name: document.deleted_at is not None for name, document in known.items()} == {
        "ada:files:a": False,
        "ada:files:b": True,
    }
    assert known["ada:files:a"].content_hash == raw("a", "one").content_hash


def test_a_tombstone_that_is_written_again_lives(stores):
    stores.warehouse.documents.upsert([raw("a", "one")])
    stores.warehouse.documents.mark_deleted(["ada:files:a"])
    stores.warehouse.documents.upsert([raw("a", "one")])
    assert [document.deleted_at for document in stores.warehouse.documents.for_author("ada", deleted=False)] == [None]


def test_documents_come_by_platform_source_and_id_and_are_counted(stores):
    stores.warehouse.documents.upsert(
        [raw(str(n), f"text {n}") for n in range(450)]
        + [raw("post", "x", source_id="blog", platform="blog", category="post")]
    )
    stores.warehouse.documents.mark_deleted(["ada:files:0"])
    assert [d.external_id for d in stores.warehouse.documents.for_author("ada", platform="blog")] == ["post"]
    assert len(list(stores.warehouse.documents.for_author("ada", source_id="files", deleted=False))) == 449
    ids = [f"ada:files:{n}" for n in range(450)]
    assert len(list(stores.warehouse.documents.by_id([*ids, "ada:files:none"]))) == 450
    assert stores.warehouse.documents.count_by_category("ada") == [
        {"platform": "blog", "category": "post", "alive": 1, "deleted": 0},
        {"platform": "files", "category": "article", "alive": 449, "deleted": 1},
    ]


def test_times_come_back_aware_and_in_utc(stores, ada):
    stores.warehouse.crawl_requests.add("ada", "files")
    stores.warehouse.crawls.save("ada", "files", {"started_at": utcnow(), "failed": [{"item": "a", "reason": "b"}]})
    times = [
        stores.warehouse.crawl_requests.all()[0]["asked_at"],
        stores.warehouse.crawls.for_author("ada")["files"]["started_at"],
        stores.warehouse.profiles.get("ada").created_at,
    ]
    assert all(utcnow() - time < timedelta(minutes=1) for time in times)


def test_a_crawls_request_is_answered_when_it_begins(stores):
    stores.warehouse.crawl_requests.add("ada", "files")
    stores.warehouse.crawl_requests.add("ada", "blog")
    stores.warehouse.crawl_requests.remove("ada", "files")
    assert [request["source_id"] for request in stores.warehouse.crawl_requests.all()] == ["blog"]


def test_a_crawlers_state_comes_back_whatever_its_keys(stores):
    state = {"pages": {"https://a.example/x.html?$y=1": {"modified": None, "validators": {"etag": '"1"'}}}}
    stores.warehouse.crawl_states.save("ada", "blog", state)
    assert stores.warehouse.crawl_states.load("ada", "blog") == state
    assert stores.warehouse.crawl_states.load("ada", "other") == {}


def test_the_places_of_all_sources_that_something_is_kept_of_are_known(stores):
    warehouse = stores.warehouse
    assert warehouse.source_places("ada") == {}
    warehouse.documents.upsert([raw("a", "x", source_id="blog-a"), raw("b", "x"), raw("c", "x", author="bob")])
    warehouse.crawl_states.save("ada", "blog-a", {"n": 1})
    warehouse.crawl_states.save("ada", "x-b", {"n": 1})
    warehouse.imports.save("ada", "blog-a", utcnow(), {"where": "/an/export"})
    warehouse.crawls.save("ada", "blog-a", {"where": "https://a.example"})
    warehouse.crawls.save("bob", "blog-b", {"where": "https://b.example"})
    assert warehouse.source_places("ada") == {"blog-a": "https://a.example", "files": None, "x-b": None}


def test_the_alias_keeps_its_history(stores):
    for version in ("v1", "v2"):
        stores.warehouse.aliases.move("ada", version, "me", "newer")
    alias = stores.warehouse.aliases.find("ada")
    assert (alias["version"], [entry["version"] for entry in alias["history"]]) == ("v2", ["v1", "v2"])
    assert stores.warehouse.aliases.find("bob") is None


def at_once(*calls: Callable[[], object]) -> None:
    """Make all calls at the same time, each in a thread of its own."""
    start = threading.Barrier(len(calls))

    def call(one: Callable[[], object]) -> None:
        start.wait(60)
        one()

    with ThreadPoolExecutor(len(calls)) as pool:
        list(pool.map(call, calls))


def test_moves_of_the_alias_at_once_are_all_in_its_history(stores):
    versions = [f"v{n}" for n in range(4)]
    for _ in range(5):
        at_once(*[partial(stores.warehouse.aliases.move, "ada", version, "me", "newer") for version in versions])
    alias = stores.warehouse.aliases.find("ada")
    assert sorted(entry["version"] for entry in alias["history"]) == sorted(versions * 5)
    assert alias["version"] == alias["history"][-1]["version"]


def test_an_evaluation_and_a_rejection_written_at_once_both_stay(stores):
    for n in range(10):
        stores.models.publish(manifest(f"v{n}"))
        at_once(
            partial(stores.models.save_evaluation, manifest(f"v{n}"), {"bits": {"base": 1.5, "adapter": None}}, [GATE]),
            partial(stores.models.reject, "ada", f"v{n}", "me", "it leaks"),
        )
    kept = stores.models.versions("ada")
    assert {(one.stage, one.reason, one.passed) for one in kept} == {("rejected", "it leaks", True)}
    assert [one.evaluation for one in kept] == [{"bits": {"base": 1.5, "adapter": None}}] * 10
    # nx-27017 gives a time that was updated without its zone.
    assert all(utcnow() - one.promoted_at.replace(tzinfo=UTC) < timedelta(minutes=1) for one in kept)


def test_a_stage_is_moved_without_what_was_read_of_the_version_before(stores):
    stores.models.publish(manifest("v1"))
    read = stores.models.version("ada", "v1")
    stores.models.save_evaluation(read, {"bits": 1.5}, [GATE])
    stores.warehouse.manifests.set_stage(read, "rejected", "me", "")
    assert stores.models.version("ada", "v1").passed


def test_a_version_that_was_erased_is_not_brought_back_by_what_was_read_before(stores):
    stores.models.publish(manifest("v1"))
    read = stores.models.version("ada", "v1")
    stores.models.erase("ada")
    stores.warehouse.manifests.set_stage(read, "rejected", "me", "")
    with pytest.raises(NotThere, match="no model version 'v1'"):
        stores.models.save_evaluation(read, {"bits": 1.5}, [GATE])
    assert stores.models.versions("ada") == []


def test_a_change_of_an_interaction_leaves_its_other_fields_alone(stores):
    made = Interaction(id="i", author="ada", model_version="v", prompt="p", draft="d", sources=["c"])
    stores.warehouse.interactions.save(made)
    for _ in range(10):
        stores.warehouse.interactions.change("ada", "i", {"rating": None, "edited": None, "consented": False})
        at_once(
            partial(stores.warehouse.interactions.change, "ada", "i", {"rating": "good"}),
            partial(stores.warehouse.interactions.change, "ada", "i", {"edited": "“mine”", "consented": True}),
        )
        wanted = made.model_copy(update={"rating": "good", "edited": "“mine”", "consented": True})
        assert stores.warehouse.interactions.for_author("ada") == [wanted]


def test_a_change_of_an_interaction_that_is_not_the_authors_writes_nothing(stores):
    made = Interaction(id="i", author="ada", model_version="v", prompt="p", draft="d")
    stores.warehouse.interactions.save(made)
    with pytest.raises(NotThere, match="ben has no draft i"):
        stores.warehouse.interactions.change("ben", "i", {"rating": "good"})
    assert (stores.warehouse.interactions.for_author("ada"), stores.warehouse.interactions.for_author("ben")) == (
        [made],
        [],
    )
    stores.warehouse.erase("ada")
    with pytest.raises(NotThere, match="ada has no draft i"):
        stores.warehouse.interactions.change("ada", "i", {"rating": "good"})
    assert stores.warehouse.interactions.for_author("ada") == []


def test_interactions_come_back_oldest_first(stores):
    made = [
        Interaction(id=name, author="ada", model_version="v", prompt="p", draft="d", created_at=utcnow() - age)
        for name, age in [("new", timedelta(0)), ("old", timedelta(days=1))]
    ]
    for interaction in made:
        stores.warehouse.interactions.save(interaction)
    assert stores.warehouse.interactions.for_author("ada") == made[::-1]


def test_unknown_fields_are_refused():
    with pytest.raises(ValidationError):
        RawDocument.model_validate(raw("a", "x").model_dump() | {"titel": "typo"})


def test_the_newest_documents_come_first_and_without_their_texts(stores):
    dated = [raw(str(n), "text", published_at=datetime(2026, 1, n + 1, tzinfo=UTC)) for n in range(6)]
    stores.warehouse.documents.upsert([*dated, raw("undated", "text")])
    stores.warehouse.documents.mark_deleted([dated[5].id])
    stores.warehouse.documents.upsert([dated[4], dated[2]])
    newest = stores.warehouse.documents.newest("ada", "files", 3)
    assert [row["title"] for row in newest] == ["4", "3", "2"]
    assert "content" not in newest[0]


def test_a_list_of_documents_comes_in_pages_newest_first_however_often_they_were_written(stores):
    dated = [raw(f"d{n}", "text", published_at=datetime(2026, 1, n + 1, tzinfo=UTC)) for n in range(6)]
    stores.warehouse.documents.upsert([*dated, raw("undated", "text"), raw("d9", "text", author="bob")])
    stores.warehouse.documents.upsert([dated[1], dated[4]])
    stores.warehouse.documents.mark_deleted([dated[5].id])
    pages = [stores.warehouse.documents.page("ada", DocumentFilter(), skip=skip, limit=2) for skip in (0, 2, 4)]
    assert [[row.title for row in page] for page in pages] == [["d4", "d3"], ["d2", "d1"], ["d0", "undated"]]
    assert stores.warehouse.documents.count("ada", DocumentFilter()) == 6
    assert pages[0][0].published_at.date() == dated[4].published_at.date()


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (DocumentFilter(title="TIDE (É"), ["a"]),
        (DocumentFilter(title="."), []),
        (DocumentFilter(platform="x"), ["b"]),
        (DocumentFilter(category=Category.CODE), ["c"]),
        (DocumentFilter(visibility="private"), ["b", "c"]),
        (DocumentFilter(visibility="private", category=Category.CODE), ["c"]),
        (DocumentFilter(left_out=True), ["c"]),
        (DocumentFilter(left_out=False), ["a", "b"]),
    ],
)
def test_a_list_of_documents_holds_those_that_meet_every_condition(stores, wanted, names):
    stores.warehouse.documents.upsert(
        [
            raw("a", "text", title="The tide (état)"),
            raw("b", "text", title=None, platform="x", visibility="private"),
            raw("c", "text", category=Category.CODE, visibility="private"),
        ]
    )
    stores.warehouse.documents.leave_out("ada:files:c", ["quoting"])
    assert sorted(row.id[-1] for row in stores.warehouse.documents.page("ada", wanted)) == names
    assert stores.warehouse.documents.count("ada", wanted) == len(names)


def test_the_platforms_of_an_author_are_those_of_documents_that_live(stores):
    stores.warehouse.documents.upsert([raw("a", "x"), raw("b", "x", platform="x"), raw("c", "x", platform="gone")])
    stores.warehouse.documents.upsert([raw("d", "x", platform="other", author="bob")])
    stores.warehouse.documents.mark_deleted(["ada:files:c"])
    assert stores.warehouse.documents.platforms("ada") == ["files", "x"]


def test_profiles_are_read_in_pages_ordered_by_id(stores):
    for author in ("cid", "ada", "ben"):
        stores.warehouse.profiles.add(AuthorProfile(id=author, name=author, consent=Consent(who=author)))
    assert [one.id for one in stores.warehouse.profiles.after("", 2)] == ["ada", "ben"]
    assert [one.id for one in stores.warehouse.profiles.after("ben", 2)] == ["cid"]
    assert stores.warehouse.profiles.after("cid", 2) == []


def test_what_a_dataset_was_judged_to_be_is_kept_for_each_recipe_and_goes_with_the_author(stores):
    for recipe, judged in (("a.b", "x"), ("tiny", "y"), ("a.b", "z")):
        stores.warehouse.judged_datasets.save("ada", recipe, judged)
    assert stores.warehouse.judged_datasets.for_author("ada") == {"a.b": "z", "tiny": "y"}
    assert stores.warehouse.judged_datasets.for_author("ben") == {}
    assert stores.warehouse.erase("ada")["judged_datasets"] == 2
