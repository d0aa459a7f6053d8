"""The places an author's writing comes from: add, list and remove them, and ask for them to be crawled."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin_assets.collection.locations import can_read, is_local_path, source_id_for
from twin_assets.collection.registry import check_options, crawlers
from twin_assets.documents import AuthorProfile, Source
from twin_assets.errors import BadSource, NotThere
from twin_assets.settings import check_secret_name

if TYPE_CHECKING:
    from twin_assets.stores import Stores


def add_source(
    stores: "Stores",
    author: str,
    platform: str,
    where: str,
    *,
    token_env: str | None = None,
    cron: str | None = None,
    options: dict[str, str] | None = None,
) -> Source:
    """Add a source to a profile; adding the same one again changes only what is given, and keeps its proof.

    Raises BadSource for an unknown platform or option, a location that the crawler cannot read or that contains a
    password, or an invalid cron line; BadInput for a token instead of its variable's name.
    """
    if token_env is not None:
        check_secret_name(token_env)
    known = crawlers()
    if platform not in known:
        raise BadSource(f"no crawler for platform {platform!r}: use one of {', '.join(sorted(known))}")
    crawler = known[platform]
    if not can_read(crawler, where):
        raise BadSource(f"{platform} cannot read {where}: give {crawler.accepted}")
    check_options(crawler, options or {})
    path = str(Path(where).expanduser().absolute())
    if is_local_path(path) and can_read(crawler, path):
        # The daemon that crawls has another working directory.
        where = path
    if cron is not None:
        _check_cron(cron)
    given = {"token_env": token_env, "cron": cron, "options": options or None}

    def add(profile: AuthorProfile) -> None:
        # A removed source's id would give its documents to the new location, whose first listing lacks all of them.
        taken = stores.warehouse.source_places(author) | {source.id: source.where for source in profile.sources}
        source_id = source_id_for(platform, where, taken)
        before = profile.source(source_id) or Source(id=source_id, platform=platform, where=where)
        source = before.model_copy(update={name: value for name, value in given.items() if value is not None})
        profile.sources = [*(other for other in profile.sources if other.id != source_id), source]

    return stores.warehouse.profiles.change(author, add).sources[-1]


def source_of(profile: AuthorProfile, source_id: str) -> Source:
    """The profile's source with this id. Raises NotThere, listing the known ones."""
    found = profile.source(source_id)
    if found is None:
        known = ", ".join(source.id for source in profile.sources) or "none"
        raise NotThere(f"{profile.id} has no source {source_id!r} (sources: {known})")
    return found


@dataclass(frozen=True)
class ListedSource:
    """A source and what the warehouse knows of its collection.

    last_crawl: the report of its latest crawl. asked_at: when somebody asked for a crawl that has not begun yet.
    """

    source: Source
    last_crawl: dict[str, Any] | None
    asked_at: datetime | None


def list_sources(stores: "Stores", author: str) -> list[ListedSource]:
    """The author's sources, each with its latest crawl. Raises NotThere for an unknown author."""
    profile = stores.warehouse.profiles.get(author)
    crawls = stores.warehouse.crawls.for_author(author)
    asked = {
        row["source_id"]: row["asked_at"] for row in stores.warehouse.crawl_requests.all() if row["author"] == author
    }
    return [ListedSource(source, crawls.get(source.id), asked.get(source.id)) for source in profile.sources]


def request_crawl(stores: "Stores", author: str, source_id: str | None = None) -> list[str]:
    """Ask the crawl sensor to crawl a source now, or all of the author's sources; returns their ids.

    The sensor of whatever daemon runs takes this up, and two requests for one source are one crawl. Raises NotThere
    for an unknown source, and where there is none at all.
    """
    profile = stores.warehouse.profiles.get(author)
    wanted = profile.sources if source_id is None else [source_of(profile, source_id)]
    if not wanted:
        raise NotThere(f"{author} has no source yet: add one first")
    for source in wanted:
        stores.warehouse.crawl_requests.add(author, source.id)
    return [source.id for source in wanted]


def remove_source(stores: "Stores", author: str, source_id: str) -> None:
    """Remove a source from a profile; its documents stay. Raises NotThere."""

    def remove(profile: AuthorProfile) -> None:
        source_of(profile, source_id)
        profile.sources = [source for source in profile.sources if source.id != source_id]

    stores.warehouse.profiles.change(author, remove)


def _check_cron(cron: str) -> None:
    from dagster._utils.schedules import is_valid_cron_string

    if not is_valid_cron_string(cron):
        raise BadSource(f'{cron!r} is not a cron line: write five fields such as "0 6 * * *" for every day at six')
