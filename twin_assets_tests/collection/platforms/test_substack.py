import csv
import io
import json
import zipfile
from contextlib import suppress
from html import escape
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from twin_assets.collection.crawl import CrawlReport, crawl, read_archive
from twin_assets.collection.locations import platform_for, source_id_for
from twin_assets.collection.platforms.substack import PAGE
from twin_assets.collection.registry import archive_platform, crawlers
from twin_assets.content.archives import open_archive
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, Source
from twin_assets.errors import BadSource
from twin_assets_tests.collection.site import Page, Request

SUBSTACK = crawlers()["substack"]
WHERE = "https://tides.substack.com"
ADA = {"id": 1, "name": "Ada Example", "handle": "ada"}
BOB = {"id": 2, "name": "Bob Other", "handle": "bob"}
PROSE = "".join(f"<p>Sentence {n} says something about the harbour and its gauges.</p>" for n in range(6))
WORDS = 60
WIDGET = (
    '<div class="subscription-widget-wrap-editor" data-component-name="SubscribeWidgetToDOM"><div class="preamble">'
    '<p class="cta-caption">Subscribe for free to receive new posts.</p></div><form><input type="submit"></form></div>'
)
SHARE = (
    '<div class="captioned-button-wrap"><div class="preamble"><p class="cta-caption">Feel free to share it.</p></div>'
    '<p class="button-wrapper"><a class="button primary" href="https://tides.substack.com/p/{slug}?action=share">'
    "<span>Share</span></a></p></div>"
)


def post(number: int, slug: str, html: str = PROSE, **more: object) -> dict[str, object]:
    return {
        "id": number, "slug": slug, "title": slug.title(), "subtitle": "", "type": "newsletter", "audience": "everyone",
        "post_date": "2024-01-02T10:00:00.000Z", "canonical_url": f"{WHERE}/p/{slug}", "wordcount": WORDS,
        "publishedBylines": [ADA], "postTags": [{"id": "x", "name": "sea"}], "reaction_count": 3, "body_html": html,
    } | more  # fmt: skip


class Publication:
    """Substack's two endpoints, as they answer: newest first, `limit` at most, an empty page at the end."""

    def __init__(self, *posts: dict[str, object]) -> None:
        self.posts = list(posts)

    def __call__(self, request: Request) -> Page:
        if request.path == "/api/v1/archive":
            offset, limit = int(request.query["offset"]), min(int(request.query["limit"]), PAGE)
            listed = [{name: value for name, value in one.items() if name != "body_html"} for one in self.posts]
            return as_json(listed[offset : offset + limit])
        found = [one for one in self.posts if request.path == f"/api/v1/posts/{one['slug']}"]
        return as_json(found[0]) if found else Page(b'{"error":"Not found"}', "application/json", status=404)


def as_json(value: object) -> Page:
    return Page(json.dumps(value).encode(), "application/json; charset=utf-8")


def rss(*entries: tuple[str, str], author: str = "Ada Example", enclosure: str = "") -> Page:
    items = "".join(
        f"<item><title>{slug.title()}</title><link>{WHERE}/p/{slug}</link>"
        f'<guid isPermaLink="false">{WHERE}/p/{slug}</guid>'
        f"<dc:creator>{author}</dc:creator><pubDate>Tue, 02 Jan 2024 10:00:00 GMT</pubDate>{enclosure}"
        f"<content:encoded><![CDATA[{html}]]></content:encoded></item>"
        for slug, html in entries
    )
    return Page(
        '<?xml version="1.0"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" '
        f'xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>T</title>{items}</channel></rss>'.encode(),
        "application/xml; charset=utf-8",
    )


@pytest.fixture
def play(stores, settings, site):
    """play(where, **options) -> CrawlReport into ada's source `substack`, with the publication on loopback."""

    def run(where: object = WHERE, **options: str) -> CrawlReport:
        source = Source(id="substack", platform="substack", where=str(where), options={"api": site.url} | options)
        with WebClient(settings) as http:
            site.asked.clear()
            return crawl("ada", source, SUBSTACK, stores.warehouse, http)

    return run


@pytest.fixture
def alive(documents):
    """alive() -> external id to document of what is no tombstone."""
    return lambda: {name: document for name, document in documents().items() if document.deleted_at is None}


