"""What GitHub and GitLab have in common: repositories, whose trees name every file by the hash of its content.

So a repository that was not pushed to costs nothing beyond its line in the listing, and a file that did not change is
not fetched again: the state keeps each repository's version and its files' hashes. The forges' libraries bring their
own HTTP; every request of theirs goes through a `Network`, which guards, paces, counts and tries again.
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

from twin_assets.collection.events import Checkpoint, Event, Failed, Found, Item, LeftOut, ListingComplete, Unchanged
from twin_assets.content.repositories import (
    MAX_WRITTEN_BYTES,
    RULES,
    TreeFile,
    Written,
    left_out,
    read_written,
    too_large,
)
from twin_assets.content.retries import ATTEMPTS, TryAgain, patiently, retry_after_s
from twin_assets.content.web import MAX_RETRY_AFTER_S, WebClient, check_encrypted, host_of, only_public_addresses
from twin_assets.documents import Source, Visibility
from twin_assets.errors import BadItem, BadSource
from twin_assets.settings import Settings, secret

MAX_FILES = 5_000
"""Of one repository; the state names each."""
FILES_PER_CHECKPOINT = 50
FAILURES_IN_A_ROW = 5
"""So many requests without an answer mean that the forge is down, and not that a file of it is broken."""
UNTOLD_PAUSE_S = 60.0
"""GitHub asks for at least this where it limits and does not say for how long."""
HASH_LENGTH = 12
"""Hex digits of a file's hash that the state keeps: enough to see that one file changed."""

T = TypeVar("T")


class TooLarge(BadItem):
    """A file whose size only its fetch could tell."""


@dataclass(frozen=True)
class Repository:
    """A repository as its forge lists it.

    id: what the API calls it. version: changes with every push; None when an equal one would not prove that there was
    no push. reason: why it is left out as a whole.
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
    """The repositories of a source. shows_private: whether a private one would have been named."""

    repositories: list[Repository]
    shows_private: bool


@dataclass(frozen=True)
class Tree:
    """A repository's files. missing: folders whose files the forge would not name."""

    files: list[TreeFile]
    missing: tuple[str, ...] = ()


class Forge(Protocol):
    """One forge's API. Each method raises BadItem for what it cannot read, BadSource for what ends the crawl."""

    def listing(self) -> Listing:
        """The source's repositories, all of them."""

    def tree(self, repository: Repository) -> Tree:
        """Every file of the default branch."""

    def blob(self, repository: Repository, file: TreeFile, max_bytes: int) -> bytes:
        """A file's content. Raises TooLarge."""

    def commits(self, repository: Repository) -> Iterable[Item]:
        """The author's commit messages of more than a line."""

    def discussions(self, repository: Repository) -> Iterable[Item]:
        """What the author opened: issues, and pull or merge requests. One without a text has empty content."""


def crawl_forge(forge: Forge, state: Mapping[str, Any], *, posts: bool) -> Iterator[Event]:
    """The writing in a source's repositories. posts: commit messages, issues and pull requests too.

    Raises BadSource, after a checkpoint of what was done, when the forge allows no more for now.
    """
    memory = _Memory(state)
    try:
        listing = forge.listing()
    except BadItem as error:
        raise BadSource(f"{error}. Nothing is taken as deleted") from None
    complete = True
    try:
        for repository in listing.repositories:
            if repository.reason:
                yield LeftOut(repository.name, repository.reason)
                continue
            complete &= yield from _repository(forge, repository, memory, posts=posts)
            yield memory.checkpoint()
    except BadSource:
        yield memory.checkpoint()
        raise
    names = {repository.name for repository in listing.repositories if not repository.reason}
    for name in () if listing.shows_private else memory.private_beyond(names):
        complete = False
        yield LeftOut(name, "is private and not shown without its owner's token: what was collected of it stays")
    if complete:
        memory.keep_only(names)
        yield memory.checkpoint()
        yield ListingComplete()


def _repository(
    forge: Forge, repository: Repository, memory: "_Memory", *, posts: bool
) -> Generator[Event, None, bool]:
    """One repository's events; returns whether everything in it was named."""
    seen = memory.of(repository)
    is_as_it_was = seen.version is not None and seen.version == repository.version
    complete = True
    if is_as_it_was:
        yield Unchanged(tuple(f"{repository.name}/{path}" for path in seen.files))
    else:
        complete = yield from _files(forge, repository, seen, memory)
    if not posts:
        seen.commits = None  # they are gone from here on; when posts are wanted again, they must come whole
    else:
        complete &= yield from _posts(forge, repository, seen, is_as_it_was)
    return complete


