"""What `twin run` finds out of date, after runs of stand-ins that carry the real assets' keys and code versions."""

from collections.abc import Iterator

import dagster as dg
import pytest

from twin_assets.definitions import defs
from twin_assets.operations.staleness import DATA_VERSION_TAG, FEATURES_JOB, job_assets, out_of_date
from twin_assets.orchestration.partitions import authors

GRAPH = defs.resolve_asset_graph()
FEATURES = ["cleaned_documents", "chunks", "embeddings", "instruction_dataset"]


def stand_in(name: str, parents: list[dg.AssetKey], code_version: str | None) -> dg.AssetsDefinition:
    @dg.asset(name=name, partitions_def=authors, deps=parents, code_version=code_version)
    def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(data_version=dg.DataVersion(f"{name} {context.run_id}"))

    return made


def make(instance: dg.DagsterInstance, author: str, *names: str, older_code: str = "", unknown: str = "") -> None:
    """Materialize these feature assets; older_code: made by another version; unknown: a parent that it lacked."""
    stand_ins = []
    for name in FEATURES:
        node = GRAPH.get(dg.AssetKey(name))
        parents = [key for key in sorted(node.parent_keys) if key.to_user_string() != unknown]
        stand_ins.append(stand_in(name, parents, "older" if name == older_code else node.code_version))
    selected = [asset for asset in stand_ins if asset.key.to_user_string() in (names or FEATURES)]
    assert dg.materialize(stand_ins, instance=instance, partition_key=author, selection=selected).success


def collected(instance: dg.DagsterInstance, platform: str, version: str, author: str = "ada") -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization(dg.AssetKey(["raw", platform]), partition=author, tags={DATA_VERSION_TAG: version})
    )


@pytest.fixture
def instance(dagster_instance: dg.DagsterInstance) -> Iterator[dg.DagsterInstance]:
    """With ada's features made of her files."""
    dagster_instance.add_dynamic_partitions(str(authors.name), ["ada", "ben"])
    collected(dagster_instance, "files", "1")
    make(dagster_instance, "ada")
    return dagster_instance


FOLLOWERS = {
    "chunks": "follows cleaned_documents",
    "embeddings": "follows chunks",
    "instruction_dataset": "follows cleaned_documents",
}


def test_the_features_are_those_of_the_job_each_after_what_it_is_made_from():
    assert job_assets(FEATURES_JOB) == FEATURES
    assert job_assets("recipe") == ["preference_pairs", "adapter", "evaluation_report"]


def test_nothing_is_out_of_date_after_a_run(instance):
    assert out_of_date(instance, "ada") == {}
    assert out_of_date(instance, "ben") == dict.fromkeys(FEATURES, "never made")


def test_a_collection_that_found_no_change_makes_nothing_out_of_date(instance):
    collected(instance, "files", "1")
    assert out_of_date(instance, "ada") == {}


def test_a_change_of_what_was_collected_makes_all_that_follows_out_of_date(instance):
    collected(instance, "files", "2")
    assert out_of_date(instance, "ada") == {"cleaned_documents": "raw/files changed"} | FOLLOWERS
    collected(instance, "files", "1")
    assert out_of_date(instance, "ada") == {}


def test_the_first_collection_of_a_platform_ever_is_a_change(instance):
    """Dagster's own resolver takes it for none."""
    collected(instance, "blog", "1")
    assert out_of_date(instance, "ada") == {"cleaned_documents": "raw/blog changed"} | FOLLOWERS


def test_the_first_collection_of_a_platform_that_another_author_has_is_a_change(instance):
    collected(instance, "blog", "1", author="ben")
    make(instance, "ada")
    assert out_of_date(instance, "ada") == {}
    collected(instance, "blog", "1")
    assert out_of_date(instance, "ada") == {"cleaned_documents": "raw/blog changed"} | FOLLOWERS


def test_another_authors_change_is_none_of_hers(instance):
    collected(instance, "files", "2", author="ben")
    assert out_of_date(instance, "ada") == {}


def test_a_platform_that_is_new_in_the_graph_changes_nothing_until_it_is_collected(instance):
    make(instance, "ada", unknown="raw/x")
    assert out_of_date(instance, "ada") == {}
    collected(instance, "x", "1")
    assert out_of_date(instance, "ada")["cleaned_documents"] == "raw/x changed"


def test_what_was_made_by_other_code_is_out_of_date_with_what_follows_it(instance):
    make(instance, "ada", older_code="embeddings")
    assert out_of_date(instance, "ada") == {
        "embeddings": "made by other code or settings",
        "instruction_dataset": "follows embeddings",
    }


def test_an_asset_made_alone_makes_those_made_from_it_out_of_date(instance):
    make(instance, "ada", "chunks")
    assert out_of_date(instance, "ada") == {
        "embeddings": "chunks changed",
        "instruction_dataset": "follows embeddings",
    }
