import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from twin_assets.collection.crawl import CrawlReport, crawl
from twin_assets.collection.locations import platform_for
from twin_assets.collection.registry import crawlers
from twin_assets.content.web import WebClient
from twin_assets.documents import utcnow
from twin_assets.errors import BadInput, BadSource, NotThere
from twin_assets.operations.sources import add_source, remove_source
from twin_assets_tests.conftest import raw

FEED = "https://skerrow.example/feed.xml"


def test_a_source_is_added_under_a_readable_id(stores, ada):
    added = add_source(stores, "ada", "blog", FEED, token_env="TOKEN", cron="0 6 * * *")
    assert added.id == "blog-skerrow-example"
    assert stores.warehouse.profile("ada").sources == [added]


def test_adding_the_same_place_again_changes_what_is_given_and_keeps_the_rest(stores, ada):
    first = add_source(stores, "ada", "medium", "@ada", token_env="TOKEN", cron="@weekly", options={"responses": "yes"})
    again = add_source(stores, "ada", "medium", "@ada", cron="@daily")
    assert again == first.model_copy(update={"cron": "@daily"})
    other = add_source(stores, "ada", "medium", "@ada", token_env="OTHER", options={"author": "Ada"})
    assert other.options == {"author": "Ada"}
    [kept] = stores.warehouse.profile("ada").sources
    assert (kept.id, kept.token_env, kept.cron) == (first.id, "OTHER", "@daily")


def test_an_option_that_the_platform_does_not_have_is_refused_naming_those_it_has(stores, ada):
    with pytest.raises(BadSource, match=r"medium has no option 'response' .*responses: yes takes answers"):
        add_source(stores, "ada", "medium", "@ada", options={"response": "yes"})
    with pytest.raises(BadSource, match=r"blog has no option 'x' \(options: none\)"):
        add_source(stores, "ada", "blog", FEED, options={"x": "1"})
    assert stores.warehouse.profile("ada").sources == []


def test_two_places_of_one_host_are_two_sources(stores, ada):
    ids = [add_source(stores, "ada", "blog", f"{FEED}?n={n}").id for n in range(3)]
    assert ids == ["blog-skerrow-example", "blog-skerrow-example-2", "blog-skerrow-example-3"]


def test_sources_that_are_added_and_removed_at_once_do_not_undo_each_other(stores, ada):
    first = [add_source(stores, "ada", "blog", f"https://first.example/{n}.xml").id for n in range(6)]
    start = threading.Barrier(3)

    def remove_all() -> None:
        start.wait(60)
        for source_id in first:
            remove_source(stores, "ada", source_id)

    def add_six(host: str) -> None:
        start.wait(60)
        for n in range(6):
            add_source(stores, "ada", "blog", f"https://{host}.example/{n}.xml")

    with ThreadPoolExecutor(3) as threads:
        for done in [threads.submit(remove_all), *(threads.submit(add_six, host) for host in ("second", "third"))]:
            done.result()
    kept = sorted(source.where for source in stores.warehouse.profile("ada").sources)
    assert kept == [f"https://{host}.example/{n}.xml" for host in ("second", "third") for n in range(6)]


@pytest.mark.parametrize("way", ["writing", "writing/", "./writing", "~/writing"])
def test_a_folder_is_kept_by_its_absolute_path_because_the_daemon_works_elsewhere(
    stores, ada, tmp_path, monkeypatch, way
):
    (tmp_path / "writing").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Path(add_source(stores, "ada", "files", way).where) == tmp_path / "writing"
    add_source(stores, "ada", "files", str(tmp_path / "writing"))
    assert len(stores.warehouse.profile("ada").sources) == 1


def test_a_url_stays_as_it_was_given_even_when_a_folder_is_called_like_it(stores, ada, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "https:" / "skerrow.example").mkdir(parents=True)
    assert add_source(stores, "ada", "blog", "https://skerrow.example").where == "https://skerrow.example"


@pytest.mark.parametrize(
    ("platform", "where", "says"),
    [
        ("myspace", FEED, "no crawler for platform 'myspace': use one of blog, files"),
        ("blog", "ftp://a.example/", r"blog cannot read ftp://a\.example/: give the http\(s\) URL of a feed"),
        ("blog", "http://[x", r"blog cannot read http://\[x: give the http\(s\) URL of a feed"),
        ("files", "/nowhere/at/all", "files cannot read /nowhere/at/all: give a folder or a .zip"),
        ("files", "", "files cannot read : give a folder or a .zip"),
        ("files", "a" * 3000, r"cannot be looked up \(File name too long\)"),
        ("blog", "https://a.example/\0", r"cannot be looked up \(embedded null byte\)"),
    ],
)
def test_what_no_crawler_can_read_is_refused_with_the_way_out(stores, ada, platform, where, says):
    with pytest.raises(BadSource, match=says):
        add_source(stores, "ada", platform, where)
    assert stores.warehouse.profile("ada").sources == []


