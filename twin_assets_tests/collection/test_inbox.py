"""Exports that are dropped into an author's inbox folder."""

import os
import time
import zipfile
from pathlib import Path

import pytest

from twin_assets.collection import inbox
from twin_assets.collection.crawler import ArchiveCrawler, crawlers
from twin_assets.documents import Source
from twin_assets.errors import BadSource


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


def test_what_still_grows_is_left_alone(stores, drop):
    drop("new.zip", {"a": "b"}, age=1)
    done = drop("done.zip", {"a": "b"}, age=10)
    assert inbox.waiting(stores, "ada") == [done]


def test_an_author_without_an_inbox_has_nothing_waiting(stores):
    assert inbox.waiting(stores, "nobody") == []


def test_what_is_no_export_is_refused_with_what_to_do(drop, tmp_path):
    with pytest.raises(BadSource, match=r"notes\.zip is no export that is known .*twin source add ID files"):
        inbox.platform_of(drop("notes.zip", {"notes.md": "# Hello"}))
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(BadSource, match=r"a\.txt is no zip archive"):
        inbox.platform_of(tmp_path / "a.txt")


def test_setting_aside_never_overwrites(drop):
    first = inbox.set_aside(drop("a.zip", {"a": "1"}), inbox.IMPORTED)
    second = inbox.set_aside(drop("a.zip", {"a": "2"}), inbox.REFUSED, "because")
    third = inbox.set_aside(drop("a.zip", {"a": "3"}), inbox.REFUSED)
    assert [first.name, second.name, third.name] == ["a.zip", "a.zip", "a-2.zip"]
    assert second.with_name("a.zip.why.txt").read_text() == "because\n"


def test_every_platform_with_exports_says_how_to_ask_for_one(stores, ada):
    with_exports = {name: crawler for name, crawler in crawlers().items() if isinstance(crawler, ArchiveCrawler)}
    for platform, crawler in with_exports.items():
        source = Source(id=f"{platform}-inbox", platform=platform, where="inbox")
        assert crawler.needs_archives(source)
        notice = inbox.archive_notice(stores, "ada", source)
        assert notice == f"no export of {platform} has been read yet. {crawler.archive_steps}"
