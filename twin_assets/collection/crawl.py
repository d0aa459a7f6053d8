"""The seam between a platform and the warehouse: a crawler yields events, one loop consumes them.

A crawler knows its platform and nothing of the warehouse; the loop writes documents, saves the state at each checkpoint
after its documents, counts, and alone decides what is gone. A new platform is one file in this folder: a class with
`platform`, `accepted`, `options`, `accepts` and `collect`, registered by `@register`; one whose platform gives its
members an export archive adds `recognises`, `import_archive` and `archive_steps`.
"""

import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable
from urllib.parse import urlsplit

from twin_assets.collection import platforms
from twin_assets.content.archives import Archive, is_archive, open_archive
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, RawDocument, Source, Visibility, utcnow
from twin_assets.errors import BadInput, BadSource
from twin_assets.stores.warehouse import KnownDocument, Warehouse

GENERAL = frozenset({"blog", "files"})
"""Platforms that read what is nobody else's: any URL, any folder."""
COMMON = frozenset({"com", "feed", "http", "https", "in", "rss"})
"""Words of addresses that say nothing of whose they are."""
INBOX = "inbox"
"""A source's place when it has no live way in: archives are dropped into the author's inbox folder."""
LOGIN = re.compile(r"([\w+.-]+:)*//[^/?#]*@")
"""A URL with a user name or a password before its host, also as `gitlab:https://…`."""

BATCH = 100
"""Documents held before they are written; a killed crawl loses no more than these."""
NOTE_S = 1.0
"""How often a running crawl's report is kept for whoever watches it."""


@dataclass(frozen=True)
class Item:
    """A document as a crawler finds it, before it is anybody's."""

    external_id: str
    content: str
    category: Category
    url: str | None = None
    title: str | None = None
    content_type: str = "text/markdown"
    language: str | None = None
    visibility: Visibility = "public"
    published_at: datetime | None = None
    updated_at: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """An item with its content, new or not."""

    item: Item


@dataclass(frozen=True)
class Unchanged:
    """Items that the source says are as they were, without sending them."""

    external_ids: tuple[str, ...]


@dataclass(frozen=True)
class Gone:
    """The source itself says that this item was deleted."""

    external_id: str


@dataclass(frozen=True)
class Failed:
    """An item that could not be read this time, and why; it is not gone."""

    item: str
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """Something that is no document of this source, such as an image, and why."""

    item: str
    reason: str


@dataclass(frozen=True)
class Checkpoint:
    """Everything before this may be written down, and the crawl can go on from `state`."""

    state: dict[str, Any]


@dataclass(frozen=True)
class ListingComplete:
    """Every item of the source was named: what was not named is gone. Of an archive: gone by the archive's date."""


Event = Found | Unchanged | Gone | Failed | LeftOut | Checkpoint | ListingComplete


class Crawler(Protocol):
    """One platform. `accepted` says in words what `accepts` takes; `options` what a source may set, each in words."""

    platform: ClassVar[str]
    accepted: ClassVar[str]
    options: ClassVar[Mapping[str, str]]

    def accepts(self, where: str) -> bool:
        """Whether this crawler can read the place."""

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """The source's items. Raises BadSource when the source as a whole cannot be read."""


@runtime_checkable
class ArchiveCrawler(Crawler, Protocol):
    """A platform that gives its members an export. The loop dates its items, so that none overwrites newer text."""

    archive_steps: ClassVar[str]
    """How the member asks for one, step by step, in the platform's own words."""

    def recognises(self, names: Collection[str]) -> bool:
        """Whether an archive with members of these names is an export of this platform."""

    def needs_archives(self, source: Source) -> bool:
        """Whether this source's history comes by archive only, so that the member is reminded of a new one."""

    def import_archive(self, source: Source, archive: Archive) -> Iterator[Event]:
        """The archive's items. Raises BadSource when it cannot be read as a whole."""


C = TypeVar("C", bound=type[Crawler])
_registry: dict[str, Crawler] = {}


def register(crawler: C) -> C:
    """Class decorator: make a crawler known under its platform."""
    _registry[crawler.platform] = crawler()
    return crawler


