import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from twin_assets.collection.crawl import crawl
from twin_assets.collection.locations import platform_for
from twin_assets.collection.registry import ArchiveCrawler, archive_platform, crawlers
from twin_assets.content.archives import open_archive
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, Source
from twin_assets_tests.collection.site import Page, article

MEDIUM = crawlers()["medium"]
TIDE, GAUGE, REPLY = "7f2a57783f69", "a81307fa288d", "c35b40c499e"
PROSE = "".join(f"<p>Sentence {n} says something about the harbour and its gauges.</p>" for n in range(6))
PIXEL = f'<img src="https://medium.com/_/stat?event=post.clientViewed&postId={TIDE}" width="1" height="1" alt="">'
NOTE = (
    '<hr><p><a href="https://medium.com/tides/x">Tide &amp; time</a> was originally published in '
    '<a href="https://medium.com/tides">Tides</a> on Medium, where people are continuing the conversation by '
    "highlighting and responding to this story.</p>"
)
TEASER = (
    '<div class="medium-feed-item"><p class="medium-feed-snippet">How the gauge is read.</p>'
    '<p class="medium-feed-link"><a href="https://medium.com/@ada/x">Continue reading on Medium »</a></p></div>'
)


def entry(
    story_id: str, title: str, html: str, *, author: str = "Ada Example", tags: tuple[str, ...] = ("tides",), whole=True
) -> str:
    body = (
        f"<content:encoded><![CDATA[{html}]]></content:encoded>"
        if whole
        else f"<description><![CDATA[{html}]]></description>"
    )
    return (
        f"<item><title><![CDATA[{title}]]></title><link>https://medium.com/@ada/a-title-{story_id}?source=rss-1------2"
        f'</link><guid isPermaLink="false">https://medium.com/p/{story_id}</guid>'
        f"{''.join(f'<category>{tag}</category>' for tag in tags)}<dc:creator><![CDATA[{author}]]></dc:creator>"
        "<pubDate>Tue, 02 Jan 2024 10:00:00 GMT</pubDate><atom:updated>2024-02-03T10:00:00.000Z</atom:updated>"
        f"{body}</item>"
    )


def feed(*entries: str) -> Page:
    head = (
        '<?xml version="1.0" encoding="UTF-8"?><rss xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:atom="http://www.w3.org/2005/Atom" '
        'version="2.0"><channel><title>Stories by Ada Example on Medium</title>'
    )
    return Page(f"{head}{''.join(entries)}</channel></rss>".encode(), "text/xml; charset=UTF-8")


def section(*blocks: str, title: str | None = None) -> str:
    graf = f'<h3 name="a6b6" class="graf graf--h3 graf--leading graf--title">{title}</h3>' if title else ""
    return (
        '<section name="2eef" class="section section--body"><div class="section-divider"><hr class="section-divider">'
        f'</div><div class="section-content"><div class="section-inner">{graf}{"".join(blocks)}</div></div></section>'
    )


def graf(text: str) -> str:
    return f'<p name="c709" class="graf graf--p graf-after--h3">{text}</p>'


def story(title: str, *sections: str, story_id: str = TIDE, subtitle: str = "", published: bool = True) -> str:
    time = '<time class="dt-published" datetime="2023-12-17T15:08:19.728Z">December 17, 2023</time>'
    by = 'By <a href="https://medium.com/@ada" class="p-author h-card">Ada Example</a>'
    foot = (
        f'<p>{by} on <a href="https://medium.com/p/{story_id}">{time}</a>.</p>'
        f'<p><a href="https://medium.com/@ada/a-title-{story_id}" class="p-canonical">Canonical link</a></p>'
        if published
        else f'<p>{by}</p><p><a href="https://medium.com/p/{story_id}">View original.</a></p>'
    )
    summary = f'<section data-field="subtitle" class="p-summary">\n{subtitle}\n</section>' if subtitle else ""
    return (
        f'<!DOCTYPE html><html><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8"><title>{title}'
        '</title><style>* { color: #333; }</style></head><body><article class="h-entry">\n<header>\n'
        f'<h1 class="p-name">{title}</h1>\n</header>\n{summary}<section data-field="body" class="e-content">\n'
        f"{''.join(sections)}\n</section>\n<footer>{foot}"
        '<p>Exported from <a href="https://medium.com">Medium</a> on July 8, 2025.</p></footer></article></body></html>'
    )


