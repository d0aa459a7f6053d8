"""Collection as the app sees it: profiles, sources, crawl requests, the sources' status, exclusion of documents.

The app does not start a crawl itself. It leaves a request in the warehouse for the crawl sensor of the running daemon;
so a crawl goes on when the app ends, and two requests for one source become one crawl.
"""

import re
import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg

from twin_assets.collection import inbox
from twin_assets.collection.locations import INBOX, is_local_path, platform_for
from twin_assets.collection.registry import ArchiveCrawler, archive_platform, crawlers
from twin_assets.collection.sensors import crawl_under_way
from twin_assets.content.archives import is_archive, open_archive
from twin_assets.documents import AUTHOR_ID, DEFAULT_RECIPE, AuthorProfile, Consent, RecipeChoice, Source, Use, utcnow
from twin_assets.errors import BadInput, BadSource
from twin_assets.operations import erasure, runs, sources, usage
from twin_assets.operations.collection_status import CollectionResult, Overview, Phase, SourceStatus
from twin_assets.stores import Stores

REMOTE = re.compile(r"(\w+:)?https?://\S+|@?\w[\w@.:+-]*(/\w[\w@.:+-]*)?", re.IGNORECASE)
"""Matches a URL, also `medium:https://…`, and a handle such as `@ada@social.example` or `ada/notes`, but no path from a
root, home or parent folder."""
SHOWN_REFUSED = 5
FILES = "files"

Open = Callable[[], AbstractContextManager[dg.DagsterInstance]]


def add_author(stores: Stores, author: str, name: str, consent: Consent, recipe: str = DEFAULT_RECIPE) -> AuthorProfile:
    """Add a profile that subscribes to one recipe, by default the one that needs no download.

    Raises BadInput for an id that is invalid or taken, or whose erasure has not finished.
    """
    if not AUTHOR_ID.fullmatch(author):
        raise BadInput(f"author id {author!r}: use 1 to 63 of a-z, 0-9 and '-', not starting with '-'")
    if erasure.is_being_erased(stores, author):
        raise BadInput(f"the erasure of {author} has not finished: run `twin author erase {author}` first")
    profile = AuthorProfile(id=author, name=name, consent=consent, recipes=[RecipeChoice(name=recipe)])
    stores.warehouse.profiles.add(profile)
    return profile


@dataclass(frozen=True)
class NewSource:
    """A source as a person enters it. token_env: the NAME of the environment variable that holds the token."""

    where: str
    platform: str | None = None
    cron: str | None = None
    token_env: str | None = None


