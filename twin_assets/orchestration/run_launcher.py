"""Finds dead runs, those whose process has died, marks them as failed and frees their pool slots.

If only a run's process is killed, its code server notices. If daemon and code server are killed with it, the run would
stay STARTED for ever, since `DefaultRunLauncher` cannot tell whether a run's process is alive. This launcher can: the
run's first engine event names the process, and a process that is gone, or younger than that event, is not the run's. A
run that `twin` executes itself is tagged with its process from the start, so that it is known before that event.
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
"""The tag with the id of the process that creates a run and executes it."""
BEGINNING_S = 8.0
"""Longer than one check of all runs takes, and shorter than the interval between two (dagster.yaml)."""
CLOCK_SLACK_S = 2.0
"""A process may seem to start this much after its first event, since the two clocks differ in precision."""


def run_health(instance: dg.DagsterInstance, run_id: str) -> CheckRunHealthResult:
    """RUNNING while the run's process is alive or has not started, FAILED once it is gone."""
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
    """The pid of the run's process, and a time at which the process was alive."""
    record = instance.get_run_record_by_id(run_id)
    # A launched run, which has an origin, may have copied the tags of the run that it repeats.
    if record is not None and record.dagster_run.remote_job_origin is None:
        pid = record.dagster_run.tags.get(PROCESS_TAG)
        if pid is not None:
            return int(pid), record.create_timestamp.timestamp()
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        if event and (match := RUN_PROCESS.search(event.message or "")):
            return int(match[1]), entry.timestamp
    return None


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs whose process is gone as failed, free the pool slots of finished runs, and return the failed ids.

    The daemon does the same within half a minute; `twin` calls this when it starts, so that it needs no daemon. Runs
    that still wait for a process, because a sensor has just created them or they are queued, are left to the daemon.
    """
    failed = []
    for run in instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)):
        if run_health(instance, run.run_id).status is WorkerStatus.FAILED and _is_unfinished(instance, run.run_id):
            instance.report_run_failed(run, "The process of this run is gone: marked as failed.")
            failed.append(run.run_id)
    storage = instance.event_log_storage
    for pool in storage.get_concurrency_keys():
        for run_id in storage.get_concurrency_info(pool).active_run_ids:
            holder = instance.get_run_by_id(run_id)
            if holder is None or holder.is_finished:
                storage.free_concurrency_slots_for_run(run_id)
    return failed


def cancel_own_runs(instance: dg.DagsterInstance) -> None:
    """Mark the runs of this process, which is about to end, as cancelled, and free their pool slots."""
    for run in instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)):
        found = _run_process(instance, run.run_id)
        if found is not None and found[0] == os.getpid() and _is_unfinished(instance, run.run_id):
            instance.report_run_canceled(run, "Interrupted at the terminal.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_unfinished(instance: dg.DagsterInstance, run_id: str) -> bool:
    """True if the run is unfinished now: it may have ended since it was listed, and a report would overwrite that."""
    run = instance.get_run_by_id(run_id)
    return run is not None and not run.is_finished


class WatchedRunLauncher(DefaultRunLauncher):
    """A `DefaultRunLauncher` that knows whether a run's process is alive, for `run_monitoring`.

    It reports no run as dead just after the daemon has started. Dagster 1.13 writes the event that a run failed before
    the run's status, and its retry daemon permanently ignores a run that it reads between the two. Both daemons check
    when they start; later their intervals (dagster.yaml) keep them apart.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        # Any: whatever Dagster's own launcher takes.
        super().__init__(*arguments, **more)
        self._first_asked: float | None = None

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: run monitoring can check runs."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """See `run_health`."""
        self._first_asked = self._first_asked or time.monotonic()
        if time.monotonic() < self._first_asked + BEGINNING_S:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the daemon has just started")
        return run_health(self._instance, run.run_id)
