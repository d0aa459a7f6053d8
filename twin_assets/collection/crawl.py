"""The loop that writes what a crawler yields into the warehouse.

It writes documents, saves the crawler's state at each checkpoint after the documents before it, counts, and is the only
place that decides which documents are gone.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from twin_assets.collection.events import (
    Checkpoint,
    Event,
    Failed,
    Found,
    Gone,
    Item,
    ListingComplete,
    Skipped,
    Unchanged,
)
from twin_assets.collection.locations import INBOX
from twin_assets.collection.registry import ArchiveCrawler, Crawler
from twin_assets.content.archives import Archive, open_archive
from twin_assets.content.web import WebClient
from twin_assets.documents import RawDocument, Source, utcnow
from twin_assets.errors import BadInput
from twin_assets.orchestration.progress import Tell, silent
from twin_assets.stores.warehouse import KnownDocument, Warehouse

BATCH = 100
"""Documents are written in batches of this size; a killed crawl loses at most one batch."""
NOTE_S = 1.0
"""A running crawl saves its report this often, in seconds, for whoever watches it."""


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
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    """What of a document that was collected could not be taken."""
    complete: bool = False
    requests: int = 0
    bytes_read: int = 0
    error: str | None = None
    archived_at: datetime | None = None
    """When the export was made; None for a live source."""

    @property
    def writes(self) -> int:
        """How many documents were written or marked as gone."""
        return self.new + self.changed + self.gone

    def row(self) -> dict[str, Any]:
        """The report as the warehouse stores it, where what was skipped is called `left_out`."""
        row = dict(vars(self))
        row["left_out"] = row.pop("skipped")
        return row


def crawl(
    author: str,
    source: Source,
    crawler: Crawler,
    warehouse: Warehouse,
    http: WebClient,
    tell: Tell = silent,
) -> CrawlReport:
    """Crawl a source. A BadSource ends the crawl and becomes the report's `error`; then nothing is marked as gone.

    While the crawl runs, the warehouse holds its report so far, without `finished_at`.
    """
    report = CrawlReport(source.id, source.platform, source.where)

    def keep_report() -> None:
        warehouse.crawls.save(author, source.id, report.row())

    warehouse.crawl_requests.remove(author, source.id)
    keep_report()
    before = http.requests
    try:
        path = Path(source.where).expanduser()
        if isinstance(crawler, ArchiveCrawler) and not crawler.accepts(source.where):
            if source.where != INBOX:
                with open_archive(path) as archive:
                    read_archive(author, source, crawler, archive, warehouse, report, tell)
        else:
            consumer = _Consumer(author, source, warehouse, report, tell)
            events = crawler.collect(source, warehouse.crawl_states.load(author, source.id), http)
            consumer.consume(_noting(events, keep_report))
    except BadInput as error:  # a source that cannot be read, or a token that is not set
        report.error = str(error)
    report.requests = http.requests - before
    report.finished_at = utcnow()
    keep_report()
    return report


def _noting(events: Iterator[Event], keep_report: Callable[[], None]) -> Iterator[Event]:
    """The same events; the report is saved about every NOTE_S seconds."""
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
    tell: Tell = silent,
) -> None:
    """Import an export's items into a source. Raises BadSource when the export as a whole cannot be read."""
    report.archived_at = archive.made_at
    consumer = _Consumer(author, source, warehouse, report, tell)
    for refused in archive.refused:
        consumer.take(Failed(refused.name, refused.reason))
    consumer.consume(crawler.import_archive(source, archive))
    warehouse.imports.save(author, source.id, archive.made_at, {**report.row(), "file": archive.path.name})


