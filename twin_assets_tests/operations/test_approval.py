"""Approving and rejecting a version, as the terminal and the app do."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import dagster as dg
import pytest

from twin_assets.documents import AuthorProfile, Consent
from twin_assets.errors import NotThere, TwinError
from twin_assets.operations.approval import approve, reject
from twin_assets.stores import Stores
from twin_assets.stores.models import sha256_of_files
from twin_assets_tests.serving.world import Parts, make_adapter


@pytest.fixture
def parts(make_tiny_model: Callable[..., Path], tmp_path: Path) -> Parts:
    base = make_tiny_model()
    return Parts(base, make_adapter(base, tmp_path / "adapter", seed=1))


@pytest.fixture
def published(project: Stores, parts: Parts) -> Stores:
    """Ada with v1 and v2, neither in production."""
    project.warehouse.profiles.add(AuthorProfile(id="ada", name="Ada", consent=Consent(who="Ada")))
    for version in ("v1", "v2"):
        parts.publish(project, "ada", version, weights_sha256=sha256_of_files(parts.adapter))
    return project


def test_an_approved_version_is_in_production_by_a_dagster_run(published, dagster_instance):
    approve(published, "ada", "v1", "Ada", "reads like me", lambda: nullcontext(dagster_instance))
    production = published.models.production("ada")
    assert (production.version, production.promoted_by, production.reason) == ("v1", "Ada", "reads like me")
    event = dagster_instance.get_latest_materialization_event(dg.AssetKey("production_model"))
    assert event.asset_materialization.partition == "ada"


def test_an_unknown_version_is_refused_before_anything_runs(published):
    with pytest.raises(NotThere, match="no model version 'v9'"):
        approve(published, "ada", "v9", "Ada", "x", lambda: pytest.fail("an instance was opened"))


def test_a_rejected_version_is_not_approved_and_the_error_says_why(published, dagster_instance):
    reject(published, "ada", "v2", "Ada", "too stiff")
    with pytest.raises(TwinError, match=r"ada@v2 was not put into production: .*rejected"):
        approve(published, "ada", "v2", "Ada", "x", lambda: nullcontext(dagster_instance))
    assert published.models.production("ada") is None
