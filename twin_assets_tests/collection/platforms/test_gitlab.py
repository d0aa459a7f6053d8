"""python-gitlab over real HTTP, against a server that speaks the shapes of GitLab's REST API.

See: https://docs.gitlab.com/api/projects/#list-a-users-projects, https://docs.gitlab.com/api/users/,
https://docs.gitlab.com/api/repositories/#list-all-repository-trees-in-a-project, https://docs.gitlab.com/api/commits/,
https://docs.gitlab.com/api/issues/, https://docs.gitlab.com/api/merge_requests/,
https://docs.gitlab.com/api/rest/#pagination.
"""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzz
from hypothesis import strategies as st

from twin_assets.collection.events import Event
from twin_assets.collection.locations import platform_for
from twin_assets.collection.platforms.gitlab import GitlabCrawler
from twin_assets.content.repositories import MAX_WRITTEN_BYTES
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, Source
from twin_assets.errors import BadSource
from twin_assets_tests.collection.forges import FILES, TOKEN, ForgeServer, answer, crawl_forge, git_sha
from twin_assets_tests.collection.site import Page, Request, Site

PROJECT = "api/v4/projects/1"
LONG_AGO = "2024-05-01T10:00:00.000Z"


class Lab(ForgeServer):
    """GitLab as a crawler sees it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.projects: list[dict[str, Any]] = []
        self.files: dict[int, dict[str, str]] = {}
        self.lists: dict[str, list[dict[str, Any]]] = {"commits": [], "issues": [], "merge_requests": []}
        self.user: str | None = None

    def add(self, path: str, files: dict[str, str], **about: Any) -> dict[str, Any]:
        number = len(self.projects) + 1
        self.files[number] = dict(files)
        self.projects.append({
            "id": number, "path_with_namespace": path, "web_url": f"{self.url}/{path}", "default_branch": "main",
            "visibility": "public", "empty_repo": not files, "archived": False, "last_activity_at": LONG_AGO,
            "namespace": {"kind": "user", "path": path.split("/")[0]}, **about,
        })  # fmt: skip
        return self.projects[-1]

    def respond(self, request: Request) -> Page:
        match [unquote(part) for part in request.path.removeprefix("/api/v4/").split("/")]:
            case ["user"]:
                return answer({"id": 7, "username": self.user, "web_url": f"{self.url}/{self.user}"})
            case ["users"]:
                ada = {"id": 7, "username": "ada", "name": "Ada Lovelace", "web_url": f"{self.url}/ada"}
                return answer([ada] if request.query["username"] == "ada" else [])
            case ["users", "7", "projects"]:
                shown = [p for p in self.projects if p["visibility"] == "public" or "PRIVATE-TOKEN" in request.headers]
                return self.page(request, shown)
            case ["projects", name] if found := [
                p for p in self.projects if name in (p["path_with_namespace"], str(p["id"]))
            ]:
                return answer(found[0])
            case ["projects", number, "repository", "tree"]:
                return self.page(request, self._entries(self.files[int(number)]))
            case ["projects", number, "repository", "blobs", sha, "raw"]:
                content = next(text for text in self.files[int(number)].values() if git_sha(text) == sha)
                return Page(content.encode(), "application/octet-stream")
            case ["projects", _, *_, ("commits" | "issues" | "merge_requests") as kind]:
                return self.page(request, self.lists[kind])
        return answer({"message": "404 Not Found"}, 404)

    def _entries(self, files: dict[str, str]) -> list[dict[str, str]]:
        folders = {path.rpartition("/")[0] for path in files if "/" in path}
        trees = [{"id": "0" * 40, "name": f, "type": "tree", "path": f, "mode": "040000"} for f in sorted(folders)]
        module = {"id": "0" * 40, "name": "m", "type": "commit", "path": "m", "mode": "160000"}
        return [*trees, module, *(
            {"id": git_sha(text), "name": path, "type": "blob", "path": path, "mode": "100644"}
            for path, text in files.items()
        )]  # fmt: skip


@pytest.fixture
def lab(site):
    site.api = made = Lab(site.url)
    return made


@pytest.fixture
def collect(lab, stores, settings, monkeypatch):
    """collect(path, token=…, **options) -> CrawlReport of a crawl of the lab, as of a GitLab of one's own."""

    def run(path: str = "ada", token: str | None = None, guarded: bool = False, **options: str):
        if token:
            monkeypatch.setenv("GITLAB_TOKEN_OF_ADA", token)
        source = Source(
            id="gitlab", platform="gitlab", where=f"gitlab:{lab.url}/{path}", options=options,
            token_env="GITLAB_TOKEN_OF_ADA" if token else None,
        )  # fmt: skip
        given = settings.model_copy(update={"allow_private_addresses": not guarded})
        return crawl_forge(GitlabCrawler(), source, stores, given)

    return run


