"""When a source's cron asks for a crawl: the sensor starts what is due, the monitoring report says what is late."""

from datetime import UTC, datetime

from dagster._utils.schedules import get_latest_completed_cron_tick, get_next_cron_tick

from twin_assets.documents import Source


def due_at(source: Source, last_crawl: datetime | None, added_at: datetime, now: datetime) -> datetime | None:
    """The latest time, in UTC, at which the source's cron asked for a crawl; None when one began since, or never asked.

    The latest, not the first that was missed: it names the run, and a crawl that died without a trace must not hold
    the name that all later ones would need.
    """
    if source.cron is None:
        return None
    tick = get_latest_completed_cron_tick(source.cron, now, "UTC").astimezone(UTC)
    return tick if tick > (last_crawl or added_at) else None


def overdue_since(source: Source, last_crawl: datetime | None, added_at: datetime, now: datetime) -> datetime | None:
    """The first time, in UTC, at which the source's cron asked for a crawl and none began; None when none is due."""
    if source.cron is None:
        return None
    tick = get_next_cron_tick(source.cron, last_crawl or added_at, "UTC").astimezone(UTC)
    return tick if tick <= now else None
