"""A source is proven by what a real page says, fetched from a real server."""

import pytest

from twin_assets.content.web import Response
from twin_assets.documents import Consent, Source
from twin_assets.errors import BadInput, NotThere
from twin_assets.operations.ownership import is_own_page, ownership_token, prove_source, rel_me_links
from twin_assets.operations.sources import add_source
from twin_assets_tests.collection.site import Page, Site


@pytest.fixture
def site():
    server = Site()
    yield server
    server.close()


@pytest.fixture
def home():
    server = Site()
    yield server
    server.close()


@pytest.fixture
def blog(stores, ada, site):
    """A source of ada's on `site`."""
    return add_source(stores, "ada", "blog", f"{site.url}/feed.xml")


def page(text: str) -> Page:
    return Page(f"<html><head><title>Ada</title></head><body>{text}</body></html>".encode())


def token_of(stores, source) -> str:
    return ownership_token(stores.warehouse.profile("ada"), source)


def proofs(stores) -> dict[str, str | None]:
    return {source.id: source.proof and source.proof.kind for source in stores.warehouse.profile("ada").sources}


def test_a_token_on_the_sources_own_page_proves_it(stores, blog, site):
    site.pages["/"] = page(f"<p>I write about tides. {token_of(stores, blog)}</p>")
    proven = prove_source(stores, "ada", blog.id, f"{site.url}/")
    assert (proven.proof.kind, proven.proof.url) == ("token", f"{site.url}/")
    assert stores.warehouse.profile("ada").source(blog.id) == proven


def test_without_a_page_the_sources_own_address_is_looked_at(stores, blog, site):
    site.pages["/feed.xml"] = Page(f"<rss><channel>{token_of(stores, blog)}</channel></rss>".encode(), "text/xml")
    assert prove_source(stores, "ada", blog.id).proof.url == f"{site.url}/feed.xml"


def test_a_token_written_with_html_entities_counts(stores, blog, site):
    site.pages["/"] = page(token_of(stores, blog).replace("=", "&#61;"))
    assert prove_source(stores, "ada", blog.id, f"{site.url}/").proof.kind == "token"


def test_a_token_follows_author_source_and_consent(stores, ada, blog):
    tokens = {ownership_token(ada, blog)}
    tokens.add(ownership_token(ada.model_copy(update={"id": "ben"}), blog))
    tokens.add(ownership_token(ada.model_copy(update={"consent": Consent(who="Ben")}), blog))
    tokens.add(ownership_token(ada, blog.model_copy(update={"id": "blog-2"})))
    assert len(tokens) == 4
    assert all(token.startswith("twin-assets-verify=") and len(token) == 35 for token in tokens)


def test_a_page_without_proof_says_what_to_write_and_leaves_the_source_unproven(stores, blog, site):
    site.pages["/"] = page("Tides.")
    with pytest.raises(BadInput, match=rf"contains neither {token_of(stores, blog)} nor .*such as the bio"):
        prove_source(stores, "ada", blog.id, f"{site.url}/")
    assert proofs(stores) == {blog.id: None}


def test_a_longer_number_that_begins_like_the_token_is_no_token(stores, blog, site):
    site.pages["/"] = page(token_of(stores, blog) + "0")
    with pytest.raises(BadInput, match="contains neither"):
        prove_source(stores, "ada", blog.id, f"{site.url}/")


def test_a_page_that_only_echoes_its_address_proves_nothing(stores, blog, site):
    token = token_of(stores, blog)
    site.pages[f"/feed.xml?q={token}"] = page(f"Nothing found for {token}")
    with pytest.raises(BadInput, match="itself contains the token"):
        prove_source(stores, "ada", blog.id, f"{site.url}/feed.xml?q={token}")


def test_a_page_of_somebody_else_proves_nothing(stores, blog, site, home):
    home.pages["/"] = page(token_of(stores, blog))
    with pytest.raises(BadInput, match=r"is not a page of"):
        prove_source(stores, "ada", blog.id, f"{home.url}/")
    site.pages["/"] = Page(b"", status=302, headers={"Location": f"{home.url}/"})
    with pytest.raises(BadInput, match=r"is not a page of"):
        prove_source(stores, "ada", blog.id, f"{site.url}/")
    assert proofs(stores) == {blog.id: None}


@pytest.fixture
def proven_home(stores, ada, home):
    """A second source, proven by its home page."""
    source = add_source(stores, "ada", "blog", f"{home.url}/posts/feed.xml")
    home.pages["/"] = page(token_of(stores, source))
    return prove_source(stores, "ada", source.id, f"{home.url}/")


