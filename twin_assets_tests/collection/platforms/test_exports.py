"""An export archive goes through the same loop, and never overwrites what is newer."""

import zipfile
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from twin_assets.collection.crawl import CrawlReport, crawl
from twin_assets.collection.events import Event, Found, Item, ListingComplete
from twin_assets.content.archives import Archive, open_archive
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, Source, utcnow
from twin_assets.errors import BadSource

NOW = datetime.now(UTC).replace(microsecond=0)


class Paper:
    """A platform with a live way in and an export of text files."""

    platform: ClassVar[str] = "paper"
    accepted: ClassVar[str] = "a name, or an export with paper.txt"
    options: ClassVar[dict[str, str]] = {}
    archive_steps: ClassVar[str] = "ask for it"
    complete = False

    def __init__(self, live: dict[str, str]) -> None:
        self.live = live

    def accepts(self, where: str) -> bool:
        return where == "@ada"

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        yield from (Found(post(name, text)) for name, text in self.live.items())
        if self.complete:
            yield ListingComplete()

    def recognises(self, names: Collection[str]) -> bool:
        return "paper.txt" in names

    def needs_archives(self, source: Source) -> bool:
        return True

    def import_archive(self, source: Source, archive: Archive) -> Iterator[Event]:
        for name in archive.names:
            if name.startswith("posts/"):
                yield Found(post(name.removeprefix("posts/"), archive.text(name, 1_000)))
        yield ListingComplete()


def post(name: str, text: str) -> Item:
    return Item(external_id=name, content=text, category=Category.POST)


@pytest.fixture
def export(tmp_path):
    """export(days_ago, name=text…) -> the path of an export that was made then."""

    def make(days_ago: float, posts: dict[str, str], top: str = "") -> Path:
        made = NOW - timedelta(days=days_ago)
        path = tmp_path / f"{days_ago}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in {"paper.txt": "x", **{f"posts/{name}": text for name, text in posts.items()}}.items():
                archive.writestr(zipfile.ZipInfo(top + name, made.timetuple()[:6]), text)
        return path

    return make


@pytest.fixture
def play(stores, settings):
    """play(where, live) -> CrawlReport, always into the source `one`."""

    def run(where: object, **live: str) -> CrawlReport:
        with WebClient(settings) as http:
            return crawl(
                "ada", Source(id="one", platform="paper", where=str(where)), Paper(live), stores.warehouse, http
            )

    return run


@pytest.fixture
def texts(stores):
    return lambda: {d.external_id: d.content for d in stores.warehouse.documents("ada") if d.deleted_at is None}


def test_an_export_is_read_whole_and_says_when_it_was_made(play, export, texts):
    report = play(export(3, {"a": "one", "b": "two"}, top="my-export/"))
    assert (report.new, report.error, texts()) == (2, None, {"a": "one", "b": "two"})
    assert abs(report.archived_at - (NOW - timedelta(days=3))) < timedelta(seconds=3)


def test_an_older_export_never_overwrites_a_newer_one(play, export, texts):
    play(export(3, {"a": "new words"}))
    report = play(export(9, {"a": "old words"}))
    assert (report.writes, texts()) == (0, {"a": "new words"})
    play(export(1, {"a": "newest words"}))
    assert texts() == {"a": "newest words"}


def test_a_live_source_wins_over_every_export(play, export, texts):
    play("@ada", a="live words")
    report = play(export(-0.5, {"a": "archived words", "b": "older piece"}))
    assert (report.new, report.changed, texts()) == (1, 0, {"a": "live words", "b": "older piece"})


def test_what_a_live_source_confirms_is_the_live_sources_from_then_on(play, export, texts):
    play(export(3, {"a": "same"}))
    assert play("@ada", a="same").writes == 0
    play(export(1, {"a": "other"}))
    assert texts() == {"a": "same"}


def test_what_a_later_export_lacks_is_gone_and_what_was_written_after_it_is_not(play, export, texts):
    play(export(9, {"a": "one", "b": "two"}))
    play("@ada", c="written today")
    report = play(export(3, {"a": "one"}))
    assert (report.gone, texts()) == (1, {"a": "one", "c": "written today"})


def test_a_live_listing_says_nothing_of_what_only_an_export_brought(play, export, texts, monkeypatch):
    play(export(9, {"draft": "not published yet"}))
    monkeypatch.setattr(Paper, "complete", True)
    play("@ada", a="live words")
    assert texts() == {"draft": "not published yet", "a": "live words"}
    play("@ada", b="other words")
    assert texts() == {"draft": "not published yet", "b": "other words"}


def test_an_export_from_before_a_deletion_brings_nothing_back(play, export, texts, stores):
    play(export(9, {"a": "one", "b": "two"}))
    play(export(3, {"a": "one"}))
    report = play(export(5, {"a": "one", "b": "two"}))
    assert (report.writes, texts()) == (0, {"a": "one"})
    play(export(1, {"a": "one", "b": "two"}))
    assert texts() == {"a": "one", "b": "two"}


def test_a_source_that_waits_for_its_inbox_is_no_error(play):
    report = play("inbox")
    assert (report.error, report.writes) == (None, 0)


def test_an_export_that_is_no_zip_is_an_error_that_names_it(play, tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK no zip at all")
    assert "broken.zip is not a readable zip archive" in play(tmp_path / "broken.zip").error


def test_members_that_could_harm_are_named_and_the_others_read(play, tmp_path, texts):
    path = tmp_path / "harm.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("paper.txt", "x")
        archive.writestr("posts/a", "fine")
        archive.writestr("../../escape", "no")
        archive.writestr("posts/bomb", b"0" * 50_000_000)
    report = play(path)
    assert texts() == {"a": "fine"}
    assert sorted(failure["item"] for failure in report.failed) == ["../../escape", "posts/bomb"]


def test_a_folder_that_was_an_archive_reads_the_same(play, export, texts, tmp_path):
    with zipfile.ZipFile(export(3, {"a": "one"}, top="wrap/")) as archive:
        archive.extractall(tmp_path / "unpacked")
    (tmp_path / "unpacked" / "wrap" / "posts" / "link").symlink_to("/etc/hostname")
    play(tmp_path / "unpacked")
    assert texts() == {"a": "one"}


def test_what_macos_adds_to_an_archive_is_passed_over(export, tmp_path):
    path = export(3, {"a": "one"}, top="wrap/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/wrap/._paper.txt", "x")
        archive.writestr(".DS_Store", "x")
    with open_archive(path) as opened:
        assert opened.names == ["paper.txt", "posts/a"]


def test_an_archive_from_the_future_is_from_now(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("x", (2099, 1, 1, 0, 0, 0)), "x")
    with open_archive(path) as opened:
        assert opened.made_at <= utcnow() + timedelta(seconds=1)


def test_what_is_no_archive_is_an_error(tmp_path):
    (tmp_path / "a.zip").write_text("hello")
    with pytest.raises(BadSource, match="is not a readable zip archive"), open_archive(tmp_path / "a.zip"):
        pass
