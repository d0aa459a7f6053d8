"""GitHub: the code, READMEs and documentation of a user's own repositories; with posts=yes also their issues and so on.

`pushed_at` and hashes show what has changed, rather than ETags: listing a user's repositories takes one request per
hundred, and a 304 would still be a request. PyGithub calls the API; its requests go through a `Network`.

See: https://docs.github.com/en/rest/repos/repos, https://docs.github.com/en/rest/git/trees
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

from twin_assets.collection.events import Event, Item
from twin_assets.collection.forge import LibraryResponse, Listing, Network, Repository, Tree, crawl_forge
from twin_assets.collection.registry import register, wants
from twin_assets.content.repositories import TreeFile, commit_text, reason_to_skip_folder, without_badges
from twin_assets.content.web import USER_AGENT, StatusError, WebClient
from twin_assets.documents import Category, Source, Visibility
from twin_assets.errors import BadItem, BadSource

if TYPE_CHECKING:
    import github.Repository
    from github.Requester import Requester

API = "https://api.github.com"
BAD_REQUEST, NOT_FOUND, EMPTY, DISABLED = 400, 404, 409, 410
SAID = 200
"""An error quotes at most this many characters of the API's own message."""

_LOCATION = re.compile(
    r"(?:github:|https?://(?:www\.)?github\.com/)@?(?P<user>[a-z\d](?:[a-z\d_-]*[a-z\d])?)(?:/(?P<repository>[\w.-]+?))?"
    r"(?:\.git)?/?",
    re.IGNORECASE,
)


@register
class GithubCrawler:
    """Reads a user's repositories, or a single repository."""

    platform: ClassVar[str] = "github"
    accepted: ClassVar[str] = "github:user, https://github.com/user, or https://github.com/user/repository"
    options: ClassVar[Mapping[str, str]] = {
        "posts": "yes takes the author's issues, pull requests and commit messages too",
        "author": "whose posts these are, by login; the owner's without it",
        "api": "base URL of GitHub Enterprise's API, https://HOST/api/v3",
    }

    def accepts(self, where: str) -> bool:
        """True for a user or a repository on github.com, or after `github:`."""
        return bool(_LOCATION.fullmatch(where.strip()))

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """Crawl what has changed since the last crawl."""
        forge = _Github(source, http)
        try:
            yield from crawl_forge(forge, state, posts=wants(source, "posts"))
        finally:
            forge.close()


class _Github:
    """GitHub as a `Forge`."""

    def __init__(self, source: Source, http: WebClient) -> None:
        location = _LOCATION.fullmatch(source.where.strip())
        if location is None:
            raise BadSource(f"{source.where!r} is not on GitHub: give {GithubCrawler.accepted}")
        self._user, self._name = location["user"], location["repository"]
        self._author = source.options.get("author") or self._user
        self._requester = _requester(source, http)

    def close(self) -> None:
        self._requester.close()

    def listing(self) -> Listing:
        if self._name:
            return Listing([self._single(f"{self._user}/{self._name}")], shows_private=True)
        from github.NamedUser import NamedUser

        own = self._own_account()
        with _translated_errors(f"the repositories of GitHub user {self._user}"):
            pages = (
                own.get_repos(affiliation="owner", sort="full_name")
                if own
                else NamedUser(self._requester, url=f"/users/{self._user}").get_repos(type="owner", sort="full_name")
            )
            repositories = [_described(repository) for repository in pages]
        if not repositories:
            raise BadItem(f"GitHub user {self._user} has no repositories: correct the name, or give a repository's URL")
        return Listing(repositories, shows_private=own is not None)

    def tree(self, repository: Repository) -> Tree:
        try:
            return self._tree_below(repository, repository.branch, "")
        except StatusError as error:
            if error.status == EMPTY:
                return Tree([])
            raise

    def blob(self, repository: Repository, file: TreeFile, max_bytes: int) -> bytes:
        from base64 import b64decode

        with _translated_errors(f"{repository.name}/{file.path}"):
            blob = self._api(repository).get_git_blob(file.sha)
            return b64decode(blob.content) if blob.encoding == "base64" else blob.content.encode()

    def commits(self, repository: Repository) -> list[Item]:
        with _translated_errors(f"the commits of {repository.name}"):
            commits = self._api(repository).get_commits(sha=repository.branch, author=self._author)
            return [
                Item(
                    external_id=f"{repository.name}@{commit.sha}",
                    content=text,
                    category=Category.POST,
                    url=commit.html_url,
                    title=text.partition("\n")[0],
                    content_type="text/plain",
                    visibility=repository.visibility,
                    published_at=commit.commit.author.date,
                    metadata={"repository": repository.name, "kind": "commit"},
                )
                for commit in commits
                if len(commit.parents) < 2 and (text := commit_text(commit.commit.message))
            ]

    def discussions(self, repository: Repository) -> list[Item]:
        from github.NamedUser import NamedUser

        author = NamedUser(self._requester, {}, {"login": self._author}, completed=True)
        try:
            with _translated_errors(f"the issues of {repository.name}"):
                issues = list(self._api(repository).get_issues(state="all", creator=author))
                return [
                    Item(
                        external_id=f"{repository.name}#{issue.number}",
                        content=without_badges(issue.body or ""),
                        category=Category.POST,
                        url=issue.html_url,
                        title=issue.title,
                        visibility=repository.visibility,
                        published_at=issue.created_at,
                        updated_at=issue.updated_at,
                        metadata={
                            "repository": repository.name,
                            "kind": "pull request" if "/pull/" in issue.html_url else "issue",
                        },
                    )
                    for issue in issues
                ]
        except StatusError as error:
            if error.status in (NOT_FOUND, DISABLED):
                return []
            raise

    def _own_account(self) -> Any:
        """The token's account if it is the source's user, whose private repositories are then listed; else None."""
        # Any: PyGithub's AuthenticatedUser, imported only where it is needed.
        from github.AuthenticatedUser import AuthenticatedUser

        if not self._requester.auth:
            return None
        try:
            with _translated_errors("the token's account"):
                account = AuthenticatedUser(self._requester, url="/user").complete()
                return account if account.login.casefold() == self._user.casefold() else None
        except StatusError:
            return None  # an app's token has no account

    def _single(self, name: str) -> Repository:
        from github.Repository import Repository as ApiRepository

        try:
            with _translated_errors(f"repository {name}"):
                repository = _described(ApiRepository(self._requester, url=f"/repos/{name}").complete())
        except StatusError as error:
            if error.status != NOT_FOUND:
                raise
            raise BadItem(
                f"GitHub shows no repository {name}: correct the name, or, for a private one, give its owner's token"
            ) from None
        if repository.reason:
            raise BadSource(f"{name} {repository.reason}: give a repository that its author wrote")
        return repository

    def _tree_below(self, repository: Repository, sha: str, folder: str) -> Tree:
        """All files below a tree; folder by folder where GitHub cuts off a tree of more than 100,000 entries."""
        with _translated_errors(f"the files of {repository.name}/{folder}"):
            tree = self._api(repository).get_git_tree(sha, recursive=True)
            if not tree.truncated:
                return Tree([_file(entry, folder) for entry in tree.tree if entry.type == "blob"])
            level = self._api(repository).get_git_tree(sha)
            files = [_file(entry, folder) for entry in level.tree if entry.type == "blob"]
            folders = [(f"{folder}{entry.path}/", entry.sha) for entry in level.tree if entry.type == "tree"]
            missing: tuple[str, ...] = (folder,) if level.truncated else ()
        for path, below in folders:
            if not reason_to_skip_folder(path):
                found = self._tree_below(repository, below, path)
                files, missing = files + found.files, missing + found.missing
        return Tree(files, missing)

    def _api(self, repository: Repository) -> "github.Repository.Repository":
        from github.Repository import Repository as ApiRepository

        return ApiRepository(self._requester, url=f"/repos/{repository.name}")


