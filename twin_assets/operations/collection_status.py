"""What the app asks of the collection pipeline, and what it is told; handed in, as `promote` is.

Serving knows neither crawlers nor Dagster: `twin_assets/operations/collector.py` does.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from twin_assets.documents import Source, Use

Phase = Literal["never", "waiting", "collecting", "broken off", "failed", "done"]

BY_HAND = ""
WHEN = [
    ("by hand", BY_HAND),
    ("every hour", "0 * * * *"),
    ("every day at six (UTC)", "0 6 * * *"),
    ("every Monday at six (UTC)", "0 6 * * 1"),
]


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


@dataclass(frozen=True)
class Place:
    """A source as a person enters it. token_env: NAME of the environment variable that holds the token."""

    where: str
    platform: str | None = None
    cron: str | None = None
    token_env: str | None = None


@dataclass(frozen=True)
class LeftOut:
    """What a document is left out of. daemon_runs: whether the features run that a change takes starts by itself."""

    uses: Sequence[Use]
    changed: bool
    daemon_runs: bool


class Collecting(Protocol):
    """What the tabs ask of the collection pipeline. Each raises TwinError with what to do instead."""

    def platforms(self, *, of_this_machine: bool) -> Mapping[str, str]:
        """Each platform and, in words, what it reads. of_this_machine: folders and archives of this machine too."""

    def add_author(self, author: str, name: str, consent: str) -> None:
        """Add a profile. consent: who states that the writing is the author's; stored with the time."""

    def add_source(self, author: str, place: Place, *, of_this_machine: bool) -> Source:
        """Add a source. of_this_machine: folders and archives of this machine may be named."""

    def remove_source(self, author: str, source_id: str) -> None:
        """Take a source out of a profile; its documents stay."""

    def receive(self, author: str, file: Path, *, own_files: bool) -> str:
        """Take an uploaded zip over: an export into the inbox, own files as a source; what became of it, in words."""

    def ask(self, author: str, source_ids: Sequence[str]) -> None:
        """Ask the crawl sensor for these sources now."""

    def leave_out(self, author: str, document_id: str, uses: Collection[Use]) -> LeftOut:
        """Leave a document out of these uses and no others, and ask for the features run that a change takes."""

    def overview(self, author: str) -> Overview:
        """How the author's sources stand."""
