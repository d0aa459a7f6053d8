"""The actions of the Sources tab: add authors and sources, ask for crawls, show how they went; without layout.

Every action checks access itself. Whoever logged in from elsewhere cannot name a folder or a secret of this machine.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from twin_assets.documents import Consent, utcnow
from twin_assets.errors import AccessDenied, BadInput
from twin_assets.operations.collector import Collector, NewSource
from twin_assets.serving.access import Access, Caller
from twin_assets.serving.app import source_cards
from twin_assets.serving.app.draft_actions import Choices
from twin_assets.serving.app.outcomes import ActionResult, run_action

ALL_SOURCES = ""
"""The value of the choice that means all of an author's sources."""
DETECT_PLATFORM = ""
"""The value of the choice that detects the platform from the place itself."""


@dataclass(frozen=True)
class SourcesView:
    """What the tab shows of one author. under_way: True if this will change soon."""

    html: str = ""
    sources: Sequence[tuple[str, str]] = ()
    under_way: bool = False


class SourcesActions:
    """The tab's actions, for one server."""

    def __init__(self, collector: Collector, access: Access) -> None:
        self._collector = collector
        self._access = access

    def platforms(self, *, of_this_machine: bool) -> Choices:
        """The platforms to choose from. of_this_machine: include folders and archives of this machine."""
        known = self._collector.platforms(of_this_machine=of_this_machine)
        return [
            ("detected from the address", DETECT_PLATFORM),
            *((f"{name}: {accepted}", name) for name, accepted in known.items()),
        ]

    def show(self, who: Caller, author: str | None) -> SourcesView:
        """How the author's sources stand now."""
        if not author:
            return SourcesView()
        profile = self._access.profile(who, author)
        overview = self._collector.overview(author)
        html = source_cards.overview(profile, overview, utcnow(), operator=who.is_operator)
        places = [(f"{one.source.platform}: {one.place}", one.source.id) for one in overview.sources]
        return SourcesView(html, [("every source", ALL_SOURCES), *places] if places else [], overview.under_way)

    def add_author(self, who: Caller, author: str, name: str, consent: str, *, agreed: bool) -> ActionResult:
        """Add a profile; only the operator may."""

        def add() -> str:
            if not who.is_operator:
                raise AccessDenied("only the operator of this machine can add authors")
            if not name.strip():
                raise BadInput("give the author's name")
            if not agreed or not consent.strip():
                raise BadInput("tick the statement and say who makes it: nothing is collected without consent")
            self._collector.add_author(author, name.strip(), Consent(who=consent.strip()))
            return f"{author} is added: say below where they write"

        return run_action(add)

    def add_source(self, who: Caller, author: str | None, place: NewSource) -> ActionResult:
        """Add a place where the author publishes."""

        def add(author: str) -> str:
            if place.token_env and not who.is_operator:
                raise AccessDenied("tokens are kept in this machine's environment: ask its operator to add this source")
            source = self._collector.add_source(author, place, of_this_machine=who.is_operator)
            return f"{source.platform} is added: press “Collect now”"

        return self._run_for(who, author, add)

    def remove(self, who: Caller, author: str | None, source_id: str | None) -> ActionResult:
        """Take a source out of the profile."""

        def remove(author: str) -> str:
            if not source_id:
                raise BadInput("choose one source to remove")
            self._collector.remove_source(author, source_id)
            return f"{source_id} is removed and will not be collected again; the documents that came from it stay"

        return self._run_for(who, author, remove)

    def receive(self, who: Caller, author: str | None, file: Path, *, own_files: bool) -> ActionResult:
        """Take over an uploaded archive."""
        return self._run_for(who, author, lambda author: self._collector.receive(author, file, own_files=own_files))

    def collect(self, who: Caller, author: str | None, source_id: str | None) -> ActionResult:
        """Ask for a crawl of one source, or of all."""

        def ask(author: str) -> str:
            asked = self._collector.request_crawl(author, source_id or None)
            return f"requested a crawl of {asked[0] if len(asked) == 1 else f'{len(asked)} sources'}"

        return self._run_for(who, author, ask)

    def _run_for(self, who: Caller, author: str | None, act: Callable[[str], str]) -> ActionResult:
        def for_author() -> str:
            if not author:
                raise BadInput("choose an author first")
            self._access.profile(who, author)
            return act(author)

        return run_action(for_author)
