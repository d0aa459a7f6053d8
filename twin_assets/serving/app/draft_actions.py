"""The actions of the Write and Models tabs: functions from what a person entered to what they see, without layout.

Every action checks access itself, since a browser may send anything. An error is shown in the status line.
"""

import getpass
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from twin_assets.documents import Category
from twin_assets.errors import BadInput
from twin_assets.language.generation import Sampling
from twin_assets.operations import approval
from twin_assets.serving.access import OPERATOR, Access, Caller
from twin_assets.serving.app import fragments
from twin_assets.serving.app.outcomes import error_text
from twin_assets.serving.drafting import AS_LONG_AS_TRAINED, Draft, Drafter, DraftSpec, Grounding, Piece, Status
from twin_assets.serving.model_choice import UNTRAINED
from twin_assets.stores import Stores

Promote = Callable[[str, str, str, str], None]
"""promote(author, version, who, reason) runs `production_model`, the only asset that changes what is in production."""

PRODUCTION = ""
"""The value of the choice that always means the version in production."""

REFRESH_S = 0.1
"""The shortest time between two updates of the text while a draft is being written, in seconds."""

Choices = list[tuple[str, str]]
StoredDraft = tuple[str, str] | None
"""(author, interaction id) of the finished draft that the page shows, if there is one."""


@dataclass(frozen=True)
class DraftView:
    """What the page shows of one draft. stored: set once the draft is finished and can be rated."""

    status: str
    warnings: str = ""
    text: str = ""
    sources: str = fragments.NO_SOURCES
    stored: StoredDraft = None


@dataclass(frozen=True)
class DraftForm:
    """What a person entered to have something drafted."""

    author: str | None
    version: str | None
    format: str | None
    prompt: str | None
    links: str | None = None
    temperature: float = Sampling().temperature
    seed: str | None = None

    def draft_spec(self) -> DraftSpec:
        """The same as a DraftSpec. Raises BadInput without an author, and if the seed is not a whole number."""
        if not self.author:
            raise BadInput("choose an author first")
        seed = _whole_number(self.seed) if self.seed and self.seed.strip() else None
        return DraftSpec(
            author=self.author,
            prompt=self.prompt or "",
            version=self.version or None,
            category=Category(self.format) if self.format in set(Category) else None,
            links=tuple((self.links or "").split()),
            sampling=replace(AS_LONG_AS_TRAINED, temperature=float(self.temperature), seed=seed),
        )


def _whole_number(entered: str) -> int:
    try:
        return int(entered)
    except ValueError as error:
        raise BadInput(f"the seed {entered!r} is not a whole number: correct it, or leave it empty") from error


