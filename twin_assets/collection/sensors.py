"""What starts a crawl: the source's own cron, somebody who asked for it in the app, or an export in the inbox."""

import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import PARTITION_NAME_TAG

from twin_assets.collection import inbox
from twin_assets.collection.assets import jobs
from twin_assets.cron import due_at
from twin_assets.documents import utcnow
from twin_assets.errors import BadSource
from twin_assets.partitions import authors
from twin_assets.stores import Stores, open_stores


def crawl_under_way(instance: dg.DagsterInstance, author: str, platform: str) -> bool:
    """Whether a run that collects this platform for this author is queued or running."""
    tags = {PARTITION_NAME_TAG: author}
    filters = dg.RunsFilter(job_name=f"collect_{platform}", tags=tags, statuses=NOT_FINISHED_STATUSES)
    return instance.get_runs_count(filters) > 0


def _dropped(context: dg.SensorEvaluationContext, stores: Stores, author: str) -> Iterator[tuple[str, str]]:
    """Platform and time of each export that waits in the author's inbox; what is none is set aside with the reason."""
    for path in inbox.waiting(stores, author):
        try:
            yield inbox.platform_of(path), datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat()
        except BadSource as error:
            if time.time() - path.stat().st_mtime < inbox.COMPLETE_S:
                continue
            aside = inbox.set_aside(path, inbox.REFUSED, str(error))
            context.log.warning(f"{author}: {error} (moved to {aside})")


@dg.sensor(
    jobs=jobs,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a crawl of each author and platform that is due, was asked for, or has an export waiting.",
)
def crawl_due(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    """One run per author and platform; the run key names the due time or the request, so that a tick is idempotent."""
    stores = open_stores()
    warehouse = stores.warehouse
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
            due = due_at(source, last, profile.created_at, now)
            if due is not None:
                reasons[source.platform].append(due.isoformat())
            if when := asked.get((profile.id, source.id)):
                reasons[source.platform].append(when.isoformat())
        for platform, dropped_at in _dropped(context, stores, profile.id):
            reasons[platform].append(dropped_at)
        for platform, times in sorted(reasons.items()):
            if crawl_under_way(context.instance, profile.id, platform):
                continue  # whatever is due or asked for now waits for its end
            yield dg.RunRequest(
                run_key=f"{profile.id}|{platform}|{max(times)}",
                job_name=f"collect_{platform}",
                partition_key=profile.id,
                tags={"twin/author": profile.id},
            )


sensors = [crawl_due]