@cache
def _load_all() -> None:
    for module in pkgutil.iter_modules(platforms.__path__):
        importlib.import_module(f"{platforms.__name__}.{module.name}")


def crawlers() -> dict[str, Crawler]:
    """Every registered crawler by platform, in the order of their names."""
    _load_all()
    return dict(sorted(_registry.items()))


def archive_platform(archive: Archive) -> str | None:
    """The platform whose export this is, told by its members and never by its own name."""
    names = archive.names
    known = crawlers().items()
    return next((p for p, crawler in known if isinstance(crawler, ArchiveCrawler) and crawler.recognises(names)), None)


def lies_here(where: str) -> bool:
    """Whether the place is a path of this machine. Raises BadSource when its file system cannot even be asked."""
    try:
        Path(where).expanduser().stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, RuntimeError, ValueError) as error:  # too long, forbidden, nobody's home, a NUL, half a character
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadSource(f"{where[:60]!r} is no place that can be looked up ({reason})") from error
    return bool(where.strip())


def reads(crawler: Crawler, where: str) -> bool:
    """Whether the crawler takes the place: live, as its platform's export, or by the inbox.

    Raises BadSource as `lies_here`, and for a URL with a user name or password in it, which it does not repeat.
    """
    if LOGIN.match("".join(where.split())):
        raise BadSource(
            "the URL holds a user name or a password, which would be stored with it: give it without what stands "
            "before the @; where a platform takes a token, give the NAME of the environment variable that holds it"
        )
    is_path = lies_here(where)
    if crawler.accepts(where):
        return True
    return isinstance(crawler, ArchiveCrawler) and (where == INBOX or (is_path and _is_export(crawler, where)))


def _is_export(crawler: ArchiveCrawler, where: str) -> bool:
    path = Path(where).expanduser()
    if not is_archive(path):
        return False
    try:
        with open_archive(path) as archive:
            return crawler.recognises(archive.names)
    except BadSource:
        return False


def platform_for(where: str) -> str:
    """The platform that reads a place, one that knows it rather than a general one. Raises BadSource."""
    for platform, crawler in sorted(crawlers().items(), key=lambda known: known[0] in GENERAL):
        if where != INBOX and reads(crawler, where):
            return platform
    known = "; ".join(f"{platform}: {crawler.accepted}" for platform, crawler in crawlers().items())
    raise BadSource(f"{where!r} is nothing that can be collected from. Give {known}")


def wants(source: Source, option: str) -> bool:
    """Whether a source sets a yes-or-no option; no is the default. Raises BadSource for another value."""
    value = source.options.get(option, "no").strip().lower()
    if value not in ("yes", "true", "no", "false"):
        raise BadSource(f"option {option} of source {source.id} is {value!r}: give yes or no")
    return value in ("yes", "true")


def check_options(crawler: Crawler, options: Mapping[str, str]) -> None:
    """Raises BadSource, naming those that there are, for an option that the platform does not have."""
    if unknown := sorted(options.keys() - crawler.options.keys()):
        known = "; ".join(f"{name}: {text}" for name, text in crawler.options.items()) or "none"
        raise BadSource(f"{crawler.platform} has no option {unknown[0]!r} (options: {known})")


def source_id_for(platform: str, where: str, taken: Mapping[str, str | None]) -> str:
    """A readable id for a source: the platform and the last part of the place; the same place keeps its id.

    taken: id -> where of the author's other sources, removed ones included; None is a place that is not known.
    """
    for source_id, place in taken.items():
        if place == where and source_id.startswith(f"{platform}-"):
            return source_id
    parts = urlsplit(where.removeprefix(f"{platform}:"))
    if parts.scheme in ("http", "https"):
        # What tells two sources of a platform apart is the name on it; of the web at large it is the host.
        name = parts.hostname or ""
        name = name if platform in GENERAL else f"{name}{parts.path}".removeprefix("www.")
    else:
        name = where.rstrip("/").rsplit("/", 1)[-1]
    words = [word for word in re.findall(r"[a-z0-9]+", name.lower()) if platform in GENERAL or word not in COMMON]
    slug = "-".join(word for word in words if word != platform)[:40].strip("-") or "source"
    wanted, number = f"{platform}-{slug}", 2
    while wanted in taken:
        wanted, number = f"{platform}-{slug}-{number}", number + 1
    return wanted


