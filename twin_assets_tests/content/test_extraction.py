from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_assets.content.extraction import extract_page, html_to_markdown
from twin_assets.content.metadata.dates import parse_date
from twin_assets_tests.collection.site import article

TEXT = "|".join(f"Paragraph {n} tells of rain that fell on the harbour all day." for n in range(6))
PAGE = article("Rain", TEXT).body.decode()


def test_a_page_gives_its_text_without_menu_and_footer():
    page = extract_page(PAGE, "https://skerrow.example/rain")
    assert (page.title, page.url) == ("Rain", "https://skerrow.example/rain")
    assert "Paragraph 0" in page.text
    assert "Paragraph 5" in page.text
    assert "Home" not in page.text
    assert "cookies" not in page.text


def test_the_date_of_a_page_is_in_utc():
    dated = PAGE.replace("<head>", '<head><meta property="article:published_time" content="2024-03-01T09:00:00+02:00">')
    assert extract_page(dated).published_at.date() == date(2024, 3, 1)
    assert extract_page(dated).published_at.tzinfo == UTC


def test_what_makes_a_text_readable_is_kept_as_markdown():
    body = (
        "<h2>Tools</h2><p>Use <a href='https://a.example/x'>this <em>list</em></a> of mine, and keep it near:</p>"
        "<ul><li>rope of a good length</li><li>a ledger to write in</li></ul>"
        "<blockquote><p>Measure twice, said the harbour master.</p></blockquote>"
        "<pre><code>gauge --zero\ngauge --read</code></pre>"
    )
    text = html_to_markdown(f"<html><body><article>{body}</article></body></html>")
    assert "## Tools" in text
    assert "](https://a.example/x)" in text
    assert "- rope of a good length" in text
    assert "gauge --zero\ngauge --read" in text
    assert "Measure twice" in text


def test_a_fragment_too_short_for_a_main_text_comes_back_whole():
    assert html_to_markdown("<p>Low tide at <b>six</b>.</p>").strip() == "Low tide at **six**."
    assert "Just a line" in html_to_markdown("Just a line")


@pytest.mark.parametrize(
    "html", ["", " ", "<", "<html></html>", "<html><body><nav>Menu</nav></body></html>", "\0", "not html at all"]
)
def test_what_has_no_main_text_is_no_page_and_no_error(html):
    assert extract_page(html) is None
    assert isinstance(html_to_markdown(html), str)


LONG = "A long paragraph tells of the rain that fell on the harbour all day, and of the boats that stayed in it. " * 3
BARE = (
    f"<h1>Facts</h1><p>{LONG}</p>These are the facts:<ul><li>First fact of the day</li><li>Second one</li></ul>"
    "A loose sentence stands here.<dl><dt>Ebb</dt><dd>The water that goes.</dd></dl><pre>gauge</pre>Last words."
)
MENU = "<ul><li><a href='/'>Home</a></li><li><a href='/about'>About me</a></li><li><a href='/c'>Contact</a></li></ul>"
FOOT = "<div><a href='/x'>Imprint</a> | <a href='/y'>Privacy</a></div>"


@pytest.mark.parametrize(
    "body",
    [
        BARE,
        f"<div>{BARE}</div>",
        f"<div class=wrap><div class=x>{BARE}</div></div>",
        f"<center><font size=2>{BARE}</font></center>",
        f"<table><tr><td>{MENU}</td><td>{BARE}</td></tr></table>",
        f"<div>{MENU}</div><div>{BARE}</div>{FOOT}",
        f"{MENU}{BARE}{FOOT}",
        f"<nav>{MENU}</nav><div>The log of Ada</div><section>{BARE}</section><footer>{FOOT}</footer>",
        f"<article>{BARE}</article>",
    ],
)
def test_all_of_the_main_text_of_a_bare_page_is_kept_and_its_menu_is_not(body):
    text = html_to_markdown(f"<html><head><title>Facts</title></head><body>{body}</body></html>")
    kept = [
        "# Facts",
        "A long paragraph",
        "These are the facts:",
        "- First fact of the day",
        "- Second one",
        "A loose sentence stands here.",
        "Ebb",
        "The water that goes.",
        "```\ngauge\n```",
        "Last words.",
    ]
    assert [part for part in kept if part not in text] == []
    assert "Home" not in text
    assert "Imprint" not in text


def test_no_part_of_a_bare_page_in_several_divisions_is_lost():
    parts = [f"<div><h2>Part {n}</h2>Loose words {n} of it.<p>{LONG} {n}</p></div>" for n in range(3)]
    text = html_to_markdown(f"<html><body>{''.join(parts)}</body></html>")
    for n in range(3):
        assert f"## Part {n}" in text
        assert f"Loose words {n} of it." in text


def test_a_script_is_no_text():
    with_script = PAGE.replace("</article>", "<script>alert('x' + document.cookie)</script></article>")
    assert "alert" not in extract_page(with_script).text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-03-01", datetime(2024, 3, 1, tzinfo=UTC)),
        ("Tue, 02 Jan 2024 10:00:00 GMT", datetime(2024, 1, 2, 10, tzinfo=UTC)),
        ("2024-01-02T10:00:00+02:00", datetime(2024, 1, 2, 8, tzinfo=UTC)),
        ("March 2024", datetime(2024, 3, 1, tzinfo=UTC)),
        (date(2024, 3, 1), datetime(2024, 3, 1, tzinfo=UTC)),
        (datetime(2024, 3, 1, 12), datetime(2024, 3, 1, 12, tzinfo=UTC)),
        (datetime(2024, 3, 1, 12, tzinfo=timezone(timedelta(hours=5))), datetime(2024, 3, 1, 7, tzinfo=UTC)),
    ],
)
def test_dates_are_read_as_yaml_html_and_feeds_write_them(value, expected):
    assert parse_date(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        None, "", "soon", "2024-02-30", "2024-13-01", [2024], {"year": 2024}, "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-10:00", "2024-01-01T00:00:00+99:99", "1e999", "9" * 400,
    ],
)  # fmt: skip
def test_a_date_that_does_not_exist_is_none(value):
    assert parse_date(value) is None


ANYTHING = st.one_of(
    st.text(max_size=40),
    st.datetimes(timezones=st.one_of(st.none(), st.timezones())),
    st.from_regex(r"[0-9]{1,5}[-/. ][0-9A-Za-z]{1,4}[-/. :T][0-9]{1,6}([+-][0-9:]{1,6})?", fullmatch=True),
)


@given(ANYTHING)
def test_no_date_is_an_error_and_every_one_is_aware(value):
    parsed = parse_date(value)
    assert parsed is None or parsed.tzinfo == UTC
