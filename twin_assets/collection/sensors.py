"""What starts a crawl: the source's own cron, a request from the app, or an export in the inbox."""

import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import PARTITION_NAME_TAG

from twin_assets.collection import inbox
from twin_assets.collection.assets import jobs
from twin_assets.documents import utcnow
from twin_assets.errors import BadSource
from twin_assets.orchestration.crawl_schedule import due_at
from twin_assets.orchestration.partitions import authors
from twin_assets.stores import Stores, open_stores

EXPORT_TAG = "twin/export"
"""The tag, on a run that an export started, that holds when the export arrived in the inbox."""
TRIES = 3
NOT_READ = (
    "{} was not imported: {} runs of collect_{} ended too early. See in the Dagster UI what ended them, then move it "
    "back into the inbox"
)


def crawl_under_way(instance: dg.DagsterInstance, author: str, platform: str) -> bool:
    """True if a run that collects this platform for this author is queued or running."""
    tags = {PARTITION_NAME_TAG: author}
    filters = dg.RunsFilter(job_name=f"collect_{platform}", tags=tags, statuses=NOT_FINISHED_STATUSES)
    return instance.get_runs_count(filters) > 0


def _dropped(context: dg.SensorEvaluationContext, stores: Stores, author: str) -> dict[str, Path]:
    """By platform, the export in the author's inbox to import next; anything else is refused with the reason."""
    first: dict[str, Path] = {}
    for path in inbox.ready_exports(stores, author):
        try:
            first.setdefault(inbox.platform_of(path), path)
        except BadSource as error:
            if time.time() - path.stat().st_mtime < inbox.COMPLETE_S:
                continue
            _refuse(context, author, path, str(error))
    return first


def _refuse(context: dg.SensorEvaluationContext, author: str, path: Path, why: str) -> None:
    aside = inbox.set_aside(path, inbox.REFUSED, why)
    context.log.warning(f"{author}: {why} (moved to {aside})")


def _runs_for(instance: dg.DagsterInstance, author: str, platform: str, arrived_at: str) -> int:
    """How many runs were started for the export that arrived then, whatever became of them."""
    tags = {PARTITION_NAME_TAG: author, EXPORT_TAG: arrived_at}
    return instance.get_runs_count(dg.RunsFilter(job_name=f"collect_{platform}", tags=tags))


@dg.sensor(
    jobs=jobs,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts a crawl of each author and platform that is due, was asked for, or has an export waiting.",
)
def crawl_due(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    """One run per author and platform; the run key contains the due time or the request, so that a tick is idempotent.

    For an export the key also contains the number of the try: Dagster never accepts a key twice, and a run that failed
    or was terminated leaves the export where it is.
    """
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
        exports = _dropped(context, stores, profile.id)
        for platform in sorted(reasons.keys() | exports.keys()):
            if crawl_under_way(context.instance, profile.id, platform):
                continue  # whatever is due or asked for now waits for its end
            tags = {"twin/author": profile.id}
            if export := exports.get(platform):
                tags[EXPORT_TAG] = inbox.arrived_at(export).isoformat()
                tried = _runs_for(context.instance, profile.id, platform, tags[EXPORT_TAG])
                if tried >= TRIES:
                    _refuse(context, profile.id, export, NOT_READ.format(export.name, tried, platform))
                    continue
                reason = f"{tags[EXPORT_TAG]}|{tried}"
            else:
                reason = max(reasons[platform])
            yield dg.RunRequest(
                run_key=f"{profile.id}|{platform}|{reason}",
                job_name=f"collect_{platform}",
                partition_key=profile.id,
                tags=tags,
            )


sensors = [crawl_due]
