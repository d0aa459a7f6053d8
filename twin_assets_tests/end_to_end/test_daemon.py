"""A real daemon with its code server: what it starts by itself, and what it leaves alone."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from twin_assets.orchestration.partitions import add_partitions
from twin_assets_tests.end_to_end.conftest import AUTHOR, TABLES, Project, automation_ticks, write_note, write_notes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

N_DOCUMENTS = 30
SOURCE = "files-notes"


@pytest.fixture
def notes(tmp_path) -> Path:
    return write_notes(tmp_path / "notes", N_DOCUMENTS)


def test_a_change_reaches_the_dataset_by_itself_and_what_is_no_change_starts_nothing(make_project, notes):
    project = make_project("project", TWIN_MIN_NEW_EXAMPLES="1000000")
    project.twin("author", "add", AUTHOR, "--name", "Ada Example", "--consent", "Ada Example")
    project.twin("source", "add", AUTHOR, "files", str(notes))
    project.start_daemon()
    # What the button in the app does.
    project.stores.warehouse.crawl_requests.add(AUTHOR, SOURCE)

    with project.instance() as instance:
        project.until(lambda: set(project.data_versions()) == set(TABLES), 200)
        runs = finished_runs(project, instance)
        assert len(runs) == 2, "a collection, and one run for all that follows"
        before = project.rows()
        assert {row["document_id"] for row in before["embeddings"]} == set(project.documents())

        # A change in the very tick in which the last run ends is carried all the same, but in two runs.
        watch_ticks(project, instance, 2)
        new = f"{AUTHOR}:{SOURCE}:{write_note(notes, N_DOCUMENTS).name}"
        project.twin("collect", AUTHOR)
        dataset = project.data_versions()["instruction_dataset"]
        project.until(lambda: project.data_versions()["instruction_dataset"] != dataset, 200)
        runs = finished_runs(project, instance)
        assert len(runs) == 4, "one change is one run"
        after = project.rows()
        n_chunks = len(rows_of(after["chunks"], new))
        assert n_chunks
        assert len(rows_of(after["embeddings"], new)) == n_chunks
        assert rows_of(after["instruction_dataset"], new)
        assert {table: written_and_unchanged(instance, table) for table in TABLES[:3]} == {
            "cleaned_documents": (1, N_DOCUMENTS),
            "chunks": (n_chunks, len(before["chunks"])),
            "embeddings": (n_chunks, len(before["embeddings"])),
        }
        for table in TABLES:
            assert others(after[table], new) == others(before[table], new), table

        project.twin("collect", AUTHOR)
        project.twin("author", "add", "bob", "--name", "Bob Example", "--consent", "Bob Example")
        add_partitions(instance, [], ["another-recipe"])
        watch_ticks(project, instance, 3)
        new_runs = finished_runs(project, instance).items() - runs.items()
        assert [job for _, job in new_runs] == ["collect_files"]
        assert project.rows() == after
    assert "Traceback" not in project.said()


def finished_runs(project: Project, instance: dg.DagsterInstance) -> dict[str, str]:
    """Run id to job of every run, once none is on its way; all have succeeded."""
    project.until(lambda: not instance.get_runs_count(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)), 120)
    runs = instance.get_runs()
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    # The daily monitoring report may fall due meanwhile.
    return {run.run_id: run.job_name for run in runs if "dagster/schedule_name" not in run.tags}


def written_and_unchanged(instance: dg.DagsterInstance, table: str) -> tuple[object, object]:
    records = instance.fetch_materializations(dg.AssetKey(table), limit=1).records
    metadata = records[0].asset_materialization.metadata
    return metadata["written"].value, metadata["unchanged"].value


def rows_of(rows: list[dict], document_id: str) -> list[dict]:
    return [row for row in rows if row["document_id"] == document_id]


def others(rows: list[dict], document_id: str) -> dict[str, tuple[str, ...]]:
    """Key to what must not change of the rows of other documents.

    A dataset row quotes what is nearest to it among all documents, so the passages may be others.
    """
    return {
        row.get("example_id") or row.get("chunk_id") or row["document_id"]: (
            (row["split"], row["instruction"], row["answer"])
            if "example_id" in row
            else (row["input_hash"], row["made_by"], row["text"])
        )
        for row in rows
        if row["document_id"] != document_id
    }


def watch_ticks(project: Project, instance: dg.DagsterInstance, n: int) -> None:
    """Let the automation look `n` more times."""
    seen = {tick.tick_id for tick in automation_ticks(instance)}
    project.until(lambda: len({tick.tick_id for tick in automation_ticks(instance)} - seen) >= n, 150)


def test_commands_that_come_at_once_to_a_new_project_all_work(make_project):
    project = make_project("project")
    names = ["ada", "bob", "cid"]
    added = [project.start("author", "add", name, "--name", name, "--consent", name) for name in names]
    assert [command.wait(timeout=60) for command in added] == [0, 0, 0], project.said()
    assert sorted(project.twin("author", "list").stdout.split()[::4]) == names
