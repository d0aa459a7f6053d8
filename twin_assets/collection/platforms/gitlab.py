"""GitLab, at gitlab.com or elsewhere: code, READMEs and documentation; with posts=yes also issues and so on.

GitLab updates a project's `last_activity_at` at most once an hour, so an equal time proves that there was no push only
when it is older than that; hashes show which files changed. python-gitlab calls the API, over a session that sends its
requests through a `Network`.

See: https://docs.gitlab.com/api/projects/, https://docs.gitlab.com/api/repositories/
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

from twin_assets.collection.events import Event, Item
from twin_assets.collection.forge import LibraryResponse, Listing, Network, Repository, TooLarge, Tree, crawl_forge
from twin_assets.collection.registry import register, wants
from twin_assets.content.metadata.dates import parse_date
from twin_assets.content.repositories import TreeFile, commit_text, without_badges
from twin_assets.content.web import USER_AGENT, StatusError, WebClient, host_of
from twin_assets.documents import Category, Source
from twin_assets.errors import BadItem, BadSource

if TYPE_CHECKING:
    import gitlab
    import requests

HOME = "https://gitlab.com"
PREFIX = "gitlab:"
ACTIVITY_INTERVAL = timedelta(hours=2)
"""Twice RESET_PROJECT_ACTIVITY_INTERVAL in GitLab's app/models/event.rb, to allow for clocks that differ."""
MAX_ENTRIES = 100_000
"""The most files and folders read of one project, as on GitHub, so that a server cannot send endless pages."""
FORBIDDEN, NOT_FOUND = 403, 404
SAID = 200
"""An error quotes at most this many characters of the API's own message."""


@register
class GitlabCrawler:
    """Reads a user's projects, or a single project."""

    platform: ClassVar[str] = "gitlab"
    accepted: ClassVar[str] = (
        "gitlab:user, https://gitlab.com/user, https://gitlab.com/group/project, or gitlab:https://host/user elsewhere"
    )
    options: ClassVar[Mapping[str, str]] = {
        "posts": "yes takes the author's issues, merge requests and commit messages too",
        "author": "whose posts these are, by login; a group's project needs it",
        "api": "base URL of a GitLab below a path",
    }

    def accepts(self, where: str) -> bool:
        """True for a path on gitlab.com, or anything after `gitlab:`: another URL does not show that it is GitLab's."""
        where = where.strip()
        if where.startswith(PREFIX):
            return len(where) > len(PREFIX)
        return host_of(where) in ("gitlab.com", "www.gitlab.com") and len(urlsplit(where).path) > 1

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """Crawl what has changed since the last crawl."""
        forge = _Gitlab(source, http)
        try:
            yield from crawl_forge(forge, state, posts=wants(source, "posts"))
        finally:
            forge.close()