@pytest.mark.parametrize(
    "where", ["gitlab:ada", "https://gitlab.com/ada", "https://gitlab.com/a/b/c", "gitlab:https://git.example.org/ada"]
)
def test_users_and_projects_are_taken(where):
    assert platform_for(where) == "gitlab"


@pytest.mark.parametrize(
    "where", ["https://git.example.org/ada", "https://ada.gitlab.io", "@ada", "https://gitlab.com"]
)
def test_other_places_are_not_taken(where):
    assert not GitlabCrawler().accepts(where)


def test_code_readmes_and_documentation_are_collected_and_nothing_else(lab, collect, documents):
    lab.add("ada/tides", FILES)
    report = collect()
    assert (report.new, report.complete, report.failed, report.error) == (3, True, [], None)
    code = documents()["ada/tides/src/tide.py"]
    assert (code.category, code.content) == (Category.CODE, FILES["src/tide.py"])
    assert code.metadata == {"repository": "ada/tides", "path": "src/tide.py", "language": "python"}
    assert code.url == f"{lab.url}/ada/tides/-/blob/main/src/tide.py"
    assert len(report.skipped) == 4


def test_a_project_without_activity_costs_no_request_of_its_own(lab, site, collect):
    lab.add("ada/tides", FILES)
    collect()
    site.asked.clear()
    report = collect()
    assert (report.unchanged, report.writes, report.requests, report.complete) == (3, 0, 2, True)
    assert not [path for path in site.paths() if "repository" in path]


def test_a_push_soon_after_other_activity_is_seen_though_its_date_is_the_same(lab, site, collect, documents):
    lab.add("ada/tides", FILES, last_activity_at=(datetime.now(UTC) - timedelta(minutes=50)).isoformat())
    collect()
    lab.files[1]["src/tide.py"] = "def level():\n    return 4.3\n"
    del lab.files[1]["docs/datum.md"]
    site.asked.clear()
    report = collect()
    assert (report.changed, report.gone, report.unchanged) == (1, 1, 1)
    assert sum("/blobs/" in path for path in site.paths()) == 1


def test_every_page_of_projects_and_files_is_read(lab, collect):
    lab.per_page = 2
    lab.add("ada/tides", FILES)
    for n in range(4):
        lab.add(f"ada/r{n}", {"a.py": f"x = {n}\n"})
    assert collect().new == 7


def test_forks_and_empty_projects_are_skipped(lab, collect, documents):
    lab.add("ada/forked", FILES, forked_from_project={"id": 9})
    lab.add("ada/bare", {}, default_branch=None)
    lab.add("ada/old", {"a.py": "x = 1\n"}, archived=True)
    report = collect()
    assert (set(documents()), report.complete) == ({"ada/old/a.py"}, True)
    assert [row["item"] for row in report.skipped] == ["ada/forked", "ada/bare"]


