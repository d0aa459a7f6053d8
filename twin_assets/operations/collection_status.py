"""How the collection of an author's sources stands, as `Collector.overview` finds it and the app shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from twin_assets.documents import Source

Phase = Literal["never", "waiting", "collecting", "broken off", "failed", "done"]


@dataclass(frozen=True)
class Reading:
    """What one crawl of a source, or one export that was read into it, has done so far.

    at: when it ended, or began if it has not ended. failed, left_out: `item, reason` each.
    """

    at: datetime
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    failed: Sequence[Mapping[str, str]] = ()
    left_out: Sequence[Mapping[str, str]] = ()
    error: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class Standing:
    """A source and how its collection stands. notice: how old its last export is, and how to ask for a new one."""

    source: Source
    phase: Phase = "never"
    place: str = ""
    crawl: Reading | None = None
    export: Reading | None = None
    asked_at: datetime | None = None
    notice: str | None = None


@dataclass(frozen=True)
class Overview:
    """All of an author's sources. inbox: names of what waits there; refused: name and reason, newest first."""

    sources: Sequence[Standing]
    inbox: Sequence[str]
    refused: Sequence[tuple[str, str]]
    inbox_folder: Path
    daemon_runs: bool

    @property
    def under_way(self) -> bool:
        """Whether more is to be seen soon."""
        return bool(self.inbox) or any(one.phase in ("waiting", "collecting") for one in self.sources)
