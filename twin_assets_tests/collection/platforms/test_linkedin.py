"""LinkedIn over a real HTTP server that answers as its API does, and archives in the layouts that it sends."""

import json
import time
import zipfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzz
from hypothesis import strategies as st

from twin_assets.collection.crawl import crawl
from twin_assets.collection.locations import platform_for
from twin_assets.collection.platforms.linkedin import change_log
from twin_assets.collection.platforms.linkedin import export as linkedin_export
from twin_assets.collection.platforms.linkedin.crawler import LinkedInCrawler
from twin_assets.collection.platforms.linkedin.export import moment, post_urn, rows, unwrapped
from twin_assets.content.web import WebClient
from twin_assets.documents import Source, utcnow
from twin_assets.errors import BadItem
from twin_assets_tests.collection.site import Page

ME, OTHER = "urn:li:person:ada", "urn:li:person:bob"
SHARES, ARTICLES, COMMENTS = "MEMBER_SHARE_INFO", "ARTICLES", "ALL_COMMENTS"
FEW = fuzz(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def link(kind: str, number: int) -> str:
    return f"https://www.linkedin.com/feed/update/{quote(f'urn:li:{kind}:{number}', safe='')}"


def share(number: int, text: str, date: str = "2026-05-07 16:41:18", **more: str) -> dict[str, str]:
    row = {"Date": date, "ShareLink": link("share", number), "ShareCommentary": text, "Visibility": "MEMBER_NETWORK"}
    return row | more


def event(number: int, method: str, text: str | None = None, **more: object) -> dict[str, object]:
    """A change of a post as the log gives it, an hour ago and `number` milliseconds."""
    at = int(time.time() * 1_000) - 3_600_000 + number % 1_000
    content = {"com.linkedin.ugc.ShareContent": {"shareCommentary": {"text": text}}}
    visibility = {"com.linkedin.ugc.MemberNetworkVisibility": "PUBLIC"}
    activity = {} if text is None else {"author": ME, "specificContent": content, "visibility": visibility}
    return {
        "id": f"{method}-{number}-{text}", "capturedAt": at, "processedAt": at, "owner": ME, "actor": ME,
        "resourceName": "ugcPosts", "resourceId": f"urn:li:share:{number}", "method": method, "activity": activity,
        "activityStatus": "SUCCESS",
    } | more  # fmt: skip


def comment(number: int, method: str, text: str | None = None, **more: object) -> dict[str, object]:
    activity = {"id": str(number), "object": "urn:li:activity:7111111", "message": {"text": text}} if text else {}
    names = {"resourceName": "socialActions/comments", "resourceId": str(number), "activity": activity}
    return event(number, method) | names | more


@dataclass
class LinkedIn:
    """domains: a list of pages of rows each; generated: when the member's data was asked for, epoch milliseconds."""

    domains: dict[str, list[list[dict[str, str]]]] = field(default_factory=dict)
    changes: list[dict[str, object]] = field(default_factory=list)
    generated: int | None = 1_700_000_000_000
    refusal: Page | None = None
    asked: list[str] = field(default_factory=list)

    def __call__(self, request: object) -> Page:
        self.asked.append(
            f"{request.method} {request.path.removeprefix('/rest/')} {request.query.get('domain', '')}".strip()
        )
        if self.refusal:
            return self.refusal
        headers = {name.lower(): value for name, value in request.headers.items()}
        assert headers["authorization"] == "Bearer a-token"
        assert (headers["linkedin-version"], headers["x-restli-protocol-version"]) == ("202312", "2.0.0")
        return getattr(self, request.path.removeprefix("/rest/"))(request)

    def memberSnapshotData(self, request: object) -> Page:  # noqa: N802
        assert request.query["q"] == "criteria"
        domain, start = request.query["domain"], int(request.query.get("start", 0))
        pages = self.domains.get(domain, [])
        if start >= len(pages):
            return refused(404, "No data found for this domain and memberId.")
        href = f"/rest/memberSnapshotData?count=10&domain={domain}&q=criteria&start={start + 1}"
        found = [{"snapshotDomain": domain, "snapshotData": pages[start]}]
        return answer(found, [{"rel": "next", "href": href}])

    def memberChangeLogs(self, request: object) -> Page:  # noqa: N802
        assert request.query["q"] == "memberAndApplication"
        start, count = int(request.query.get("start", 0)), int(request.query["count"])
        assert 1 <= count <= 50
        found = [change for change in self.changes if change["processedAt"] >= int(request.query["startTime"])]
        return answer(found[start : start + count])

    def memberAuthorizations(self, request: object) -> Page:  # noqa: N802
        if request.method == "POST":
            assert request.body == b"{}"
            self.generated = int(time.time() * 1_000)
            return Page(b"", status=201)
        return answer([{"regulatedAt": self.generated}] if self.generated else [])


def answer(elements: list[object], links: list[object] = ()) -> Page:
    body = {"paging": {"start": 0, "count": 10, "links": list(links), "total": 1}, "elements": elements}
    return Page(json.dumps(body).encode(), "application/json")


def refused(status: int, message: str, **headers: str) -> Page:
    body = json.dumps({"status": status, "serviceErrorCode": status, "message": message}).encode()
    return Page(body, "application/json", status=status, headers=headers)


@pytest.fixture
def linkedin(site):
    site.api = LinkedIn()
    return site.api


@pytest.fixture
def collect(site, stores, settings, monkeypatch):
    """collect(comments="yes", where=…) -> CrawlReport of a source with a token."""
    monkeypatch.setenv("LINKEDIN_TOKEN", "a-token")

    def run(where: object = "api", token_env: str | None = "LINKEDIN_TOKEN", **options: str) -> object:
        options = {"api": site.url} | options
        source = Source(id="li", platform="linkedin", where=str(where), token_env=token_env, options=options)
        with WebClient(settings, settings.web_cache("ada")) as http:
            return crawl("ada", source, LinkedInCrawler(), stores.warehouse, http)

    return run


@pytest.fixture
def days_pass(stores):
    """days_pass(n) makes the last snapshots n days older."""

    def run(days: int) -> None:
        state = stores.warehouse.crawl_state("ada", "li")
        for taken in state["snapshots"].values():
            taken["at"] = (datetime.fromisoformat(taken["at"]) - timedelta(days=days)).isoformat()
        stores.warehouse.save_crawl_state("ada", "li", state)

    return run


@pytest.fixture
def texts(documents):
    return lambda: {name: document.content for name, document in documents().items() if document.deleted_at is None}


# The API


def test_the_history_comes_by_snapshot_page_by_page_until_nothing_is_found(linkedin, collect, documents):
    linkedin.domains = {
        SHARES: [[share(7000001, "First post.")], [share(7000002, "Second,\n\nwith more.", Visibility="CONNECTIONS")]],
        ARTICLES: [[{
            "Title": "On tides", "Link": "https://www.linkedin.com/pulse/on-tides-ada-abcd",
            "Published On": "2026-01-02",
            "Content": "<p>Tides <iframe src='x'></iframe>come.</p><figure><figcaption>A tide</figcaption></figure>",
        }]],
    }  # fmt: skip
    report = collect()
    assert (report.error, report.new, report.failed) == (None, 3, [])
    post = documents()["7000001"]
    assert (post.content, post.category, post.content_type, post.visibility) == (
        "First post.", "post", "text/plain", "public",
    )  # fmt: skip
    assert post.url == "https://www.linkedin.com/feed/update/urn:li:share:7000001/"
    assert post.published_at == datetime(2026, 5, 7, 16, 41, 18, tzinfo=UTC)
    assert documents()["7000002"].visibility == "private"
    article = documents()["on-tides-ada-abcd"]
    assert (article.title, article.category, article.content) == ("On tides", "article", "<p>Tides come.</p>")


def test_only_the_change_log_is_read_until_a_week_has_passed(linkedin, collect, days_pass):
    linkedin.domains = {SHARES: [[share(7000001, "One.")]], ARTICLES: [[{"Title": "T", "Content": "Text."}]]}
    collect()
    linkedin.asked.clear()
    assert collect().writes == 0
    assert linkedin.asked == ["GET memberChangeLogs"]
    days_pass(7)
    assert collect().writes == 0
    assert f"GET memberSnapshotData {SHARES}" in linkedin.asked


def test_the_change_log_brings_what_was_written_edited_and_deleted_since(linkedin, collect, texts, documents):
    linkedin.domains = {SHARES: [[share(7000001, "Old."), share(7000002, "To go.")]]}
    collect()
    linkedin.changes = [event(7000003, "CREATE", "New."), event(7000001, "UPDATE", "Edited."), event(7000002, "DELETE")]
    report = collect()
    assert (report.new, report.changed, report.gone) == (1, 1, 1)
    assert texts() == {"7000001": "Edited.", "7000003": "New."}
    assert documents()["7000001"].updated_at is not None
    linkedin.changes[2:] = []
    assert collect().writes == 0


def test_a_long_log_is_read_to_its_end_and_the_newest_event_only_once(linkedin, collect, stores, texts):
    linkedin.changes = [event(7000000 + n, "CREATE", f"Post {n}.") for n in range(120)]
    assert collect().new == 120
    state = stores.warehouse.crawl_state("ada", "li")
    assert state["after_ms"] == linkedin.changes[-1]["processedAt"]
    assert state["seen"] == [linkedin.changes[-1]["id"]]
    assert (linkedin.asked.count("GET memberChangeLogs"), len(texts())) == (3, 120)


def test_other_peoples_events_failures_and_a_companys_posts_are_not_the_authors(linkedin, collect, texts):
    company = event(7000003, "CREATE", "We are hiring.")
    company["activity"]["author"] = "urn:li:organization:5"
    linkedin.changes = [
        event(7000001, "CREATE", "Not mine.", actor=OTHER),
        event(7000002, "CREATE", "Refused.", activityStatus="FAILURE"),
        event(7000004, "CREATE", "A message.", resourceName="messages"),
        company,
    ]
    report = collect()
    assert texts() == {}
    assert {"item": "7000003", "reason": "was posted in a company's name"} in report.skipped


def test_a_patch_is_applied_to_what_the_log_knows_and_never_makes_a_private_post_public(linkedin, collect, documents):
    linkedin.domains = {SHARES: [[share(7000002, "Friends only.", Visibility="CONNECTIONS")]]}
    patch = {
        "patch": {
            "specificContent": {"com.linkedin.ugc.ShareContent": {"$set": {"shareCommentary": {"text": "Mended."}}}}
        }
    }
    collect()
    linkedin.changes = [
        event(7000001, "CREATE", "Brokn."),
        event(7000001, "PARTIAL_UPDATE", activity=patch),
        event(7000002, "PARTIAL_UPDATE", activity=patch),
    ]
    report = collect()
    assert documents()["7000001"].content == "Mended."
    assert (documents()["7000002"].content, documents()["7000002"].visibility) == ("Friends only.", "private")
    assert [failure["item"] for failure in report.failed] == ["7000002"]


def test_a_snapshot_that_lags_brings_back_nothing_old(linkedin, collect, days_pass, texts):
    linkedin.domains = {SHARES: [[share(7000001, "Old."), share(7000002, "Gone soon.")]]}
    collect()
    linkedin.changes = [
        event(7000001, "UPDATE", "Edited."), event(7000002, "DELETE"), event(7000003, "CREATE", "Too new."),
    ]  # fmt: skip
    collect()
    days_pass(8)
    assert collect().writes == 0
    linkedin.changes = []  # the log has forgotten, the snapshot has caught up with edits only
    linkedin.domains[SHARES][0][0]["ShareCommentary"] = "Edited."
    days_pass(8)
    collect()
    assert texts() == {"7000001": "Edited.", "7000003": "Too new."}


def test_what_leaves_the_snapshot_is_gone(linkedin, collect, days_pass, texts):
    linkedin.domains = {SHARES: [[share(7000001, "One."), share(7000002, "Two.")]]}
    collect()
    linkedin.domains[SHARES][0].pop()
    days_pass(8)
    assert collect().gone == 1
    assert texts() == {"7000001": "One."}


def test_what_is_not_generated_yet_is_asked_for_and_buries_nothing(linkedin, collect, texts, days_pass):
    linkedin.generated = None
    report = collect()
    assert linkedin.asked[-3:] == [
        "GET memberAuthorizations", "POST memberAuthorizations", f"GET memberSnapshotData {ARTICLES}",
    ]  # fmt: skip
    assert [failure["item"] for failure in report.failed] == [SHARES, ARTICLES]
    assert "is making this listing now that it was asked to, which takes up to a day" in report.failed[0]["reason"]
    linkedin.domains = {SHARES: [[share(7000001, "One.")]]}
    assert collect().new == 1
    linkedin.domains, linkedin.generated = {}, 1_700_000_000_000
    days_pass(8)
    report = collect()
    assert (report.gone, report.failed, report.complete) == (0, [], False)
    assert (
        report.skipped[0]["reason"] == "LinkedIn has no data of yours here, at least today: nothing is taken as deleted"
    )
    assert texts() == {"7000001": "One."}


def test_reposts_and_bare_links_are_skipped_by_name(linkedin, collect, texts):
    linkedin.domains = {SHARES: [[
        share(7000001, ""), share(7000002, "https://example.com/a https://example.com/b\n"),
        share(7000003, "Read this: https://example.com/a", SharedUrl="https://example.com/a"),
    ]]}  # fmt: skip
    report = collect()
    assert texts() == {"7000003": "Read this: https://example.com/a"}
    assert [skipped["item"] for skipped in report.skipped][:2] == ["7000001", "7000002"]


def test_a_crawl_that_was_stopped_goes_on_where_it_was(linkedin, collect, texts):
    linkedin.domains = {SHARES: [[share(7000001, "One.")]]}
    give, throttled = linkedin.memberSnapshotData, refused(429, "Throttled", **{"Retry-After": "3600"})
    linkedin.memberSnapshotData = lambda asked: throttled if asked.query["domain"] == ARTICLES else give(asked)
    assert "Throttled" in collect().error
    assert texts() == {"7000001": "One."}
    linkedin.memberSnapshotData = give
    linkedin.asked.clear()
    assert collect().error is None
    assert linkedin.asked == [
        "GET memberChangeLogs", f"GET memberSnapshotData {ARTICLES}", "GET memberAuthorizations",
    ]  # fmt: skip


def test_comments_come_when_wanted_and_under_one_name_from_log_and_snapshot(linkedin, collect, documents, texts):
    linkedin.changes = [comment(8000001, "CREATE", "Well said."), comment(8000002, "CREATE", "Not mine.", actor=OTHER)]
    assert collect().new == 0
    at = datetime.fromtimestamp(linkedin.changes[0]["capturedAt"] // 1_000, UTC)
    linkedin.domains = {COMMENTS: [[
        {"Date": f"{at:%Y-%m-%d %H:%M:%S}", "Link": link("activity", 7111111), "Message": "Well said."},
        {"Date": "", "Link": link("activity", 7111112), "Message": "Undated."},
        {"Date": "2026-01-01 10:00:00", "Link": link("activity", 7111113), "Message": ""},
    ]]}  # fmt: skip
    report = collect(comments="yes")
    assert (report.new, report.failed) == (2, [])
    name = f"comment-{at:%Y%m%dT%H%M%S}"
    assert documents()[name].metadata["reply_to"] == "https://www.linkedin.com/feed/update/urn:li:activity:7111111/"
    linkedin.changes += [comment(8000001, "DELETE"), comment(8000009, "DELETE")]
    assert collect(comments="yes").gone == 1
    assert list(texts().values()) == ["Undated."]


@pytest.mark.parametrize(
    ("status", "said", "advice"),
    [
        (401, "The token used in the request has expired", "make a token with the scope r_dma_portability_self_serve"),
        (403, "Not enough permissions", "Member Data Portability (Member) Default Company"),
        (426, "NONEXISTENT_VERSION", "option `version`"),
        (429, "Resource level throttle limit", "nothing is lost, collect again later"),
        (404, "Could not find endpoint", "nothing is taken as deleted"),
    ],
)
def test_each_refusal_says_what_linkedin_said_and_what_to_do(linkedin, collect, status, said, advice):
    linkedin.refusal = refused(status, said, **({"Retry-After": "3600"} if status == 429 else {}))
    error = collect().error
    assert said in error
    assert advice in error
    assert "a-token" not in error


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[" * 100_000, b"[]", b'{"elements": 3, "paging": []}'])
def test_an_answer_of_another_shape_is_no_crash_and_buries_nothing(linkedin, collect, texts, days_pass, body):
    linkedin.domains = {SHARES: [[share(7000001, "One.")]]}
    collect()
    days_pass(8)
    linkedin.refusal = Page(body, "application/json")
    assert collect().gone == 0
    assert texts() == {"7000001": "One."}


def test_a_listing_that_goes_in_a_circle_or_elsewhere_ends(linkedin, site, collect):
    for href, words in (("/rest/memberSnapshotData?q=criteria&domain=MEMBER_SHARE_INFO", "repeats itself"),
                        ("https://example.com/rest/memberSnapshotData", "another host")):  # fmt: skip
        linkedin.memberSnapshotData = lambda _, href=href: answer([], [{"rel": "next", "href": href}])
        assert words in collect().error


def test_a_missing_token_says_how_to_get_one(collect, monkeypatch):
    assert "Member Data Portability API (Member)" in collect("https://www.linkedin.com/in/ada", token_env=None).error
    error = collect(token_env="NOT_SET").error
    assert error.startswith("environment variable NOT_SET is empty")
    assert "oauth/token-generator" in error


# The archive

ARTICLE = """<html><head><title>The cost</title><style>body {{ width: 744px; }}</style></head><body>
  <h1><a href="https://www.linkedin.com/pulse/the-cost-ada-abcd">The cost</a></h1>
  <p class="created">Created on 2024-09-20 06:04</p>
  {published}
  <div><p>Costs grow. See
  <a href="https://www.linkedin.com/redir/general-malware-page?url=https%3A%2F%2Fada%2eexample%2Fa">this</a>.
  </p>
  <figure><img src="x.png"><figcaption>A chart</figcaption></figure><blockquote>Measure.</blockquote></div>
</body></html>"""
PUBLISHED = '<p class="published">Published on 2024-09-21 06:12</p>'
SHARES_CSV = (
    "Date,ShareLink,ShareCommentary,SharedUrl,MediaUrl,Visibility\n"
    f"2026-05-07 16:41:18,{link('share', 7000001)},First post.,,,MEMBER_NETWORK\n"
    f'2026-04-01 12:00:00,{link("ugcPost", 7000002)},"Check ""this"", and that",https://example.com/a,,CONNECTIONS\n'
)
WHOLE = {"Profile.csv": "First Name\nAda\n", "Registration.csv": "x\n", "Logins.csv": "x\n"}


@pytest.fixture
def export(tmp_path):
    """export({name: text}, days_ago, top) -> the path of a zip made then."""

    def make(files: dict[str, str | bytes], days_ago: float = 1, top: str = "") -> object:
        made = (utcnow() - timedelta(days=days_ago)).timetuple()[:6]
        path = tmp_path / f"data-{days_ago}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(zipfile.ZipInfo(top + name, made), text)
        return path

    return make


def test_an_archive_gives_posts_and_articles(export, collect, documents):
    files = WHOLE | {"Shares_17529409.csv": "\ufeff" + SHARES_CSV, "Connections.csv": "Notes:\n\nFirst Name\nBob\n"}
    path = export(
        files | {"Articles/Articles/the-cost-ada-abcd.html": ARTICLE.format(published=PUBLISHED)}, top="Complete/"
    )
    assert platform_for(str(path)) == "linkedin"
    report = collect(path)
    assert (report.error, report.new, report.failed, report.complete) == (None, 3, [], True)
    assert documents()["7000002"].content == 'Check "this", and that'
    assert (documents()["7000002"].visibility, documents()["7000001"].visibility) == ("private", "public")
    article = documents()["the-cost-ada-abcd"]
    assert (article.title, article.visibility, article.content_type) == ("The cost", "public", "text/html")
    assert article.published_at == datetime(2024, 9, 21, 6, 12, tzinfo=UTC)
    assert article.url == "https://www.linkedin.com/pulse/the-cost-ada-abcd"
    assert 'href="https://ada.example/a"' in article.content
    for furniture in ("Created on", "Published on", "A chart", "<h1", "744px", "<img"):
        assert furniture not in article.content


def test_the_api_and_the_archive_name_a_post_alike(linkedin, export, collect, documents):
    collect(export(WHOLE | {"Shares.csv": SHARES_CSV}))
    linkedin.domains = {SHARES: [[share(7000001, "First post.")]]}
    report = collect()
    assert (report.new, report.changed, report.unchanged) == (0, 0, 1)
    assert set(documents()) == {"7000001", "7000002"}


def test_an_article_that_was_never_published_is_private(export, collect, documents):
    files = {"Articles/Articles/2025-07-02 04:22:13.0-a-draft.html": ARTICLE.format(published="").replace("pulse", "x")}
    collect(export(WHOLE | {"Shares.csv": SHARES_CSV} | files))
    assert documents()["a-draft"].visibility == "private"


def test_what_a_later_whole_archive_lacks_is_gone_and_a_part_buries_nothing(export, collect, texts):
    articles = {"Articles/Articles/a.html": ARTICLE.format(published=PUBLISHED)}
    collect(export(WHOLE | {"Shares.csv": SHARES_CSV} | articles, days_ago=9))
    first = SHARES_CSV[: SHARES_CSV.index("2026-04-01")]
    assert collect(export({"Shares.csv": first, "Rich_Media.csv": "x\n"}, days_ago=5)).gone == 0
    header = SHARES_CSV.partition("\n")[0]
    assert collect(export(WHOLE | {"Shares.csv": header}, days_ago=4)).gone == 0
    assert collect(export(WHOLE | {"Shares.csv": first}, days_ago=3)).gone == 2
    assert texts() == {"7000001": "First post."}


def test_comments_of_an_archive_have_backslashed_quotes_several_lines_and_blank_dates(export, collect, documents):
    comments = (
        "Date,Link,Message\n"
        f'2026-05-08 09:00:00,{link("ugcPost", 7000001)},"I led the \\"tea, Earl Grey\\" team,\n\nit was hot."\n'
        f",{link('activity', 7000009)},No date here.\n"
        f'2026-05-08 09:30:00,{link("ugcPost", 7000001)},"A second, ""quoted"" one"\n'
        f"2026-05-08 09:31:00,{link('ugcPost', 7000001)},\n"
    )
    path = export(WHOLE | {"Shares.csv": SHARES_CSV, "Comments_17529409.csv": comments})
    assert collect(path).new == 2
    report = collect(path, comments="yes")
    assert (report.new, report.failed) == (3, [])
    found = {d.content: d for d in documents().values() if d.metadata["kind"] == "comment"}
    assert set(found) == {
        'I led the "tea, Earl Grey" team,\n\nit was hot.', "No date here.", 'A second, "quoted" one',
    }  # fmt: skip
    assert found["No date here."].published_at is None


def test_the_part_without_posts_says_what_to_wait_for(export, collect):
    error = collect(export({"Profile.csv": "x\n", "Connections.csv": "x\n"})).error
    assert "is the first part of LinkedIn's archive, which has no posts" in error


@pytest.mark.parametrize(
    ("shares", "reason"),
    [
        ("Day,Price\n2026-01-01,3\n", "has no column sharecommentary (but day, price)"),
        ("", "has no column sharecommentary (but nothing)"),
    ],
)
def test_a_table_of_another_kind_is_named(export, collect, shares, reason):
    [failure] = collect(export(WHOLE | {"Shares.csv": shares})).failed
    assert (failure["item"], reason in failure["reason"]) == ("Shares.csv", True)


def test_a_record_with_broken_quotes_harms_itself_alone(export, collect, texts):
    broken = f'2026-04-02 12:00:00,{link("share", 7000003)},"He said "yes, no" and, "left,,,,,MEMBER_NETWORK\n'
    report = collect(
        export(WHOLE | {"Shares.csv": SHARES_CSV + broken + SHARES_CSV.splitlines()[1].replace("1,", "4,")})
    )
    assert [failure["item"] for failure in report.failed] == ["7000003"]
    assert {"7000001", "7000002"} <= set(texts())


def test_an_archive_is_recognised_by_its_files_and_nothing_else_is():
    recognises = LinkedInCrawler().recognises
    assert recognises(["Shares.csv"])
    assert recognises(["Shares_17529409.csv", "Articles/Articles/a.html"])
    assert recognises(["Profile.csv", "Connections.csv", "Jobs/Saved Jobs.csv", "notes.txt"])
    for names in (
        ["Shares.csv", "posts/hello.md"], ["posts.csv", "posts/1.html"], ["data/tweets.js"], ["Articles/a.html"],
        ["comments.csv", "messages.csv", "posts.csv"], ["sub/Shares.csv", "sub/Profile.csv"], ["Profile.csv"], [],
    ):  # fmt: skip
        assert not recognises(names)


def test_places_that_are_linkedins_and_when_archives_are_needed():
    crawler = LinkedInCrawler()
    for where in ("api", "https://www.linkedin.com/in/ada-lovelace", "https://de.linkedin.com/in/ada/"):
        assert crawler.accepts(where)
        assert platform_for(where) == "linkedin"
    for where in ("https://www.linkedin.com/feed", "https://notlinkedin.com/in/ada", "ada", "", "http://[x", "API"):
        assert not crawler.accepts(where)
    source = Source(id="li", platform="linkedin", where="inbox")
    assert crawler.needs_archives(source)
    assert not crawler.needs_archives(source.model_copy(update={"token_env": "X", "where": "api"}))


# The formats


@pytest.mark.parametrize(
    "written",
    [
        '"One.""\n""""\n""Two, ""so"" said.""\n""Three."',  # each break in quotes, escaped
        '"One."\n""\n"Two, ""so"" said."\n"Three."',  # each break in quotes, not escaped
        '"""One.""\n""""\n""Two, ""so"" said.""\n""Three."""',  # and the whole in quotes of its own
        '"One.\n\nTwo, ""so"" said.\nThree."',  # as it should be
        '"One.\r\n\r\nTwo, ""so"" said.\r\nThree."',
    ],
)
def test_every_way_to_write_a_line_break_gives_the_post(written):
    table = f"Date,ShareLink,ShareCommentary,SharedUrl,MediaUrl,Visibility\n2026-05-07 16:41:18,{link('share', 1)},"
    [row, after] = rows(
        f"{table}{written},,,PUBLIC\n2026-05-07 16:41:19,{link('share', 2)},Next,,,PUBLIC\n", "sharecommentary"
    )
    assert unwrapped(row["sharecommentary"]) == 'One.\n\nTwo, "so" said.\nThree.'
    assert (row["visibility"], after["sharecommentary"]) == ("PUBLIC", "Next")


@pytest.mark.parametrize(
    "text",
    [
        '"Quoted," she said.',
        '"One."\n"Two."',
        '"One."\n\n"Two."',
        'He said "no"\nand "yes"',
        'He said "no"\n"Yes," she said',
    ],
)
def test_the_authors_own_quotes_stay(text):
    assert unwrapped(text) == text
    assert unwrapped(text.replace("\n", '"\n"')) == text


def test_old_layouts_have_fewer_columns_or_other_spellings():
    table = 'Date,Share Commentary\n2015-03-02,Hello there\n2015-03-03,"Two\nlines"\n'
    assert list(rows(table, "sharecommentary")) == [
        {"date": "2015-03-02", "sharecommentary": "Hello there"},
        {"date": "2015-03-03", "sharecommentary": "Two\nlines"},
    ]
    [row] = rows("ShareCommentary,Date\nHello,5/1/15 4:00 PM\n", "sharecommentary")
    assert row == {"sharecommentary": "Hello", "date": "5/1/15 4:00 PM"}


@pytest.mark.parametrize(
    ("where", "kind", "number"),
    [
        ("https://www.linkedin.com/feed/update/urn%3Ali%3AugcPost%3A7458194261025673", "ugcPost", "7458194261025673"),
        ("https://www.linkedin.com/posts/ada_share-this-activity-71000000000009-Ab4c", "activity", "71000000000009"),
        ("urn:li:groupPost:123-7100000000000000009", "groupPost", "123-7100000000000000009"),
        ("https://www.linkedin.com/feed/update/urn:li:activity:7111111?commentUrn=urn:li:comment:(activity:7222222,1)",
         "activity", "7111111"),
    ],
)  # fmt: skip
def test_a_post_is_told_in_every_spelling_of_its_link(where, kind, number):
    assert (post_urn(where).kind, post_urn(where).number) == (kind, number)


def test_what_is_no_post_and_no_date_is_none():
    assert (post_urn("https://example.com/"), post_urn(""), moment("soon"), moment("2026-13-45")) == (None,) * 4


TABLE = st.text(alphabet=st.sampled_from('",\n\\ab2026-01:/ http://www.linkedin.com/'), max_size=200) | st.text(
    max_size=80
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["activity", "id", "patch", "$set", "$delete", "visibility", "message", "text", "specificContent", "created"]
    ) | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@FEW
@given(TABLE)
def test_no_table_is_a_crash(text):
    for head, needed in (
        ("Date,ShareLink,ShareCommentary\n", "sharecommentary"),
        ("Date,Message\n", "message"),
        ("", "x"),
    ):
        try:
            found = list(rows(head + text, needed, backslashes=True))
        except BadItem:
            continue
        assert all(isinstance(unwrapped(cell), str) for row in found for cell in row.values())


@FEW
@given(st.text(max_size=200) | st.text(alphabet=st.sampled_from("<>/h1pdiva =\"'!-?x&;#0"), max_size=200))
def test_no_article_is_a_crash(html):
    with suppress(BadItem):
        assert linkedin_export.read_article(f"{html}<h1>{html}</h1><p>{html}", "Articles/a.html").content


CHANGE = st.dictionaries(st.sampled_from(["activity", "processedAt", "capturedAt", "id", "resourceId"]), JSON)


@FEW
@given(
    st.lists(CHANGE, max_size=4),
    st.sampled_from(["ugcPosts", "socialActions/comments"]),
    st.sampled_from(["CREATE", "UPDATE", "PARTIAL_UPDATE", "DELETE"]),
)
def test_no_event_is_a_crash(changes, resource, method):
    log = change_log.ChangeLog()
    for change in changes:
        log.take(change | {"actor": ME, "owner": ME, "resourceName": resource, "method": method})
    assert json.dumps([log.after_ms, log.seen])