def test_a_single_project_is_read(lab, collect):
    lab.add("sea/lab/tides", FILES)
    lab.add("sea/other", FILES)
    assert collect("sea/lab/tides").new == 3
    assert f"{lab.url} shows no project sea/nothing: correct" in collect("sea/nothing").error
    lab.add("ada/forked", FILES, forked_from_project={"id": 9})
    assert "is a fork" in collect("ada/forked").error


@pytest.mark.parametrize("about", [{"visibility": "internal"}, {"repository_access_level": "private"}])
def test_what_only_members_see_is_private(lab, collect, documents, about):
    lab.user = "ada"
    lab.add("ada/diary", {"a.md": "Dear diary.\n"}, **about)
    collect(token=TOKEN)
    assert documents()["ada/diary/a.md"].visibility == "private"


def test_without_the_token_what_was_private_is_not_taken_as_deleted(lab, collect):
    lab.user = "ada"
    lab.add("ada/diary", {"a.md": "Dear diary.\n"}, visibility="private")
    lab.add("ada/tides", {"b.md": "Open.\n"})
    assert collect(token=TOKEN).new == 2
    report = collect()
    assert (report.gone, report.complete) == (0, False)


def test_a_file_too_large_is_skipped_and_not_read_to_its_end(lab, collect, documents):
    lab.add("ada/tides", {"a.py": "x = 1\n", "b.py": "y = 2\n" * MAX_WRITTEN_BYTES})
    report = collect()
    assert (set(documents()), report.complete) == ({"ada/tides/a.py"}, True)
    assert report.skipped == [
        {"item": "ada/tides/b.py", "reason": "is larger than 500 kB, more than a hand writes into one file"}
    ]
    assert report.bytes_read < 1_000


def test_a_file_that_fails_is_named_the_rest_read_and_it_is_tried_again(lab, collect):
    lab.add("ada/tides", FILES)
    path = f"/{PROJECT}/repository/blobs/{git_sha(FILES['src/tide.py'])}/raw"
    lab.failures[path] = [answer({"message": "500"}, 500, Retry_After="0")]
    report = collect()
    assert report.failed == [{"item": "ada/tides/src/tide.py", "reason": "127.0.0.1 answered 500 (4 tries)"}]
    assert (report.new, report.gone) == (2, 0)
    del lab.failures[path]
    assert collect().new == 1


def test_a_limit_stops_the_crawl_with_a_time_and_the_next_goes_on(lab, site, collect):
    lab.add("ada/tides", FILES)
    path = f"/{PROJECT}/repository/blobs/{git_sha(FILES['docs/datum.md'])}/raw"
    lab.failures[path] = [
        Page(b"Retry later\n", "text/plain", 429, {"Retry-After": "1800", "RateLimit-Remaining": "0"})
    ]
    report = collect()
    assert report.error.startswith("127.0.0.1 allows no more requests until 20")
    assert (report.new, report.complete) == (1, False)
    site.asked.clear()
    del lab.failures[path]
    report = collect()
    assert (report.new, report.unchanged, report.complete) == (2, 1, True)
    assert sum("/blobs/" in path for path in site.paths()) == 2


def test_a_server_in_trouble_is_asked_again(lab, collect):
    lab.add("ada/tides", FILES)
    busy = answer({}, 503, Retry_After="0")
    lab.failures["/api/v4/users/7/projects"] = [busy, busy, answer(lab.projects)]
    assert collect().new == 3


def test_a_token_that_is_refused_is_named_and_never_shown(lab, stores, collect, caplog):
    lab.failures["/api/v4/users"] = [answer({"message": "401 Unauthorized"}, 401)]
    report = collect(token=TOKEN)
    assert "rejects the token in GITLAB_TOKEN_OF_ADA" in report.error
    assert TOKEN not in caplog.text + repr(report) + repr(stores.warehouse.crawls("ada"))


