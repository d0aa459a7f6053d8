"""Promotion without a person."""

from pathlib import Path

import dagster as dg
import pytest

from twin_assets.documents import AuthorProfile, Consent
from twin_assets.evaluation.assets import jobs, production_model
from twin_assets.evaluation.sensors import WHO, promote_automatically
from twin_assets.stores import Stores
from twin_assets_tests.conftest import setting
from twin_assets_tests.evaluation.test_assets import evaluated

SAME_ROWS = {"n_clusters": 9, "n_rows": 20, "n_bytes": 9_000}


@pytest.fixture
def automatic(own_stores: Stores) -> AuthorProfile:
    profile = AuthorProfile(id="ada", name="Ada", consent=Consent(who="Ada"), promotion="automatic")
    own_stores.warehouse.profiles.add(profile)
    return profile


def requests(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    with dg.build_sensor_context(instance=instance) as context:
        return list(promote_automatically(context))


def test_a_version_that_passed_is_asked_for_once_and_the_run_promotes_it(
    own_stores: Stores,
    instance: dg.DagsterInstance,
    tiny_model: Path,
    trained_adapter: Path,
    automatic: AuthorProfile,
):
    assert requests(instance) == []
    evaluated(own_stores, tiny_model, "v1", passed=True, adapter=trained_adapter)
    (request,) = requests(instance)
    assert (request.partition_key, request.run_key) == ("ada", "ada|v1")
    promote = next(job for job in jobs if job.name == "promote")
    definitions = dg.Definitions(assets=[production_model], jobs=[promote])
    done = definitions.resolve_job_def("promote").execute_in_process(
        instance=instance, partition_key="ada", run_config=request.run_config
    )
    assert done.success
    assert own_stores.models.production("ada").promoted_by == WHO
    assert requests(instance) == []


def test_manual_promotion_is_left_to_a_person(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path, automatic: AuthorProfile
):
    own_stores.warehouse.profiles.change("ada", setting(promotion="manual"))
    evaluated(own_stores, tiny_model, "v1", passed=True)
    assert requests(instance) == []


def test_a_better_version_is_asked_for_however_old_it_is_and_a_worse_newer_one_is_not(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path, automatic: AuthorProfile, capfd
):
    for version, adapter in (("large", 0.9), ("tiny", 2.1), ("equal", 0.9)):
        evaluated(own_stores, tiny_model, version, passed=True, **SAME_ROWS, adapter_bits=adapter)
    own_stores.models.promote("ada", "tiny", WHO, "it was the first to be evaluated")
    (request,) = requests(instance)
    assert request.run_key in ("ada|large", "ada|equal")
    own_stores.models.promote("ada", "large", WHO, "")
    assert requests(instance) == []
    said = capfd.readouterr().err
    assert "ada@equal passed every gate and is no better" in said


def test_a_version_that_failed_a_gate_or_was_rolled_back_or_passed_over_is_not_asked_for(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path, automatic: AuthorProfile
):
    for version, adapter, passed in (("v1", 1.3, True), ("v2", 1.2, True), ("v3", 1.1, True), ("v4", 1.0, False)):
        evaluated(own_stores, tiny_model, version, passed=passed, **SAME_ROWS, adapter_bits=adapter)
    own_stores.models.promote("ada", "v1", WHO, "")
    own_stores.models.promote("ada", "v3", WHO, "")
    assert requests(instance) == []
    own_stores.models.promote("ada", "v1", "Ada", "v3 rambles")
    assert requests(instance) == [], "neither v3, which was rolled back, nor v2, which is older and better than v1"


def test_what_cannot_be_compared_waits_for_a_person_and_the_tick_says_why(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path, automatic: AuthorProfile, capfd
):
    first = evaluated(own_stores, tiny_model, "v1", passed=True, **SAME_ROWS, adapter_bits=1.2)
    own_stores.models.promote("ada", "v1", WHO, "")
    newer = evaluated(own_stores, tiny_model, "v2", passed=True, **SAME_ROWS, adapter_bits=0.2)
    dataset = first.dataset.model_copy(update={"table": "instruction_dataset-00002", "data_version": "another"})
    own_stores.warehouse.manifests.save(newer.model_copy(update={"dataset": dataset}))
    assert requests(instance) == []
    said = capfd.readouterr().err
    assert "ada@v2 passed every gate and cannot be compared with production: trained on another dataset" in said
    assert "twin approve ada v2" in said
