"""What the Sources tab does: who writes, where, and what came of collecting it; no layout.

Every function asks `access` again, and whoever logged in from elsewhere names no place and no secret of this machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from twin_assets.documents import utcnow
from twin_assets.errors import AccessDenied, BadInput
from twin_assets.operations.collector import Collector, NewSource
from twin_assets.serving.access import Access, Caller
from twin_assets.serving.app import source_cards
from twin_assets.serving.app.actions import Choices, Done, done

EVERY = ""
"""The value of the choice that means all of an author's sources."""
TELL = ""
"""The value of the choice that lets the place itself say its platform."""


@dataclass(frozen=True)
class Shown:
    """What the tab shows of one author; under_way: look again soon."""

    html: str = ""
    sources: Sequence[tuple[str, str]] = ()
    under_way: bool = False


class SourcesDesk:
    """The tab's actions for one server."""

    def __init__(self, collecting: Collector, access: Access) -> None:
        self._collecting = collecting
        self._access = access

    def platforms(self, *, of_this_machine: bool) -> Choices:
        """What may be chosen; whether folders and archives of this machine are among it."""
        known = self._collecting.platforms(of_this_machine=of_this_machine)
        return [("tell by the place", TELL), *((f"{name}: {accepted}", name) for name, accepted in known.items())]

    def show(self, who: Caller, author: str | None) -> Shown:
        """The author's sources, now."""
        if not author:
            return Shown()
        profile = self._access.profile(who, author)
        overview = self._collecting.overview(author)
        html = source_cards.overview(profile, overview, utcnow(), operator=who.is_operator)
        places = [(f"{one.source.platform}: {one.place}", one.source.id) for one in overview.sources]
        return Shown(html, [("every source", EVERY), *places] if places else [], overview.under_way)

    def add_author(self, who: Caller, author: str, name: str, consent: str, *, agreed: bool) -> Done:
        """Add a profile; for the operator alone."""

        def add() -> str:
            if not who.is_operator:
                raise AccessDenied("only the operator of this machine adds authors")
            if not name.strip():
                raise BadInput("give the author's name")
            if not agreed or not consent.strip():
                raise BadInput("tick the statement and say who makes it: without consent nothing is collected")
            self._collecting.add_author(author, name.strip(), consent.strip())
            return f"{author} is added: say below where they write"

        return done(add)

    def add_source(self, who: Caller, author: str | None, place: NewSource) -> Done:
        """Add a place that the author writes at."""

        def add(author: str) -> str:
            if place.token_env and not who.is_operator:
                raise AccessDenied("tokens lie in this machine's environment: ask its operator to add this source")
            source = self._collecting.add_source(author, place, of_this_machine=who.is_operator)
            return f"{source.platform} is added: press “Collect now”"

        return self._done_for(who, author, add)

    def remove(self, who: Caller, author: str | None, source_id: str | None) -> Done:
        """Take a source out of the profile."""

        def remove(author: str) -> str:
            if not source_id:
                raise BadInput("choose one source to remove")
            self._collecting.remove_source(author, source_id)
            return f"{source_id} is removed and not collected again; the documents that came from it stay"

        return self._done_for(who, author, remove)

    def receive(self, who: Caller, author: str | None, file: Path, *, own_files: bool) -> Done:
        """Take over an uploaded archive."""
        return self._done_for(who, author, lambda author: self._collecting.receive(author, file, own_files=own_files))

    def collect(self, who: Caller, author: str | None, source_id: str | None) -> Done:
        """Ask for one source or all of them, now."""

        def ask(author: str) -> str:
            there = [source.id for source in self._access.profile(who, author).sources]
            wanted = [one for one in there if source_id in (EVERY, None, one)]
            if not wanted:
                raise BadInput("there is no such source: add one below, or choose another")
            self._collecting.ask(author, wanted)
            return f"asked for {wanted[0] if len(wanted) == 1 else f'{len(wanted)} sources'}"

        return self._done_for(who, author, ask)

    def _done_for(self, who: Caller, author: str | None, act: Callable[[str], str]) -> Done:
        def for_author() -> str:
            if not author:
                raise BadInput("choose an author first")
            self._access.profile(who, author)
            return act(author)

        return done(for_author)
