"""Killed at any instant and started again, a run ends in the same state as one that was never killed."""

import json
import os
import signal
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES, NOT_FINISHED_STATUSES

from twin_assets_tests.end_to_end.conftest import AUTHOR, Project, kill_group, write_notes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

TRAINER = "twin_assets.training.process.train"


def test_a_collection_killed_between_two_batches_ends_with_the_same_documents(make_project, tmp_path):
    notes = write_notes(tmp_path / "notes", 600, paragraphs=1)
    killed = make_project("killed")
    killed.twin("author", "add", AUTHOR, "--name", "Ada Example", "--consent", "Ada Example")
    killed.twin("source", "add", AUTHOR, "files", str(notes))
    undisturbed = make_project("undisturbed", like=killed)

    run = killed.start("run", AUTHOR, "--until", "raw")
    killed.until(lambda: " 100 new" in killed.said(), 60, every_s=0.002)
    kill_group(run)
    assert 100 <= len(killed.documents()) < 600

    for project in (killed, undisturbed):
        project.twin("run", AUTHOR, "--until", "raw")
    assert len(killed.documents()) == 600
    assert killed.documents() == undisturbed.documents()
    assert raw_data_version(killed) == raw_data_version(undisturbed)
    assert nothing_is_left_running(killed)


def test_features_killed_twice_in_embedding_end_with_the_same_tables(make_project, collected, featured):
    killed = make_project("killed", like=collected)
    manifests = killed.data / "features" / AUTHOR / "embeddings.lance" / "_versions"

    def rows_are_written() -> bool:
        # The first version is the empty table, the second holds the rows; then the indexes, then the publication.
        return len(list(manifests.glob("*.manifest"))) > 1

    for moment, every_s in ((lambda: step_has_begun(killed, "embeddings"), 0.1), (rows_are_written, 0.002)):
        run = killed.start("run", AUTHOR, "--until", "instruction_dataset")
        killed.until(lambda: "chunks" in killed.data_versions(), 120, every_s=0.05)
        killed.until(moment, 60, every_s)
        kill_group(run)
        assert set(killed.data_versions()) == {"cleaned_documents", "chunks"}, "killed too late"

    killed.twin("run", AUTHOR, "--until", "instruction_dataset")
    assert killed.documents() == featured.documents()
    assert killed.data_versions() == featured.data_versions()
    assert killed.rows() == featured.rows()
    assert nothing_is_left_running(killed)


def test_a_training_killed_after_a_checkpoint_ends_with_the_same_weights(make_project, featured, trained):
    killed = make_project("killed", like=featured)
    run = killed.start("run", AUTHOR, "--until", "adapter")
    checkpoint = killed.until(lambda: whole_checkpoint(killed), 120, every_s=0.01)
    trainers = [process for process in killed.processes() if TRAINER in process.cmdline()]
    # The run alone: its trainer has to end by itself, or it would meet its successor.
    run.kill()
    run.wait()
    assert trainers
    assert not psutil.wait_procs(trainers, timeout=10)[1]
    assert killed.weights() == {}, "killed too late"
    newest = last_checkpoint(checkpoint)

    again = killed.twin("run", AUTHOR, "--until", "adapter")
    assert f"going on from {newest}" in again.stderr
    assert killed.data_versions() == trained.data_versions()
    assert killed.weights() == trained.weights()
    assert len(killed.weights()) == 1
    assert nothing_is_left_running(killed)


def test_everything_killed_at_once_in_embedding_and_in_training_is_brought_up_to_date_by_a_restarted_daemon(
    make_project, added, trained
):
    project = make_project("project", like=added, TWIN_MIN_NEW_EXAMPLES="5")
    (source,) = project.stores.warehouse.profile(AUTHOR).sources
    project.stores.warehouse.ask_for_crawl(AUTHOR, source.id)
    project.start_daemon()
    project.until(lambda: step_has_begun(project, "embeddings"), 200, every_s=0.1)
    project.kill_everything()
    assert set(project.data_versions()) == {"cleaned_documents", "chunks"}, "killed too late"
    with project.instance() as instance:
        (features,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))

    project.start_daemon()
    project.until(lambda: whole_checkpoint(project), 300, every_s=0.02)
    assert len([process for process in project.processes() if TRAINER in process.cmdline()]) == 1
    project.kill_everything()
    assert project.weights() == {}, "killed too late"
    with project.instance() as instance:
        assert instance.get_run_by_id(features.run_id).status is dg.DagsterRunStatus.FAILURE
        (abandoned,) = instance.get_runs(dg.RunsFilter(job_name="train", statuses=[dg.DagsterRunStatus.STARTED]))
        assert slots_taken(instance) == 1

        project.start_daemon()
        project.until(lambda: evaluated(project), 200)
        project.until(lambda: not instance.get_runs_count(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)), 120)
        assert instance.get_run_by_id(abandoned.run_id).status is dg.DagsterRunStatus.FAILURE
        assert not slots_taken(instance)
    assert project.weights() == trained.weights()
    assert project.data_versions() == trained.data_versions()
    assert not [process for process in project.processes() if TRAINER in process.cmdline()]


def raw_data_version(project: Project) -> str:
    return project.stores.warehouse.raw_data_version(AUTHOR, "files")


def step_has_begun(project: Project, step: str) -> bool:
    """Whether a run that is on its way has come to this step."""
    with project.instance() as instance:
        runs = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        started = dg.DagsterEventType.STEP_START
        return any(entry.step_key == step for run in runs for entry in instance.all_logs(run.run_id, of_type=started))


def whole_checkpoint(project: Project) -> Path | None:
    """The folder of checkpoints once one of them is whole."""
    states = list((project.data / "training" / AUTHOR).glob("*/checkpoints/checkpoint-*/trainer_state.json"))
    return states[0].parent.parent if states else None


def last_checkpoint(folder: Path) -> str:
    whole = [path.parent.name for path in folder.glob("*/trainer_state.json") if is_json(path)]
    return max(whole, key=lambda name: int(name.rsplit("-", 1)[1]))


def is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except ValueError:
        return False
    return True


def nothing_is_left_running(project: Project) -> bool:
    with project.instance() as instance:
        unfinished = instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS_RUN_STATUSES)))
        assert not unfinished
        assert not slots_taken(instance)
    assert not project.processes()
    return True


def slots_taken(instance: dg.DagsterInstance) -> int:
    storage = instance.event_log_storage
    return sum(storage.get_concurrency_info(pool).active_slot_count for pool in storage.get_concurrency_keys())


def evaluated(project: Project) -> bool:
    return any(manifest.evaluation for manifest in project.stores.models.versions(AUTHOR))


def test_ctrl_c_ends_a_run_at_once_as_cancelled_and_not_as_an_error_to_retry(make_project, featured):
    project = make_project("project", like=featured)
    run = project.start("run", AUTHOR, "--until", "adapter")
    project.until(lambda: whole_checkpoint(project), 120, every_s=0.01)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does it
    assert run.wait(timeout=20) == 130
    assert "the same command continues from there" in project.said()
    with project.instance() as instance:
        (cancelled,) = instance.get_runs(dg.RunsFilter(job_name="recipe"))
        assert cancelled.status is dg.DagsterRunStatus.CANCELED
    psutil.wait_procs(project.processes(), timeout=10)
    assert nothing_is_left_running(project)