@pytest.fixture
def play(stores, settings, site):
    """play(where, **options) -> CrawlReport into ada's source `medium`, with medium.com on loopback."""

    def run(where: object = "@ada", **options: str):
        source = Source(id="medium", platform="medium", where=str(where), options={"api": site.url} | options)
        with WebClient(settings, settings.web_cache("ada")) as http:
            return crawl("ada", source, MEDIUM, stores.warehouse, http)

    return run


@pytest.fixture
def export(tmp_path):
    """export(name=html …) -> the path of an archive with these files in posts/, made `day` of January 2025."""

    def make(posts: dict[str, str], day: int = 1, whole: bool = True) -> Path:
        path = tmp_path / f"medium-export-{day}.zip"
        rest = {
            "README.html": "<p>Read me</p>",
            "claps/claps-0001.html": "<p>x</p>",
            "profile/profile.html": "<p>x</p>",
        }
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in (
                (rest if whole else {}) | {f"posts/{name}": text for name, text in posts.items()}
            ).items():
                archive.writestr(zipfile.ZipInfo(f"medium-export-0f1e/{name}", (2025, 1, day, 0, 0, 0)), text)
        return path

    return make


@pytest.mark.parametrize(
    "where",
    [
        "@ada",
        "@ada.example",
        "https://medium.com/@ada",
        "https://medium.com/@ada/",
        "https://medium.com/feed/@ada",
        "https://ada.medium.com",
        "https://ada.medium.com/feed",
        "https://medium.com/tides",
        "https://medium.com/feed/tides",
        f"https://medium.com/@ada/a-title-{TIDE}?source=home",
        f"https://medium.com/p/{TIDE}",
        "medium:https://tides.example.org",
    ],
)
def test_what_is_on_medium_is_mediums(where):
    assert platform_for(where) == "medium"


@pytest.mark.parametrize(
    "where",
    [
        "", "@", "@ada@example.org", "ada", "https://medium.com", "https://medium.com/m/signin", "https://medium.com/tag/sea",
        "https://notmedium.com/@ada", "https://tides.example.org", "https://medium.com.example.org/@ada", "http://[x",
    ],
)  # fmt: skip
def test_what_may_be_anybodys_is_not(where):
    assert not MEDIUM.accepts(where)


def test_a_feed_gives_stories_by_their_ids_without_what_medium_adds(site, play, documents):
    picture = "<figure><img src='a.png'><figcaption>The pier.</figcaption></figure>"
    html = f"<h3>Tide &amp; time</h3>{picture}{PROSE}{PIXEL}{NOTE}"
    site.pages["/feed/@ada"] = feed(entry(TIDE, "Tide & time", html))
    report = play()
    assert (report.new, report.failed, report.complete) == (1, [], False)
    document = documents()[TIDE]
    assert (document.title, document.content_type, document.category) == ("Tide & time", "text/html", Category.ARTICLE)
    assert document.url == f"https://medium.com/@ada/a-title-{TIDE}"
    assert (document.published_at.year, document.metadata["tags"]) == (2024, ["tides"])
    assert document.content == PROSE


def test_a_character_that_xml_cannot_hold_is_no_crash(site, play, documents):
    site.pages["/feed/@ada"] = feed(entry(TIDE, "Tide", f"<figure></figure>\x1b&#27;&#xD83C; {PROSE}"))
    assert play().failed == []
    assert documents()[TIDE].content.endswith(PROSE)


