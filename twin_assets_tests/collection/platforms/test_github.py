"""PyGithub over real HTTP, against a server that speaks the shapes of GitHub's REST API.

See: https://docs.github.com/en/rest/repos/repos#list-repositories-for-a-user,
https://docs.github.com/en/rest/git/trees#get-a-tree, https://docs.github.com/en/rest/git/blobs#get-a-blob,
https://docs.github.com/en/rest/commits/commits#list-commits, https://docs.github.com/en/rest/issues/issues.
"""

import json
import time
from base64 import b64encode
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzz
from hypothesis import strategies as st

from twin_assets.collection.events import Event
from twin_assets.collection.locations import platform_for
from twin_assets.collection.platforms.github import GithubCrawler
from twin_assets.content import web
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, Source
from twin_assets.errors import BadInput, BadSource
from twin_assets_tests.collection.forges import FILES, README, TOKEN, ForgeServer, answer, crawl_forge, git_sha
from twin_assets_tests.collection.site import Page, Request

BLOBS = "repos/ada/tides/git/blobs"


def said(message: str, status: int, **headers: str) -> Page:
    return answer({"message": message, "documentation_url": "https://docs.github.com/rest"}, status, **headers)


class Hub(ForgeServer):
    """GitHub as a crawler sees it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.repositories: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, str]] = {}
        self.commits: dict[str, list[dict[str, Any]]] = {}
        self.issues: dict[str, list[dict[str, Any]]] = {}
        self.login: str | None = None
        self.cut_at = 100_000

    def add(self, name: str, files: dict[str, str], **about: Any) -> None:
        self.files[name] = dict(files)
        self.repositories[name] = {
            "id": len(self.repositories) + 1, "name": name, "full_name": f"ada/{name}", "private": False, "fork": False,
            "html_url": f"https://github.com/ada/{name}", "url": f"{self.url}/repos/ada/{name}", "archived": False,
            "default_branch": "main", "pushed_at": "2024-05-01T10:00:00Z", "visibility": "public", "size": 10, **about,
        }  # fmt: skip

    def push(self, name: str, **files: str | None) -> None:
        for path, content in files.items():
            self.files[name].pop(path, None)
            if content is not None:
                self.files[name][path] = content
        self.repositories[name]["pushed_at"] = f"{int(self.repositories[name]['pushed_at'][:4]) + 1}-05-01T10:00:00Z"

    def respond(self, request: Request) -> Page:
        match request.path.strip("/").split("/"):
            case ["user"]:
                return (
                    answer({"login": self.login, "id": 7, "url": f"{self.url}/user"}) if self.login else said("", 403)
                )
            case ["user", "repos"]:
                return self.page(request, list(self.repositories.values()))
            case ["users", "ada", "repos"]:
                return self.page(request, [row for row in self.repositories.values() if not row["private"]])
            case ["repos", "ada", name] if name in self.repositories:
                return answer(self.repositories[name])
            case ["repos", "ada", name, "git", "trees", sha]:
                return self._tree(name, sha, recursive="recursive" in request.query)
            case ["repos", "ada", name, "git", "blobs", sha]:
                content = next(text for text in self.files[name].values() if git_sha(text) == sha)
                return answer({
                    "sha": sha, "size": len(content.encode()), "encoding": "base64",
                    "content": b64encode(content.encode()).decode(), "url": f"{self.url}{request.path}",
                })  # fmt: skip
            case ["repos", "ada", name, "commits"]:
                return self.page(
                    request, [c for c in self.commits[name] if c["author"]["login"] == request.query["author"]]
                )
            case ["repos", "ada", name, "issues"]:
                return self.page(
                    request, [i for i in self.issues[name] if i["user"]["login"] == request.query["creator"]]
                )
        return said("Not Found", 404)

    def _tree(self, name: str, sha: str, *, recursive: bool) -> Page:
        """`sha` is the branch, or "tree:" and a folder."""
        if not self.files[name]:
            return said("Git Repository is empty.", 409)
        folder = unquote(sha).removeprefix("tree:") + "/" if sha != "main" else ""
        below = {path[len(folder) :]: text for path, text in self.files[name].items() if path.startswith(folder)}
        folders = {path.rpartition("/")[0] for path in below if "/" in path}
        blobs = [
            {"path": path, "mode": "100644", "type": "blob", "sha": git_sha(text), "size": len(text.encode())}
            for path, text in below.items()
            if recursive or "/" not in path
        ]
        trees = [
            {"path": path, "mode": "040000", "type": "tree", "sha": f"tree:{folder}{path}"}
            for path in sorted(folders)
            if recursive or "/" not in path
        ]
        modules = [{"path": "module", "mode": "160000", "type": "commit", "sha": "0" * 40}]
        rows = blobs + trees + (modules if not folder else [])
        truncated = recursive and len(rows) > self.cut_at
        return answer({"sha": "1" * 40, "tree": rows[: self.cut_at] if recursive else rows, "truncated": truncated})


@pytest.fixture
def hub(site):
    site.api = made = Hub(site.url)
    return made


@pytest.fixture
def collect(hub, stores, settings, monkeypatch):
    """collect(where, token=…, **options) -> CrawlReport of a crawl of the hub."""

    def run(where: str = "github:ada", token: str | None = None, guarded: bool = False, **options: str):
        if token:
            monkeypatch.setenv("GITHUB_TOKEN_OF_ADA", token)
        source = Source(
            id="github", platform="github", where=where, options={"api": hub.url, **options},
            token_env="GITHUB_TOKEN_OF_ADA" if token else None,
        )  # fmt: skip
        given = settings.model_copy(update={"allow_private_addresses": not guarded})
        return crawl_forge(GithubCrawler(), source, stores, given)

    return run


@pytest.mark.parametrize(
    "where", ["github:ada", "https://github.com/ada", "https://github.com/ada/tides.js", "http://www.github.com/ada/"]
)
def test_users_and_repositories_are_taken(where):
    assert platform_for(where) == "github"


@pytest.mark.parametrize(
    "where",
    ["@ada", "ada", "https://gist.github.com/ada", "https://github.com", "https://ada.github.io", "github:-ada"],
)
def test_other_places_are_not_taken(where):
    assert not GithubCrawler().accepts(where)


def test_code_readmes_and_documentation_are_collected_and_nothing_else(hub, collect, documents):
    hub.add("tides", FILES)
    report = collect()
    assert (report.new, report.complete, report.failed, report.error) == (3, True, [], None)
    readme, code = documents()["ada/tides/README.md"], documents()["ada/tides/src/tide.py"]
    assert (readme.category, readme.title, readme.metadata["kind"]) == (Category.ARTICLE, "Tides", "readme")
    assert readme.content == "# Tides\n\n\nThe gauge and what it taught me.\n"
    assert (code.category, code.content, code.title) == (Category.CODE, FILES["src/tide.py"], "src/tide.py")
    assert code.metadata == {"repository": "ada/tides", "path": "src/tide.py", "language": "python"}
    assert code.url == "https://github.com/ada/tides/blob/main/src/tide.py"
    assert documents()["ada/tides/docs/datum.md"].metadata["kind"] == "docs"
    assert [row["item"] for row in report.skipped] == [
        "ada/tides/LICENSE", "ada/tides/vendor/lib.js", "ada/tides/src/tide_pb2.py", "ada/tides/img/pier.png",
    ]  # fmt: skip


def test_a_repository_without_a_push_costs_no_request_of_its_own(hub, site, collect):
    hub.add("tides", FILES)
    assert collect().requests == 5
    site.asked.clear()
    report = collect()
    assert (report.unchanged, report.writes, report.requests, report.complete) == (3, 0, 1, True)
    assert [path.partition("?")[0] for path in site.paths()] == ["/users/ada/repos"]


def test_a_push_fetches_what_changed_and_buries_what_was_deleted(hub, site, collect, documents):
    hub.add("tides", FILES)
    collect()
    site.asked.clear()
    hub.push("tides", **{"src/tide.py": "def level():\n    return 4.3\n", "docs/datum.md": None})
    report = collect()
    assert (report.changed, report.gone, report.unchanged) == (1, 1, 1)
    assert sum("/git/blobs/" in path for path in site.paths()) == 1
    assert documents()["ada/tides/docs/datum.md"].deleted_at is not None


def test_every_page_of_the_listing_is_read(hub, collect):
    hub.per_page = 2
    for n in range(5):
        hub.add(f"r{n}", {"a.py": f"x = {n}\n"})
    assert collect().new == 5


def test_forks_and_empty_repositories_are_skipped_and_archived_ones_read(hub, collect, documents):
    hub.add("forked", FILES, fork=True)
    hub.add("bare", {})
    hub.add("old", {"a.py": "x = 1\n"}, archived=True)
    report = collect()
    assert set(documents()) == {"ada/old/a.py"}
    assert report.complete
    assert report.skipped == [{"item": "ada/forked", "reason": "is a fork of somebody else's"}]


def test_a_single_repository_is_read(hub, collect, documents):
    hub.add("tides", FILES)
    hub.add("other", FILES)
    assert collect("https://github.com/ada/tides").new == 3
    assert collect("https://github.com/ada/nothing").error.startswith("GitHub shows no repository ada/nothing: correct")
    hub.add("forked", FILES, fork=True)
    assert "is a fork" in collect("github:ada/forked").error


def test_private_repositories_come_with_their_owners_token_and_stay_private(hub, site, collect, documents):
    hub.login = "Ada"
    hub.add("diary", {"a.md": "Dear diary.\n"}, private=True)
    collect(token=TOKEN)
    assert documents()["ada/diary/a.md"].visibility == "private"
    assert {headers["Authorization"] for _, headers in site.asked} == {f"token {TOKEN}"}


def test_without_the_token_what_was_private_is_not_taken_as_deleted(hub, collect, documents):
    hub.login = "ada"
    hub.add("diary", {"a.md": "Dear diary.\n"}, private=True)
    hub.add("tides", {"b.md": "Open.\n"})
    collect(token=TOKEN)
    report = collect()
    assert (report.gone, report.complete) == (0, False)
    assert "not shown without its owner's token" in report.skipped[0]["reason"]


def test_a_repository_that_becomes_private_makes_its_documents_private(hub, collect, documents):
    hub.login = "ada"
    hub.add("tides", {"b.md": "Open.\n"})
    collect(token=TOKEN)
    hub.repositories["tides"]["private"] = True
    assert collect(token=TOKEN).changed == 1
    assert documents()["ada/tides/b.md"].visibility == "private"


def test_a_tree_that_is_cut_off_is_walked_folder_by_folder(hub, site, collect, documents):
    hub.cut_at = 3
    hub.add("tides", FILES)
    report = collect()
    assert (report.new, report.complete) == (3, True)
    assert not [path for path in site.paths() if "vendor" in path]


def test_a_tree_that_cannot_be_had_takes_nothing_as_deleted(hub, collect):
    hub.add("tides", FILES)
    collect()
    hub.push("tides")
    hub.failures["/repos/ada/tides/git/trees/main"] = [said("Repository access blocked", 451)]
    report = collect()
    assert (report.gone, report.complete) == (0, False)
    assert report.failed == [
        {"item": "ada/tides/", "reason": "the files of ada/tides/: GitHub answered 451 (Repository access blocked)"}
    ]


def test_a_file_that_fails_is_named_the_rest_read_and_it_is_tried_again(hub, collect, documents):
    hub.add("tides", FILES)
    path = f"/{BLOBS}/{git_sha(FILES['src/tide.py'])}"
    hub.failures[path] = [said("Server Error", 502, Retry_After="0")]
    report = collect()
    assert report.failed == [{"item": "ada/tides/src/tide.py", "reason": "127.0.0.1 answered 502 (4 tries)"}]
    assert (report.new, report.gone) == (2, 0)
    del hub.failures[path]
    assert collect().new == 1


def test_a_server_in_trouble_is_asked_again(hub, collect):
    hub.add("tides", FILES)
    hub.failures["/users/ada/repos"] = [
        said("", 503, Retry_After="0"),
        hub(Request("GET", "/users/ada/repos", {}, {}, b"")),
    ]
    assert collect().new == 3


def spent(after_s: int) -> Page:
    return said(
        "API rate limit exceeded for 127.0.0.1.", 403,
        X_RateLimit_Limit="60", X_RateLimit_Remaining="0", X_RateLimit_Reset=str(int(time.time()) + after_s),
    )  # fmt: skip


@pytest.mark.parametrize(
    "limit",
    [
        spent(1800),
        said("You have exceeded a secondary rate limit.", 403, Retry_After="1800"),
        said("Too many requests", 429, Retry_After="1800"),
    ],
)
def test_a_limit_stops_the_crawl_with_a_time_and_the_next_goes_on(hub, site, collect, documents, limit):
    hub.add("tides", FILES)
    path = f"/{BLOBS}/{git_sha(FILES['docs/datum.md'])}"
    hub.failures[path] = [limit]
    report = collect()
    assert report.error.startswith("127.0.0.1 allows no more requests until 20")
    assert report.error.endswith(
        "UTC: collect again then, and the crawl continues where it stopped; "
        "with a token (token_env) it allows many more"
    )
    assert (report.new, report.complete) == (1, False)
    site.asked.clear()
    del hub.failures[path]
    report = collect()
    assert (report.new, report.unchanged, report.complete) == (2, 1, True)
    assert sum("/git/blobs/" in path for path in site.paths()) == 2


def test_a_short_pause_is_waited_for(hub, collect):
    hub.add("tides", FILES)
    ok = hub(Request("GET", "/users/ada/repos", {}, {}, b""))
    hub.failures["/users/ada/repos"] = [said("You have exceeded a secondary rate limit", 403, Retry_After="0"), ok]
    assert collect().new == 3


def test_a_forge_that_is_down_is_not_asked_for_every_file(hub, site, collect):
    hub.add("tides", {f"f{n}.py": f"x = {n}\n" for n in range(50)})
    for text in hub.files["tides"].values():
        hub.failures[f"/{BLOBS}/{git_sha(text)}"] = [said("", 500, Retry_After="0")]
    assert "collect again later" in collect().error
    assert len(site.paths()) < 25


def test_a_token_that_is_refused_is_named_and_never_shown(hub, stores, collect, caplog):
    hub.failures["/user"] = [said("Bad credentials", 401)]
    report = collect(token=TOKEN)
    assert (
        report.error
        == "127.0.0.1 rejects the token in GITHUB_TOKEN_OF_ADA, which is wrong or has expired: make a new one"
    )
    assert TOKEN not in caplog.text + repr(report) + repr(stores.warehouse.crawls("ada"))


def test_a_token_that_is_not_set_is_an_error_that_names_the_variable(hub, settings):
    source = Source(id="g", platform="github", where="github:ada", token_env="NOT_SET_AT_ALL", options={"api": hub.url})
    with WebClient(settings) as http, pytest.raises(BadInput, match="NOT_SET_AT_ALL is empty"):
        list(GithubCrawler().collect(source, {}, http))


def test_a_link_to_another_host_gets_no_request(hub, collect):
    hub.failures["/users/ada/repos"] = [answer([], Link='<http://localhost:1/x?page=2>; rel="next"')]
    hub.add("tides", FILES)
    hub.failures["/users/ada/repos"][0].body = json.dumps([hub.repositories["tides"]]).encode()
    report = collect(token=TOKEN)
    assert "Nothing is taken as deleted" in report.error


def test_private_addresses_are_refused(hub, site, collect):
    report = collect(guarded=True)
    assert report.error.startswith("127.0.0.1 is not a public address: nothing is fetched from it")
    assert site.asked == []
    assert not web._guarded.get()


def test_a_token_is_not_sent_in_the_clear(hub, site, collect):
    assert "give an https URL" in collect(token=TOKEN, guarded=True).error
    assert site.asked == []


def test_a_user_that_is_not_there_is_an_error(hub, collect):
    assert collect("github:nobody").error.startswith("the repositories of GitHub user nobody: GitHub answered 404")
    assert "has no repositories" in collect().error


def test_pages_that_are_no_api_are_an_error(hub, collect):
    hub.failures["/users/ada/repos"] = [Page(b"<html>Welcome</html>")]
    assert "is not an API of GitHub's" in collect().error


def commit(sha: str, message: str, login: str = "ada", parents: int = 1) -> dict[str, Any]:
    return {
        "sha": sha, "html_url": f"https://github.com/ada/tides/commit/{sha}", "author": {"login": login},
        "parents": [{"sha": str(n)} for n in range(parents)],
        "commit": {"message": message, "author": {"name": "Ada", "date": "2024-01-02T03:04:05Z"}},
    }  # fmt: skip


def issue(number: int, body: str | None, login: str = "ada", kind: str = "issues") -> dict[str, Any]:
    return {
        "number": number, "title": f"No. {number}", "body": body, "user": {"login": login}, "state": "open",
        "html_url": f"https://github.com/ada/tides/{kind}/{number}", "created_at": "2024-01-02T03:04:05Z",
        "updated_at": "2024-01-03T03:04:05Z", "url": "http://127.0.0.1:1/issue",
    }  # fmt: skip


@pytest.fixture
def talkative(hub):
    hub.add("tides", {"a.py": "x = 1\n"})
    hub.commits["tides"] = [
        commit("c1", "Median of seven\n\nOne gull on the float moved the mean.\n\nSigned-off-by: Ada <a@b.c>"),
        commit("c2", "Fix typo"),
        commit("c3", "Merge branch 'x'\n\nmore", parents=2),
        commit("c4", "By another\n\nhand", login="bob"),
    ]
    hub.issues["tides"] = [
        issue(1, "<!-- Describe the bug -->\nThe gauge sticks at low water.\n"),
        issue(2, "It reads the median now.", kind="pull"),
        issue(3, "Not mine.", login="bob"),
        issue(4, None),
    ]
    return hub


def test_posts_are_the_authors_commits_issues_and_pull_requests(talkative, collect, documents):
    report = collect(posts="yes")
    assert (report.new, report.complete, report.failed) == (4, True, [])
    first = documents()["ada/tides@c1"]
    assert (first.category, first.content) == (
        Category.POST, "Median of seven\n\nOne gull on the float moved the mean.",
    )  # fmt: skip
    assert documents()["ada/tides#1"].content == "The gauge sticks at low water.\n"
    assert documents()["ada/tides#2"].metadata["kind"] == "pull request"
    assert {"item": "ada/tides#4", "reason": "has a title and no text"} in report.skipped


def test_without_a_push_posts_cost_one_request_and_an_edited_issue_is_seen(talkative, site, collect):
    collect(posts="yes")
    site.asked.clear()
    talkative.issues["tides"][0]["body"] = "It sticks at springs."
    report = collect(posts="yes")
    assert (report.changed, report.unchanged, report.requests, report.complete) == (1, 3, 2, True)


def test_issues_that_are_switched_off_are_no_error(talkative, collect):
    talkative.failures["/repos/ada/tides/issues"] = [said("Issues are disabled for this repo", 410)]
    report = collect(posts="yes")
    assert (report.new, report.complete, report.failed) == (2, True, [])


def test_posts_that_cannot_be_listed_take_nothing_as_deleted(talkative, collect):
    collect(posts="yes")
    talkative.failures["/repos/ada/tides/issues"] = [said("", 422)]
    report = collect(posts="yes")
    assert (report.gone, report.complete, report.failed[0]["item"]) == (0, False, "ada/tides#")


NAMES = sorted({*FILES, "full_name", "tree", "path", "sha", "size", "type", "truncated", "fork", "content", "encoding"})
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=8,
)


@pytest.fixture
def web_client(settings):
    with WebClient(settings) as client:
        yield client


@fuzz(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.sampled_from(["users/ada/repos", "repos/ada/tides/git/trees/main", f"{BLOBS}/{git_sha(README)}"]),
    value=json_values,
)
def test_no_answer_is_a_crash(hub, web_client, at, value):
    hub.add("tides", FILES)
    hub.failures = {f"/{at}": [answer(value)]}
    source = Source(id="g", platform="github", where="github:ada", options={"api": hub.url})
    with suppress(BadSource):
        for event in GithubCrawler().collect(source, {}, web_client):
            assert isinstance(event, Event)


def test_posts_that_were_no_longer_wanted_come_back_when_they_are(talkative, collect, documents):
    collect(posts="yes")
    assert collect().gone == 3
    collect(posts="yes")
    assert [name for name, document in documents().items() if document.deleted_at] == []
