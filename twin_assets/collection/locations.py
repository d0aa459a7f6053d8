"""The location of a source, `where`: which platform can read it, and the id that the source gets."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from twin_assets.collection.registry import ArchiveCrawler, Crawler, crawlers
from twin_assets.content.archives import is_archive, open_archive
from twin_assets.errors import BadSource

GENERAL = frozenset({"blog", "files"})
"""Platforms that read any URL or any folder, and so come last."""
COMMON = frozenset({"com", "feed", "http", "https", "in", "rss"})
"""Words in a URL that do not help to tell sources apart."""
INBOX = "inbox"
"""The location of a source that cannot be read live: its archives are dropped into the author's inbox folder."""
LOGIN = re.compile(r"([\w+.-]+:)*//[^/?#]*@")
"""A URL with a user name or a password before its host, also as `gitlab:https://…`."""


def is_local_path(where: str) -> bool:
    """True if the location is a path on this machine. Raises BadSource when the file system cannot look it up."""
    try:
        Path(where).expanduser().stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, RuntimeError, ValueError) as error:  # too long, forbidden, no such home, a NUL, a lone surrogate
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadSource(f"{where[:60]!r} cannot be looked up ({reason}): give a URL, a handle or a path") from error
    return bool(where.strip())


def can_read(crawler: Crawler, where: str) -> bool:
    """True if the crawler can read the location: live, as its platform's export, or through the inbox.

    Raises BadSource as `is_local_path` does, and for a URL with a user name or password, which the error does not
    repeat.
    """
    if LOGIN.match("".join(where.split())):
        raise BadSource(
            "the URL holds a user name or a password, which would be stored with it: give it without what comes "
            "before the @; where a platform takes a token, give the NAME of the environment variable that holds it"
        )
    is_path = is_local_path(where)
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
    """The platform that can read the location, a special one before a general one. Raises BadSource if none can."""
    for platform, crawler in sorted(crawlers().items(), key=lambda known: known[0] in GENERAL):
        if where != INBOX and can_read(crawler, where):
            return platform
    known = "; ".join(f"{platform}: {crawler.accepted}" for platform, crawler in crawlers().items())
    raise BadSource(f"nothing can be collected from {where!r}. Give {known}")


def source_id_for(platform: str, where: str, taken: Mapping[str, str | None]) -> str:
    """A readable id for a source: the platform and the last part of the location; the same location keeps its id.

    taken: id -> where of the author's other sources, including removed ones; None is an unknown location.
    """
    for source_id, location in taken.items():
        if location == where and source_id.startswith(f"{platform}-"):
            return source_id
    parts = urlsplit(where.removeprefix(f"{platform}:"))
    if parts.scheme in ("http", "https"):
        # Two sources on a platform differ by the name on it, two on the web at large by the host.
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