def _files(forge: Forge, repository: Repository, seen: "_Seen", memory: "_Memory") -> Generator[Event, None, bool]:
    seen.version = None
    try:
        tree = forge.tree(repository)
    except BadItem as error:
        yield Failed(f"{repository.name}/", str(error))
        return False
    limit = min(Settings().max_document_bytes, MAX_WRITTEN_BYTES)
    wanted, reasons = _sorted_out(repository, tree.files, limit)
    yield from _left_out(reasons)
    for folder in tree.missing:
        yield Failed(f"{repository.name}/{folder}", "has more files than the forge names at once: split the folder")
    if not tree.missing:
        seen.forget_all_but(wanted)
    yield Unchanged(tuple(f"{repository.name}/{path}" for path, file in wanted.items() if seen.has_written(file)))
    visit = partial(_visit, forge, repository, seen, limit)
    failed = yield from _changed_files([file for file in wanted.values() if seen.is_new(file)], visit, memory)
    if not tree.missing and not failed:
        seen.version = repository.version
    return not tree.missing and len(wanted) < MAX_FILES


def _changed_files(
    files: list[TreeFile], visit: Callable[[TreeFile], Event], memory: "_Memory"
) -> Generator[Event, None, int]:
    """What the files hold; returns how many could not be read."""
    failed = 0
    for number, file in enumerate(files, 1):
        event = visit(file)
        yield event
        failed += isinstance(event, Failed)
        if number % FILES_PER_CHECKPOINT == 0:
            yield memory.checkpoint()
    return failed


def _visit(forge: Forge, repository: Repository, seen: "_Seen", limit: int, file: TreeFile) -> Event:
    name = f"{repository.name}/{file.path}"
    try:
        written = read_written(file.path, forge.blob(repository, file, limit))
    except TooLarge:
        written = too_large(limit)
    except BadItem as error:
        return Failed(name, str(error))
    seen.note(file, is_written=isinstance(written, Written))
    return Found(_item(repository, file, written)) if isinstance(written, Written) else LeftOut(name, written)


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
    )


def _sorted_out(
    repository: Repository, files: list[TreeFile], max_bytes: int
) -> tuple[dict[str, TreeFile], dict[str, list[str]]]:
    """Files worth fetching by path, and the names of the others by the reason."""
    wanted: dict[str, TreeFile] = {}
    reasons: dict[str, list[str]] = defaultdict(list)
    for file in files:
        reason = left_out(file, max_bytes)
        if reason is None and len(wanted) >= MAX_FILES:
            reason = f"is beyond the first {MAX_FILES:,} files of its repository: split the repository"
        if reason:
            reasons[reason].append(f"{repository.name}/{file.path}")
        else:
            wanted[file.path] = file
    return wanted, reasons


def _left_out(reasons: Mapping[str, list[str]]) -> Iterator[LeftOut]:
    """One line a reason: a repository may hold ten thousand pictures."""
    for reason, names in reasons.items():
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        yield LeftOut(f"{names[0]}{more}", reason)


def _posts(forge: Forge, repository: Repository, seen: "_Seen", is_as_it_was: bool) -> Generator[Event, None, bool]:
    """Commit messages, listed when there was a push, and discussions, listed each time; whether all were named."""
    try:
        if is_as_it_was and seen.commits is not None:
            yield Unchanged(tuple(seen.commits))
        else:
            seen.commits = None
            commits = list(forge.commits(repository))
            yield from map(Found, commits)
            seen.commits = [item.external_id for item in commits]
        wordless = []
        for item in forge.discussions(repository):
            if item.content.strip():
                yield Found(item)
            else:
                wordless.append(item.external_id)
    except BadItem as error:
        yield Failed(f"{repository.name}#", str(error))
        return False
    yield from _left_out({"has a title and no text": wordless} if wordless else {})
    return True


@dataclass
class _Seen:
    """What is known of a repository from earlier crawls: hash by path, of documents and of what was no writing."""

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


