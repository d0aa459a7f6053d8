"""What a crawler consists of, and which crawlers there are.

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
"""The package of the crawlers; not imported above, since each crawler imports this module to register itself."""


class Crawler(Protocol):
    """One platform. accepted: what `accepts` takes, in words. options: what a source may set, described."""

    platform: ClassVar[str]
    accepted: ClassVar[str]
    options: ClassVar[Mapping[str, str]]

    def accepts(self, where: str) -> bool:
        """True if this crawler can read the location live."""

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """Crawl the source. Raises BadSource when the source as a whole cannot be read."""


@runtime_checkable
class ArchiveCrawler(Crawler, Protocol):
    """A platform that gives its members an export. The crawl loop dates its items: none overwrites newer text."""

    archive_steps: ClassVar[str]
    """How a member asks for an export, step by step, in the platform's own words."""

    def recognises(self, names: Collection[str]) -> bool:
        """True if an archive with files of these names is an export of this platform."""

    def needs_archives(self, source: Source) -> bool:
        """True if this source's history comes only by archive, so that its member is reminded to ask for a new one."""

    def import_archive(self, source: Source, archive: Archive) -> Iterator[Event]:
        """Read the archive. Raises BadSource when the archive as a whole cannot be read."""


C = TypeVar("C", bound=type[Crawler])
_registry: dict[str, Crawler] = {}


def register(crawler: C) -> C:
    """Register a crawler under its platform; a class decorator."""
    _registry[crawler.platform] = crawler()
    return crawler


@cache
def _load_all() -> None:
    platforms = importlib.import_module(PLATFORMS)
    for module in pkgutil.iter_modules(platforms.__path__):
        importlib.import_module(f"{PLATFORMS}.{module.name}")


def crawlers() -> dict[str, Crawler]:
    """Every registered crawler by platform, in alphabetical order."""
    _load_all()
    return dict(sorted(_registry.items()))


def archive_platform(archive: Archive) -> str | None:
    """The platform whose export this is, recognised by the files in it and never by the archive's own name."""
    names = archive.names
    known = crawlers().items()
    return next((p for p, crawler in known if isinstance(crawler, ArchiveCrawler) and crawler.recognises(names)), None)


def wants(source: Source, option: str) -> bool:
    """True if a source sets a yes-or-no option to yes; the default is no. Raises BadSource for any other value."""
    value = source.options.get(option, "no").strip().lower()
    if value not in ("yes", "true", "no", "false"):
        raise BadSource(f"option {option} of source {source.id} is {value!r}: give yes or no")
    return value in ("yes", "true")


def check_options(crawler: Crawler, options: Mapping[str, str]) -> None:
    """Raise BadSource, listing the known options, for an option that the platform does not have."""
    if unknown := sorted(options.keys() - crawler.options.keys()):
        known = "; ".join(f"{name}: {text}" for name, text in crawler.options.items()) or "none"
        raise BadSource(f"{crawler.platform} has no option {unknown[0]!r} (options: {known})")
