"""What the app's buttons do, as plain functions from what a person entered to what they see; no layout.

Every function asks `access` again: what a browser sends may be anything. An error becomes words in the status line.
"""

import getpass
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from twin_assets.documents import Category
from twin_assets.errors import BadInput, TwinError
from twin_assets.language.generation import Sampling
from twin_assets.operations import approval
from twin_assets.serving.access import OPERATOR, Access, Caller
from twin_assets.serving.app import fragments
from twin_assets.serving.drafting import AS_LONG_AS_TRAINED, Ask, Basis, Draft, Drafter, Piece, Status
from twin_assets.serving.model_choice import UNTRAINED
from twin_assets.stores import Stores

log = logging.getLogger(__name__)

Promote = Callable[[str, str, str, str], None]
"""promote(author, version, who, reason): executes `production_model`, the only place that moves the alias."""

PRODUCTION = ""
"""The value of the choice that follows production."""

REFRESH_S = 0.1

Choices = list[tuple[str, str]]
Stored = tuple[str, str] | None
"""(author, interaction id) of the draft on the desk."""


@dataclass(frozen=True)
class Sheet:
    """What the page shows of one draft. stored: set once it is finished and may be rated."""

    status: str
    warnings: str = ""
    text: str = ""
    sources: str = fragments.NO_SOURCES
    stored: Stored = None


@dataclass(frozen=True)
class Done:
    """What became of something a person asked for. said: a status line."""

    said: str
    worked: bool


@dataclass(frozen=True)
class Wish:
    """What a person entered."""

    author: str | None
    version: str | None
    format: str | None
    prompt: str | None
    links: str | None = None
    temperature: float = Sampling().temperature
    seed: float | None = None

    def ask(self) -> Ask:
        """As drafting knows it. Raises BadInput."""
        if not self.author:
            raise BadInput("choose an author first")
        seed = int(self.seed) if self.seed is not None else None
        return Ask(
            author=self.author,
            prompt=self.prompt or "",
            version=self.version or None,
            category=Category(self.format) if self.format in set(Category) else None,
            links=tuple((self.links or "").split()),
            sampling=replace(AS_LONG_AS_TRAINED, temperature=float(self.temperature), seed=seed),
        )


