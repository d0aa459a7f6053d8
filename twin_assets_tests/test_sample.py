"""The sample author's writing, read the way a user's folder is read."""

import runpy
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime

import pytest

from twin_assets.cli.demo import SAMPLE, SAMPLE_AUTHOR
from twin_assets.collection.events import Event, Found, Item, ListingComplete
from twin_assets.collection.platforms.files import FilesCrawler
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, Source
from twin_assets.settings import Settings

WRITING = SAMPLE / SAMPLE_AUTHOR
PYTHON = sorted((WRITING / "code").glob("*.py"))


@pytest.fixture(scope="module")
def events() -> list[Event]:
    source = Source(id="sample", platform="files", where=str(WRITING))
    with WebClient(Settings(_env_file=None)) as http:
        return list(FilesCrawler().collect(source, {}, http))


@pytest.fixture(scope="module")
def items(events) -> list[Item]:
    return [event.item for event in events if isinstance(event, Found)]


def prose(items: list[Item]) -> list[Item]:
    return [item for item in items if item.category is not Category.CODE]


def test_the_sample_is_large_enough_to_learn_a_voice_from(items):
    assert Counter(item.category for item in items) == {Category.ARTICLE: 40, Category.POST: 75, Category.CODE: 14}


def test_every_file_of_the_sample_is_read_and_none_fails_or_is_left_out(events, items):
    files = {
        path.relative_to(WRITING).as_posix()
        for path in WRITING.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {item.external_id for item in items} == files
    noteworthy = [e for e in events if not isinstance(e, Found | ListingComplete) and "__pycache__" not in str(e)]
    assert all(type(event).__name__ == "Checkpoint" for event in noteworthy), noteworthy
    assert ListingComplete() in events


def test_no_two_documents_of_the_sample_share_a_text_an_address_or_a_title(items):
    for name, values in {
        "content": [" ".join(item.content.split()) for item in items],
        "url": [item.url for item in prose(items)],
        "title": [item.title for item in items],
    }.items():
        assert [value for value, count in Counter(values).items() if count > 1] == [], name


def test_front_matter_agrees_with_where_a_file_lies_and_what_it_is_called(items):
    for item in prose(items):
        folder, _, name = item.external_id.partition("/")
        day, slug = name[:10], name[11:].removesuffix(".md")
        page = {"articles": "notes", "posts": "posts"}[folder]
        assert item.category == folder.removesuffix("s")
        assert item.url == f"https://skerrow.example/{page}/{slug}"
        assert item.published_at == datetime.fromisoformat(day).replace(tzinfo=UTC)
        assert datetime(2021, 1, 1, tzinfo=UTC) <= item.published_at < datetime(2026, 10, 1, tzinfo=UTC)
        assert item.title
        assert item.metadata["tags"]
        assert item.visibility == "public"


def test_articles_are_long_posts_are_short_and_all_of_them_end(items):
    words = {Category.ARTICLE: range(250, 600), Category.POST: range(50, 200)}
    for item in prose(items):
        assert len(item.content.split()) in words[item.category], item.external_id
        last = item.content.split("\n")[-1]
        assert last.startswith("#") or last.rstrip(" 🌊🔧🥖").endswith((".", "?", ")", "`")), (item.external_id, last)


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.stem)
def test_the_samples_python_imports_without_doing_anything(path, capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert runpy.run_path(str(path))["__doc__"]
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_the_samples_code_gives_the_figures_its_articles_give():
    code = {path.stem: runpy.run_path(str(path)) for path in PYTHON}
    assert code["median_of_seven"]["middle_of_seven"]([2104, 2106, 4503, 2105, 2107, 2104, 2105]) == (2105, 1)
    assert code["median_of_seven"]["alias_period_s"](370, 360) == 13_320
    assert round(code["mussel_filter"]["lag_mm"](0.29, 9)) == 14
    assert round(code["egg_timer"]["clock_error_level_mm"](94)) == 27
    assert len(set(code["egg_timer"]["LEAP_DAYS"])) == 27
    assert code["mean_direction"]["on_the_board"]([350, 10]) == "N"
    wheels = code["five_wheels"]["WHEELS"]
    assert round(code["five_wheels"]["days_to_part"](*wheels[:2]), 2) == 14.77


def test_the_samples_other_languages_are_programs_too(tmp_path):
    with closing(sqlite3.connect(tmp_path / "skerrow.db")) as db:
        db.executescript((WRITING / "code" / "daily_means.sql").read_text())
        assert db.execute("SELECT * FROM daily").fetchall() == []
    subprocess.run(["bash", "-n", WRITING / "code" / "all_quiet.sh"], check=True)
