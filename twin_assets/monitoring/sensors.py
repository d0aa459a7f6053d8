"""The schedule that makes one report a day for every author."""

from collections.abc import Iterator

import dagster as dg

from twin_assets.monitoring.assets import jobs
from twin_assets.orchestration.partitions import add_partitions
from twin_assets.stores import open_stores


@dg.schedule(
    job=jobs[0],
    cron_schedule="0 5 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Starts one run per author each morning (UTC).",
)
def monitoring_daily(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """Ask for one run per author; the run key prevents a second run on the same day."""
    day = context.scheduled_execution_time.date().isoformat()
    profiles = open_stores().warehouse.profiles.all()
    # If one author's partition were missing, the tick would fail for all authors.
    add_partitions(context.instance, [profile.id for profile in profiles], [])
    for profile in profiles:
        yield dg.RunRequest(run_key=f"{profile.id}|{day}", partition_key=profile.id)


schedules = [monitoring_daily]
sensors: list[dg.SensorDefinition] = []
