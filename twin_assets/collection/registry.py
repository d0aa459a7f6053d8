"""What a crawler has, and which crawlers there are.

A new platform is one file, or folder, in `platforms/`: a class with `platform`, `accepted`, `options`, `accepts` and
`collect`, registered by `@register`; one whose platform gives its members an export archive adds `recognises`,
`needs_archives`, `import_archive` and `archive_steps`. A crawler knows its platform and nothing of the warehouse.
"""

import importlib
import pkgutil
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from twin_assets.collection.events import Event
from twin_assets.content.archives import Archive
from twin_assets.content.web import WebClient
from twin_assets.documents import Source
from twin_assets.errors import BadSource

PLATFORMS = "twin_assets.collection.platforms"
"""Named and not imported: what stands there imports this module to register itself."""


class Crawler(Protocol):
    """One platform. `accepted` says in words what `accepts` takes; `options` what a source may set, each in words."""

    platform: ClassVar[str]
    accepted: ClassVar[str]
    options: ClassVar[Mapping[str, str]]

    def accepts(self, where: str) -> bool:
        """Whether this crawler can read the place."""

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """The source's items. Raises BadSource when the source as a whole cannot be read."""


@runtime_checkable
class ArchiveCrawler(Crawler, Protocol):
    """A platform that gives its members an export. The loop dates its items, so that none overwrites newer text."""

    archive_steps: ClassVar[str]
    """How the member asks for one, step by step, in the platform's own words."""

    def recognises(self, names: Collection[str]) -> bool:
        """Whether an archive with members of these names is an export of this platform."""

    def needs_archives(self, source: Source) -> bool:
        """Whether this source's history comes by archive only, so that the member is reminded of a new one."""

    def import_archive(self, source: Source, archive: Archive) -> Iterator[Event]:
        """The archive's items. Raises BadSource when it cannot be read as a whole."""


C = TypeVar("C", bound=type[Crawler])
_registry: dict[str, Crawler] = {}


def register(crawler: C) -> C:
    """Class decorator: make a crawler known under its platform."""
    _registry[crawler.platform] = crawler()
    return crawler


@cache
def _load_all() -> None:
    platforms = importlib.import_module(PLATFORMS)
    for module in pkgutil.iter_modules(platforms.__path__):
        importlib.import_module(f"{PLATFORMS}.{module.name}")


def crawlers() -> dict[str, Crawler]:
    """Every registered crawler by platform, in the order of their names."""
    _load_all()
    return dict(sorted(_registry.items()))


def archive_platform(archive: Archive) -> str | None:
    """The platform whose export this is, told by its members and never by its own name."""
    names = archive.names
    known = crawlers().items()
    return next((p for p, crawler in known if isinstance(crawler, ArchiveCrawler) and crawler.recognises(names)), None)


def wants(source: Source, option: str) -> bool:
    """Whether a source sets a yes-or-no option; no is the default. Raises BadSource for another value."""
    value = source.options.get(option, "no").strip().lower()
    if value not in ("yes", "true", "no", "false"):
        raise BadSource(f"option {option} of source {source.id} is {value!r}: give yes or no")
    return value in ("yes", "true")


def check_options(crawler: Crawler, options: Mapping[str, str]) -> None:
    """Raises BadSource, naming those that there are, for an option that the platform does not have."""
    if unknown := sorted(options.keys() - crawler.options.keys()):
        known = "; ".join(f"{name}: {text}" for name, text in crawler.options.items()) or "none"
        raise BadSource(f"{crawler.platform} has no option {unknown[0]!r} (options: {known})")