def test_rel_me_links_both_ways_between_a_page_and_a_proven_one_prove_it(stores, blog, site, home, proven_home):
    site.pages["/"] = page(f'<a rel="nofollow ME" href="{home.url}">my home</a>')
    home.pages["/"] = Page(f'<html><head><link rel="me" href="{site.url}/#me"></head></html>'.encode())
    assert prove_source(stores, "ada", blog.id, f"{site.url}/").proof.kind == "rel_me"
    assert proofs(stores) == {blog.id: "rel_me", proven_home.id: "token"}


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ('<a rel="me" href="{home}/">', ""),
        ("", '<a rel="me" href="{site}/">'),
        ('<a href="{home}/">', '<a rel="me" href="{site}/">'),
        ('<a rel="me" href="{home}/">', '<a rel="me" href="{site}/other">'),
        ('<a rel="me" href="{home}/elsewhere">', '<a rel="me" href="{site}/">'),
    ],
)
def test_a_link_one_way_or_to_another_page_proves_nothing(stores, blog, site, home, proven_home, here, there):
    site.pages["/"] = page(here.format(home=home.url))
    home.pages["/"] = page(there.format(site=site.url))
    with pytest.raises(BadInput, match=f'a rel="me" link to {home.url}/ with one back'):
        prove_source(stores, "ada", blog.id, f"{site.url}/")


def test_links_with_a_source_that_is_not_proven_itself_prove_nothing(stores, blog, site, home):
    add_source(stores, "ada", "blog", f"{home.url}/")
    site.pages["/"] = page(f'<a rel="me" href="{home.url}/">')
    home.pages["/"] = page(f'<a rel="me" href="{site.url}/">')
    with pytest.raises(BadInput, match="contains neither"):
        prove_source(stores, "ada", blog.id, f"{site.url}/")


def test_links_that_are_no_addresses_are_passed_over():
    body = b'<a rel="me" href="http://[x"></a><a rel="me" href="mailto:a@b.c"></a><a rel="me"></a><a rel=me href=/b>'
    assert rel_me_links(Response("https://a.example/c", 200, "text/html", body, "utf-8")) == {
        "a.example/b",
        "a.example/c",
    }
    assert rel_me_links(Response("https://a.example/", 200, "text/html", b"", "utf-8")) == set()


@pytest.mark.parametrize(
    ("platform", "where", "url", "own"),
    [
        ("blog", "https://ada.example/blog/feed.xml", "https://ada.example/", True),
        ("blog", "https://ada.example/blog/feed.xml", "http://www.ada.example/blog", True),
        ("blog", "https://ada.example/blog", "https://ada.example/blog/about", True),
        ("blog", "https://ada.example/blog", "https://ada.example.evil.example/blog", False),
        ("blog", "https://dev.example/ada", "https://dev.example/eve", False),
        ("medium", "https://medium.com/feed/@ada", "https://medium.com/@Ada", True),
        ("medium", "https://medium.com/feed/@ada", "https://medium.com/@eve", False),
        ("github", "ada", "https://github.com/Ada", True),
        ("github", "github:ada", "https://github.com/ada", True),
        ("substack", "substack:https://ada.example", "https://ada.example/about", True),
        ("github", "ada/tides", "https://github.com/ada", True),
        ("github", "ada", "https://ada.github.io/", False),
        ("github", "ada", "https://eve.github.io/ada", False),
        ("github", "ada", "https://github.com/eve/ada", False),
        ("github", "ada", "https://github.evil.example/ada", False),
        ("substack", "ada", "https://ada.substack.com/about", True),
        ("substack", "ada", "https://eve.substack.com/ada", False),
        ("mastodon", "@ada@social.example", "https://social.example/@ada", True),
        ("mastodon", "@ada@social.example", "https://other.example/@ada", False),
        ("files", "/home/ada/notes", "https://files.com/ada", False),
    ],
)
def test_a_page_is_the_sources_own_where_only_its_owner_writes(platform, where, url, own):
    assert is_own_page(url, Source(id="s", platform=platform, where=where)) is own


def test_a_folder_has_no_page_of_its_own(stores, ada, tmp_path):
    source = add_source(stores, "ada", "files", str(tmp_path))
    with pytest.raises(BadInput, match="not a page: give the URL of its public page"):
        prove_source(stores, "ada", source.id)


def test_a_page_that_cannot_be_had_is_named_and_an_earlier_proof_stays(stores, proven_home, home):
    del home.pages["/"]
    with pytest.raises(BadInput, match="404"):
        prove_source(stores, "ada", proven_home.id, f"{home.url}/")
    assert proofs(stores) == {proven_home.id: "token"}


def test_adding_a_proven_source_again_keeps_its_proof_and_another_place_has_none(stores, proven_home):
    again = add_source(stores, "ada", "blog", proven_home.where, cron="@daily")
    assert again.proof == proven_home.proof
    assert add_source(stores, "ada", "blog", f"{proven_home.where}?n=2").proof is None


def test_an_unknown_source_is_named(stores, ada):
    with pytest.raises(NotThere, match=r"ada has no source 'x' \(sources: none\)"):
        prove_source(stores, "ada", "x")
