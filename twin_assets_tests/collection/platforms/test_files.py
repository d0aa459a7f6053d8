import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime

import pytest

from twin_assets.collection.events import Checkpoint, Failed, Found, ListingComplete, Unchanged
from twin_assets.collection.platforms.files import FilesCrawler
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, Source
from twin_assets.errors import BadSource
from twin_assets.settings import Settings

MARKDOWN = """---
title: "On tides: a note"
date: 2024-03-01
url: https://skerrow.example/tides
category: post
tags: [tides, gauges]
---
The gauge lies. I do not.
"""


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "writing"
    (root / "code").mkdir(parents=True)
    (root / "tides.md").write_text(MARKDOWN)
    (root / "plain.md").write_text("# A heading in C# #\n\nNo front matter here, and that is fine.\n")
    (root / "code" / "median.py").write_text(
        "def median(levels_mm):\n    return sorted(levels_mm)[len(levels_mm) // 2]\n"
    )
    paragraphs = "".join(f"<p>Paragraph {n} tells of rain that fell on the harbour all day long.</p>" for n in range(5))
    article = f"<article><h1>Rain</h1>{paragraphs}</article>"
    page = f"<html><head><title>Rain</title></head><body><nav>Menu</nav>{article}</body></html>"
    (root / "rain.html").write_text(page)
    return root


def test_front_matter_and_extensions_say_what_a_file_is(collect, documents, folder):
    report = collect(folder)
    assert (report.new, report.failed, report.complete) == (4, [], True)
    found = documents()
    tides = found["tides.md"]
    assert (tides.category, tides.title, tides.url) == ("post", "On tides: a note", "https://skerrow.example/tides")
    assert tides.published_at == datetime(2024, 3, 1, tzinfo=UTC)
    assert tides.metadata["tags"] == ["tides", "gauges"]
    assert tides.content == "The gauge lies. I do not."
    assert (found["plain.md"].category, found["plain.md"].title) == (Category.ARTICLE, "A heading in C#")
    assert found["code/median.py"].category is Category.CODE
    assert "Menu" not in found["rain.html"].content
    assert "Paragraph 4" in found["rain.html"].content


def test_a_second_crawl_writes_nothing_and_keeps_the_data_version(collect, stores, folder):
    collect(folder)
    before = stores.warehouse.documents.data_version("ada", "files")
    report = collect(folder)
    assert (report.writes, report.unchanged) == (0, 4)
    assert stores.warehouse.documents.data_version("ada", "files") == before


def test_edits_update_deletions_are_tombstones_and_a_file_that_comes_back_lives(collect, documents, folder):
    collect(folder)
    (folder / "plain.md").write_text("# A heading\n\nRewritten.\n")
    (folder / "tides.md").unlink()
    report = collect(folder)
    assert (report.new, report.changed, report.gone, report.unchanged) == (0, 1, 1, 2)
    assert documents()["tides.md"].deleted_at is not None
    (folder / "tides.md").write_text(MARKDOWN)
    assert collect(folder).changed == 1
    assert documents()["tides.md"].deleted_at is None


@pytest.fixture
def trusted(folder, monkeypatch):
    """The folder, with the times of files trusted however young they are."""
    monkeypatch.setattr("twin_assets.collection.platforms.files.SETTLED_S", -60.0)
    return folder


def read_in(folder, state):
    with WebClient(Settings(_env_file=None)) as http:
        events = list(FilesCrawler().collect(Source(id="f", platform="files", where=str(folder)), state, http))
    read = {event.item.external_id for event in events if isinstance(event, Found)}
    kept = {name for event in events if isinstance(event, Unchanged) for name in event.external_ids}
    return read, kept, [event.state for event in events if isinstance(event, Checkpoint)][-1]


