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
        == f"{site.url}/sitemap.xml answered 404 Not Found: nothing is taken as deleted; correct the URL if it moved"
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
        f"<title>T</title><guid>1</guid><description>{HTML.replace('<', '&lt;')}&x;</description>"
        "</item></channel></rss>"
    )
    site.pages["/feed.xml"] = Page(feed.encode(), "application/xml")
    collect(f"{site.url}/feed.xml")
    assert not [document for document in documents().values() if "TOPSECRET" in document.content]


def test_a_server_that_is_not_there_is_named_with_the_way_out(collect, documents):
    error = collect("http://127.0.0.1:9/feed.xml").error
    assert error.startswith("http://127.0.0.1:9/feed.xml could not be reached: ")
    assert error.endswith("nothing is taken as deleted; correct the URL if it moved")


def feed_of(*entries: str) -> Page:
    items = "".join(f"<item>{entry}</item>" for entry in entries)
    return Page(f'<?xml version="1.0"?><rss version="2.0"><channel>{items}</channel></rss>'.encode(), "text/xml")


ESCAPED = HTML.replace("<", "&lt;")


@pytest.mark.parametrize("link", ["http://[x", "javascript:alert(1)"])
def test_an_entry_with_a_link_that_is_no_url_is_kept_without_it(site, collect, documents, link):
    site.pages["/feed.xml"] = feed_of(
        f"<guid>1</guid><link>{link}</link><description>{ESCAPED}</description>",
        f"<guid>2</guid><link>/two</link><description>{ESCAPED} More.</description>",
    )
    assert collect(f"{site.url}/feed.xml").failed == []
    assert {name: document.url for name, document in documents().items()} == {"1": None, "2": f"{site.url}/two"}


def test_an_entry_without_any_text_is_named_and_the_rest_read(site, collect, documents):
    site.pages["/feed.xml"] = feed_of(
        '<guid isPermaLink="false">1</guid>', f"<guid>2</guid><description>{ESCAPED}</description>"
    )
    report = collect(f"{site.url}/feed.xml")
    assert report.failed == [{"item": "1", "reason": "has no text and no link to a page"}]
    assert set(documents()) == {"2"}


def test_an_emoji_written_as_two_halves_is_no_crash(site, collect, documents):
    site.pages["/feed.xml"] = feed_of(
        f"<guid>1</guid><description>Tide &#xD83C;&#55356; out &#127754; &#44032; {ESCAPED}</description>"
    )
    collect(f"{site.url}/feed.xml")
    assert documents()["1"].content.startswith("Tide \ufffd\ufffd out 🌊 가 <p>")


def test_a_sitemap_with_a_page_too_large_and_a_url_that_is_none_goes_on(site, collect, documents):
    urls = [(f"{site.url}/huge", None), ("http://[x", None), (f"{site.url}/good", None)]
    site.pages["/sitemap.xml"] = sitemap(urls)
    site.pages["/huge"] = Page(b"<html><body>" + b"word " * 10_000_001)
    site.pages["/good"] = article("Good", LONG)
    report = collect(f"{site.url}/sitemap.xml")
    assert report.failed == [
        {
            "item": f"{site.url}/huge",
            "reason": f"{site.url}/huge is larger than 50 MB (TWIN_MAX_RESPONSE_BYTES): skipped",
        },
        {"item": "http://[x", "reason": "http://[x is not an http(s) URL"},
    ]
    assert set(documents()) == {f"{site.url}/good"}


def test_a_site_that_announces_a_feed_that_is_no_url_is_read_as_a_page(site, collect, documents):
    page = article("Home", LONG)
    body = page.body.replace(
        b"<head>", b'<head><link rel="alternate" type="application/rss+xml" href="http://[x"><link rel="alternate">'
    )
    site.pages["/"] = Page(body)
    assert collect(site.url).new == 1
    assert next(iter(documents().values())).title == "Home"


def test_an_empty_page_and_a_picture_say_what_to_give(site, collect):
    site.pages["/empty"] = Page(b"")
    site.pages["/photo"] = Page(b"\x89PNG\r\n\0", "image/png")
    assert "has no main text" in collect(f"{site.url}/empty").error
    assert "is neither a feed nor a page (got image/png, 1 kB)" in collect(f"{site.url}/photo").error


def walls(*names: str, edited: str = "") -> Page:
    guid = '<guid isPermaLink="false">walls</guid>'
    return feed_of(
        *(f"<title>{n}</title><link>/{n}</link>{guid}<description>{n}{edited} {ESCAPED}</description>" for n in names)
    )


def test_entries_that_share_an_id_are_documents_of_their_own_and_an_edit_changes_one(site, collect, documents):
    site.pages["/feed.xml"] = walls("a", "b", "c")
    report = collect(f"{site.url}/feed.xml")
    assert (report.new, report.failed, report.skipped) == (3, [], [])
    assert set(documents()) == {f"{site.url}/{name}" for name in "abc"}
    site.pages["/feed.xml"] = walls("c", edited=" again")
    report = collect(f"{site.url}/feed.xml")
    assert (report.new, report.changed, len(documents())) == (0, 1, 3)


def test_entries_that_share_an_id_and_have_no_link_are_told_apart_by_title(site, collect, documents):
    items = (
        f"<title>{n}</title><guid isPermaLink='false'>x</guid><description>{n} {ESCAPED}</description>" for n in "ab"
    )
    site.pages["/feed.xml"] = feed_of(*items)
    assert collect(f"{site.url}/feed.xml").new == 2
    assert set(documents()) == {"a", "b"}


def test_an_entry_that_is_listed_twice_is_one_document_and_the_report_names_the_other(site, collect, documents):
    entry = f"<title>a</title><link>/a</link><guid isPermaLink='false'>a</guid><description>{ESCAPED}</description>"
    site.pages["/feed.xml"] = feed_of(entry, entry.replace("</description>", " older</description>"))
    report = collect(f"{site.url}/feed.xml")
    assert (report.new, [row["item"] for row in report.skipped]) == (1, ["a"])
    assert "same name as another item" in report.skipped[0]["reason"]
