"""What GitHub and GitLab have in common: repositories whose trees list every file with the hash of its content.

So a repository without a new push costs nothing beyond its line in the listing, and an unchanged file is not fetched
again: the state keeps each repository's version and its files' hashes. The platforms' client libraries bring their own
HTTP; each of their requests goes through a `Network`, which guards, paces, counts and retries it.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, Generic, NoReturn, Protocol, TypeVar
from urllib.parse import quote

from twin_assets.collection.events import Checkpoint, Event, Failed, Found, Item, ListingComplete, Skipped, Unchanged
from twin_assets.content.repositories import (
    MAX_WRITTEN_BYTES,
    RULES,
    TreeFile,
    Written,
    read_written,
    reason_to_skip,
    too_large,
)
from twin_assets.content.retries import ATTEMPTS, RetryableError, retry_after_s, with_retries
from twin_assets.content.web import MAX_RETRY_AFTER_S, WebClient, check_encrypted, host_of, only_public_addresses
from twin_assets.documents import Source, Visibility
from twin_assets.errors import BadItem, BadSource
from twin_assets.settings import Settings, secret

MAX_FILES = 5_000
"""The most files taken from one repository; the state lists each of them."""
FILES_PER_CHECKPOINT = 50
FAILURES_IN_A_ROW = 5
"""After this many failed requests in a row the forge counts as down, rather than a file of it as broken."""
DEFAULT_PAUSE_S = 60.0
"""GitHub asks for at least this pause where it limits requests without saying for how long."""
HASH_LENGTH = 12
"""The state keeps this many hex digits of a file's hash, enough to see that the file changed."""

T = TypeVar("T")


class TooLarge(BadItem):
    """A file that turned out to be too large only when it was fetched."""


@dataclass(frozen=True)
class Repository:
    """A repository as its forge lists it.

    id: the API's own id. version: changes with every push; None when an equal version would not prove that there was
    no push. reason: why the whole repository is skipped.
    """

    id: str | int
    name: str
    files_url: str
    branch: str
    version: str | None
    visibility: Visibility
    pushed_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Listing:
    """The repositories of a source. shows_private: whether private ones are listed too."""

    repositories: list[Repository]
    shows_private: bool


@dataclass(frozen=True)
class Tree:
    """A repository's files. missing: folders whose files the forge did not list."""

    files: list[TreeFile]
    missing: tuple[str, ...] = ()


class Forge(Protocol):
    """One forge's API. Each method raises BadItem for what it cannot read, BadSource for what ends the crawl."""

    def listing(self) -> Listing:
        """All of the source's repositories."""

    def tree(self, repository: Repository) -> Tree:
        """Every file of the default branch."""

    def blob(self, repository: Repository, file: TreeFile, max_bytes: int) -> bytes:
        """A file's content. Raises TooLarge."""

    def commits(self, repository: Repository) -> Iterable[Item]:
        """The author's commit messages of more than one line."""

    def discussions(self, repository: Repository) -> Iterable[Item]:
        """The issues and the pull or merge requests that the author opened; the content may be empty."""


def crawl_forge(forge: Forge, state: Mapping[str, Any], *, posts: bool) -> Iterator[Event]:
    """Crawl a source's repositories. posts: also take commit messages, issues and pull requests.

    Raises BadSource, after a checkpoint of what was done, when the forge accepts no more requests for now.
    """
    crawl_state = _ForgeState(state)
    try:
        listing = forge.listing()
    except BadItem as error:
        raise BadSource(f"{error}. Nothing is taken as deleted") from None
    complete = True
    try:
        for repository in listing.repositories:
            if repository.reason:
                yield Skipped(repository.name, repository.reason)
                continue
            complete &= yield from _repository(forge, repository, crawl_state, posts=posts)
            yield crawl_state.checkpoint()
    except BadSource:
        yield crawl_state.checkpoint()
        raise
    names = {repository.name for repository in listing.repositories if not repository.reason}
    for name in () if listing.shows_private else crawl_state.private_beyond(names):
        complete = False
        yield Skipped(name, "is private and not shown without its owner's token: what was collected of it stays")
    if complete:
        crawl_state.keep_only(names)
        yield crawl_state.checkpoint()
        yield ListingComplete()