class Desk:
    """The app's actions for one server."""

    def __init__(self, stores: Stores, drafter: Drafter, access: Access, promote: Promote) -> None:
        self._stores = stores
        self._drafter = drafter
        self._access = access
        self._promote = promote

    def caller(self, username: str | None) -> Caller:
        """Who sits at the page: whoever logged in, or the operator where no login is asked for."""
        return OPERATOR if self._access.local else Caller(username or "")

    def authors(self, who: Caller) -> Choices:
        """Whom the page may draft for."""
        return [(f"{profile.name} ({profile.id})", profile.id) for profile in self._access.profiles(who)]

    def versions(self, who: Caller, author: str | None) -> Choices:
        """What may draft, production first."""
        if not author:
            return [("production", PRODUCTION)]
        self._access.profile(who, author)
        production = self._stores.models.production(author)
        first = f"production: {production.version}" if production else "production: nothing yet, the untrained base"
        versions = reversed(self._stores.models.versions(author))
        rest = [(f"{manifest.version} ({manifest.stage})", manifest.version) for manifest in versions]
        return [(first, PRODUCTION), *rest, ("the untrained base", UNTRAINED)]

    def candidates(self, who: Caller, author: str | None) -> list[str]:
        """Versions that can be approved or rejected, newest first."""
        if not author:
            return []
        self._access.profile(who, author)
        return [manifest.version for manifest in reversed(self._stores.models.versions(author))]

    def models(self, who: Caller, author: str | None) -> str:
        """The table of versions."""
        if not author:
            return ""
        self._access.profile(who, author)
        return fragments.models(self._stores.models.versions(author))

    def draft(self, who: Caller, wish: Wish) -> Iterator[Sheet]:
        """The sheet as it fills; closing the iterator ends the work."""
        sheet = Sheet(fragments.status("starting …", "busy"))
        yield sheet
        started = shown = time.monotonic()
        try:
            ask = wish.ask()
            self._access.profile(who, ask.author)
            with closing(self._drafter.stream(ask)) as events:
                for event in events:
                    if isinstance(event, Status):
                        sheet = replace(sheet, status=fragments.status(f"{event.text} …", "busy"))
                    elif isinstance(event, Basis):
                        sheet = replace(
                            sheet,
                            status=fragments.status("reading what to draw on …", "busy"),
                            warnings=fragments.warnings(event.warnings),
                            sources=fragments.sources(event.sources),
                        )
                    elif isinstance(event, Piece):
                        writing = fragments.status("writing …", "busy")
                        sheet = replace(sheet, status=writing, text=sheet.text + event.text)
                        if time.monotonic() - shown < REFRESH_S:
                            continue
                    else:
                        sheet = _finished(event, time.monotonic() - started)
                    shown = time.monotonic()
                    yield sheet
        except Exception as error:
            yield replace(sheet, status=fragments.status(in_words(error), "failed"))

    def rate(self, who: Caller, stored: Stored, rating: Literal["good", "bad"]) -> str:
        """Keep a rating; the status line."""
        return self._kept(who, stored, lambda author, key: self._drafter.rate(author, key, rating), f"rated {rating}")

    def save_edit(self, who: Caller, stored: Stored, text: str, consented: bool) -> str:
        """Keep the author's own version; the status line."""
        said = "your edit is saved; " + (
            "later versions may learn from it" if consented else "nothing will be learned from it, as you did not agree"
        )
        return self._kept(who, stored, lambda author, key: self._drafter.edit(author, key, text, consented), said)

    def approve(self, who: Caller, author: str | None, version: str | None, reason: str) -> Iterator[str]:
        """Put a version into production; status lines."""
        yield from self._decide(who, author, version, reason, "promoting", "is in production", self._promote)

    def reject(self, who: Caller, author: str | None, version: str | None, reason: str) -> Iterator[str]:
        """Mark a version so that it is never promoted; status lines."""
        reject = partial(approval.reject, self._stores)
        yield from self._decide(who, author, version, reason, "rejecting", "is rejected", reject)

    def _decide(
        self, who: Caller, author: str | None, version: str | None, reason: str, doing: str, done: str, act: Promote
    ) -> Iterator[str]:
        try:
            if not author or not version:
                raise BadInput("choose a version first")
            if not reason.strip():
                raise BadInput("say why: the reason is kept with the version")
            self._access.profile(who, author)
            yield fragments.status(f"{doing} {author}@{version} … (some seconds)", "busy")
            act(author, version, who.author or getpass.getuser(), reason.strip())
            yield fragments.status(f"{author}@{version} {done}", "done")
        except Exception as error:
            yield fragments.status(in_words(error), "failed")

    def _kept(self, who: Caller, stored: Stored, keep: Callable[[str, str], None], said: str) -> str:
        try:
            if stored is None:
                raise BadInput("there is no finished draft yet")
            author, interaction_id = stored
            self._access.profile(who, author)
            keep(author, interaction_id)
        except Exception as error:
            return fragments.status(in_words(error), "failed")
        return fragments.status(said, "done")


def _finished(draft: Draft, seconds: float) -> Sheet:
    words = len(draft.text.split())
    cut = ", cut off at the longest this model writes" if draft.finish_reason == "length" else ""
    return Sheet(
        status=fragments.status(f"{words} words by {draft.model_version} in {seconds:.0f} s{cut}", "done"),
        warnings=fragments.warnings(draft.warnings),
        text=draft.text,
        sources=fragments.sources(draft.sources, draft.copied_text),
        stored=(draft.author, draft.id),
    )


def done(act: Callable[[], str]) -> Done:
    """What became of `act`, which says so itself when it works."""
    try:
        return Done(fragments.status(act(), "done"), worked=True)
    except Exception as error:
        return Done(fragments.status(in_words(error), "failed"), worked=False)


def in_words(error: Exception) -> str:
    """An error as a person may see it: ours in its own words, any other in the log."""
    if isinstance(error, TwinError):
        return str(error)
    log.error("the app failed", exc_info=error)
    return "something failed that should not have; the server's log says what"


def first(choices: Sequence[tuple[str, str]]) -> str | None:
    """The value that a list of choices begins with."""
    return choices[0][1] if choices else None
