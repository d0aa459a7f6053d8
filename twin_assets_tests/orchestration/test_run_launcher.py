import os
import subprocess
import sys
import time
from collections.abc import Callable

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from twin_assets.orchestration.run_launcher import PROCESS_TAG, cancel_own_runs, fail_dead_runs, run_health

LAUNCHED = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("twin"), "__repository__"), "idle")


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
    assert fail_dead_runs(instance) == []


def test_a_run_whose_process_is_gone_is_marked_failed(instance, sleeper):
    run_id = started(instance, sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    assert run_health(instance, run_id).status is WorkerStatus.FAILED
    assert fail_dead_runs(instance) == [run_id]
    assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_a_run_whose_process_died_before_its_first_event_is_marked_failed(instance, sleeper, status):
    run = instance.create_run_for_job(idle, status=status, tags={PROCESS_TAG: str(sleeper.pid)})
    assert run_health(instance, run.run_id).status is WorkerStatus.RUNNING
    assert fail_dead_runs(instance) == []
    sleeper.kill()
    sleeper.wait()
    assert run_health(instance, run.run_id).status is WorkerStatus.FAILED
    assert fail_dead_runs(instance) == [run.run_id]
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED])
def test_a_run_that_waits_for_the_daemon_is_left_alone_whatever_run_it_repeats(instance, sleeper, status):
    sleeper.kill()
    sleeper.wait()
    tags = {"dagster/run_key": "ada|files|now", PROCESS_TAG: str(sleeper.pid)}
    run = instance.create_run_for_job(idle, status=status, tags=tags, remote_job_origin=LAUNCHED)
    assert fail_dead_runs(instance) == []
    assert instance.get_run_by_id(run.run_id).status is status


@pytest.fixture
def ends_well_meanwhile(instance, monkeypatch):
    """ends_well_meanwhile(run_id, then): the run succeeds while somebody reads its events, and `then` is called."""

    def arrange(run_id: str, then: Callable[[], object] = lambda: None) -> None:
        read = instance.all_logs

        def all_logs(*arguments, **more):
            found = read(*arguments, **more)
            if not instance.get_run_by_id(run_id).is_finished:
                instance.report_dagster_event(dg.DagsterEvent("PIPELINE_SUCCESS", idle.name), run_id=run_id)
                then()
            return found

        monkeypatch.setattr(instance, "all_logs", all_logs)

    return arrange


def test_a_run_that_ends_well_while_it_is_looked_at_stays_a_success(instance, sleeper, ends_well_meanwhile):
    run_id = started(instance, sleeper.pid)
    ends_well_meanwhile(run_id, lambda: (sleeper.kill(), sleeper.wait()))
    assert fail_dead_runs(instance) == []
    assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.SUCCESS


def test_an_own_run_that_ends_well_at_the_interrupt_stays_a_success(instance, ends_well_meanwhile):
    run_id = started(instance, os.getpid())
    ends_well_meanwhile(run_id)
    cancel_own_runs(instance)
    assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.SUCCESS


def test_an_interrupt_cancels_the_runs_of_this_process_and_no_other(instance, sleeper):
    created = instance.create_run_for_job(idle, tags={PROCESS_TAG: str(os.getpid())}).run_id
    executing = started(instance, os.getpid())
    others = started(instance, sleeper.pid)
    cancel_own_runs(instance)
    statuses = [instance.get_run_by_id(run_id).status for run_id in (created, executing, others)]
    assert statuses == [dg.DagsterRunStatus.CANCELED] * 2 + [dg.DagsterRunStatus.STARTED]


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
    fail_dead_runs(instance)
    assert storage.get_concurrency_info("gpu").active_slot_count == 0


def test_the_pattern_reads_what_dagster_writes(instance):
    """A real in-process run: its own process is named by its first engine event."""
    result = idle.execute_in_process(instance=instance)
    events = [e.dagster_event.message for e in instance.all_logs(result.run_id) if e.dagster_event]
    assert any(f"(pid: {os.getpid()})" in (message or "") for message in events)
    assert run_health(instance, result.run_id).status is WorkerStatus.RUNNING


def test_the_daemon_hears_of_a_dead_run_when_it_asks_again(tmp_path, sleeper, monkeypatch):
    launcher = {"module": "twin_assets.orchestration.run_launcher", "class": "WatchedRunLauncher"}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"run_launcher": launcher}) as instance:
        run = instance.get_run_by_id(started(instance, sleeper.pid))
        sleeper.kill()
        sleeper.wait()
        begun = time.monotonic()
        for later, status in ((0, WorkerStatus.RUNNING), (1, WorkerStatus.RUNNING), (13, WorkerStatus.FAILED)):
            monkeypatch.setattr(time, "monotonic", lambda later=later: begun + later)
            assert instance.run_launcher.check_run_worker_health(run).status is status