def _described(repository: "github.Repository.Repository") -> Repository:
    branch, pushed_at = repository.default_branch, repository.pushed_at
    visibility: Visibility = "private" if repository.private else "public"
    return Repository(
        id=repository.id,
        name=repository.full_name,
        files_url=f"{repository.html_url}/blob/{quote(branch)}",
        branch=branch,
        version=pushed_at.isoformat() if pushed_at else None,
        visibility=visibility,
        pushed_at=pushed_at,
        reason="is a fork of somebody else's" if repository.fork else None,
    )


def _file(entry: Any, folder: str) -> TreeFile:
    # Any: PyGithub's GitTreeElement, imported only where it is needed.
    return TreeFile(f"{folder}{entry.path}", entry.sha, entry.size, entry.mode)


def _requester(source: Source, http: WebClient) -> "Requester":
    """PyGithub's requester, which sends requests through a `Network`, and only to the API's own URLs."""
    from github.Auth import Token
    from github.Requester import Requester

    api = source.options.get("api", API).rstrip("/")
    network = Network(http, source, api)

    class Guarded(Requester):
        def requestJson(  # noqa: N802
            self, verb: str, url: str, *args: Any, **kwargs: Any
        ) -> tuple[int, dict[str, Any], str]:
            if not url.startswith(("/", f"{api}/")):
                raise BadItem(f"{network.host} leads to {urlsplit(url).hostname}: nothing is sent there")
            response = network.ask(lambda: _reply(super(Guarded, self).requestJson(verb, url, *args, **kwargs)))
            if response[0] < BAD_REQUEST and not response[2].lstrip().startswith(("{", "[")):
                raise BadItem(
                    f"{api} is not an API of GitHub's, it answers with something other than JSON: correct option api"
                )
            return response

    return Guarded(
        auth=Token(network.token) if network.token else None,
        base_url=api,
        timeout=network.timeout_s,
        user_agent=USER_AGENT,
        per_page=100,
        verify=True,
        retry=None,
        pool_size=None,
        lazy=True,
    )


def _reply(response: tuple[int, dict[str, Any], str]) -> LibraryResponse[tuple[int, dict[str, Any], str]]:
    status, headers, text = response
    return LibraryResponse(status, headers, text, response)


@contextmanager
def _translated_errors(what: str) -> Iterator[None]:
    """Raise PyGithub's errors as ours, without the originals, which contain headers and whole responses."""
    from github.GithubException import BadAttributeException, GithubException

    try:
        yield
    except GithubException as error:
        said = f" ({error.message[:SAID]})" if error.message else ""
        raise StatusError(f"{what}: GitHub answered {error.status}{said}", error.status, b"") from None
    except (BadAttributeException, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        raise BadItem(f"{what}: the answer is not what GitHub's API gives; correct option api if it is set") from None