def test_code_in_a_figure_stays_and_a_picture_does_not(site, play, documents):
    figures = '<figure><pre data-code-block-lang="go">a()<br>b()</pre></figure><figure><img src="x.png">Wall</figure>'
    site.pages["/feed/@ada"] = feed(entry(TIDE, "Tide", PROSE + figures))
    play()
    assert "a()<br>b()" in documents()[TIDE].content
    assert "Wall" not in documents()[TIDE].content


def test_an_unchanged_feed_costs_one_request_and_no_write(site, play):
    site.pages["/feed/@ada"] = feed(entry(TIDE, "Tide", PROSE))
    play()
    site.asked.clear()
    report = play()
    assert (report.writes, report.unchanged, site.paths()) == (0, 1, ["/feed/@ada"])


def test_what_leaves_the_window_of_ten_is_not_gone(site, play):
    site.pages["/feed/@ada"] = feed(entry(TIDE, "Tide", PROSE), entry(GAUGE, "Gauge", PROSE + "<p>More.</p>"))
    play()
    site.pages["/feed/@ada"] = feed(entry(GAUGE, "Gauge", PROSE + "<p>More.</p>"))
    assert play().gone == 0


@pytest.mark.parametrize(("teaser", "whole"), [(TEASER, True), ("<p>How the gauge is read.</p>", False)])
def test_a_teaser_of_a_members_only_story_is_refused_and_the_archive_named(site, play, documents, teaser, whole):
    site.pages["/feed/@ada"] = feed(entry(GAUGE, "The gauge", teaser, whole=whole), entry(TIDE, "Tide", PROSE))
    [failure] = play().failed
    assert failure["item"] == GAUGE
    assert "members only" in failure["reason"]
    assert "use the archive that Medium gives you" in failure["reason"]
    assert set(documents()) == {TIDE}


RESPONSE = "<p>Tide tables lie. Mine did.</p><p>So I keep my own.</p>"


def test_a_response_is_skipped_unless_the_source_takes_responses(site, play, documents):
    site.pages["/feed/@ada"] = feed(
        entry(REPLY, "Tide tables lie. Mine did.", RESPONSE, tags=()), entry(TIDE, "Tide", PROSE)
    )
    [skipped] = play().skipped
    assert "--option responses=yes" in skipped["reason"]
    assert set(documents()) == {TIDE}
    play(responses="yes")
    reply = documents()[REPLY]
    assert (reply.category, reply.title, reply.content) == (Category.POST, None, RESPONSE)


def test_a_long_piece_without_a_title_is_no_response(site, play, documents):
    long = "<p>Tide tables lie.</p>" + PROSE * 10
    site.pages["/feed/@ada"] = feed(entry(TIDE, "Tide tables lie.", long, tags=()))
    play()
    assert documents()[TIDE].category is Category.ARTICLE


def test_a_publication_of_several_asks_whose_stories_to_take(site, play, documents):
    site.pages["/feed/tides"] = feed(
        entry(TIDE, "Tide", PROSE), entry(GAUGE, "Gauge", PROSE + "<p>Mine.</p>", author="Bob Other")
    )
    where = "https://medium.com/tides"
    assert "is written by Ada Example, Bob Other: choose one, --option author=" in play(where).error
    report = play(where, author="ada example")
    assert set(documents()) == {TIDE}
    assert [skipped["reason"] for skipped in report.skipped] == ["is by Bob Other"]


@pytest.mark.parametrize("status", [200, 403])
def test_a_challenge_instead_of_a_feed_names_the_archive(site, play, status):
    body = b"<html><head><title>Just a moment...</title></head><body><script>_cf_chl_opt={}</script></body></html>"
    site.pages["/feed/@ada"] = Page(body, status=status)
    error = play().error
    assert "prove that they are human" in error
    assert "archive that Medium gives you" in error


def test_a_feed_without_stories_takes_nothing_as_deleted(site, play, documents):
    site.pages["/feed/@ada"] = feed(entry(TIDE, "Tide", PROSE))
    play()
    site.pages["/feed/@ada"] = feed()
    assert "has no stories" in play().error
    assert documents()[TIDE].deleted_at is None