class DraftActions:
    """The two tabs' actions, for one server."""

    def __init__(self, stores: Stores, drafter: Drafter, access: Access, promote: Promote) -> None:
        self._stores = stores
        self._drafter = drafter
        self._access = access
        self._promote = promote

    def caller(self, username: str | None) -> Caller:
        """Who is using the page: whoever logged in, or the operator if the server needs no login."""
        return OPERATOR if self._access.local else Caller(username or "")

    def authors(self, who: Caller) -> Choices:
        """The authors whom the caller may draft for."""
        return [(f"{profile.name} ({profile.id})", profile.id) for profile in self._access.profiles(who)]

    def versions(self, who: Caller, author: str | None) -> Choices:
        """What the author's drafts can be written with, production first."""
        if not author:
            return [("production", PRODUCTION)]
        self._access.profile(who, author)
        production = self._stores.models.production(author)
        first = f"production: {production.version}" if production else "production: nothing yet, the untrained base"
        versions = reversed(self._stores.models.versions(author))
        rest = [(f"{manifest.version} ({manifest.stage})", manifest.version) for manifest in versions]
        return [(first, PRODUCTION), *rest, ("the untrained base", UNTRAINED)]

    def candidates(self, who: Caller, author: str | None) -> list[str]:
        """The versions that can be approved or rejected, newest first."""
        if not author:
            return []
        self._access.profile(who, author)
        return [manifest.version for manifest in reversed(self._stores.models.versions(author))]

    def models(self, who: Caller, author: str | None) -> str:
        """The table of the author's versions, as HTML."""
        if not author:
            return ""
        self._access.profile(who, author)
        return fragments.models(self._stores.models.versions(author))

    def draft(self, who: Caller, form: DraftForm) -> Iterator[DraftView]:
        """The draft as it is written, one view after another; closing the iterator stops the work."""
        view = DraftView(fragments.status("starting …", "busy"))
        yield view
        started = shown = time.monotonic()
        try:
            spec = form.draft_spec()
            self._access.profile(who, spec.author)
            with closing(self._drafter.stream(spec)) as events:
                for event in events:
                    if isinstance(event, Status):
                        view = replace(view, status=fragments.status(f"{event.text} …", "busy"))
                    elif isinstance(event, Grounding):
                        view = replace(
                            view,
                            status=fragments.status("reading the sources …", "busy"),
                            warnings=fragments.warnings(event.warnings),
                            sources=fragments.sources(event.sources),
                        )
                    elif isinstance(event, Piece):
                        writing = fragments.status("writing …", "busy")
                        view = replace(view, status=writing, text=view.text + event.text)
                        if time.monotonic() - shown < REFRESH_S:
                            continue
                    else:
                        view = _finished(event, time.monotonic() - started)
                    shown = time.monotonic()
                    yield view
        except Exception as error:
            yield replace(view, status=fragments.status(error_text(error), "failed"))

    def rate(self, who: Caller, stored: StoredDraft, rating: Literal["good", "bad"]) -> str:
        """Store a rating; returns the status line."""
        return self._kept(who, stored, lambda author, key: self._drafter.rate(author, key, rating), f"rated {rating}")

    def save_edit(self, who: Caller, stored: StoredDraft, text: str, consented: bool) -> str:
        """Store the author's edit; returns the status line."""
        message = "your edit is saved; " + (
            "later versions may learn from it" if consented else "nothing will be learned from it, as you did not agree"
        )
        return self._kept(who, stored, lambda author, key: self._drafter.edit(author, key, text, consented), message)

    def approve(self, who: Caller, author: str | None, version: str | None, reason: str) -> Iterator[str]:
        """Put a version into production; yields status lines."""
        yield from self._decide(who, author, version, reason, "promoting", "is in production", self._promote)

    def reject(self, who: Caller, author: str | None, version: str | None, reason: str) -> Iterator[str]:
        """Mark a version so that it is never promoted; yields status lines."""
        reject = partial(approval.reject, self._stores)
        yield from self._decide(who, author, version, reason, "rejecting", "is rejected", reject)

    def _decide(
        self, who: Caller, author: str | None, version: str | None, reason: str, doing: str, done: str, act: Promote
    ) -> Iterator[str]:
        try:
            if not author or not version:
                raise BadInput("choose a version first")
            if not reason.strip():
                raise BadInput("give a reason: it is kept with the version")
            self._access.profile(who, author)
            yield fragments.status(f"{doing} {author}@{version} … (this takes some seconds)", "busy")
            act(author, version, who.author or getpass.getuser(), reason.strip())
            yield fragments.status(f"{author}@{version} {done}", "done")
        except Exception as error:
            yield fragments.status(error_text(error), "failed")

    def _kept(self, who: Caller, stored: StoredDraft, keep: Callable[[str, str], None], message: str) -> str:
        try:
            if stored is None:
                raise BadInput("there is no finished draft yet")
            author, interaction_id = stored
            self._access.profile(who, author)
            keep(author, interaction_id)
        except Exception as error:
            return fragments.status(error_text(error), "failed")
        return fragments.status(message, "done")


def _finished(draft: Draft, seconds: float) -> DraftView:
    words = len(draft.text.split())
    cut = ", cut off at this model's longest length" if draft.finish_reason == "length" else ""
    return DraftView(
        status=fragments.status(f"{words} words by {draft.model_version} in {seconds:.0f} s{cut}", "done"),
        warnings=fragments.warnings(draft.warnings),
        text=draft.text,
        sources=fragments.sources(draft.sources, draft.copied_text),
        stored=(draft.author, draft.id),
    )