class _Consumer:
    """The loop's state: what is stored, what the crawl has listed, what is still to be written."""

    def __init__(
        self,
        author: str,
        source: Source,
        warehouse: Warehouse,
        report: CrawlReport,
        tell: Tell,
    ) -> None:
        self._author, self._source, self._warehouse = author, source, warehouse
        self._report, self._tell = report, tell
        self._known: dict[str, KnownDocument] = warehouse.documents.known(author, source.id)
        self._listed: set[str] = set()
        self._found_ids: set[str] = set()
        self._gone: set[str] = set()
        self._waiting: list[RawDocument] = []

    def consume(self, events: Iterator[Event]) -> None:
        """Process all of a crawl's events. What came before a BadSource is kept, but then nothing is marked as gone."""
        try:
            for event in events:
                self.take(event)
        except BadInput:
            self._report.complete = False
            self.finish()
            raise
        self.finish()

    def take(self, event: Event) -> None:
        """Process one event of the crawler."""
        match event:
            case Found(item):
                self._found(item)
            case Unchanged(external_ids):
                self._listed.update(map(self._id, external_ids))
                self._report.unchanged += len(external_ids)
            case Gone(external_id):
                self._gone.add(self._id(external_id))
            case Failed(item, reason):
                self._listed.add(self._id(item))
                self._report.failed.append({"item": _writable(item), "reason": _writable(reason)})
            case Skipped(item, reason):
                self._report.skipped.append({"item": _writable(item), "reason": _writable(reason)})
            case Checkpoint(state):
                self._flush()
                # The next crawl continues from this state and will not report these deletions again.
                self._mark_gone()
                if self._report.archived_at is None:
                    self._warehouse.crawl_states.save(self._author, self._source.id, state)
            case ListingComplete():
                self._report.complete = True

    def finish(self) -> None:
        """Write the last batch and mark what is gone: only after a complete listing, and only within this source."""
        self._flush()
        if self._report.complete:
            self._gone |= {
                name for name in self._known.keys() - self._listed if self._would_be_listed(self._known[name])
            }
        self._mark_gone()

    def _mark_gone(self) -> None:
        if self._gone:
            at = self._report.archived_at or utcnow()
            self._report.gone += self._warehouse.documents.mark_deleted(sorted(self._gone), at)
            for name in self._gone & self._known.keys():
                self._known[name] = self._known[name].model_copy(update={"deleted_at": at})
            self._gone.clear()

    def _would_be_listed(self, known: KnownDocument) -> bool:
        """True if the listing would contain the document, had it not been deleted.

        A live listing says nothing about what only an export brought, such as a draft, and an export says nothing about
        what came after it.
        """
        archived_at = self._report.archived_at
        if archived_at is None:
            return known.archived_at is None
        return (known.archived_at or known.fetched_at) < archived_at

    def _is_older(self, item: Item, known: KnownDocument) -> bool:
        """True if an archive's item is older than what is stored: a live source wins, otherwise the later date does."""
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
            **{name: value for name, value in vars(item).items() if name != "notes"},
        )
        if document.id in self._found_ids:
            reason = "has the same name as another item of this crawl, which was taken instead"
            self._report.skipped.append({"item": _writable(item.external_id), "reason": reason})
            return
        self._found_ids.add(document.id)
        self._listed.add(document.id)
        self._gone.discard(document.id)
        if not is_storable(item):
            reason = "has a name or text that is no Unicode (half a character): rename it, or save it as UTF-8"
            self._report.failed.append({"item": _writable(item.external_id), "reason": reason})
            return
        self._report.bytes_read += len(item.content.encode())
        about = _writable(item.external_id)
        self._report.notes += [{"item": about, "reason": _writable(note)} for note in item.notes]
        known = self._known.get(document.id)
        if known is not None and self._is_older(item, known):
            self._report.unchanged += 1
            return
        if known is not None and known.deleted_at is None and known.content_hash == document.content_hash:
            self._report.unchanged += 1
            if known.archived_at and not archived_at:
                self._waiting.append(document)  # from now on the live source lists it
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
            self._warehouse.documents.upsert(self._waiting)
            self._waiting = []
            done = self._report
            self._tell(f"{self._source.id}: {done.new} new, {done.changed} changed, {done.unchanged} unchanged …")


def is_storable(item: Item) -> bool:
    """True if an item's name and text can be stored: a lone surrogate can be read, but not written."""
    text = f"{item.external_id}{item.title}{item.url}{item.content}"
    return text == _writable(text)


def _writable(text: str) -> str:
    """The text with lone surrogates escaped: file names and feeds may contain them, but no store can keep them."""
    return text.encode("utf-8", "backslashreplace").decode()