def test_a_story_page_is_one_document_under_the_same_id(site, play, documents):
    page = article("Tide | by Ada Example | Medium", "|".join(f"Sentence {n} on the harbour." for n in range(9)))
    site.pages[f"/@ada/a-title-{TIDE}"] = page
    report = play(f"https://medium.com/@ada/a-title-{TIDE}?source=home")
    assert (report.new, report.complete) == (1, False)
    assert documents()[TIDE].title == "Tide"
    assert "Sentence 8" in documents()[TIDE].content


def test_a_members_only_story_page_is_refused(site, play, documents):
    page = article("Tide", "The beginning of the story, and no more.|Nothing else.")
    locked = b'<script type="application/ld+json">{"isAccessibleForFree": false}</script></head>'
    site.pages[f"/p/{TIDE}"] = Page(page.body.replace(b"</head>", locked))
    assert "for subscribers" in play(f"https://medium.com/p/{TIDE}").error
    assert not documents()


STORY = story(
    "Tide &amp; time",
    section(
        graf("The first part."),
        '<figure class="graf graf--figure"><img class="graf-image" src="a.png">'
        '<figcaption class="imageCaption">The pier.</figcaption></figure>',
        title="Tide &amp; time",
    ),
    section(
        graf("The second part."),
        '<div class="graf graf--mixtapeEmbed graf-after--p"><a href="https://x.org" class="markup--anchor">'
        "<strong>Somebody's card</strong><br><em>about it</em>x.org</a></div>",
    ),
    section('<pre class="graf graf--pre">tide = 1\n  ebb = 2</pre>', graf("The third part.")),
    subtitle="How it goes…",
)


def test_an_archive_has_the_whole_text_past_every_divider(play, export, documents):
    report = play(export({f"2023-12-17_Tide---time-{TIDE}.html": STORY}))
    assert (report.new, report.error, report.complete) == (1, None, True)
    document = documents()[TIDE]
    assert (document.title, document.visibility) == ("Tide & time", "public")
    assert document.url == f"https://medium.com/@ada/a-title-{TIDE}"
    assert document.published_at.isoformat() == "2023-12-17T15:08:19.728000+00:00"
    for words in ("The first part.", "The second part.", "tide = 1\n  ebb = 2", "The third part."):
        assert words in document.content
    for furniture in ("time</h3>", "The pier.", "Somebody's card", "Exported from", "How it goes"):
        assert furniture not in document.content


def test_drafts_are_private_and_empty_ones_are_skipped(play, export, documents):
    draft = story("Untitled", section(graf("Not yet."), title="Untitled"), story_id=GAUGE, published=False)
    empty = story("Untitled", section(graf("")), story_id=TIDE, published=False)
    report = play(export({f"draft_Untitled-{GAUGE}.html": draft, f"draft_Untitled-{TIDE}.html": empty}))
    assert (documents()[GAUGE].visibility, documents()[GAUGE].published_at) == ("private", None)
    assert [skipped["reason"] for skipped in report.skipped] == ["has no text of its own"]


def test_an_archives_responses_follow_the_option_too(play, export, documents):
    reply = story("Tide tables lie.", section(graf("Tide tables lie. Mine did.")), story_id=REPLY)
    path = export({f"2023-12-17_Tide-tables-lie--{REPLY}.html": reply, f"2023-12-17_T-{TIDE}.html": STORY})
    assert "responses=yes" in play(path).skipped[0]["reason"]
    assert set(documents()) == {TIDE}
    play(path, responses="yes")
    assert (documents()[REPLY].category, documents()[REPLY].title) == (Category.POST, None)


def test_the_feed_and_the_archive_name_one_story_the_same(site, play, export, documents):
    play(export({f"2023-12-17_Tide-{TIDE}.html": STORY}))
    site.pages["/feed/@ada"] = feed(entry(TIDE, "Tide & time", PROSE))
    assert play().changed == 1
    assert set(documents()) == {TIDE}


