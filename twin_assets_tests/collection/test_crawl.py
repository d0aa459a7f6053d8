"""The one loop that consumes every crawler, fed by scripts of events and by real crawls in other processes."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from twin_assets.collection.crawl import BATCH, CrawlReport, crawl
from twin_assets.collection.events import Checkpoint, Failed, Found, Gone, Item, ListingComplete, Skipped, Unchanged
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, Source
from twin_assets.errors import BadSource


def found(name: str, content: str = "words") -> Found:
    return Found(Item(external_id=name, content=content, category=Category.POST))


class Scripted:
    """A platform that yields what it is told; an exception in the script is raised."""

    platform: ClassVar[str] = "scripted"
    accepted: ClassVar[str] = "anything"
    options: ClassVar[dict[str, str]] = {}

    def __init__(self, *events: Any) -> None:
        self.events = events
        self.started_from: dict[str, Any] | None = None

    def accepts(self, where: str) -> bool:
        return True

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Any]:
        self.started_from = state
        for event in self.events:
            if isinstance(event, BaseException):
                raise event
            yield event


@pytest.fixture
def play(stores, settings):
    """play(*events, source=…) -> CrawlReport of a crawl by a platform that yields these events."""

    def run(*events: Any, source: str = "one", author: str = "ada") -> CrawlReport:
        crawler = Scripted(*events)
        place = Source(id=source, platform="scripted", where="nowhere")
        with WebClient(settings) as http:
            report = crawl(author, place, crawler, stores.warehouse, http)
        run.started_from = crawler.started_from  # type: ignore[attr-defined]
        return report

    return run


@pytest.fixture
def alive(stores):
    """alive(source) -> external ids of what is no tombstone."""
    return lambda source="one", author="ada": {
        document.external_id
        for document in stores.warehouse.documents(author, source_id=source)
        if document.deleted_at is None
    }


def test_what_a_complete_listing_does_not_name_is_gone(play, alive):
    play(found("a"), found("b"), found("c"), ListingComplete())
    report = play(found("a"), Unchanged(("b",)), ListingComplete())
    assert (report.gone, alive()) == (1, {"a", "b"})


def test_an_item_that_failed_first_and_was_then_read_another_way_is_kept(play, alive):
    report = play(Failed("a", "the page did not answer"), found("a"), ListingComplete())
    assert (alive(), report.new, len(report.failed)) == ({"a"}, 1, 1)


def test_without_a_complete_listing_nothing_is_gone(play, alive):
    play(found("a"), found("b"), ListingComplete())
    report = play(found("a"))
    assert (report.gone, report.complete, alive()) == (0, False, {"a", "b"})


def test_what_the_source_itself_calls_deleted_is_gone_without_a_complete_listing(play, alive):
    play(found("a"), found("b"))
    report = play(Gone("a"), Gone("never seen"))
    assert (report.gone, alive()) == (1, {"b"})


def test_a_failed_item_is_named_and_not_gone(play, alive):
    play(found("a"), found("b"), ListingComplete())
    report = play(found("a"), Failed("b", "could not be read"), ListingComplete())
    assert report.failed == [{"item": "b", "reason": "could not be read"}]
    assert (report.gone, alive()) == (0, {"a", "b"})


def test_a_tombstone_falls_within_its_own_source_and_author_only(play, alive):
    for source, author in [("one", "ada"), ("two", "ada"), ("one", "bob")]:
        play(found("a"), found("b"), ListingComplete(), source=source, author=author)
    play(found("a"), ListingComplete())
    assert alive() == {"a"}
    assert alive("two") == alive("one", "bob") == {"a", "b"}


def test_a_source_whose_id_begins_with_anothers_keeps_its_documents(play, alive):
    play(found("a"), ListingComplete(), source="blog")
    play(found("a"), ListingComplete(), source="blog-2")
    play(ListingComplete(), source="blog")
    assert (alive("blog"), alive("blog-2")) == (set(), {"a"})


def test_a_source_that_breaks_off_keeps_what_it_gave_and_takes_nothing_as_deleted(play, alive, stores):
    play(found("a"), found("b"), ListingComplete())
    report = play(found("c"), ListingComplete(), BadSource("the token has expired: make a new one"))
    assert report.error == "the token has expired: make a new one"
    assert (report.gone, alive()) == (0, {"a", "b", "c"})
    assert stores.warehouse.crawls("ada")["one"]["error"] == report.error


def test_what_came_back_lives_again(play, alive):
    play(found("a"), ListingComplete())
    play(ListingComplete())
    assert alive() == set()
    assert play(found("a"), ListingComplete()).changed == 1
    assert alive() == {"a"}


def test_an_item_named_twice_is_one_document_and_the_first_counts(play, stores):
    report = play(found("a", "first"), found("a", "second"))
    assert report.new == 1
    assert [document.content for document in stores.warehouse.documents("ada")] == ["first"]


def test_what_is_no_document_is_counted_and_named(play):
    report = play(Skipped("photo.jpg", "is an image"), found("a"))
    assert (report.new, report.skipped) == (1, [{"item": "photo.jpg", "reason": "is an image"}])


def test_half_a_character_is_named_and_the_rest_goes_on(play, alive, stores):
    report = play(
        found("caf\udce9.md"), found("b", "half \ud83d"), Failed("\udce9", "no"), Skipped("\udce8", "no"), found("good")
    )
    assert [failure["item"] for failure in report.failed] == ["caf\\udce9.md", "b", "\\udce9"]
    assert "rename it, or save it as UTF-8" in report.failed[0]["reason"]
    assert alive() == {"good"}
    assert stores.warehouse.crawls("ada")["one"]["failed"] == report.failed


def test_the_state_is_saved_after_its_documents_and_the_next_crawl_goes_on_from_it(play, alive, stores):
    class Stop(Exception): ...

    with pytest.raises(Stop):
        play(found("a"), found("b"), Checkpoint({"page": 2}), found("c"), Stop())
    assert alive() == {"a", "b"}
    assert stores.warehouse.crawl_state("ada", "one") == {"page": 2}
    play(found("c"), ListingComplete())
    assert play.started_from == {"page": 2}


def test_a_deletion_is_written_before_the_state_that_will_not_name_it_again(play, alive, stores):
    class Stop(Exception): ...

    play(found("a"), found("b"))
    with pytest.raises(Stop):
        play(Gone("a"), Checkpoint({"cursor": 7}), Stop())
    assert alive() == {"b"}
    assert stores.warehouse.crawl_state("ada", "one") == {"cursor": 7}


def test_documents_are_written_before_too_many_wait_for_a_checkpoint(play, alive):
    class Stop(Exception): ...

    with pytest.raises(Stop):
        play(*(found(str(n)) for n in range(BATCH + 5)), Stop())
    assert len(alive()) == BATCH


def test_a_request_is_answered_when_its_crawl_begins(play, stores):
    stores.warehouse.ask_for_crawl("ada", "one")
    stores.warehouse.ask_for_crawl("ada", "two")
    play(found("a"))
    assert [request["source_id"] for request in stores.warehouse.crawl_requests()] == ["two"]


EVENTS = st.lists(
    st.one_of(
        st.builds(found, st.sampled_from("abcde"), st.sampled_from(["x", "y"])),
        st.builds(Gone, st.sampled_from("abcde")),
        st.builds(lambda n: Failed(n, "no"), st.sampled_from("abcde")),
        st.builds(lambda n: Unchanged((n,)), st.sampled_from("abcde")),
        st.builds(lambda n: Checkpoint({"n": n}), st.integers(0, 9)),
        st.just(ListingComplete()),
    ),
    max_size=12,
)


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=EVENTS, events=EVENTS, cut=st.integers(0, 12))
def test_a_crawl_that_dies_anywhere_and_runs_again_ends_as_if_it_never_had(play, stores, before, events, cut):
    class Killed(BaseException): ...

    for author in ("whole", "cut"):
        stores.warehouse.bury([row["_id"] for row in stores.warehouse.fingerprints(author)])
        play(*before, author=author)
    play(*events, author="whole")
    with pytest.raises(Killed):
        play(*events[:cut], Killed(), author="cut")
    play(*events, author="cut")

    def end(author: str) -> Any:
        documents = stores.warehouse.documents(author)
        state = stores.warehouse.crawl_state(author, "one")
        return [(d.external_id, d.content, d.deleted_at is None) for d in documents], state

    assert end("cut") == end("whole")


TWO_PHASED = """
    import sys
    from pathlib import Path
    from twin_assets.collection.events import Checkpoint, Found, Item, ListingComplete, Unchanged
    from twin_assets.collection.crawl import crawl
    from twin_assets.content.web import WebClient
    from twin_assets.documents import Category, Source
    from twin_assets.settings import Settings
    from twin_assets.stores import Stores

    folder, name, go_on = Path(sys.argv[1]), sys.argv[2], len(sys.argv) > 3

    class Paged:
        platform, accepted = "paged", "anything"

        def collect(self, source, state, http):
            start = state.get("page", 0)
            print("from", start, flush=True)
            yield Unchanged(tuple(f"{page}-{n}" for page in range(start) for n in range(5)))
            for page in range(start, 20):
                if page == 12 and not go_on:
                    print("waiting", flush=True)
                    sys.stdin.readline()
                for n in range(5):
                    yield Found(Item(f"{page}-{n}", f"Text {page} {n} of {name}.", Category.POST))
                yield Checkpoint({"page": page + 1})
            yield ListingComplete()

    settings = Settings(_env_file=None, data_dir=folder)
    with WebClient(settings) as http:
        source = Source(id=name, platform="paged", where="x")
        report = crawl("ada", source, Paged(), Stores(settings).warehouse, http)
    print("new", report.new, "gone", report.gone, flush=True)
