"""Feeds as broken as they come. See benchmarks/fuzz.py, which found what stands here."""

import random
from datetime import UTC, datetime

import pytest

from twin_assets.content.feeds import parse_html, plain_text, read_feed, remove, without_half_characters
from twin_assets.content.web import Response
from twin_assets.errors import BadSource
from twin_assets_tests.benchmarks import fuzz


def feed(body: bytes) -> Response:
    return Response("https://a.example/feed", 200, "application/rss+xml", body, "utf-8")


@pytest.mark.parametrize("reference", [b"&#xD83D;", b"&#xd83d;", b"&#55357;", b"&#x00D83D;", b"&#0055357;"])
def test_half_a_character_is_replaced_however_it_is_written(reference):
    assert without_half_characters(b"<a>" + reference + b"&#x1F600;&#65;</a>") == b"<a>&#xFFFD;&#x1F600;&#65;</a>"


def test_a_feed_that_feedparser_stumbles_over_is_a_source_that_cannot_be_read():
    body = fuzz.damaged(fuzz.FEED.encode(), random.Random("feed 829"))
    with pytest.raises(BadSource, match="is broken and cannot be read"):
        read_feed(feed(body))


def test_what_is_removed_takes_comments_along_and_leaves_the_text_after_it():
    body = parse_html("<p>one <!-- note --> two <img src='x'> three&#27;</p>")
    remove(body, elements=body.xpath(".//img | .//comment()"))
    assert plain_text(body) == "one two three\x1b"


def test_damaged_input_of_every_kind_is_read_or_refused_and_nothing_else_is_lost(capsys):
    fuzz.main(500)
    assert "no crash, no hang, no document lost" in capsys.readouterr().out


def rss(item: str, channel: str = "") -> Response:
    body = (
        '<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><title>t</title>'
        f"<link>https://a.example/</link>{channel}<item>{item}</item></channel></rss>"
    )
    return feed(body.encode())


def atom(entry: str, about: str = "") -> Response:
    return feed(
        f'<feed xmlns="http://www.w3.org/2005/Atom" {about}><title>t</title><entry>{entry}</entry></feed>'.encode()
    )


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("Mon, 05 Feb 2024 20:30:00 PST", datetime(2024, 2, 6, 4, 30, tzinfo=UTC)),
        ("Wed, 07 Feb 2024 20:30:00 GMT+0100", datetime(2024, 2, 7, 19, 30, tzinfo=UTC)),
    ],
)
def test_an_entrys_time_is_read_in_its_zone(written, utc):
    (entry,) = read_feed(rss(f"<title>a</title><pubDate>{written}</pubDate>"))
    assert (entry.published_at, entry.notes) == (utc, ())


def test_an_entrys_date_is_read_as_the_feeds_language_writes_it():
    dated = "<title>a</title><pubDate>05.04.2024 10:00</pubDate>"
    (german,) = read_feed(rss(dated, "<language>de-DE</language>"))
    assert german.published_at == datetime(2024, 4, 5, 10, tzinfo=UTC)
    slashed = "<title>a</title><updated>05/04/2024</updated>"
    assert read_feed(atom(slashed, 'xml:lang="fr"'))[0].published_at == datetime(2024, 4, 5, tzinfo=UTC)
    assert read_feed(atom(slashed, 'xml:lang="en-US"'))[0].published_at == datetime(2024, 5, 4, tzinfo=UTC)


@pytest.mark.parametrize("date", ["Mon, 30 Nov -0001 00:00:00 +0000", "0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z"])
def test_an_impossible_date_is_none_and_the_entry_says_so(date):
    (entry,) = read_feed(rss(f"<title>a</title><pubDate>{date}</pubDate>"))
    assert entry.published_at is None
    assert date[:10] in entry.notes[0]


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Salt &amp;amp; pepper", "Salt & pepper"),
        ("Salt &amp; pepper", "Salt & pepper"),
        ("<![CDATA[Salt &amp; <em>pepper</em>]]>", "Salt & pepper"),
        ("What &amp;amp;amp; means", "What &amp; means"),
        ("The &lt;article&gt; element", "The <article> element"),
        ("The &lt;article&gt; element &amp;amp; co", "The <article> element & co"),
        ("Option&lt;T&gt; and vector&lt;int&gt; &amp;amp; more", "Option<T> and vector<int> & more"),
        ("A &lt;b&gt;bold&lt;/b&gt; word", "A bold word"),
        ("H&lt;sub&gt;2&lt;/sub&gt;O", "H2O"),
        ("Two&lt;br/&gt; lines", "Two lines"),
        ("1 &lt; 2 and 3 &gt; 2", "1 < 2 and 3 > 2"),
        ("AT&amp;T", "AT&T"),
        ("It&amp;#8217;s &amp;quot;so&amp;quot;", 'It’s "so"'),
        ("  ", None),
    ],
)
def test_a_title_of_rss_is_text(title, text):
    assert read_feed(rss(f"<title>{title}</title><link>https://a.example/1</link>"))[0].title == text


@pytest.mark.parametrize(
    ("title", "text"),
    [
        (
            '<title type="html">&lt;em&gt;Hi&lt;/em&gt;, salt &amp;amp; &amp;lt;article&amp;gt;</title>',
            "Hi, salt & <article>",
        ),
        ('<title type="text">Salt &amp;amp; &lt;b&gt;</title>', "Salt &amp; <b>"),
        ("<title>The &lt;article&gt; element</title>", "The <article> element"),
        (
            '<title type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">An <em>em</em> &lt;i&gt;</div></title>',
            "An em <i>",
        ),
    ],
)
def test_a_title_of_atom_is_read_by_its_type(title, text):
    assert read_feed(atom(f"{title}<id>1</id>"))[0].title == text


def test_relative_links_are_absolute():
    link = '&lt;a href="/from-home"&gt;x&lt;/a&gt; &lt;img src="a/b.png"&gt;'
    html = read_feed(rss(f"<title>a</title><link>/one</link><content:encoded>{link}</content:encoded>"))[0]
    assert 'href="https://a.example/from-home"' in html.html
    assert 'src="https://a.example/a/b.png"' in html.html
    assert html.url == "https://a.example/one"


def test_links_of_a_feed_on_another_host_are_relative_to_its_site():
    item = "<title>a</title><link>/one</link><content:encoded>&lt;a href='/from-home'&gt;x&lt;/a&gt;</content:encoded>"
    elsewhere = Response("https://feeds.example/x", 200, "application/rss+xml", rss(item).body, "utf-8")
    (entry,) = read_feed(elsewhere)
    assert (entry.url, "https://a.example/from-home" in entry.html) == ("https://a.example/one", True)


def test_a_relative_base_is_relative_to_the_one_around_it():
    content = '<content type="html" xml:base="deep/">&lt;a href="y"&gt;x&lt;/a&gt;</content><link href="z"/>'
    (entry,) = read_feed(atom(f"<title>a</title>{content}", 'xml:base="/sub/"'))
    assert 'href="https://a.example/sub/deep/y"' in entry.html
    assert entry.url == "https://a.example/sub/z"