def _repository(
    forge: Forge, repository: Repository, crawl_state: "_ForgeState", *, posts: bool
) -> Generator[Event, None, bool]:
    """One repository's events; returns True if everything in it was listed."""
    seen = crawl_state.of(repository)
    is_as_it_was = seen.version is not None and seen.version == repository.version
    complete = True
    if is_as_it_was:
        yield Unchanged(tuple(f"{repository.name}/{path}" for path in seen.files))
    else:
        complete = yield from _files(forge, repository, seen, crawl_state)
    if not posts:
        seen.commits = None  # they are gone from here on; when posts are wanted again, all must be fetched
    else:
        complete &= yield from _posts(forge, repository, seen, is_as_it_was)
    return complete


def _files(
    forge: Forge, repository: Repository, seen: "_RepositoryState", crawl_state: "_ForgeState"
) -> Generator[Event, None, bool]:
    seen.version = None
    try:
        tree = forge.tree(repository)
    except BadItem as error:
        yield Failed(f"{repository.name}/", str(error))
        return False
    limit = min(Settings().max_document_bytes, MAX_WRITTEN_BYTES)
    wanted, reasons = _wanted_and_skipped(repository, tree.files, limit)
    yield from _skipped_by_reason(reasons)
    for folder in tree.missing:
        yield Failed(f"{repository.name}/{folder}", "has more files than the forge lists at once: split the folder")
    if not tree.missing:
        seen.forget_all_but(wanted)
    yield Unchanged(tuple(f"{repository.name}/{path}" for path, file in wanted.items() if seen.has_written(file)))
    visit = partial(_visit, forge, repository, seen, limit)
    failed = yield from _changed_files([file for file in wanted.values() if seen.is_new(file)], visit, crawl_state)
    if not tree.missing and not failed:
        seen.version = repository.version
    return not tree.missing and len(wanted) < MAX_FILES


def _changed_files(
    files: list[TreeFile], visit: Callable[[TreeFile], Event], crawl_state: "_ForgeState"
) -> Generator[Event, None, int]:
    """The events of these files; returns how many could not be read."""
    failed = 0
    for number, file in enumerate(files, 1):
        event = visit(file)
        yield event
        failed += isinstance(event, Failed)
        if number % FILES_PER_CHECKPOINT == 0:
            yield crawl_state.checkpoint()
    return failed


def _visit(forge: Forge, repository: Repository, seen: "_RepositoryState", limit: int, file: TreeFile) -> Event:
    name = f"{repository.name}/{file.path}"
    try:
        written = read_written(file.path, forge.blob(repository, file, limit))
    except TooLarge:
        written = too_large(limit)
    except BadItem as error:
        return Failed(name, str(error))
    seen.note(file, is_written=isinstance(written, Written))
    return Found(_item(repository, file, written)) if isinstance(written, Written) else Skipped(name, written)


def _item(repository: Repository, file: TreeFile, written: Written) -> Item:
    return Item(
        external_id=f"{repository.name}/{file.path}",
        content=written.content,
        category=written.category,
        url=f"{repository.files_url}/{quote(file.path)}",
        title=written.title,
        content_type=written.content_type,
        visibility="private" if "private" in (repository.visibility, written.visibility) else "public",
        published_at=written.published_at,
        updated_at=repository.pushed_at,
        metadata={"repository": repository.name, **written.metadata},
        notes=written.notes,
    )


def _wanted_and_skipped(
    repository: Repository, files: list[TreeFile], max_bytes: int
) -> tuple[dict[str, TreeFile], dict[str, list[str]]]:
    """The files worth fetching, by path, and the names of the skipped ones, by reason."""
    wanted: dict[str, TreeFile] = {}
    reasons: dict[str, list[str]] = defaultdict(list)
    for file in files:
        reason = reason_to_skip(file, max_bytes)
        if reason is None and len(wanted) >= MAX_FILES:
            reason = f"is beyond the first {MAX_FILES:,} files of its repository: split the repository"
        if reason:
            reasons[reason].append(f"{repository.name}/{file.path}")
        else:
            wanted[file.path] = file
    return wanted, reasons


