import os
import subprocess
import sys
import time

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from twin_assets.run_launcher import bury_dead_runs, run_health


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"concurrency": {"pools": {"default_limit": 1}}}) as it:
        yield it


@dg.op
def nothing() -> None: ...


@dg.job
def idle() -> None:
    nothing()


def started(instance: dg.DagsterInstance, pid: int) -> str:
    run = instance.create_run_for_job(idle, status=dg.DagsterRunStatus.STARTED)
    instance.report_engine_event(f"Executing steps in process (pid: {pid})", run)
    return run.run_id


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_a_living_run_is_left_alone(instance, sleeper):
    run_id = started(instance, sleeper.pid)
    assert run_health(instance, run_id).status is WorkerStatus.RUNNING
    assert bury_dead_runs(instance) == []


def test_a_run_whose_process_is_gone_is_marked_failed(instance, sleeper):
    run_id = started(instance, sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert run_health(instance, run_id).status is WorkerStatus.FAILED
    assert bury_dead_runs(instance) == [run_id]
    assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.FAILURE


def test_a_process_born_after_the_event_is_somebody_else(instance, sleeper, monkeypatch):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    run_id = started(instance, sleeper.pid)
    monkeypatch.setattr(time, "time", real)
    entry = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)[0]
    assert entry.timestamp < real() - 3000
    assert run_health(instance, run_id).status is WorkerStatus.FAILED


def test_a_run_without_a_process_yet_is_left_to_the_start_time_out(instance):
    run = instance.create_run_for_job(idle, status=dg.DagsterRunStatus.STARTING)
    assert run_health(instance, run.run_id).status is WorkerStatus.RUNNING


def test_pool_slots_of_dead_runs_are_freed(instance, sleeper):
    storage = instance.event_log_storage
    storage.set_concurrency_slots("gpu", 1)
    run_id = started(instance, sleeper.pid)
    assert storage.claim_concurrency_slot("gpu", run_id, "adapter").is_claimed
    sleeper.kill()
    sleeper.wait()
    assert storage.get_concurrency_info("gpu").active_slot_count == 1
    bury_dead_runs(instance)
    assert storage.get_concurrency_info("gpu").active_slot_count == 0


def test_the_pattern_reads_what_dagster_writes(instance):
    """A real in-process run: its own process is named by its first engine event."""
    result = idle.execute_in_process(instance=instance)
    events = [e.dagster_event.message for e in instance.all_logs(result.run_id) if e.dagster_event]
    assert any(f"(pid: {os.getpid()})" in (message or "") for message in events)
    assert run_health(instance, result.run_id).status is WorkerStatus.RUNNING


def test_the_daemon_hears_of_a_dead_run_when_it_asks_again(tmp_path, sleeper, monkeypatch):
    launcher = {"module": "twin_assets.run_launcher", "class": "WatchedRunLauncher"}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"run_launcher": launcher}) as instance:
        run = instance.get_run_by_id(started(instance, sleeper.pid))
        sleeper.kill()
        sleeper.wait()
        begun = time.monotonic()
        for later, status in ((0, WorkerStatus.RUNNING), (1, WorkerStatus.RUNNING), (13, WorkerStatus.FAILED)):
            monkeypatch.setattr(time, "monotonic", lambda later=later: begun + later)
            assert instance.run_launcher.check_run_worker_health(run).status is status