COLUMNS = ("post_id", "post_date", "is_published", "email_sent_at", "inbox_sent_at", "type", "audience", "title",
           "subtitle", "podcast_url")  # fmt: skip


def row(
    post_id: str, *, published: bool = True, kind: str = "newsletter", audience: str = "everyone"
) -> tuple[str, ...]:
    date = "2024-01-02T10:00:00.000Z" if published else ""
    return post_id, date, str(published).lower(), date, date, kind, audience, 'Tide, "time"\nand more', "Sub", ""


@pytest.fixture
def export(tmp_path):
    """export(rows, html by post_id) -> the path of an export of publication `name`, made on `day` of January 2025."""

    def make(rows: list[tuple[str, ...]], posts: dict[str, str], day: int = 1, name: str | None = None) -> Path:
        table = io.StringIO()
        csv.writer(table).writerows([COLUMNS, *rows])
        files = {"posts.csv": table.getvalue()} | {f"posts/{post_id}.html": html for post_id, html in posts.items()}
        files |= {f"email_list.{name}.csv": "email\nreader@example.org\n"} if name else {}
        path = tmp_path / f"export-{day}-{name}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for member, text in files.items():
                archive.writestr(zipfile.ZipInfo(member, (2025, 1, day, 0, 0, 0)), text)
        return path

    return make


@pytest.fixture
def drop(stores):
    """drop(path) -> CrawlReport of an export that comes by the inbox."""

    def put(path: Path) -> CrawlReport:
        source = Source(id="substack", platform="substack", where="inbox")
        with open_archive(path) as archive:
            report = CrawlReport(source.id, "substack", str(path))
            read_archive("ada", source, SUBSTACK, archive, stores.warehouse, report)
        return report

    return put


@pytest.mark.parametrize("where", [WHERE, f"{WHERE}/", f"{WHERE}/archive", f"{WHERE}/feed", "substack:https://a.org"])
def test_what_is_on_substack_is_substacks(where):
    assert platform_for(where) == "substack"


@pytest.mark.parametrize(
    "where",
    ["", "tides", "https://substack.com", "https://www.substack.com", "https://open.substack.com/pub/tides",
     f"{WHERE}/p/a-post", "https://a.org", "https://tides.substack.com.a.org", "substack:", "substack:tides", "http://[x"],
)  # fmt: skip
def test_what_may_be_anybodys_is_not(where):
    assert not SUBSTACK.accepts(where)


def test_a_publication_on_its_own_domain_has_a_readable_id():
    assert source_id_for("substack", "substack:https://www.tides.org", {}) == "substack-tides-org"


def test_the_archive_is_read_to_its_end_and_only_what_changed_is_fetched_again(site, play, alive):
    site.api = publication = Publication(*(post(n, f"post-{n}", f"{PROSE}<p>{n}</p>") for n in range(PAGE + 5, 0, -1)))
    report = play()
    assert (report.new, report.failed, report.error) == (PAGE + 5, [], None)
    document = alive()["post-1"]
    assert (document.title, document.category, document.content_type) == ("Post-1", Category.ARTICLE, "text/html")
    assert (document.url, document.published_at.year) == (f"{WHERE}/p/post-1", 2024)
    assert document.metadata["post_id"] == 1
    publication.posts[3] |= {"title": "Another", "reaction_count": 9, "body_html": "<p>Edited.</p>"}
    publication.posts[4] |= {"reaction_count": 9}
    report = play()
    assert (report.changed, report.unchanged, report.gone) == (1, PAGE + 4, 0)
    slug = publication.posts[3]["slug"]
    assert [path for path in site.paths() if "/posts/" in path] == [f"/api/v1/posts/{slug}"]
    assert len(site.paths()) == 4
    assert "/robots.txt" not in [path for path, _ in site.asked]


def test_what_the_archive_lists_no_more_is_gone(site, play, alive):
    site.api = publication = Publication(post(2, "two"), post(1, "one", "<p>Other.</p>"))
    play()
    publication.posts.pop()
    assert play().gone == 1
    assert set(alive()) == {"two"}
    publication.posts.append(post(1, "one", "<p>Other.</p>"))
    play()
    assert set(alive()) == {"one", "two"}


