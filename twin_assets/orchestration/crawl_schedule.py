"""When a source is due for a crawl by its cron, for the sensor, and since when it is overdue, for the report."""

from datetime import UTC, datetime

from dagster._utils.schedules import get_latest_completed_cron_tick, get_next_cron_tick

from twin_assets.documents import Source


def due_at(source: Source, last_crawl: datetime | None, added_at: datetime, now: datetime) -> datetime | None:
    """The latest time, in UTC, at which the source was due; None if a crawl has begun since, or without a cron.

    It is the latest rather than the first missed time because it names the run: a crawl that died without a trace must
    not occupy the name that all later ones would need.
    """
    if source.cron is None:
        return None
    tick = get_latest_completed_cron_tick(source.cron, now, "UTC").astimezone(UTC)
    return tick if tick > (last_crawl or added_at) else None


def overdue_since(source: Source, last_crawl: datetime | None, added_at: datetime, now: datetime) -> datetime | None:
    """The first time, in UTC, at which the source was due and no crawl began; None when it is not due."""
    if source.cron is None:
        return None
    tick = get_next_cron_tick(source.cron, last_crawl or added_at, "UTC").astimezone(UTC)
    return tick if tick <= now else None
