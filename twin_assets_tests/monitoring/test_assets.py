"""`monitoring_report` over real stores, and the schedule that asks for it."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow as pa
import pytest

from twin_assets import schemas
from twin_assets.documents import Consent, Interaction, Source, utcnow
from twin_assets.monitoring.assets import assets, jobs
from twin_assets.monitoring.sensors import monitoring_daily
from twin_assets.orchestration.partitions import add_partitions, authors
from twin_assets.stores.features import Changes, Snapshot
from twin_assets_tests.conftest import setting


@pytest.fixture
def watched(project, ada):
    """Ada with one source, one cleaned document and one draft."""
    source = Source(id="files-writing", platform="files", where="/x", cron="0 6 * * *")
    project.warehouse.profiles.change("ada", setting(sources=[source]))
    row = {
        "document_id": "ada:files-writing:a", "platform": "files", "category": "article", "title": "A", "url": None,
        "language": "en", "published_at": utcnow(), "cluster_id": "c", "trainable": True, "quotable": True,
        "source_id": "files-writing", "visibility": "public", "text": "Some words of hers.", "n_words": 4,
        "text_hash": "t", "signature": b"s",
        "input_hash": "h", "made_by": "m",
    }  # fmt: skip
    changes = Changes(schemas.from_dicts([row], schemas.CLEANED_DOCUMENTS))
    project.features.commit("ada", "cleaned_documents", changes)
    project.warehouse.interactions.save(
        Interaction(id="1", author="ada", model_version="v", prompt="p", draft="one two", rating="good")
    )
    return project


@pytest.fixture
def materialize(project):
    instance = dg.DagsterInstance.ephemeral()
    add_partitions(instance, ["ada", "new"], [])

    def run(author: str = "ada") -> dg.ExecuteInProcessResult:
        return dg.materialize(assets, partition_key=author, instance=instance)

    return run


def verdicts(result: dg.ExecuteInProcessResult) -> dict:
    return {check.check_name: check for check in result.get_asset_check_evaluations()}


def metadata(result: dg.ExecuteInProcessResult) -> dict:
    [materialization] = result.asset_materializations_for_node("monitoring_report")
    return {name: value.value for name, value in materialization.metadata.items()}


def test_the_report_is_shown_and_kept_in_the_warehouse(watched, materialize):
    watched.warehouse.crawls.save("ada", "files-writing", {"finished_at": utcnow(), "failed": [], "error": None})
    found = metadata(materialize())
    assert (found["documents"], found["drafts_in_30_days"], found["rated_good"], found["rated_bad"]) == (1, 1, 1, 0)
    assert found["draft_length_ratio"] == 0.5
    assert "| files-writing | 1 |" in found["report"]
    [kept] = watched.warehouse.connection.db["monitoring_reports"].find({"author": "ada"})
    assert (kept["_id"], kept["documents"]) == (f"ada:{utcnow().date().isoformat()}", 1)


def test_a_second_report_of_a_day_replaces_the_first(watched, materialize):
    materialize()
    materialize()
    assert len(list(watched.warehouse.connection.db["monitoring_reports"].find({"author": "ada"}))) == 1


@pytest.mark.parametrize("error", [None, "answered 404 Not Found"])
def test_the_check_names_the_source_to_look_at(watched, materialize, error):
    watched.warehouse.crawls.save("ada", "files-writing", {"finished_at": utcnow(), "failed": [], "error": error})
    check = verdicts(materialize())["sources_healthy"]
    assert (check.passed, check.partition) == (error is None, "ada")
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert check.metadata["result"].value == ("look at files-writing" if error else "all sources are healthy")


@pytest.mark.parametrize(("days_ago", "late"), [(0, False), (3, True)])
def test_a_cron_that_was_not_followed_is_told_with_how_late_it_is(watched, materialize, days_ago, late):
    began = utcnow() - timedelta(days=days_ago)
    crawl = {"started_at": began, "finished_at": began, "failed": [], "error": None}
    watched.warehouse.crawls.save("ada", "files-writing", crawl)
    result = materialize()
    check = verdicts(result)["sources_fresh"]
    assert (check.passed, check.severity) == (not late, dg.AssetCheckSeverity.WARN)
    assert ("late: files-writing by " in check.metadata["result"].value) == late
    assert (check.metadata["most_hours"].value > 47) == late
    assert (" hours |" in metadata(result)["report"]) == late


def test_an_author_with_nothing_yet_gets_a_report_too(watched, materialize, ada):
    watched.warehouse.profiles.add(ada.model_copy(update={"id": "new", "sources": [], "consent": Consent(who="New")}))
    found = metadata(materialize("new"))
    assert (found["documents"], found["drafts_in_30_days"]) == (0, 0)
    assert "production_age_days" not in found


def test_no_text_of_the_author_is_in_the_metadata(watched, materialize):
    assert "words of hers" not in str(metadata(materialize()))


def test_the_schedule_asks_once_a_day_for_every_author_even_before_their_partitions_exist(watched, ada):
    watched.warehouse.profiles.add(ada.model_copy(update={"id": "bob"}))
    stand_ins = [dg.AssetSpec(name, partitions_def=authors) for name in ("cleaned_documents", "production_model")]
    definitions = dg.Definitions(assets=[*assets, *stand_ins], jobs=jobs, schedules=[monitoring_daily])
    with dg.instance_for_test() as instance:
        morning = datetime(2024, 5, 1, 5, tzinfo=UTC)
        context = dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=morning,
            repository_def=definitions.get_repository_def(),
        )
        with dg.partition_loading_context(dynamic_partitions_store=instance):
            ticks = [monitoring_daily.evaluate_tick(context).run_requests for _ in range(2)]
        assert set(instance.get_dynamic_partitions(str(authors.name))) == {"ada", "bob"}
    keys = [[(request.run_key, request.partition_key) for request in requests or []] for requests in ticks]
    assert keys[0] == keys[1] == [("ada|2024-05-01", "ada"), ("bob|2024-05-01", "bob")]


def test_a_dataset_that_nobody_needs_any_more_goes_with_the_daily_report(watched, materialize, monkeypatch):
    """The author deleted something and then wrote nothing more: no dataset run comes to collect it."""
    for text in ("deleted since", "kept"):
        rows = pa.Table.from_pylist([{"example_id": "a", "answer": text}])
        watched.features.commit_snapshot("ada", "instruction_dataset", Snapshot(rows))
    materialize()
    assert len(watched.features.snapshots("ada", "instruction_dataset")) == 2, "replaced less than a day ago"
    monkeypatch.setattr("twin_assets.stores.features.KEEP_VERSIONS", timedelta(0))
    materialize()
    assert watched.features.snapshots("ada", "instruction_dataset") == ["instruction_dataset-00002"]
