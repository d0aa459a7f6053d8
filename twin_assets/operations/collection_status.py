"""The status of an author's sources, as `Collector.overview` finds it and the app shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from twin_assets.documents import Source

Phase = Literal["never", "waiting", "collecting", "broken off", "failed", "done"]


@dataclass(frozen=True)
class CollectionResult:
    """The result, so far, of one crawl of a source or of the import of one export.

    at: when it ended, or, if it has not ended, when it began. failed, skipped: rows of `item` and `reason`; so are
    notes, on items that were collected without something that they give, such as an impossible date.
    """

    at: datetime
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    failed: Sequence[Mapping[str, str]] = ()
    skipped: Sequence[Mapping[str, str]] = ()
    notes: Sequence[Mapping[str, str]] = ()
    error: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class SourceStatus:
    """A source and the status of its collection. notice: how old its last export is, and how to ask for a new one."""

    source: Source
    phase: Phase = "never"
    place: str = ""
    crawl: CollectionResult | None = None
    export: CollectionResult | None = None
    asked_at: datetime | None = None
    notice: str | None = None


@dataclass(frozen=True)
class Overview:
    """All of an author's sources. inbox: the names of waiting files. refused: names and reasons, newest first."""

    sources: Sequence[SourceStatus]
    inbox: Sequence[str]
    refused: Sequence[tuple[str, str]]
    inbox_folder: Path
    daemon_runs: bool

    @property
    def under_way(self) -> bool:
        """True if the overview will soon change."""
        return bool(self.inbox) or any(one.phase in ("waiting", "collecting") for one in self.sources)