def test_only_what_changed_is_read_again(trusted, tmp_path, monkeypatch):
    everything, kept, state = read_in(trusted, {})
    assert (len(everything), kept) == (4, set())
    (trusted / "new.md").write_text("One more.\n")
    times = (trusted / "tides.md").stat()
    (trusted / "tides.md").write_text(MARKDOWN.replace("lies", "does"))
    os.utime(trusted / "tides.md", ns=(times.st_atime_ns, times.st_mtime_ns))
    state = json.loads(json.dumps(state))
    read, kept, later = read_in(trusted, state)
    assert read == {"new.md", "tides.md"}, "of the same size and time, and still another file"
    assert kept == everything - read
    assert read_in(trusted, later)[0] == set()
    assert read_in(trusted, state | {"version": "0"})[0] == everything | {"new.md"}, "by other code"
    assert read_in(shutil.copytree(trusted, tmp_path / "copy"), state)[0] == everything | {"new.md"}, "another folder"
    monkeypatch.setattr("twin_assets.collection.platforms.files.MAX_STAMPS", 4)
    assert read_in(trusted, later)[2]["files"] == []


def test_a_file_too_young_for_its_time_to_be_trusted_is_read_again(folder):
    everything, _, state = read_in(folder, {})
    assert (state["files"], read_in(folder, state)[0]) == ([], everything)


def test_a_file_that_was_away_or_could_not_be_stored_is_read_when_it_is_there(collect, documents, trusted):
    (trusted / os.fsdecode(b"caf\xe9.md")).write_text("Some words.")
    first, second = collect(trusted), collect(trusted)
    assert [len(report.failed) for report in (first, second)] == [1, 1]
    assert (first.new, second.unchanged) == (4, 4)
    moved = (trusted / "tides.md").rename(trusted.parent / "tides.md")
    assert collect(trusted).gone == 1
    moved.rename(trusted / "tides.md")
    assert collect(trusted).changed == 1
    assert documents()["tides.md"].deleted_at is None


def test_a_zip_is_read_like_the_folder_it_holds(collect, documents, folder, tmp_path):
    archive = tmp_path / "writing.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in folder.rglob("*"):
            file.write(path, path.relative_to(folder))
    collect(archive)
    assert set(documents()) == {"tides.md", "plain.md", "code/median.py", "rain.html"}


def test_bad_items_are_named_with_the_way_out_and_the_rest_goes_on(collect, documents, folder):
    (folder / "empty.md").write_bytes(b"")
    (folder / "huge.md").write_bytes(b"word " * 10_000_000)
    (folder / "picture.md").write_bytes(b"\x89PNG\r\n\0\0binary")
    (folder / "bad.md").write_text("---\ntitle: a: b: c\n---\ntext")
    (folder / "only-front.md").write_text("---\ntitle: x\n---\n")
    (folder / "photo.jpg").write_bytes(b"x")
    (folder / ".hidden.md").write_text("secret")
    report = collect(folder)
    reasons = {failure["item"]: failure["reason"] for failure in report.failed}
    assert set(reasons) == {"empty.md", "huge.md", "picture.md", "bad.md", "only-front.md"}
    assert "split it" in reasons["huge.md"]
    assert "binary" in reasons["picture.md"]
    assert "not YAML, line" in reasons["bad.md"]
    assert {row["item"] for row in report.skipped} == {"photo.jpg", ".hidden.md"}
    assert len(documents()) == 4


def test_an_item_that_can_no_longer_be_read_is_not_gone(collect, documents, folder):
    collect(folder)
    (folder / "tides.md").write_bytes(b"\0")
    report = collect(folder)
    assert (report.gone, len(report.failed)) == (0, 1)
    assert documents()["tides.md"].deleted_at is None


def test_a_folder_that_vanished_or_is_empty_takes_nothing_as_deleted(collect, documents, folder, tmp_path):
    collect(folder)
    folder.rename(tmp_path / "elsewhere")
    folder.mkdir()
    report = collect(folder)
    assert "holds no usable file" in report.error
    assert report.gone == 0
    assert not [document for document in documents().values() if document.deleted_at]