@dataclass
class CrawlReport:
    """What one crawl of one source did."""

    source_id: str
    platform: str
    where: str
    started_at: datetime = field(default_factory=utcnow)
    finished_at: datetime | None = None
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    complete: bool = False
    requests: int = 0
    bytes_read: int = 0
    error: str | None = None
    archived_at: datetime | None = None
    """When the export that was read had been made; None for a live source."""

    @property
    def writes(self) -> int:
        """Documents written or buried."""
        return self.new + self.changed + self.gone


def crawl(
    author: str,
    source: Source,
    crawler: Crawler,
    warehouse: Warehouse,
    http: WebClient,
    progress: Callable[[str], None] = lambda _: None,
) -> CrawlReport:
    """Crawl a source. A BadSource ends it and stands in the report's `error`; nothing is buried then.

    Until the crawl ends, the warehouse holds its report so far, without `finished_at`.
    """
    report = CrawlReport(source.id, source.platform, source.where)

    def keep_report() -> None:
        warehouse.save_crawl(author, source.id, vars(report))

    warehouse.crawl_begins(author, source.id)
    keep_report()
    before = http.requests
    try:
        path = Path(source.where).expanduser()
        if isinstance(crawler, ArchiveCrawler) and not crawler.accepts(source.where):
            if source.where != INBOX:
                with open_archive(path) as archive:
                    read_archive(author, source, crawler, archive, warehouse, report, progress)
        else:
            consumer = _Consumer(author, source, warehouse, report, progress)
            events = crawler.collect(source, warehouse.crawl_state(author, source.id), http)
            consumer.consume(_noting(events, keep_report))
    except BadInput as error:  # a source that cannot be read, or a token that is not set
        report.error = str(error)
    report.requests = http.requests - before
    report.finished_at = utcnow()
    keep_report()
    return report


def _noting(events: Iterator[Event], keep_report: Callable[[], None]) -> Iterator[Event]:
    """The same events; what came of them is kept about every NOTE_S."""
    noted_at = time.monotonic()
    for event in events:
        yield event
        if time.monotonic() - noted_at >= NOTE_S:
            keep_report()
            noted_at = time.monotonic()