def test_a_redirect_to_another_host_gets_no_token(lab, collect):
    other = Site()
    other.api = lambda _: answer({"message": "no"}, 404)
    lab.failures["/api/v4/users"] = [answer({}, 302, Location=f"{other.url}/users")]
    collect(token=TOKEN)
    other.close()
    assert [path for path, _ in other.asked] == ["/users"]
    assert TOKEN not in repr(other.asked)


def test_private_addresses_are_refused(lab, site, collect):
    assert collect(guarded=True).error.startswith("127.0.0.1 is not a public address: nothing is fetched from it")
    assert "give an https URL" in collect(token=TOKEN, guarded=True).error
    assert site.asked == []


def test_who_is_not_there_is_an_error(lab, collect):
    assert f"{lab.url} shows no user nobody" in collect("nobody").error
    assert "has no projects" in collect().error
    assert "names no user or project" in collect("").error


def test_a_site_that_is_no_gitlab_is_an_error(lab, collect):
    lab.failures["/api/v4/users"] = [Page(b"<html>Welcome</html>")]
    assert "is this a GitLab?" in collect().error


@pytest.fixture
def talkative(lab):
    lab.add("ada/tides", {"a.py": "x = 1\n"})
    about = {"web_url": lab.url, "created_at": LONG_AGO, "updated_at": LONG_AGO, "authored_date": LONG_AGO}
    mine, other = {**about, "author_name": "Ada Lovelace", "parent_ids": ["0"]}, {**about, "author_name": "Ada B."}
    lab.lists["commits"] = [
        {**mine, "id": "c1", "message": "Median of seven\n\nOne gull moved the mean.\n"},
        {**mine, "id": "c2", "message": "Fix typo\n"},
        {**other, "id": "c3", "message": "By another\n\nhand", "parent_ids": []},
    ]
    issue = {**about, "id": 1, "title": "Gauge", "confidential": False}
    lab.lists["issues"] = [
        {**issue, "iid": 1, "description": "<!-- what happened? -->\nIt sticks."},
        {**issue, "iid": 2, "description": "Between us.", "confidential": True},
        {**issue, "iid": 3, "description": None},
    ]
    lab.lists["merge_requests"] = [{**about, "id": 2, "iid": 1, "title": "Median", "description": "Now the median."}]
    return lab


def test_posts_are_the_authors_commits_issues_and_merge_requests(talkative, site, collect, documents):
    report = collect(posts="yes")
    assert (report.new, report.complete, report.failed) == (5, True, [])
    assert documents()["ada/tides@c1"].content == "Median of seven\n\nOne gull moved the mean."
    assert documents()["ada/tides#1"].content == "It sticks.\n"
    assert documents()["ada/tides#2"].visibility == "private"
    assert documents()["ada/tides!1"].metadata["kind"] == "merge request"
    assert any("issues?" in path and "author_username=ada" in path for path in site.paths())


def test_what_a_project_has_switched_off_is_no_error(talkative, collect):
    talkative.failures[f"/{PROJECT}/issues"] = [answer({"message": "403 Forbidden"}, 403)]
    assert collect(posts="yes").complete


def test_the_posts_of_a_groups_project_need_an_author(talkative, collect):
    talkative.projects[0]["namespace"]["kind"] = "group"
    assert "name the author's account in the option author" in collect("ada/tides", posts="yes").error
    assert collect("ada/tides", posts="yes", author="ada").new == 4


NAMES = ["id", "username", "name", "path", "type", "mode", "visibility", "last_activity_at", "message", "error"]
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
    at=st.sampled_from(["users", "users/7/projects", "projects/1/repository/tree", "projects/1/issues"]),
    value=json_values,
)
def test_no_answer_is_a_crash(talkative, web_client, at, value):
    talkative.failures = {f"/api/v4/{at}": [Page(json.dumps(value).encode(), "application/json")]}
    source = Source(id="g", platform="gitlab", where=f"gitlab:{talkative.url}/ada", options={"posts": "yes"})
    with suppress(BadSource):
        for event in GitlabCrawler().collect(source, {}, web_client):
            assert isinstance(event, Event)