@pytest.mark.parametrize("name", ["../evil.md", "/etc/evil.md", "a/../../evil.md", "..\\evil.md", "C:\\evil.md"])
def test_a_name_that_leads_out_of_an_archive_is_refused_and_the_rest_read(collect, documents, tmp_path, name):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(name, "evil")
        file.writestr("good.md", "Good words.")
    report = collect(archive)
    assert [failure["reason"] for failure in report.failed] == ["has a name that leads out of the archive: rename it"]
    assert set(documents()) == {"good.md"}


def test_a_bomb_is_refused_unread(collect, tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.md", b"0" * 15_000_000)
        file.writestr("good.md", "Good words.")
    report = collect(archive)
    assert "looks like a zip bomb" in report.failed[0]["reason"]
    assert report.new == 1


def test_an_empty_or_broken_archive_says_so(collect, tmp_path):
    empty = tmp_path / "empty.zip"
    zipfile.ZipFile(empty, "w").close()
    assert "holds no usable file" in collect(empty).error
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK\x03\x04 not really")
    assert "is not a readable zip archive" in collect(broken).error


def test_links_out_of_the_folder_are_not_followed(collect, documents, folder, tmp_path):
    (tmp_path / "private.md").write_text("not for the twin")
    (folder / "link.md").symlink_to(tmp_path / "private.md")
    report = collect(folder)
    assert {"item": "link.md", "reason": "is a link to outside the folder"} in report.skipped
    assert "link.md" not in documents()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("﻿Café, with a mark.".encode(), "Café, with a mark."),
        ("Café, wide.".encode("utf-16"), "Café, wide."),
        ("Le café était fermé, déjà, à l'été où je suis arrivé.".encode("latin-1"), "Le café était fermé"),
    ],
)
def test_encodings_are_read(collect, documents, folder, data, text):
    (folder / "encoded.md").write_bytes(data)
    collect(folder)
    assert documents()["encoded.md"].content.startswith(text)


def test_a_place_that_nothing_reads_is_an_error_that_names_what_is_accepted(collect):
    with pytest.raises(BadSource, match=r"Give blog: the http\(s\) URL .*; files: a folder or a .zip"):
        collect("ftp://nowhere.example/")


KILLED = """
import sys, time
from pathlib import Path
from twin_assets.collection import crawl
from twin_assets.collection.platforms import files
from twin_assets.content.web import WebClient
from twin_assets.documents import Source
from twin_assets.settings import Settings
from twin_assets.stores import Stores

crawl.BATCH = 5
settings = Settings(_env_file=None, data_dir=Path(sys.argv[1]))
warehouse = Stores(settings).warehouse
def progress(line):
    print(line, flush=True)
    time.sleep(0.2)
source = Source(id="files-writing", platform="files", where=sys.argv[2])
with WebClient(settings) as http:
    crawl.crawl("ada", source, files.FilesCrawler(), warehouse, http, progress)
"""


