"""Export archives that somebody dropped into `data/inbox/<author>/`: recognised by their contents, imported, moved.

An archive leaves the inbox only after its documents are in the warehouse: if the import is killed, it is simply
repeated. Nothing is deleted: an imported archive moves to `imported/`, any other file to `refused/`, beside the reason.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from twin_assets.collection.crawl import CrawlReport, read_archive
from twin_assets.collection.locations import INBOX
from twin_assets.collection.registry import ArchiveCrawler, archive_platform, crawlers
from twin_assets.content.archives import is_archive, open_archive
from twin_assets.documents import AuthorProfile, Source, utcnow
from twin_assets.errors import BadSource
from twin_assets.orchestration.progress import Tell, silent
from twin_assets.stores import Stores

IMPORTED, REFUSED = "imported", "refused"
SETTLED_S = 5.0
"""A file that changed less than this ago may still be on its way into the folder."""
COMPLETE_S = 60.0
"""A zip that cannot be read stays in the inbox this long, in case a slow copy has not finished."""
REMIND_AFTER = timedelta(days=30)
"""A person is reminded to ask for a new export when the last one is older than this."""


def inbox_of(stores: Stores, author: str) -> Path:
    """The author's inbox folder, which may not exist yet."""
    return stores.settings.data_dir / "inbox" / author


def waiting_files(stores: Stores, author: str) -> list[Path]:
    """The files in the inbox, including those still being copied into it."""
    folder = inbox_of(stores, author)
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name not in (IMPORTED, REFUSED) and not path.name.startswith(".")]


def ready_exports(stores: Stores, author: str) -> list[Path]:
    """The files in the inbox that have stopped changing, in the order of their import: the oldest export first."""
    changed = [(path.stat().st_mtime, path) for path in waiting_files(stores, author) if path.exists()]
    settled = [path for changed_at, path in sorted(changed) if time.time() - changed_at >= SETTLED_S]
    return sorted(settled, key=_made_at)


def arrived_at(path: Path) -> datetime:
    """When a file arrived in the inbox."""
    status = path.stat()
    # A move keeps the modification time, such as that of the export's download, but not the status change time.
    return datetime.fromtimestamp(max(status.st_mtime, status.st_ctime), UTC)


def platform_of(path: Path) -> str:
    """The platform whose export this is. Raises BadSource for anything else."""
    if not is_archive(path):
        raise BadSource(f"{path.name} is not a zip archive: drop the export as the platform sent it")
    with open_archive(path) as archive:
        platform = archive_platform(archive)
        names = archive.names
    if platform is None:
        known = ", ".join(name for name, crawler in crawlers().items() if isinstance(crawler, ArchiveCrawler))
        raise BadSource(
            f"{path.name} is not a known export (it contains {', '.join(names[:5]) or 'nothing'} …): drop one of "
            f"{known}; for a folder or zip of your own files use `twin source add ID files {path.name}`"
        )
    return platform


def set_aside(path: Path, folder: str, why: str | None = None) -> Path:
    """Move a file of the inbox into `imported/` or `refused/` under a free name, and write `why` beside it."""
    target = path.parent / folder / path.name
    number = 1
    while target.exists():
        number += 1
        target = path.parent / folder / f"{path.stem}-{number}{path.suffix}"
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    if why:
        target.with_name(f"{target.name}.why.txt").write_text(f"{why}\n", encoding="utf-8")
    return target


def import_waiting(stores: Stores, author: str, platform: str, tell: Tell = silent) -> Iterator[CrawlReport]:
    """Import every waiting export of one platform into the author's source there, oldest first."""
    crawler = crawlers()[platform]
    if not isinstance(crawler, ArchiveCrawler):
        return
    for path in ready_exports(stores, author):
        try:
            if platform_of(path) != platform:
                continue
        except BadSource as error:
            tell(str(error))
            continue
        source = _source(stores, author, platform)
        report = CrawlReport(source.id, platform, source.where)
        try:
            with open_archive(path) as archive:
                read_archive(author, source, crawler, archive, stores.warehouse, report, tell)
        except BadSource as error:
            report.error = str(error)
        report.finished_at = utcnow()
        set_aside(path, REFUSED if report.error else IMPORTED, report.error)
        yield report


def archive_notice(stores: Stores, author: str, source: Source) -> str | None:
    """How old a source's last export is and, when it is over 30 days old, how to ask for a new one.

    Returns None where everything can be read live.
    """
    crawler = crawlers().get(source.platform)
    if not isinstance(crawler, ArchiveCrawler) or not crawler.needs_archives(source):
        return None
    last = stores.warehouse.last_archive(author, source.id)
    if last is None:
        return f"no export of {source.platform} has been read yet. {crawler.archive_steps}"
    age = datetime.now(UTC) - last
    text = f"the last export of {source.platform} is {age.days} days old ({last:%Y-%m-%d})"
    return f"{text}: time for a new one. {crawler.archive_steps}" if age > REMIND_AFTER else text


def _source(stores: Stores, author: str, platform: str) -> Source:
    """The author's only source on the platform; with none, or several, a source for the inbox, added if needed."""
    inbox_source = Source(id=f"{platform}-{INBOX}", platform=platform, where=INBOX)

    def add(profile: AuthorProfile) -> None:
        if _source_for_exports(profile, platform) is None:
            profile.sources = [*profile.sources, inbox_source]

    return _source_for_exports(stores.warehouse.change_profile(author, add), platform) or inbox_source


def _source_for_exports(profile: AuthorProfile, platform: str) -> Source | None:
    there = [source for source in profile.sources if source.platform == platform]
    return there[0] if len(there) == 1 else next((source for source in there if source.where == INBOX), None)


def _made_at(path: Path) -> datetime:
    try:
        with open_archive(path) as archive:
            return archive.made_at
    except BadSource:
        return datetime.max.replace(tzinfo=UTC)