def test_a_post_deleted_while_the_archive_is_read_takes_no_other_with_it(site, play, alive):
    posts = [post(n, f"post-{n}", f"<p>{n}</p>") for n in range(PAGE + 20, 0, -1)]
    site.api = publication = Publication(*posts)
    play()

    def deleting(request: Request) -> Page:
        page = publication(request)
        if request.query.get("offset") == "0":
            del publication.posts[:3]
        return page

    site.api = deleting
    assert play().gone == 0
    site.api = publication
    assert play().gone == 3
    assert len(alive()) == PAGE + 17


def test_an_archive_that_is_empty_or_down_takes_nothing_as_deleted(site, play, alive):
    site.api = Publication(post(1, "one"))
    play()
    site.api = Publication()
    assert "lists no posts: nothing is taken as deleted" in play().error
    site.api = lambda _: Page(b"slow down", status=429, headers={"Retry-After": "600"})
    assert "asks for a pause of 10 minutes" in play().error
    assert set(alive()) == {"one"}


def test_a_crawl_that_is_told_to_pause_goes_on_where_it_stopped(site, play, alive):
    publication = Publication(*(post(n, f"post-{n}", f"<p>{n}</p>") for n in range(5)))

    def pausing(request: Request) -> Page:
        if request.path == "/api/v1/posts/post-3":
            return Page(b"", status=429, headers={"Retry-After": "600"})
        return publication(request)

    site.api = pausing
    assert "collect again later, and the crawl continues" in play().error
    assert len(alive()) == 3
    site.api = publication
    assert play().new == 2
    assert [path for path in site.paths() if "/posts/" in path] == ["/api/v1/posts/post-3", "/api/v1/posts/post-4"]


def test_one_post_that_cannot_be_read_is_named_and_the_others_taken(site, play, alive):
    publication = Publication(post(3, "three"), post(2, "two", "<p>2</p>"), post(1, "one", "<p>1</p>"))
    site.api = lambda request: Page(b"", status=404) if request.path.endswith("/two") else publication(request)
    [failure] = play().failed
    assert failure["item"] == "two"
    assert "404" in failure["reason"]
    assert set(alive()) == {"one", "three"}


FURNISHED = (
    '<div class="captioned-image-container"><figure><a class="image-link"><img src="a.png"></a>'
    '<figcaption class="image-caption">The pier.</figcaption></figure></div>'
    '<p>A claim.<a class="footnote-anchor" href="#footnote-1">1</a> Thanks to '
    f'<span class="mention-wrap" data-attrs="{escape(json.dumps({"name": "Jane Miller", "id": 5}))}"></span>.</p>'
    '<div class="embedded-post-wrap"><a>Somebody&#39;s post</a><div>Its beginning.</div></div>'
    '<div class="digest-post-embed"><a>Another post</a></div><div class="tweet"><p>A tweet.</p></div>'
    '<div class="preformatted-block"><label class="hide-text">Text within this block</label><pre>a\n  b</pre></div>'
    f'{WIDGET}{SHARE.format(slug="tide")}<p class="button-wrapper"><a class="button">Leave a comment</a></p>'
    '<div class="footnote"><a class="footnote-number" href="#footnote-anchor-1">1</a>'
    '<div class="footnote-content"><p>A note of my own.</p></div></div>'
)  # fmt: skip


def test_only_the_authors_words_are_kept(site, play, alive):
    site.api = Publication(post(1, "tide", FURNISHED))
    play()
    assert alive()["tide"].content == (
        '<p>A claim. Thanks to <span class="mention-wrap">Jane Miller</span>.</p>'
        '<div class="preformatted-block"><pre>a\n  b</pre></div>'
        '<div class="footnote"><div class="footnote-content"><p>A note of my own.</p></div></div>'
    )


@pytest.mark.parametrize("words", [WORDS * 5, None])
def test_a_paid_posts_beginning_is_never_the_post(site, play, alive, words):
    site.api = Publication(post(2, "paid", audience="only_paid", wordcount=words), post(1, "free", "<p>Free.</p>"))
    report = play()
    assert set(alive()) == {"free"}
    assert report.skipped == [
        {
            "item": f"{WHERE}/p/paid",
            "reason": "is for paying subscribers and shows only its beginning: "
            "import your export, which has the whole text",
        }
    ]
    assert play().skipped == report.skipped
    assert not [path for path in site.paths() if "/posts/" in path]