def test_a_crawl_killed_in_the_middle_ends_as_if_it_never_was(settings, stores, collect, documents, tmp_path):
    root = tmp_path / "writing"
    root.mkdir()
    for n in range(60):
        (root / f"{n:02d}.md").write_text(f"Note {n}.\n")
    command = [sys.executable, "-c", KILLED, str(settings.data_dir), str(root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for _ in range(3):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.1)
    written = len(documents())
    assert 0 < written < 60
    report = collect(root)
    assert (report.new, report.unchanged, len(documents())) == (60 - written, written, 60)


@pytest.mark.parametrize(
    ("front", "says"),
    [
        ("date: !!timestamp 2024-02-30", "front matter that is not YAML"),
        ("title: !!python/object:os.system x", "front matter that is not YAML, line"),
    ],
)
def test_front_matter_that_cannot_be_read_is_named_and_the_rest_goes_on(collect, documents, folder, front, says):
    (folder / "bad.md").write_text(f"---\n{front}\n---\nSome words.\n")
    report = collect(folder)
    assert [failure["item"] for failure in report.failed] == ["bad.md"]
    assert says in report.failed[0]["reason"]
    assert len(documents()) == 4


@pytest.mark.parametrize("front", ["1: 2", "content: x", "handler: x", "- a list", "just words", "title: [a, b]"])
def test_odd_front_matter_is_no_error(collect, documents, folder, front):
    (folder / "odd.md").write_text(f"---\n{front}\n---\nSome words.\n")
    assert collect(folder).failed == []
    assert documents()["odd.md"].content == "Some words."


def test_aliases_in_front_matter_do_not_grow(collect, documents, folder):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    front = "\n".join([*lines, "tags: [*a8, mine]", "title: *a8"])
    (folder / "bomb.md").write_text(f"---\n{front}\n---\n# Quiet\n\nSome words.\n")
    collect(folder)
    assert (documents()["bomb.md"].title, documents()["bomb.md"].metadata["tags"]) == ("Quiet", ["mine"])


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_damaged_member_is_named_and_the_rest_read(collect, documents, tmp_path, method):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", method) as file:
        file.writestr("damaged.md", " ".join(str(n * n) for n in range(5_000)))
        file.writestr("good.md", "Good words.")
    data = bytearray(archive.read_bytes())
    data[80:280] = bytes(200)
    archive.write_bytes(data)
    report = collect(archive)
    assert [failure["item"] for failure in report.failed] == ["damaged.md"]
    assert "is damaged in the archive" in report.failed[0]["reason"]
    assert "make the archive again" in report.failed[0]["reason"]
    assert set(documents()) == {"good.md"}


def test_a_text_too_large_in_an_archive_is_refused_by_name_and_the_rest_read(collect, documents, tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        file.writestr("empty.md", b"")
        file.writestr("huge.md", b"word " * 10_000_000)
        file.writestr("picture.md", b"\x89PNG\r\n\0\0binary")
        file.writestr("good.md", "Good words.")
    report = collect(archive)
    reasons = {failure["item"]: failure["reason"] for failure in report.failed}
    assert reasons == {
        "empty.md": "is empty: write something into it, or delete it",
        "huge.md": "is 50 MB, more than 20 MB (TWIN_MAX_DOCUMENT_BYTES): split it",
        "picture.md": "is binary, whatever its name says: give text",
    }
    assert set(documents()) == {"good.md"}


def test_a_file_name_that_is_no_utf_8_is_named_and_the_rest_read(collect, documents, folder):
    (folder / os.fsdecode(b"caf\xe9.md")).write_text("Some words.")
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    report = collect(folder)
    assert [failure["item"] for failure in report.failed] == ["caf\\udce9.md"]
    assert report.skipped[0]["item"] == "caf\\udce9.jpg"
    assert len(documents()) == 4


def test_a_linked_folder_is_skipped_by_name(collect, documents, folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "private.md").write_text("not for the twin")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    report = collect(folder)
    assert [row["item"] for row in report.skipped] == ["linked", "loop"]
    assert len(documents()) == 4


@pytest.fixture
def locked():
    """locked(folder) takes away the right to open it, for this process too when it is root's."""
    touched = []

    def lock(path):
        for parent in path.parents:
            if parent.owner() == "root" and not parent.stat().st_mode & 0o005:
                touched.append((parent, parent.stat().st_mode))
                parent.chmod(0o755)
        touched.append((path, path.stat().st_mode))
        path.chmod(0)
        if os.geteuid() == 0:
            os.seteuid(65534)

    yield lock
    if os.getuid() == 0:
        os.seteuid(0)
    for path, mode in reversed(touched):
        path.chmod(mode)


def test_a_folder_that_cannot_be_opened_is_named_and_nothing_is_taken_as_deleted(folder, locked, settings, monkeypatch):
    monkeypatch.setitem(Settings.model_config, "env_file", None)  # the project's own is root's
    source = Source(id="x", platform="files", where=str(folder))
    locked(folder / "code")
    with WebClient(settings) as http:
        events = list(FilesCrawler().collect(source, {}, http))
    [failed] = [event for event in events if isinstance(event, Failed)]
    assert failed.item == "code/"
    assert "cannot be opened: allow reading it" in failed.reason
    assert sum(isinstance(event, Found) for event in events) == 3
    assert not [event for event in events if isinstance(event, ListingComplete)]
