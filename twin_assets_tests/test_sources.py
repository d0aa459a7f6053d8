from pathlib import Path

import pytest

from twin_assets.errors import BadSource, NotThere
from twin_assets.sources import add_source, remove_source
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
        ("files", "a" * 3000, r"is no place that can be looked up \(File name too long\)"),
        ("blog", "https://a.example/\0", r"is no place that can be looked up \(embedded null byte\)"),
    ],
)
def test_what_no_crawler_can_read_is_refused_with_the_way_out(stores, ada, platform, where, says):
    with pytest.raises(BadSource, match=says):
        add_source(stores, "ada", platform, where)
    assert stores.warehouse.profile("ada").sources == []


@pytest.mark.parametrize("cron", ["", "daily", "0 6 * *", "61 * * * *", "0 0 31 2 *", "0 6 * * * *"])
def test_a_cron_line_that_never_comes_is_refused(stores, ada, cron):
    with pytest.raises(BadSource, match="is no cron line: write five fields such as"):
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


def test_removing_what_is_not_there_names_what_is(stores, ada):
    add_source(stores, "ada", "blog", FEED)
    with pytest.raises(NotThere, match=r"ada has no source 'x' \(sources: blog-skerrow-example\)"):
        remove_source(stores, "ada", "x")


def test_an_unknown_author_is_an_error(stores, ada):
    with pytest.raises(NotThere, match="no author 'bob'"):
        add_source(stores, "bob", "blog", FEED)