def test_what_a_later_archive_lacks_is_gone_but_not_what_a_few_files_lack(play, export, documents):
    other = story("Gauge", section(graf("Another."), title="Gauge"), story_id=GAUGE)
    both = {f"2023-12-17_Tide-{TIDE}.html": STORY, f"2023-12-18_Gauge-{GAUGE}.html": other}
    play(export(both, day=1))
    one = {f"2023-12-17_Tide-{TIDE}.html": STORY}
    assert play(export(one, day=2, whole=False)).gone == 0
    assert play(export(one, day=3)).gone == 1
    assert documents()[GAUGE].deleted_at is not None


def test_an_archive_with_a_member_that_is_refused_lists_nothing(play, export):
    path = export({f"2023-12-17_Tide-{TIDE}.html": STORY}, day=1)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"../2023-12-18_Gauge-{GAUGE}.html", STORY)
    report = play(path)
    assert (report.new, report.complete) == (1, False)


def test_a_page_of_another_shape_is_named_and_not_gone(play, export):
    files = {f"2023-12-17_Tide-{TIDE}.html": STORY, f"2023-12-18_Gauge-{GAUGE}.html": STORY}
    play(export(files, day=1))
    files[f"2023-12-18_Gauge-{GAUGE}.html"] = "<html><body><p>new shape</p></body></html>"
    report = play(export(files, day=2))
    assert report.failed == [
        {
            "item": GAUGE,
            "reason": f"posts/2023-12-18_Gauge-{GAUGE}.html has no section e-content: Medium has changed its archives",
        }
    ]
    assert report.gone == 0


def test_an_export_is_told_by_its_stories_and_a_blogs_folder_is_not(export, tmp_path):
    with open_archive(export({f"draft_T-{TIDE}.html": STORY})) as archive:
        assert archive_platform(archive) == "medium"
    assert isinstance(MEDIUM, ArchiveCrawler)
    blog = ["posts/2023-12-17-tide.html", "posts/2023-12-17_tide.html", "posts/index.html", "README.html"]
    assert not MEDIUM.recognises(blog)
    assert not MEDIUM.recognises(["posts.csv", "posts/123.tide.html"])


def test_a_feed_always_needs_archives_beside_it():
    for where, needs in (("@ada", True), ("inbox", True), (f"https://medium.com/p/{TIDE}", False)):
        assert MEDIUM.needs_archives(Source(id="m", platform="medium", where=where)) is needs


MARKUP = st.lists(
    st.sampled_from(
        ["<section class='e-content'>", "</section>", "<h3 class='graf--title'>", "</h3>", "<p>", "<figure>",
         "</figure>", "<h1 class='p-name'>", "<a class='p-canonical' href='http://[x'>", "<time class=dt-published>",
         "</body>", "<hr>", "\0", "\ud83c", "&#xD83C;", "]]>", "<plaintext>", "<!--", "was originally published in"]
    )
    | st.text(max_size=8),
    max_size=20,
).map("".join)  # fmt: skip


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(html=MARKUP, title=MARKUP)
def test_no_page_and_no_feed_is_a_crash(site, stores, settings, html, title, tmp_path_factory):
    posts = tmp_path_factory.mktemp("export") / "posts"
    posts.mkdir()
    (posts / f"2023-12-17_T-{TIDE}.html").write_text(html, encoding="utf-8", errors="surrogatepass")
    site.pages["/feed/@ada"] = Page(
        feed(entry(TIDE, "T", "BODY")).body.replace(b"BODY", (html + title).encode("utf-8", "surrogatepass")),
        "text/xml",
    )
    with WebClient(settings) as http:
        for where in (posts.parent, "@ada"):
            source = Source(id="m", platform="medium", where=str(where), options={"api": site.url})
            report = crawl("ada", source, MEDIUM, stores.warehouse, http)
            assert report.error or report.new + report.changed + report.unchanged + len(report.failed + report.skipped)