def test_a_paid_post_that_is_given_whole_is_taken(site, play, alive):
    site.api = Publication(post(1, "paid", audience="only_paid"))
    play()
    assert alive()["paid"].metadata["audience"] == "only_paid"


def test_a_podcast_is_skipped_and_a_thread_is_a_post(site, play, alive):
    site.api = Publication(post(2, "talk", type="podcast"), post(1, "ask", "<p>What do you read?</p>", type="thread"))
    assert [skipped["reason"] for skipped in play().skipped] == ["is a podcast, no text to read"]
    assert {name: document.category for name, document in alive().items()} == {"ask": Category.POST}


def test_a_publication_of_several_asks_whose_posts_to_take(site, play, alive):
    site.api = Publication(
        post(3, "mine"),
        post(2, "theirs", "<p>Bob.</p>", publishedBylines=[BOB]),
        post(1, "ours", "<p>Both.</p>", publishedBylines=[ADA, BOB]),
    )
    assert "is written by Ada Example, Bob Other: choose one, --option author=NAME" in play().error
    assert not alive()
    assert "has no post by Eve (its writers are Ada Example, Bob Other)" in play(author="Eve").error
    report = play(author="ada")
    assert set(alive()) == {"mine"}
    assert [skipped["reason"] for skipped in report.skipped] == ["is by Bob Other", "is by Ada Example and Bob Other"]


def test_a_guest_in_a_publication_that_was_one_persons_is_skipped(site, play, alive):
    site.api = publication = Publication(post(1, "mine"))
    play()
    publication.posts.insert(0, post(2, "guest", "<p>Bob.</p>", publishedBylines=[BOB]))
    assert [skipped["reason"] for skipped in play().skipped] == ["is by Bob Other"]
    publication.posts[1]["publishedBylines"] = [ADA | {"name": "Ada Lovelace"}]
    report = play()
    assert (report.error, report.gone, set(alive())) == (None, 0, {"mine"})


@pytest.mark.parametrize(
    "archive",
    [
        Page(b"gone", status=404), Page(b"<html>new</html>"), Page(b'{"posts": []}', "application/json"),
        Page(b"[" * 100_000, "application/json"), Page(b'[{"id": 1}]', "application/json"),
    ],
)  # fmt: skip
def test_the_feed_is_read_when_the_endpoint_is_gone_and_that_is_said(site, play, alive, archive):
    site.api = lambda _: archive
    teaser = f"{PROSE}<p><a href='{WHERE}/p/paid'>Read more</a></p>"
    site.pages["/feed"] = rss(("tide", PROSE + SHARE.format(slug="tide")), ("paid", teaser))
    report = play()
    assert [failure["item"] for failure in report.failed] == [f"{site.url}/archive"]
    assert "the feed's newest posts are read instead" in report.failed[0]["reason"]
    assert {name: document.content for name, document in alive().items()} == {"tide": PROSE}
    assert "shows only its beginning" in report.skipped[0]["reason"]


def test_the_feed_is_read_when_no_post_can_be_read_alone(site, play, alive):
    publication = Publication(*(post(n, f"post-{n}") for n in range(9)))
    site.api = lambda request: publication(request) if request.path.endswith("/archive") else Page(b"{}", status=404)
    site.pages["/feed"] = rss(("post-1", PROSE), ("post-2", PROSE + "<p>More.</p>"))
    report = play()
    assert "posts can no longer be read" in report.failed[0]["reason"]
    assert set(alive()) == {"post-1", "post-2"}


def test_a_post_is_one_document_by_endpoint_feed_and_export(site, play, export, alive):
    site.pages["/feed"] = rss(("tide", PROSE))
    site.api = lambda _: Page(b"", status=404)
    play()
    site.api = Publication(post(77, "tide", PROSE + "<p>More.</p>"))
    play()
    play(export([row("77.tide")], {"77.tide": PROSE}, name="tides"))
    assert set(alive()) == {"tide"}