def _skipped_by_reason(reasons: Mapping[str, list[str]]) -> Iterator[Skipped]:
    """One event per reason: a repository may contain ten thousand pictures."""
    for reason, names in reasons.items():
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        yield Skipped(f"{names[0]}{more}", reason)


def _posts(
    forge: Forge, repository: Repository, seen: "_RepositoryState", is_as_it_was: bool
) -> Generator[Event, None, bool]:
    """Commit messages, if there was a push, and discussions, each time; returns True if all were listed."""
    try:
        if is_as_it_was and seen.commits is not None:
            yield Unchanged(tuple(seen.commits))
        else:
            seen.commits = None
            commits = list(forge.commits(repository))
            yield from map(Found, commits)
            seen.commits = [item.external_id for item in commits]
        textless = []
        for item in forge.discussions(repository):
            if item.content.strip():
                yield Found(item)
            else:
                textless.append(item.external_id)
    except BadItem as error:
        yield Failed(f"{repository.name}#", str(error))
        return False
    yield from _skipped_by_reason({"has a title and no text": textless} if textless else {})
    return True


@dataclass
class _RepositoryState:
    """What earlier crawls found in a repository. files, others: hash by path, of documents and of skipped files."""

    about: list[str]
    version: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    commits: list[str] | None = None

    def has_written(self, file: TreeFile) -> bool:
        return self.files.get(file.path) == file.sha[:HASH_LENGTH]

    def is_new(self, file: TreeFile) -> bool:
        return file.sha[:HASH_LENGTH] not in (self.files.get(file.path), self.others.get(file.path))

    def note(self, file: TreeFile, *, is_written: bool) -> None:
        self.files.pop(file.path, None)
        self.others.pop(file.path, None)
        (self.files if is_written else self.others)[file.path] = file.sha[:HASH_LENGTH]

    def forget_all_but(self, paths: Mapping[str, TreeFile]) -> None:
        self.files = {path: sha for path, sha in self.files.items() if path in paths}
        self.others = {path: sha for path, sha in self.others.items() if path in paths}


