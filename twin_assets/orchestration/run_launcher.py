"""Runs that died with everything around them: who finds out, and what is freed.

A run process killed alone is noticed by its code server. Killed together with daemon and code server it would stay
STARTED for ever, since `DefaultRunLauncher` cannot tell whether a run's process lives. This one can: the run's first
engine event names the process, and a process that is gone, or younger than that event, is not the run's. A run that
`twin` executes itself is tagged with its process from the beginning: until that event it would be nobody's.
"""

import os
import re
import time
from typing import Any

import dagster as dg
import psutil
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

RUN_PROCESS = re.compile(r"(?:Started process for run|Executing steps in process|parent process) \(pid: (\d+)\)")
PROCESS_TAG = "twin/process"
"""The process that creates a run and executes it."""
BEGINNING_S = 8.0
"""More than one look at all runs takes, less than until the next (dagster.yaml)."""
CLOCK_SLACK_S = 2.0
"""A process's birth is known to the hundredth of a second, an event's time is taken a little later."""


def run_health(instance: dg.DagsterInstance, run_id: str) -> CheckRunHealthResult:
    """RUNNING while the run's process lives or has not begun, FAILED once it is gone."""
    found = _run_process(instance, run_id)
    if found is None:
        return CheckRunHealthResult(WorkerStatus.RUNNING, "no process yet: the start time-out decides")
    pid, seen_at = found
    try:
        born = psutil.Process(pid).create_time()
        alive = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and born <= seen_at + CLOCK_SLACK_S
    except psutil.NoSuchProcess:
        alive = False
    if alive:
        return CheckRunHealthResult(WorkerStatus.RUNNING)
    return CheckRunHealthResult(WorkerStatus.FAILED, f"process {pid} of this run is gone")


def own_process_tag() -> dict[str, str]:
    """The tag of a run that this process creates in order to execute it."""
    return {PROCESS_TAG: str(os.getpid())}


def _run_process(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """The pid of the run's process, and a time at which it was alive."""
    record = instance.get_run_record_by_id(run_id)
    # A run that somebody launches, and that so has an origin, may have the tags of one that it repeats.
    if record is not None and record.dagster_run.remote_job_origin is None:
        pid = record.dagster_run.tags.get(PROCESS_TAG)
        if pid is not None:
            return int(pid), record.create_timestamp.timestamp()
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        if event and (match := RUN_PROCESS.search(event.message or "")):
            return int(match[1]), entry.timestamp
    return None


def bury_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs whose process is gone as failed and free the pool slots of every finished run. Returns their ids.

    The daemon does the same within half a minute; `twin` calls this when it starts, so that it needs no daemon. Runs
    that wait for a process, those that a sensor has just made or that are queued, are the daemon's.
    """
    buried = []
    for run in instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)):
        if run_health(instance, run.run_id).status is WorkerStatus.FAILED and _is_unfinished(instance, run.run_id):
            instance.report_run_failed(run, "The process of this run is gone: marked as failed.")
            buried.append(run.run_id)
    storage = instance.event_log_storage
    for pool in storage.get_concurrency_keys():
        for run_id in storage.get_concurrency_info(pool).active_run_ids:
            holder = instance.get_run_by_id(run_id)
            if holder is None or holder.is_finished:
                storage.free_concurrency_slots_for_run(run_id)
    return buried


def cancel_own_runs(instance: dg.DagsterInstance) -> None:
    """Mark the runs that this very process executes as cancelled, and free their pool slots: it is about to end."""
    for run in instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)):
        found = _run_process(instance, run.run_id)
        if found is not None and found[0] == os.getpid() and _is_unfinished(instance, run.run_id):
            instance.report_run_canceled(run, "Interrupted at the terminal.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_unfinished(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the run is so now: it may have ended since it was listed, and a report would overwrite how."""
    run = instance.get_run_by_id(run_id)
    return run is not None and not run.is_finished


class WatchedRunLauncher(DefaultRunLauncher):
    """`DefaultRunLauncher` that knows whether a run's process lives; `run_monitoring` asks it.

    None is called dead in the moment in which the daemon begins. Dagster 1.13 writes that a run failed before it writes
    the run's status, and its daemon for retries passes over what it reads between the two, for good. Both daemons look
    at once when they begin; later their intervals (dagster.yaml) keep them apart.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        # Any: whatever Dagster's own launcher takes.
        super().__init__(*arguments, **more)
        self._first_asked: float | None = None

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """See `run_health`."""
        self._first_asked = self._first_asked or time.monotonic()
        if time.monotonic() < self._first_asked + BEGINNING_S:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the daemon has just begun")
        return run_health(self._instance, run.run_id)
