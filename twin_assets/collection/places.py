"""Where a source lies: which platform reads a place, and what the source is called."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from twin_assets.collection.registry import ArchiveCrawler, Crawler, crawlers
from twin_assets.content.archives import is_archive, open_archive
from twin_assets.errors import BadSource

GENERAL = frozenset({"blog", "files"})
"""Platforms that read what is nobody else's: any URL, any folder."""
COMMON = frozenset({"com", "feed", "http", "https", "in", "rss"})
"""Words of addresses that say nothing of whose they are."""
INBOX = "inbox"
"""A source's place when it has no live way in: archives are dropped into the author's inbox folder."""
LOGIN = re.compile(r"([\w+.-]+:)*//[^/?#]*@")
"""A URL with a user name or a password before its host, also as `gitlab:https://…`."""


def lies_here(where: str) -> bool:
    """Whether the place is a path of this machine. Raises BadSource when its file system cannot even be asked."""
    try:
        Path(where).expanduser().stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, RuntimeError, ValueError) as error:  # too long, forbidden, nobody's home, a NUL, half a character
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadSource(f"{where[:60]!r} is no place that can be looked up ({reason})") from error
    return bool(where.strip())


def reads(crawler: Crawler, where: str) -> bool:
    """Whether the crawler takes the place: live, as its platform's export, or by the inbox.

    Raises BadSource as `lies_here`, and for a URL with a user name or password in it, which it does not repeat.
    """
    if LOGIN.match("".join(where.split())):
        raise BadSource(
            "the URL holds a user name or a password, which would be stored with it: give it without what stands "
            "before the @; where a platform takes a token, give the NAME of the environment variable that holds it"
        )
    is_path = lies_here(where)
    if crawler.accepts(where):
        return True
    return isinstance(crawler, ArchiveCrawler) and (where == INBOX or (is_path and _is_export(crawler, where)))


def _is_export(crawler: ArchiveCrawler, where: str) -> bool:
    path = Path(where).expanduser()
    if not is_archive(path):
        return False
    try:
        with open_archive(path) as archive:
            return crawler.recognises(archive.names)
    except BadSource:
        return False


def platform_for(where: str) -> str:
    """The platform that reads a place, one that knows it rather than a general one. Raises BadSource."""
    for platform, crawler in sorted(crawlers().items(), key=lambda known: known[0] in GENERAL):
        if where != INBOX and reads(crawler, where):
            return platform
    known = "; ".join(f"{platform}: {crawler.accepted}" for platform, crawler in crawlers().items())
    raise BadSource(f"{where!r} is nothing that can be collected from. Give {known}")


def source_id_for(platform: str, where: str, taken: Mapping[str, str | None]) -> str:
    """A readable id for a source: the platform and the last part of the place; the same place keeps its id.

    taken: id -> where of the author's other sources, removed ones included; None is a place that is not known.
    """
    for source_id, place in taken.items():
        if place == where and source_id.startswith(f"{platform}-"):
            return source_id
    parts = urlsplit(where.removeprefix(f"{platform}:"))
    if parts.scheme in ("http", "https"):
        # What tells two sources of a platform apart is the name on it; of the web at large it is the host.
        name = parts.hostname or ""
        name = name if platform in GENERAL else f"{name}{parts.path}".removeprefix("www.")
    else:
        name = where.rstrip("/").rsplit("/", 1)[-1]
    words = [word for word in re.findall(r"[a-z0-9]+", name.lower()) if platform in GENERAL or word not in COMMON]
    slug = "-".join(word for word in words if word != platform)[:40].strip("-") or "source"
    wanted, number = f"{platform}-{slug}", 2
    while wanted in taken:
        wanted, number = f"{platform}-{slug}-{number}", number + 1
    return wanted