class _ForgeState:
    """The crawl's state. Names and paths are stored in lists: MongoDB does not take dots and dollars in keys."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        rows = state.get("repositories", []) if state.get("rules") == RULES else []
        self._seen = {
            row["name"]: _RepositoryState(
                row["about"], row["version"], dict(row["files"]), dict(row["others"]), row["commits"]
            )
            for row in rows
        }

    def of(self, repository: Repository) -> _RepositoryState:
        """What is known of a repository; nothing if what each of its documents says about it has changed."""
        about: list[str] = [repository.visibility, repository.files_url]
        seen = self._seen.get(repository.name)
        if seen is None or seen.about != about:
            seen = self._seen[repository.name] = _RepositoryState(about)
        return seen

    def private_beyond(self, names: set[str]) -> list[str]:
        """The known private repositories that are not among these."""
        return [name for name, seen in self._seen.items() if name not in names and seen.about[0] == "private"]

    def keep_only(self, names: set[str]) -> None:
        """Forget all other repositories."""
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}

    def checkpoint(self) -> Checkpoint:
        """The state as it is now."""
        rows = [
            {
                "name": name,
                "about": seen.about,
                "version": seen.version,
                "files": [list(pair) for pair in seen.files.items()],
                "others": [list(pair) for pair in seen.others.items()],
                "commits": seen.commits,
            }
            for name, seen in self._seen.items()
        ]
        return Checkpoint({"rules": RULES, "repositories": rows})


@dataclass(frozen=True)
class LibraryResponse(Generic[T]):
    """A response that a client library received. text: its body, at least for an error status."""

    status: int
    headers: Mapping[str, str]
    text: str
    value: T


class _TemporaryError(RetryableError):
    """A failure that may pass. is_limit: the forge wants fewer requests."""

    def __init__(self, reason: str, after_s: float | None = None, *, is_limit: bool = False) -> None:
        super().__init__(reason, after_s)
        self.is_limit = is_limit


class Network:
    """Sends a client library's requests: to public addresses only, paced, counted, and retried where that helps.

    Each request opens its own guard, so that a generator that is abandoned half-way leaves none open.
    """

    def __init__(self, http: WebClient, source: Source, api: str) -> None:
        host = host_of(api)
        if not host:
            raise BadSource(f"option api of source {source.id} is {api!r}: give an http(s) URL")
        self.settings = http.settings
        self.host, self.token = host, secret(source.token_env) if source.token_env else None
        if self.token:
            check_encrypted(api, self.settings)
        self._http, self._api, self._token_env = http, api, source.token_env
        self._failures_in_a_row = 0

    @property
    def timeout_s(self) -> int:
        """The timeout in whole seconds, because PyGithub takes no fractions."""
        return max(1, round(self.settings.request_timeout_s))

    def ask(self, send: Callable[[], LibraryResponse[T]]) -> T:
        """The value of the response, also for an error status that is not about limits, tokens or server errors.

        Raises BadItem when the forge still cannot be reached or still fails after all retries; BadSource when it wants
        a token, another token, or a pause longer than MAX_RETRY_AFTER_S, and when it seems to be down.
        """
        try:
            value = with_retries(lambda: self._once(send))
        except _TemporaryError as error:
            if error.is_limit:
                self._stop_for(error.after_s or DEFAULT_PAUSE_S)
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= FAILURES_IN_A_ROW:
                raise BadSource(
                    f"{self.host} {error}, {FAILURES_IN_A_ROW} requests in a row: collect again later"
                ) from None
            raise BadItem(f"{self.host} {error} ({ATTEMPTS} tries)") from None
        self._failures_in_a_row = 0
        return value

    def _once(self, send: Callable[[], LibraryResponse[T]]) -> T:
        import requests
        import urllib3

        self._http.wait_for_turn(self._api)
        try:
            with only_public_addresses(not self.settings.allow_private_addresses):
                reply = send()
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            # The libraries' own messages quote whole requests.
            raise _TemporaryError(f"could not be reached ({type(error).__name__})") from None
        if reply.status == HTTPStatus.UNAUTHORIZED:
            raise BadSource(self._unauthorized())
        pause_s = _pause_s(reply)
        if pause_s is not None and pause_s > MAX_RETRY_AFTER_S:
            self._stop_for(pause_s)
        has_trouble = reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if has_trouble or pause_s is not None:
            raise _TemporaryError(f"answered {reply.status}", pause_s, is_limit=not has_trouble)
        return reply.value

    def _stop_for(self, pause_s: float) -> NoReturn:
        until = datetime.now(UTC) + timedelta(seconds=pause_s)
        more = "" if self.token else "; with a token (token_env) it allows many more"
        raise BadSource(
            f"{self.host} allows no more requests until {until:%Y-%m-%d %H:%M} UTC: collect again then, and the crawl "
            f"continues where it stopped{more}"
        )

    def _unauthorized(self) -> str:
        if self.token:
            return f"{self.host} rejects the token in {self._token_env}, which is wrong or has expired: make a new one"
        return f"{self.host} wants a token: put one into an environment variable, and name it as the source's token_env"


def _pause_s(reply: LibraryResponse[Any]) -> float | None:
    """How long the forge wants no more requests, in seconds; None when it sets no limit.

    See: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit and
    https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers
    """
    headers = reply.headers
    if after := headers.get("retry-after"):
        pause_s = retry_after_s(after)
        return DEFAULT_PAUSE_S if pause_s is None else pause_s
    if reply.status not in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
        return None
    remaining = headers.get("x-ratelimit-remaining") or headers.get("ratelimit-remaining")
    reset = headers.get("x-ratelimit-reset") or headers.get("ratelimit-reset") or ""
    if remaining == "0" and reset.isdecimal():
        return max(0.0, float(reset) - time.time()) + 1
    is_limit = reply.status == HTTPStatus.TOO_MANY_REQUESTS or "rate limit" in reply.text.lower()
    return DEFAULT_PAUSE_S if is_limit else None