class _Gitlab:
    """GitLab as a `Forge`."""

    def __init__(self, source: Source, http: WebClient) -> None:
        self._home, self._path = _location(source.where, source.options.get("api"))
        self._author = source.options.get("author")
        self._names: dict[str, str] = {}
        self._has_token = source.token_env is not None
        self._api, self._adapter = _client(source, http, self._home)

    def close(self) -> None:
        self._api.session.close()

    def listing(self) -> Listing:
        if "/" in self._path:
            return Listing([self._single()], shows_private=self._has_token)
        with _translated_errors(f"the projects of GitLab user {self._path}"):
            users = self._api.users.list(username=self._path, get_all=True)
            if not users:
                raise BadItem(f"{self._home} shows no user {self._path}: correct the name, or give a project's URL")
            self._author = self._author or str(users[0].username)
            self._names[str(users[0].username)] = str(users[0].name)
            projects = users[0].projects.list(iterator=True, order_by="id", sort="asc")
            repositories = [_described(project.attributes) for project in projects]
            own = self._has_token and self._own_name().casefold() == self._path.casefold()
        if not repositories:
            raise BadItem(f"GitLab user {self._path} has no projects: correct the name, or give a project's URL")
        return Listing(repositories, shows_private=own)

    def tree(self, repository: Repository) -> Tree:
        with _translated_errors(f"the files of {repository.name}"):
            entries = self._project(repository).repository_tree(
                ref=repository.branch, recursive=True, iterator=True, per_page=100, pagination="keyset"
            )
            found = list(islice(entries, MAX_ENTRIES + 1))
            files = [TreeFile(e["path"], e["id"], mode=e["mode"]) for e in found if e["type"] == "blob"]
            return Tree(files, missing=("",) if len(found) > MAX_ENTRIES else ())

    def blob(self, repository: Repository, file: TreeFile, max_bytes: int) -> bytes:
        with _translated_errors(f"{repository.name}/{file.path}"), self._adapter.at_most(max_bytes):
            return bytes(self._project(repository).repository_raw_blob(file.sha))

    def commits(self, repository: Repository) -> list[Item]:
        with _translated_errors(f"the commits of {repository.name}"):
            name = self._author_name()
            commits = self._project(repository).commits.list(ref_name=repository.branch, author=name, iterator=True)
            return [
                Item(
                    external_id=f"{repository.name}@{about['id']}",
                    content=text,
                    category=Category.POST,
                    url=about["web_url"],
                    title=text.partition("\n")[0],
                    content_type="text/plain",
                    visibility=repository.visibility,
                    published_at=parse_date(about["authored_date"]),
                    metadata={"repository": repository.name, "kind": "commit"},
                )
                for about in (commit.attributes for commit in commits)
                if about["author_name"] == name and len(about["parent_ids"]) < 2
                if (text := commit_text(about["message"]))
            ]

    def discussions(self, repository: Repository) -> list[Item]:
        project, author = self._project(repository), self._known_author()
        kinds = (("issue", "#", project.issues), ("merge request", "!", project.mergerequests))
        return [
            _discussion(repository, kind, mark, one.attributes)
            for kind, mark, manager in kinds
            for one in self._opened(repository, manager, author)
        ]

    def _opened(self, repository: Repository, manager: Any, author: str) -> list[Any]:
        """What the author opened of one kind; nothing where the project has switched that kind off."""
        # Any: python-gitlab's managers have no common type with `list`.
        try:
            with _translated_errors(f"the issues and merge requests of {repository.name}"):
                return list(manager.list(author_username=author, scope="all", state="all", iterator=True))
        except StatusError as error:
            if error.status in (FORBIDDEN, NOT_FOUND):
                return []
            raise

    def _single(self) -> Repository:
        try:
            with _translated_errors(f"project {self._path}"):
                about = self._api.projects.get(self._path).attributes
                repository = _described(about)
                if about["namespace"]["kind"] == "user":
                    self._author = self._author or str(about["namespace"]["path"])
        except StatusError as error:
            if error.status != NOT_FOUND:
                raise
            raise BadItem(
                f"{self._home} shows no project {self._path}: correct the path, or, for a private one, give a token"
            ) from None
        if "forked_from_project" in about:
            raise BadSource(f"{self._path} {repository.reason}: give a project that its author wrote")
        return repository

    def _own_name(self) -> str:
        self._api.auth()
        return str(self._api.user.username) if self._api.user else ""

    def _author_name(self) -> str:
        """The name in the author's commits: GitLab does not link commits to accounts."""
        author = self._known_author()
        if author not in self._names:
            users = self._api.users.list(username=author, get_all=True)
            if not users:
                raise BadSource(f"{self._home} shows no user {author}: correct the source's option author")
            self._names[author] = str(users[0].name)
        return self._names[author]

    def _known_author(self) -> str:
        if not self._author:
            raise BadSource(
                f"{self._path} belongs to a group: with posts=yes, name the author's account in the option author"
            )
        return self._author

    def _project(self, repository: Repository) -> Any:
        # Any: python-gitlab gives its managers no types.
        return self._api.projects.get(repository.id, lazy=True)


def _location(where: str, api: str | None) -> tuple[str, str]:
    """The server's URL and the path on it of a user or project."""
    rest = where.strip().removeprefix(PREFIX)
    home, path = HOME, rest
    if host_of(rest):
        parts = urlsplit(rest)
        home = f"{parts.scheme}://{parts.netloc.rpartition('@')[2].removeprefix('www.')}"
        path = parts.path
    if api:
        home, path = api.rstrip("/"), path.removeprefix(urlsplit(api).path.rstrip("/"))
    path = path.split("/-/")[0].strip("/").removeprefix("@").removesuffix(".git")
    if not path:
        raise BadSource(f"{where!r} names no user or project: give {GitlabCrawler.accepted}")
    return home, path