def test_the_feeds_podcasts_and_guests_are_skipped_too(site, play, alive):
    site.api = lambda _: Page(b"", status=404)
    site.pages["/feed"] = rss(("talk", PROSE), enclosure='<enclosure url="https://a.org/b.mp3" type="audio/mpeg"/>')
    assert [skipped["reason"] for skipped in play().skipped] == ["is a podcast, no text to read"]
    site.pages["/feed"] = rss(("guest", PROSE), author="Bob Other")
    assert [skipped["reason"] for skipped in play(author="Ada Example").skipped] == ["is by Bob Other"]
    assert not alive()


def test_a_challenge_instead_of_everything_names_the_export(site, play):
    wall = b"<html><head><title>Just a moment...</title></head><body><script>_cf_chl_opt={}</script></body></html>"
    site.api = lambda _: Page(wall, status=403)
    site.pages["/feed"] = Page(wall)
    assert "prove that they are human" in play().error


def test_an_export_has_paid_posts_whole_and_drafts_in_private(play, export, alive):
    rows = [
        row("11.paid", audience="only_paid"),
        row("12.tide"),
        row("13.", published=False),
        row("14.idea", published=False),
        row("15.talk", kind="podcast"),
        row("16.about", kind="page"),
        row("17.lost"),
        row("18.empty", published=False),
    ]
    posts = {"11.paid": PROSE + "<div class='paywall-jump'>Paid from here</div><p>Rest.</p>", "12.tide": FURNISHED}
    posts |= {"13.": "<p>Draft.</p>", "14.idea": "<p>Idea.</p>", "15.talk": "<p>x</p>", "16.about": "<p>x</p>"}
    report = play(export(rows, posts))
    assert (report.new, report.error) == (4, None)
    documents = alive()
    assert {name: document.visibility for name, document in documents.items()} == {
        "paid": "public", "tide": "public", "13": "private", "14": "private",
    }  # fmt: skip
    assert documents["paid"].content == PROSE + "<p>Rest.</p>"
    assert documents["tide"].title == 'Tide, "time"\nand more'
    assert documents["13"].published_at is None
    assert report.failed == [{"item": "lost", "reason": "has no posts/17.lost.html in the export"}]
    assert [skipped["item"] for skipped in report.skipped] == ["15.talk", "16.about", "18.empty"]


def test_a_draft_that_is_published_becomes_the_post(drop, export, alive):
    drop(export([row("77.idea", published=False)], {"77.idea": "<p>Draft.</p>"}, day=1))
    assert set(alive()) == {"77"}
    drop(export([row("77.tide")], {"77.tide": PROSE}, day=2))
    assert set(alive()) == {"tide"}


def test_a_crawl_publishes_an_exports_draft_and_leaves_the_others_and_paid_posts_alone(site, play, export, alive):
    rows = [row("77.x", published=False), row("78.y", published=False), row("79.paid", audience="only_paid")]
    play(export(rows, {"77.x": "<p>X.</p>", "78.y": "<p>Y.</p>", "79.paid": PROSE}, name="tides"))
    site.api = Publication(post(77, "tide"), post(79, "paid", audience="only_paid", wordcount=900))
    play()
    play()
    assert set(alive()) == {"tide", "78", "paid"}
    assert alive()["paid"].archived_at is not None


def test_what_a_later_export_of_the_same_publication_lacks_is_gone(site, play, export, alive):
    both, posts = [row("1.one"), row("2.two")], {"1.one": PROSE, "2.two": "<p>Two.</p>"}
    play(export(both, posts, day=1))
    assert play(export(both[:1], posts, day=2)).gone == 1
    assert set(alive()) == {"one"}


def test_a_guests_post_that_an_export_brought_goes_with_the_next_crawl(site, play, export, alive):
    play(export([row("1.mine"), row("2.guest")], {"1.mine": PROSE, "2.guest": "<p>Bob.</p>"}))
    site.api = Publication(post(2, "guest", publishedBylines=[BOB]), post(1, "mine"))
    assert play(author="Ada Example").gone == 1
    assert set(alive()) == {"mine"}


def test_the_inbox_takes_two_publications_exports_and_neither_buries_the_other(drop, export, alive):
    for day, name in enumerate(("tides", "gauges"), 1):
        drop(export([row(f"{day}.{name}")], {f"{day}.{name}": PROSE}, day=day, name=name))
    assert {document.url for document in alive().values()} == {
        "https://tides.substack.com/p/tides", "https://gauges.substack.com/p/gauges",
    }  # fmt: skip