class Collector:
    """Collection in this project's stores and Dagster instance. Methods raise TwinError, which says what to do."""

    def __init__(self, stores: Stores, open_instance: Open = runs.dagster_instance) -> None:
        self._stores = stores
        self._open_instance = open_instance

    def platforms(self, *, of_this_machine: bool) -> Mapping[str, str]:
        """Each platform and what it reads, in words; `files` reads only what is on this machine."""
        known = crawlers().items()
        return {name: crawler.accepted for name, crawler in known if of_this_machine or name != FILES}

    def add_author(self, author: str, name: str, consent: Consent) -> None:
        """Add a profile and its partition. Raises BadInput."""
        add_author(self._stores, author, name, consent)
        with self._open_instance() as instance:
            runs.register(instance, self._stores)

    def add_source(self, author: str, new: NewSource, *, of_this_machine: bool) -> Source:
        """Add a source. Raises as `sources.add_source` does; BadSource also for a path, unless `of_this_machine`."""
        where = new.where.strip()
        if not where or not where.isprintable():
            raise BadSource("give a location: a URL, a handle, a folder or a zip")
        if not of_this_machine:
            _check_remote(where)
        platform = new.platform or platform_for(where)
        return sources.add_source(
            self._stores, author, platform, where, token_env=new.token_env or None, cron=new.cron or None
        )

    def remove_source(self, author: str, source_id: str) -> None:
        """Remove a source from a profile; its documents stay. Raises NotThere."""
        sources.remove_source(self._stores, author, source_id)

    def receive(self, author: str, file: Path, *, own_files: bool) -> str:
        """Receive a zip: an export goes to the inbox, own files become a source. Raises BadSource if it is neither."""
        try:
            if not file.is_file() or not is_archive(file):
                raise BadSource(f"{file.name} is not a zip archive: send the export as the platform sent it")
            return self._receive_files(author, file) if own_files else self._receive_export(author, file)
        except BadSource as error:
            raise BadSource(str(error).replace(str(file), file.name)) from error
        finally:
            file.unlink(missing_ok=True)

    def _receive_export(self, author: str, file: Path) -> str:
        with open_archive(file) as archive:
            platform = archive_platform(archive)
        if platform is None:
            known = ", ".join(name for name, crawler in crawlers().items() if isinstance(crawler, ArchiveCrawler))
            raise BadSource(
                f"{file.name} is not an export of {known or 'a known platform'}: send the zip as the platform sent it; "
                "if it contains your own markdown, HTML or code, say so and send it again"
            )
        self._keep(author, file, f"{utcnow():%Y%m%d-%H%M%S}-{_safe(file.name)}")
        return (
            f"{file.name} is an export of {platform}: it waits in the inbox, and a daemon will read it within a minute"
        )

    def _receive_files(self, author: str, file: Path) -> str:
        """Keep the zip under `imported/`, where the inbox ignores it; a later one of the same name replaces it."""
        with open_archive(file):
            kept = self._keep(author, file, f"{inbox.IMPORTED}/{_safe(file.name)}")
        source = sources.add_source(self._stores, author, FILES, str(kept))
        self.request_crawl(author, source.id)
        return f"{file.name} is now a source, and a crawl of it is requested"

    def _keep(self, author: str, file: Path, name: str) -> Path:
        """Move an upload into the author's inbox folder, where it appears under its name only when it is complete."""
        target = inbox.inbox_of(self._stores, author) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        arriving = target.with_name(f".{uuid4().hex}")
        shutil.move(file, arriving)
        return arriving.replace(target)

    def request_crawl(self, author: str, source_id: str | None = None) -> list[str]:
        """Ask the crawl sensor for one source, or for all of them; returns their ids. Raises NotThere."""
        return sources.request_crawl(self._stores, author, source_id)

    def exclude(self, author: str, document_id: str, uses: Collection[Use]) -> usage.Exclusion:
        """Exclude a document from exactly these uses. Raises NotThere."""
        with self._open_instance() as instance:
            changed = usage.exclude(instance, self._stores, author, document_id, uses)
            return usage.Exclusion(sorted(uses), changed, runs.daemon_runs(instance))

    def overview(self, author: str) -> Overview:
        """The status of the author's sources, what waits in the inbox, and whether a daemon is there to read it."""
        warehouse = self._stores.warehouse
        exports = {
            row["source_id"]: row
            for row in sorted(warehouse.imports.for_author(author), key=lambda row: row["imported_at"])
        }
        folder = inbox.inbox_of(self._stores, author)
        with self._open_instance() as instance:
            statuses = [
                self._status(instance, author, listed, exports.get(listed.source.id))
                for listed in sources.list_sources(self._stores, author)
            ]
            daemon_runs = runs.daemon_runs(instance)
        waiting = sorted(path.name for path in inbox.waiting_files(self._stores, author))
        return Overview(statuses, waiting, _refused(folder), folder, daemon_runs)

    def _status(
        self, instance: dg.DagsterInstance, author: str, listed: sources.ListedSource, export: dict[str, Any] | None
    ) -> SourceStatus:
        source, crawl, asked_at = listed.source, listed.last_crawl, listed.asked_at
        begun = crawl is not None and crawl.get("finished_at") is None
        running_now = begun and crawl_under_way(instance, author, source.platform)
        by_export_only = source.where == INBOX
        return SourceStatus(
            source=source,
            phase=_phase(export if by_export_only else crawl, running_now, asked_at),
            place=self._shown_location(author, source),
            crawl=_result(crawl) if crawl and not by_export_only else None,
            export=_result(export) if export else None,
            asked_at=asked_at,
            notice=inbox.archive_notice(self._stores, author, source),
        )

    def _shown_location(self, author: str, source: Source) -> str:
        """A source's location for display, without the server's own folders."""
        if source.where == INBOX:
            return "by exports only"
        path = Path(source.where)
        uploaded = path.parent == inbox.inbox_of(self._stores, author) / inbox.IMPORTED
        return f"{path.name}, uploaded" if uploaded else source.where


def _check_remote(where: str) -> None:
    """Raise BadSource for a path on this machine."""
    is_url = where.lower().startswith(("http://", "https://"))
    if not REMOTE.fullmatch(where) or (not is_url and is_local_path(where)):
        raise BadSource("give a URL or a handle; upload writing in a folder or an archive as a zip")


def _phase(last: dict[str, Any] | None, running_now: bool, asked_at: datetime | None) -> Phase:
    if running_now:
        return "collecting"
    if asked_at is not None:
        return "waiting"
    if last is None:
        return "never"
    if last.get("finished_at") is None and last.get("imported_at") is None:
        return "broken off"
    return "failed" if last.get("error") else "done"


def _result(row: dict[str, Any]) -> CollectionResult:
    counts = {name: row.get(name, 0) for name in ("new", "changed", "unchanged", "gone")}
    return CollectionResult(
        at=row.get("imported_at") or row.get("finished_at") or row["started_at"],
        failed=row.get("failed", ()),
        skipped=row.get("left_out", ()),
        notes=row.get("notes", ()),
        error=row.get("error"),
        file=row.get("file"),
        **counts,
    )


def _refused(folder: Path) -> list[tuple[str, str]]:
    """The files refused last, and why."""
    reasons = sorted((folder / inbox.REFUSED).glob("*.why.txt"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [
        (path.name.removesuffix(".why.txt"), path.read_text(encoding="utf-8").strip())
        for path in reasons[:SHOWN_REFUSED]
    ]


def _safe(name: str) -> str:
    """A safe file name: plain characters, without folders, and not hidden."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(name).stem).strip(".-")[:80]
    return f"{stem or 'upload'}.zip"