def read_archive(
    author: str,
    source: Source,
    crawler: ArchiveCrawler,
    archive: Archive,
    warehouse: Warehouse,
    report: CrawlReport,
    progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Take an export's items into a source. Raises BadSource when it cannot be read as a whole."""
    report.archived_at = archive.made_at
    consumer = _Consumer(author, source, warehouse, report, progress)
    for refused in archive.refused:
        consumer.take(Failed(refused.name, refused.reason))
    consumer.consume(crawler.import_archive(source, archive))
    warehouse.save_import(author, source.id, archive.made_at, {**vars(report), "file": archive.path.name})


class _Consumer:
    """The loop's memory: what is stored, what was named, what waits to be written."""

    def __init__(
        self,
        author: str,
        source: Source,
        warehouse: Warehouse,
        report: CrawlReport,
        progress: Callable[[str], None],
    ) -> None:
        self._author, self._source, self._warehouse = author, source, warehouse
        self._report, self._progress = report, progress
        self._known: dict[str, KnownDocument] = warehouse.known_documents(author, source.id)
        self._named: set[str] = set()
        self._found_ids: set[str] = set()
        self._gone: set[str] = set()
        self._waiting: list[RawDocument] = []

    def consume(self, events: Iterator[Event]) -> None:
        """All of a crawl's events. What came before a BadSource is kept, and then nothing is buried."""
        try:
            for event in events:
                self.take(event)
        except BadInput:
            self._report.complete = False
            self.finish()
            raise
        self.finish()

    def take(self, event: Event) -> None:
        """One event of the crawler."""
        match event:
            case Found(item):
                self._found(item)
            case Unchanged(external_ids):
                self._named.update(map(self._id, external_ids))
                self._report.unchanged += len(external_ids)
            case Gone(external_id):
                self._gone.add(self._id(external_id))
            case Failed(item, reason):
                self._named.add(self._id(item))
                self._report.failed.append({"item": _writable(item), "reason": _writable(reason)})
            case LeftOut(item, reason):
                self._report.left_out.append({"item": _writable(item), "reason": _writable(reason)})
            case Checkpoint(state):
                self._flush()
                # The crawl goes on from this state and will not say again what it called deleted.
                self._bury()
                if self._report.archived_at is None:
                    self._warehouse.save_crawl_state(self._author, self._source.id, state)
            case ListingComplete():
                self._report.complete = True

    def finish(self) -> None:
        """Write what waits and bury what is gone: only after a complete listing, only within this source."""
        self._flush()
        if self._report.complete:
            self._gone |= {name for name in self._known.keys() - self._named if self._was_there(self._known[name])}
        self._bury()

    def _bury(self) -> None:
        if self._gone:
            at = self._report.archived_at or utcnow()
            self._report.gone += self._warehouse.bury(sorted(self._gone), at)
            for name in self._gone & self._known.keys():
                self._known[name] = self._known[name].model_copy(update={"deleted_at": at})
            self._gone.clear()

    def _was_there(self, known: KnownDocument) -> bool:
        """Whether the listing that lacks a document would hold it, had it not been deleted.

        A live listing says nothing of what only an export brought, such as a draft, nor an export of what came later.
        """
        archived_at = self._report.archived_at
        if archived_at is None:
            return known.archived_at is None
        return (known.archived_at or known.fetched_at) < archived_at

    def _is_older(self, item: Item, known: KnownDocument) -> bool:
        """Whether an archive's item says less than what is stored: a live source wins, else the later date."""
        archived_at = self._report.archived_at
        if archived_at is None:
            return False
        if known.deleted_at is not None:
            return archived_at <= known.deleted_at
        if known.archived_at is None:
            return True
        return (item.updated_at or archived_at) < (known.updated_at or known.archived_at)

    def _id(self, external_id: str) -> str:
        return f"{self._author}:{self._source.id}:{external_id}"

    def _found(self, item: Item) -> None:
        archived_at = self._report.archived_at
        document = RawDocument(
            author=self._author,
            source_id=self._source.id,
            platform=self._source.platform,
            archived_at=archived_at,
            **vars(item),
        )
        if document.id in self._found_ids:
            return
        self._found_ids.add(document.id)
        self._named.add(document.id)
        self._gone.discard(document.id)
        if not is_storable(item):
            reason = "has a name or text that is no Unicode (half a character): rename it, or save it as UTF-8"
            self._report.failed.append({"item": _writable(item.external_id), "reason": reason})
            return
        self._report.bytes_read += len(item.content.encode())
        known = self._known.get(document.id)
        if known is not None and self._is_older(item, known):
            self._report.unchanged += 1
            return
        if known is not None and known.deleted_at is None and known.content_hash == document.content_hash:
            self._report.unchanged += 1
            if known.archived_at and not archived_at:
                self._waiting.append(document)  # from now on the live source stands behind it
            return
        if known is None:
            self._report.new += 1
        else:
            self._report.changed += 1
        self._waiting.append(document)
        if len(self._waiting) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._warehouse.upsert_documents(self._waiting)
            self._waiting = []
            done = self._report
            self._progress(f"{self._source.id}: {done.new} new, {done.changed} changed, {done.unchanged} unchanged …")


def is_storable(item: Item) -> bool:
    """Whether an item's name and text are Unicode: half a character can be read, and not be written."""
    text = f"{item.external_id}{item.title}{item.url}{item.content}"
    return text == _writable(text)


def _writable(text: str) -> str:
    """`text` with lone surrogates, which no store can keep, spelled out: file names and feeds may hold them."""
    return text.encode("utf-8", "backslashreplace").decode()