@pytest.mark.parametrize("token", ["ghp_16C7e42F292c", "glpat-16C7e42F292c", "s3cret", "S3CRET "])
def test_a_token_in_place_of_its_name_is_refused_and_not_repeated(stores, ada, token):
    with pytest.raises(BadInput, match="give the NAME of the variable that holds the token") as caught:
        add_source(stores, "ada", "medium", "@ada", token_env=token)
    assert token not in str(caught.value)
    assert stores.warehouse.profile("ada").sources == []


@pytest.mark.parametrize(
    ("platform", "where"),
    [
        ("blog", "https://ada:s3cret@skerrow.example/feed.xml"),
        ("blog", " https://s3cret@skerrow.example"),
        ("blog", "ftp://ada:s3cret@skerrow.example"),
        ("substack", "substack:https://ada:s3cret@tides.example"),
        ("gitlab", "gitlab:https://oauth2:s3cret@code.example/ada"),
        ("files", "https://ada:s3cret@skerrow.example/notes.zip"),
    ],
)
def test_a_url_with_a_password_is_refused_and_not_repeated(stores, ada, platform, where):
    for refuse in (partial(add_source, stores, "ada", platform), platform_for):
        with pytest.raises(BadSource, match="give it without what comes before the @") as caught:
            refuse(where)
        assert "s3cret" not in str(caught.value)
    assert stores.warehouse.profile("ada").sources == []


@pytest.mark.parametrize("where", ["https://medium.com/@ada", "https://medium.com//@ada", "medium:@ada", "@ada"])
def test_the_name_in_a_handle_is_no_login(stores, ada, where):
    assert add_source(stores, "ada", "medium", where).where == where


@pytest.mark.parametrize("cron", ["", "daily", "0 6 * *", "61 * * * *", "0 0 31 2 *", "0 6 * * * *"])
def test_a_cron_line_that_never_comes_is_refused(stores, ada, cron):
    with pytest.raises(BadSource, match="is not a cron line: write five fields such as"):
        add_source(stores, "ada", "blog", FEED, cron=cron)


def test_removing_a_source_keeps_its_documents(stores, ada):
    source = add_source(stores, "ada", "blog", FEED)
    stores.warehouse.upsert_documents([raw("a", "words", source_id=source.id, platform="blog")])
    remove_source(stores, "ada", source.id)
    assert stores.warehouse.profile("ada").sources == []
    assert [document.deleted_at for document in stores.warehouse.documents("ada")] == [None]


def test_a_source_that_comes_back_has_its_old_id_and_so_its_documents(stores, ada):
    first = add_source(stores, "ada", "blog", FEED)
    remove_source(stores, "ada", first.id)
    assert add_source(stores, "ada", "blog", FEED).id == first.id


def crawl_folder(stores, source) -> CrawlReport:
    with WebClient(stores.settings) as web:
        return crawl("ada", source, crawlers()["files"], stores.warehouse, web)


def test_another_place_gets_another_id_than_a_removed_one_and_leaves_its_documents_alone(stores, ada, tmp_path):
    for home in ("old", "new"):
        (tmp_path / home / "notes").mkdir(parents=True)
        (tmp_path / home / "notes" / f"{home}.md").write_text(f"# The {home} notebook\n\nIt is {home}.")
    old = add_source(stores, "ada", "files", str(tmp_path / "old" / "notes"))
    crawl_folder(stores, old)
    remove_source(stores, "ada", old.id)
    new = add_source(stores, "ada", "files", str(tmp_path / "new" / "notes"))
    assert (old.id, new.id) == ("files-notes", "files-notes-2")
    report = crawl_folder(stores, new)
    assert (report.new, report.gone) == (1, 0)
    alive = [document.external_id for document in stores.warehouse.documents("ada", deleted=False)]
    assert alive == ["new.md", "old.md"]

    remove_source(stores, "ada", new.id)
    assert add_source(stores, "ada", "files", old.where).id == old.id
    assert crawl_folder(stores, old).unchanged == 1


@pytest.mark.parametrize(
    "leave",
    [
        lambda warehouse: warehouse.upsert_documents([raw("a", "words", source_id="blog-skerrow-example")]),
        lambda warehouse: warehouse.save_crawl_state("ada", "blog-skerrow-example", {"page": 2}),
        lambda warehouse: warehouse.save_crawl("ada", "blog-skerrow-example", {"where": f"{FEED}?old"}),
        lambda warehouse: warehouse.save_import("ada", "blog-skerrow-example", utcnow(), {"where": f"{FEED}?old"}),
    ],
)
def test_whatever_is_left_of_a_source_keeps_its_id_taken(stores, ada, leave):
    leave(stores.warehouse)
    assert add_source(stores, "ada", "blog", FEED).id == "blog-skerrow-example-2"


def test_removing_what_is_not_there_names_what_is(stores, ada):
    add_source(stores, "ada", "blog", FEED)
    with pytest.raises(NotThere, match=r"ada has no source 'x' \(sources: blog-skerrow-example\)"):
        remove_source(stores, "ada", "x")


def test_an_unknown_author_is_an_error(stores, ada):
    with pytest.raises(NotThere, match="no author 'bob'"):
        add_source(stores, "bob", "blog", FEED)