def _described(about: dict[str, Any]) -> Repository:
    active_at = parse_date(about["last_activity_at"])
    is_settled = active_at is not None and datetime.now(UTC) - active_at > ACTIVITY_INTERVAL
    is_public = about["visibility"] == "public" and about.get("repository_access_level", "enabled") == "enabled"
    branch = about.get("default_branch") or ""
    reason = None
    if "forked_from_project" in about:
        reason = "is a fork of somebody else's"
    elif about.get("empty_repo") or not branch:
        reason = "is empty, or does not show its files"
    return Repository(
        id=about["id"],
        name=about["path_with_namespace"],
        files_url=f"{about['web_url']}/-/blob/{quote(branch)}",
        branch=branch,
        version=active_at.isoformat() if active_at and is_settled else None,
        visibility="public" if is_public else "private",
        pushed_at=active_at,
        reason=reason,
    )


def _discussion(repository: Repository, kind: str, mark: str, about: dict[str, Any]) -> Item:
    with _translated_errors(f"the issues and merge requests of {repository.name}"):
        return Item(
            external_id=f"{repository.name}{mark}{about['iid']}",
            content=without_badges(about["description"] or ""),
            category=Category.POST,
            url=about["web_url"],
            title=about["title"],
            visibility="private" if about.get("confidential") else repository.visibility,
            published_at=parse_date(about["created_at"]),
            updated_at=parse_date(about["updated_at"]),
            metadata={"repository": repository.name, "kind": kind},
        )


def _client(source: Source, http: WebClient, home: str) -> tuple["gitlab.Gitlab", Any]:
    """python-gitlab's client over a session that uses a `Network`, and the session's adapter."""
    import gitlab
    import requests

    network = Network(http, source, home)
    session, adapter = requests.Session(), _adapter(network, home)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.auth = lambda request: request  # otherwise requests looks for a login in ~/.netrc
    api = gitlab.Gitlab(
        home,
        private_token=network.token,
        timeout=network.timeout_s,
        per_page=100,
        user_agent=USER_AGENT,
        keep_base_url=True,
        session=session,
    )
    return api, adapter


def _adapter(network: Network, home: str) -> Any:
    # Any: the class is made here, because requests is imported only where it is needed.
    from requests.adapters import HTTPAdapter

    class Guarded(HTTPAdapter):
        """Sends each request of a session, also after redirects, and limits the size of responses."""

        max_bytes = network.settings.max_response_bytes

        @contextmanager
        def at_most(self, max_bytes: int) -> Iterator[None]:
            before, self.max_bytes = self.max_bytes, max_bytes
            try:
                yield
            finally:
                self.max_bytes = before

        def send(self, request: "requests.PreparedRequest", *args: Any, **kwargs: Any) -> "requests.Response":
            if not str(request.url).startswith(f"{home}/"):
                # On a redirect to another host requests drops Authorization, but not this header.
                request.headers.pop("PRIVATE-TOKEN", None)
            return network.ask(lambda: _reply(super(Guarded, self).send(request, *args, **kwargs), self.max_bytes))

    return Guarded()


def _reply(response: "requests.Response", max_bytes: int) -> LibraryResponse["requests.Response"]:
    """Read a response's body, which requests alone would do without a limit."""
    body = bytearray()
    for block in response.raw.stream(65_536, decode_content=True):
        body += block
        if len(body) > max_bytes:
            response.close()
            raise TooLarge(f"{urlsplit(response.url).hostname} answered with more than {max_bytes:,} bytes")
    response.raw = io.BytesIO(body)
    return LibraryResponse(response.status_code, response.headers, body[:1_000].decode(errors="replace"), response)


@contextmanager
def _translated_errors(what: str) -> Iterator[None]:
    """Raise python-gitlab's errors as ours, without the originals, which contain whole responses."""
    import requests
    from gitlab.exceptions import GitlabError

    try:
        yield
    except GitlabError as error:
        if error.response_code is None:
            raise BadItem(f"{what}: the answer is not what GitLab's API gives; is this a GitLab?") from None
        said = f" ({str(error.error_message)[:SAID]})" if error.error_message else ""
        raise StatusError(f"{what}: GitLab answered {error.response_code}{said}", error.response_code, b"") from None
    except requests.RequestException as error:
        raise BadItem(f"{what}: {type(error).__name__}") from None
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise BadItem(f"{what}: the answer is not what GitLab's API gives; is this a GitLab?") from None
