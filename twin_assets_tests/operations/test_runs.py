import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from twin_assets.definitions import defs
from twin_assets.documents import AuthorProfile, Consent
from twin_assets.operations import runs
from twin_assets.orchestration.run_launcher import fail_dead_runs
from twin_assets.stores import open_stores
from twin_assets_tests.end_to_end.conftest import RECIPE, Project
from twin_assets_tests.training.conftest import publish_dataset

KILLED = """
import os, signal, sys
import dagster as dg
from twin_assets.operations import runs

write = dg.DagsterInstance.handle_new_event

def write_or_die(instance, event, **more):
    if instance.get_run_by_id(event.run_id).status.value == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(instance, event, **more)

dg.DagsterInstance.handle_new_event = write_or_die
with runs.dagster_instance() as instance:
    instance.add_dynamic_partitions("author", ["ada"])
    runs.run_job(instance, "raw/files", "collect_files", "ada")
"""


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_a_run_killed_before_it_named_its_process_is_buried_at_the_next_start(tmp_path, status):
    project = Project(tmp_path / "project")
    command = [sys.executable, "-c", KILLED, status.value]
    killed = subprocess.run(command, env=project.environment, cwd=project.home, capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    with project.instance() as instance:
        (run,) = instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))
        assert run.status is status
        assert fail_dead_runs(instance) == [run.run_id]
        assert not instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES))


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project with an author's dataset, in which this process works."""
    project = Project(tmp_path / "project", TWIN_TRACKING="disabled")
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    open_stores.cache_clear()
    stores = open_stores()
    stores.warehouse.add_profile(AuthorProfile(id="ada", name="Ada", consent=Consent(who="Ada")))
    publish_dataset(stores)
    yield project
    open_stores.cache_clear()


def write_recipe(project: Project, base: Path, **keys: object) -> None:
    content = RECIPE | {"base": {"name": str(base)}, "training": {"max_steps": 3, "batch_size": 2}} | keys
    (project.home / "recipes" / "smollm2-cpu.yaml").write_text(yaml.safe_dump(content))


@pytest.mark.slow
def test_a_recipe_is_evaluated_again_when_it_is_judged_otherwise_and_never_trained_again_for_that(small, tiny_model):
    stores = open_stores()
    drafts = {"draft_tokens": 8, "max_clusters": 2, "max_rows_per_cluster": 1}
    told: list[runs.Outcome] = []
    with small.instance() as instance:

        def run(n_drafts: int, limit: float = 0.1) -> str:
            judged = {"evaluation": drafts | {"n_drafts": n_drafts}, "gates": {"recitation": limit}}
            write_recipe(small, tiny_model, **judged)
            return runs.run_recipe(instance, stores, "ada", "smollm2-cpu", told.append)[0].status

        assert [run(0), run(0), run(1), run(1), run(1, limit=0.2), run(1, limit=0.2)] == ["ran", "skipped"] * 3
        [version] = stores.models.versions("ada")
        assert next(gate for gate in version.gates if gate.name == "recitation").limit == 0.2
        for made in instance.get_runs(dg.RunsFilter(job_name="recipe")):
            assert made.tags.items() >= {"twin/author": "ada", "twin/recipe": "smollm2-cpu"}.items()
        # Training and evaluation in one run take turns in the pool, and leave it free.
        pool = instance.event_log_storage.get_concurrency_info("gpu")
        assert (pool.slot_count, pool.active_slot_count, pool.pending_step_count) == (1, 0, 0)


@pytest.mark.parametrize("asset", ["adapter", "evaluation_report"])
def test_training_and_evaluation_share_the_gpu_out(asset):
    graph = defs.resolve_asset_graph()
    assert graph.get(dg.AssetKey(asset)).pools == {"gpu"}
