"""Add and remove an author's sources."""

from pathlib import Path
from typing import TYPE_CHECKING

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

    return stores.warehouse.change_profile(author, add).sources[-1]


def source_of(profile: AuthorProfile, source_id: str) -> Source:
    """The profile's source with this id. Raises NotThere, listing the known ones."""
    found = profile.source(source_id)
    if found is None:
        known = ", ".join(source.id for source in profile.sources) or "none"
        raise NotThere(f"{profile.id} has no source {source_id!r} (sources: {known})")
    return found


def remove_source(stores: "Stores", author: str, source_id: str) -> None:
    """Remove a source from a profile; its documents stay. Raises NotThere."""

    def remove(profile: AuthorProfile) -> None:
        source_of(profile, source_id)
        profile.sources = [source for source in profile.sources if source.id != source_id]

    stores.warehouse.change_profile(author, remove)


def _check_cron(cron: str) -> None:
    from dagster._utils.schedules import is_valid_cron_string

    if not is_valid_cron_string(cron):
        raise BadSource(f'{cron!r} is not a cron line: write five fields such as "0 6 * * *" for every day at six')
