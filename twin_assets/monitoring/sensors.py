"""When reports are made: once a day for every author."""

from collections.abc import Iterator

import dagster as dg

from twin_assets.monitoring.assets import jobs
from twin_assets.orchestration.partitions import add_partitions
from twin_assets.stores import open_stores


@dg.schedule(
    job=jobs[0],
    cron_schedule="0 5 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="One run per author, each morning (UTC).",
)
def monitoring_daily(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
    """The run key keeps a second evaluation of the same day from asking twice."""
    day = context.scheduled_execution_time.date().isoformat()
    profiles = open_stores().warehouse.profiles.all()
    # One author whose partition is missing would fail the tick, and so everybody's reports.
    add_partitions(context.instance, [profile.id for profile in profiles], [])
    for profile in profiles:
        yield dg.RunRequest(run_key=f"{profile.id}|{day}", partition_key=profile.id)


schedules = [monitoring_daily]
sensors: list[dg.SensorDefinition] = []