"""


def start_crawl(folder: Path, name: str, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(TWO_PHASED), str(folder), name, *more],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def read_to(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for said in process.stdout:
        if said.startswith(line):
            return
    raise AssertionError(f"the crawl ended before it said {line!r}")


def test_a_killed_crawl_goes_on_from_its_last_checkpoint(settings, stores):
    process = start_crawl(settings.data_dir, "one")
    read_to(process, "waiting")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(stores.warehouse.fingerprints("ada")) == 60
    out, _ = start_crawl(settings.data_dir, "one", "go on").communicate(timeout=60)
    assert out == "from 12\nnew 40 gone 0\n"
    assert len(stores.warehouse.fingerprints("ada")) == 100


def test_two_processes_that_crawl_into_one_warehouse_at_once_lose_nothing(settings, stores):
    processes = [start_crawl(settings.data_dir, name) for name in ("one", "two")]
    for process in processes:
        read_to(process, "waiting")
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outs == ["new 100 gone 0\n"] * 2
    for name in ("one", "two"):
        contents = {d.external_id: d.content for d in stores.warehouse.documents("ada", source_id=name, deleted=False)}
        assert contents == {f"{p}-{n}": f"Text {p} {n} of {name}." for p in range(20) for n in range(5)}
        assert stores.warehouse.crawl_state("ada", name) == {"page": 20}
        assert stores.warehouse.crawls("ada")[name]["new"] == 100