def test_an_export_of_another_publication_is_refused_by_name(stores, export):
    with open_archive(export([row("1.one")], {"1.one": PROSE}, name="gauges")) as archive:
        source = Source(id="substack", platform="substack", where=WHERE)
        with pytest.raises(BadSource, match=r"is the export of gauges\.substack\.com, and the source is"):
            list(SUBSTACK.import_archive(source, archive))
        with pytest.raises(BadSource, match="does not say who wrote which post"):
            list(
                SUBSTACK.import_archive(
                    Source(id="s", platform="substack", where="inbox", options={"author": "A"}), archive
                )
            )


@pytest.mark.parametrize("table", ["", "a,b\n1,2\n", "post_id\n", "\0", "post_id\n" + "x" * 200_000])
def test_a_table_of_another_shape_is_an_error_that_names_it(tmp_path, play, table):
    (tmp_path / "posts").mkdir()
    (tmp_path / "posts" / "1.one.html").write_text(PROSE)
    (tmp_path / "posts.csv").write_text(table)
    report = play(tmp_path)
    assert "posts.csv" in report.error


def test_an_export_is_told_by_its_table_and_its_posts(export):
    with open_archive(export([row("1.one")], {"1.one": PROSE})) as archive:
        assert archive_platform(archive) == "substack"
    for names in (
        ["posts.csv"],
        ["posts/1.one.html"],
        ["posts.csv", "posts/one.html"],
        ["posts.csv", "posts/2024-01.md"],
    ):
        assert not SUBSTACK.recognises(names)


def test_only_what_is_not_read_live_needs_exports():
    for where, needs in ((WHERE, False), ("substack:https://a.org", False), ("inbox", True), ("/home/ada/x.zip", True)):
        assert SUBSTACK.needs_archives(Source(id="s", platform="substack", where=where)) is needs


@pytest.fixture
def one_client(settings):
    with WebClient(settings) as http:
        yield http


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("\ud83c"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(post(1, "x"))), inner, max_size=6)
    ),
    max_leaves=12,
)
ODD = st.fixed_dictionaries(
    {"id": st.integers(0, 3) | JSON, "slug": st.sampled_from(["one", "two", "a/b", ""]) | JSON},
    optional={name: JSON for name in post(1, "x") if name not in ("id", "slug")},
)


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(listing=st.lists(ODD, max_size=4) | JSON, alone=ODD | JSON)
def test_no_answer_is_a_crash(site, stores, one_client, listing, alone):
    site.api = lambda request: as_json(listing if request.path.endswith("/archive") else alone)
    source = Source(id="substack", platform="substack", where=WHERE, options={"api": site.url})
    assert crawl("ada", source, SUBSTACK, stores.warehouse, one_client).finished_at


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    post_id=st.sampled_from(["1.one", "1.", ".one", "9" * 30 + ".x", "..", "1./../x"]) | st.text(max_size=8),
    cells=st.lists(st.text(max_size=8) | st.sampled_from(["true", "9999-99-99", '"', "\n"]), max_size=12),
    html=st.text(max_size=20)
    | st.sampled_from(["<div class='comment'>", "<span class=mention-wrap data-attrs=1>", "</body>"]),
)
def test_no_export_is_a_crash(stores, tmp_path_factory, post_id, cells, html):
    folder = tmp_path_factory.mktemp("export")
    (folder / "posts").mkdir()
    (folder / "posts" / "1.one.html").write_text(html, encoding="utf-8", errors="replace")
    table = io.StringIO()
    csv.writer(table).writerows([COLUMNS, [post_id, *cells], row("1.one")])
    (folder / "posts.csv").write_text(table.getvalue(), encoding="utf-8", errors="replace")
    report = CrawlReport("s", "substack", str(folder))
    with open_archive(folder) as archive, suppress(BadSource):
        source = Source(id="s", platform="substack", where=str(folder))
        read_archive("ada", source, SUBSTACK, archive, stores.warehouse, report)
        said = report.new + report.changed + report.unchanged + len(report.failed) + len(report.skipped)
        assert said > 0, "read, and said nothing of it"
