"""What starts a crawl: the source's own cron, or somebody who asked for it in the app."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
from dagster._utils.schedules import get_next_cron_tick

from twin_assets.collection.assets import jobs
from twin_assets.documents import Source, utcnow
from twin_assets.partitions import authors
from twin_assets.stores import open_stores


def due_at(source: Source, last_crawl: datetime | None, added_at: datetime) -> datetime | None:
    """When the source's cron asks for the next crawl, in UTC; None without a cron."""
    if source.cron is None:
        return None
    return get_next_cron_tick(source.cron, last_crawl or added_at, "UTC").astimezone(UTC)


@dg.sensor(
    jobs=jobs,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a crawl of each author and platform that is due by its cron or was asked for.",
)
def crawl_due(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    """One run per author and platform; the run key names the due time or the request, so that a tick is idempotent."""
    warehouse = open_stores().warehouse
    known = set(context.instance.get_dynamic_partitions(str(authors.name)))
    asked = {(request["author"], request["source_id"]): request["asked_at"] for request in warehouse.crawl_requests()}
    now = utcnow()
    for profile in warehouse.profiles():
        if profile.id not in known:
            context.instance.add_dynamic_partitions(str(authors.name), [profile.id])
        crawls = warehouse.crawls(profile.id)
        reasons: dict[str, list[str]] = defaultdict(list)
        for source in profile.sources:
            last = crawls.get(source.id, {}).get("started_at")
            due = due_at(source, last, profile.created_at)
            if due is not None and due <= now:
                reasons[source.platform].append(due.isoformat())
            if when := asked.get((profile.id, source.id)):
                reasons[source.platform].append(when.isoformat())
        for platform, times in sorted(reasons.items()):
            yield dg.RunRequest(
                run_key=f"{profile.id}|{platform}|{max(times)}",
                job_name=f"collect_{platform}",
                partition_key=profile.id,
                tags={"twin/author": profile.id},
            )


sensors = [crawl_due]
