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


@pytest.fixture
def automatic(own_stores: Stores) -> AuthorProfile:
    profile = AuthorProfile(id="ada", name="Ada", consent=Consent(who="Ada"), promotion="automatic")
    own_stores.warehouse.add_profile(profile)
    return profile


def requests(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    return list(promote_automatically(dg.build_sensor_context(instance=instance)))


def test_a_version_that_passed_is_asked_for_once_and_the_run_promotes_it(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path, automatic: AuthorProfile
):
    assert requests(instance) == []
    evaluated(own_stores, tiny_model, "v1", passed=True)
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
    own_stores.warehouse.change_profile("ada", setting(promotion="manual"))
    evaluated(own_stores, tiny_model, "v1", passed=True)
    assert requests(instance) == []


def test_a_version_that_failed_a_gate_or_was_rolled_back_is_not_asked_for(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path, automatic: AuthorProfile
):
    for version, passed in (("v1", True), ("v2", True), ("v3", False)):
        evaluated(own_stores, tiny_model, version, passed=passed)
    own_stores.models.promote("ada", "v2", "Ada", "")
    assert requests(instance) == []
    own_stores.models.promote("ada", "v1", "Ada", "v2 rambles")
    assert requests(instance) == []
