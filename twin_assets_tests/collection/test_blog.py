import pytest

from twin_assets_tests.collection.site import Page, article, rss, sitemap

LONG = "|".join(f"Sentence {n} of the article says something about the harbour and its gauges." for n in range(8))
HTML = "<p>" + "</p><p>".join(LONG.split("|")) + "</p>"


def test_a_feed_gives_its_entries_whole_and_a_304_asks_for_nothing_more(site, collect, documents):
    page = rss([("/a", "A", HTML), ("/b", "B", HTML + "<p>More.</p>")], site.url)
    page.etag = '"1"'
    site.pages["/feed.xml"] = page
    report = collect(f"{site.url}/feed.xml")
    assert (report.new, report.complete) == (2, False)
    first = documents()[f"{site.url}/a"]
    assert (first.title, first.content_type, first.published_at.year) == ("A", "text/html", 2024)
    site.asked.clear()
    report = collect(f"{site.url}/feed.xml")
    assert (report.writes, report.unchanged) == (0, 2)
    assert site.paths() == ["/feed.xml"]


def test_what_leaves_a_feed_is_not_gone(site, collect, documents):
    site.pages["/feed.xml"] = rss([("/a", "A", HTML), ("/b", "B", HTML)], site.url)
    collect(f"{site.url}/feed.xml")
    site.pages["/feed.xml"] = rss([("/b", "B", HTML)], site.url)
    assert collect(f"{site.url}/feed.xml").gone == 0


def test_a_feed_that_is_not_xml_says_what_to_give(site, collect, documents):
    site.pages["/feed.xml"] = Page(b"<html><body>" + b"moved " * 2400 + b"</body></html>")
    error = collect(f"{site.url}/feed.xml").error
    assert error.startswith(
        f"feed {site.url}/feed.xml is not RSS or Atom (got text/html, 14 kB): give the feed's own URL"
    )


def test_a_sitemap_is_complete_so_what_vanishes_is_gone(site, collect, documents):
    urls = [(f"{site.url}/{n}", "2024-01-01") for n in range(3)]
    for n in range(3):
        site.pages[f"/{n}"] = article(f"Title {n}", LONG + f"|Number {n}.")
    site.pages["/sitemap.xml"] = sitemap(urls)
    assert collect(f"{site.url}/sitemap.xml").new == 3
    assert "Home" not in documents()[f"{site.url}/1"].content
    site.asked.clear()
    site.pages["/sitemap.xml"] = sitemap(urls[:2])
    report = collect(f"{site.url}/sitemap.xml")
    assert (report.gone, report.unchanged, report.writes) == (1, 2, 1)
    assert site.paths() == ["/sitemap.xml"]
    assert documents()[f"{site.url}/2"].deleted_at is not None


def test_a_page_that_fails_is_named_tried_again_and_never_gone(site, collect, documents):
    urls = [(f"{site.url}/{n}", None) for n in range(2)]
    site.pages["/0"], site.pages["/1"] = article("Zero", LONG), article("One", LONG + "|One.")
    site.pages["/sitemap.xml"] = sitemap(urls)
    collect(f"{site.url}/sitemap.xml")
    site.pages["/1"] = Page(b"gone fishing", status=404)
    report = collect(f"{site.url}/sitemap.xml")
    assert report.failed == [{"item": f"{site.url}/1", "reason": f"{site.url}/1 answered 404 Not Found"}]
    assert report.gone == 0


def test_a_site_leads_to_its_feed(site, collect, documents):
    site.pages["/"] = Page(
        b'<html><head><link rel="alternate" type="application/rss+xml" href="/rss"></head><body>Hi</body></html>'
    )
    site.pages["/rss"] = rss([("/a", "A", HTML)], site.url)
    assert collect(site.url).new == 1
    assert set(documents()) == {f"{site.url}/a"}


def test_a_single_page_is_one_document(site, collect, documents):
    site.pages["/notes/1"] = article("A page", LONG)
    assert collect(f"{site.url}/notes/1").new == 1
    assert next(iter(documents().values())).title == "A page"


def test_a_teaser_is_followed_to_its_page(site, collect, documents):
    feed = (
        f'<?xml version="1.0"?><rss version="2.0"><channel><item><title>T</title><link>{site.url}/t</link>'
        "<description>Read more …</description></item></channel></rss>"
    )
    site.pages["/feed.xml"] = Page(feed.encode(), "application/xml")
    site.pages["/t"] = article("T", LONG)
    collect(f"{site.url}/feed.xml")
    [document] = documents().values()
    assert "Sentence 7" in document.content


def test_an_unreachable_url_is_an_error_and_takes_nothing_as_deleted(site, collect, documents):
    site.pages["/sitemap.xml"] = sitemap([(f"{site.url}/0", None)])
    site.pages["/0"] = article("Zero", LONG)
    collect(f"{site.url}/sitemap.xml")
    site.pages["/sitemap.xml"] = Page(b"", status=404)
    report = collect(f"{site.url}/sitemap.xml")
    assert (
        report.error
        == f"{site.url}/sitemap.xml answered 404 Not Found: nothing is taken as deleted; mend the URL if it moved"
    )
    assert not [document for document in documents().values() if document.deleted_at]


@pytest.mark.parametrize("body", [b"", b"<", b"<rss", b"\xff\xfe\x00", b"<?xml version='1.0'?><rss></rss>"])
def test_no_feed_body_is_a_crash(site, collect, body):
    site.pages["/feed.xml"] = Page(body, "application/xml")
    assert collect(f"{site.url}/feed.xml").error


def test_entities_are_not_expanded(site, collect, documents, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("TOPSECRET")
    feed = (
        f'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY x SYSTEM "file://{secret}">]><rss version="2.0"><channel><item>'
        f"<title>T</title><guid>1</guid><description>{HTML.replace('<', '&lt;')}&x;</description></item></channel></rss>"
    )
    site.pages["/feed.xml"] = Page(feed.encode(), "application/xml")
    collect(f"{site.url}/feed.xml")
    assert not [document for document in documents().values() if "TOPSECRET" in document.content]