class _Memory:
    """The crawl's state. Names and paths stand in lists: as keys, their dots and dollars would not suit MongoDB."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        rows = state.get("repositories", []) if state.get("rules") == RULES else []
        self._seen = {
            row["name"]: _Seen(row["about"], row["version"], dict(row["files"]), dict(row["others"]), row["commits"])
            for row in rows
        }

    def of(self, repository: Repository) -> _Seen:
        """What is known of a repository; nothing when what all its documents say of it has changed."""
        about: list[str] = [repository.visibility, repository.files_url]
        seen = self._seen.get(repository.name)
        if seen is None or seen.about != about:
            seen = self._seen[repository.name] = _Seen(about)
        return seen

    def private_beyond(self, names: set[str]) -> list[str]:
        """Repositories known as private that are not among these."""
        return [name for name, seen in self._seen.items() if name not in names and seen.about[0] == "private"]

    def keep_only(self, names: set[str]) -> None:
        """Forget repositories that are no more."""
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
class Reply(Generic[T]):
    """What a request of a library's gave. text: its body, at least where the status says that something is wrong."""

    status: int
    headers: Mapping[str, str]
    text: str
    value: T


class _Failing(TryAgain):
    """An answer, or none, that may be another one later. is_limit: the forge wants fewer requests."""

    def __init__(self, reason: str, after_s: float | None = None, *, is_limit: bool = False) -> None:
        super().__init__(reason, after_s)
        self.is_limit = is_limit


class Network:
    """How a library's requests go out: to public addresses only, in turn, counted, tried again where that helps.

    The guard is open around each single request: a generator that is left half-way holds none.
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
        """Whole seconds, because PyGithub takes no others."""
        return max(1, round(self.settings.request_timeout_s))

    def ask(self, send: Callable[[], Reply[T]]) -> T:
        """What the request gives, an error status included that is not about limits, tokens or a server's trouble.

        Raises BadItem when the forge cannot be reached or has trouble of its own, also after more tries; BadSource when
        it wants a token, a better one, or a pause longer than MAX_RETRY_AFTER_S, and when it seems to be down.
        """
        try:
            answer = patiently(lambda: self._once(send))
        except _Failing as error:
            if error.is_limit:
                self._stop_for(error.after_s or UNTOLD_PAUSE_S)
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= FAILURES_IN_A_ROW:
                raise BadSource(
                    f"{self.host} {error}, {FAILURES_IN_A_ROW} requests in a row: collect again later"
                ) from None
            raise BadItem(f"{self.host} {error} ({ATTEMPTS} tries)") from None
        self._failures_in_a_row = 0
        return answer

    def _once(self, send: Callable[[], Reply[T]]) -> T:
        import requests
        import urllib3

        self._http.wait_for_turn(self._api)
        try:
            with only_public_addresses(not self.settings.allow_private_addresses):
                reply = send()
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            # The libraries' own texts quote whole requests.
            raise _Failing(f"could not be reached ({type(error).__name__})") from None
        if reply.status == HTTPStatus.UNAUTHORIZED:
            raise BadSource(self._unauthorized())
        pause_s = _pause_s(reply)
        if pause_s is not None and pause_s > MAX_RETRY_AFTER_S:
            self._stop_for(pause_s)
        has_trouble = reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if has_trouble or pause_s is not None:
            raise _Failing(f"answered {reply.status}", pause_s, is_limit=not has_trouble)
        return reply.value

    def _stop_for(self, pause_s: float) -> NoReturn:
        until = datetime.now(UTC) + timedelta(seconds=pause_s)
        more = "" if self.token else ", and with a token (token_env) it allows many more"
        raise BadSource(
            f"{self.host} allows no more requests until {until:%Y-%m-%d %H:%M} UTC: collect again then, it goes on "
            f"where it stopped{more}"
        )

    def _unauthorized(self) -> str:
        if self.token:
            return (
                f"{self.host} does not take the token in {self._token_env}: it is wrong or has expired, make a new one"
            )
        return (
            f"{self.host} wants a token: put one into an environment variable, and name that as the source's token_env"
        )


def _pause_s(reply: Reply[Any]) -> float | None:
    """How long a forge wants no more requests; None when it does not limit.

    See: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit and
    https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/#response-headers
    """
    headers = reply.headers
    if after := headers.get("retry-after"):
        pause_s = retry_after_s(after)
        return UNTOLD_PAUSE_S if pause_s is None else pause_s
    if reply.status not in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS):
        return None
    remaining = headers.get("x-ratelimit-remaining") or headers.get("ratelimit-remaining")
    reset = headers.get("x-ratelimit-reset") or headers.get("ratelimit-reset") or ""
    if remaining == "0" and reset.isdecimal():
        return max(0.0, float(reset) - time.time()) + 1
    is_limit = reply.status == HTTPStatus.TOO_MANY_REQUESTS or "rate limit" in reply.text.lower()
    return UNTOLD_PAUSE_S if is_limit else None
