"""`preference_pairs` and `adapter` as Dagster runs them."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from twin_assets.documents import Interaction
from twin_assets.language.prompts import PROMPT_VERSION
from twin_assets.orchestration.partitions import author_recipe
from twin_assets.stores.features_io import FeaturesIOManager
from twin_assets.stores.models import ModelRegistry, sha256_of_files
from twin_assets.training.assets import adapter, preference_pairs
from twin_assets.training.identity import TRAINING_VERSION, identity_of, resolved_recipe
from twin_assets.training.result import CURVE
from twin_assets_tests.training.conftest import RECIPE, publish_dataset, row, rows


@pytest.fixture
def run(instance, write_recipe):
    def materialize(*, raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [preference_pairs, adapter],
            partition_key=author_recipe("ada", RECIPE),
            instance=instance,
            resources={"features": FeaturesIOManager()},
            raise_on_error=raise_on_error,
        )

    return materialize


def metadata(result: dg.ExecuteInProcessResult, asset: str = "adapter") -> dict:
    (materialization,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in materialization.metadata.items()}


def test_an_adapter_is_trained_once_for_a_dataset_and_its_manifest_says_what_it_came_from(
    own_stores, run, write_recipe, tiny_model
):
    published = publish_dataset(own_stores)
    result = run()
    shown = metadata(result)
    [manifest] = own_stores.models.versions("ada")
    assert shown["already_trained"] is False
    assert shown["plot"].startswith("![loss](data:image/png;base64,")
    assert manifest.dataset.table == published.table
    assert manifest.dataset.data_version == published.data_version
    assert manifest.recipe["training"]["max_steps"] == 12
    assert manifest.metrics["steps"] == 12
    assert (Path(manifest.path) / CURVE).is_file()
    assert (Path(manifest.path) / "adapter" / "adapter_model.safetensors").is_file()
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks == {"weights_sound": True, "loss_sound": True}
    tags = result.asset_materializations_for_node("adapter")[0].tags
    assert tags["dagster/data_version"] == manifest.weights_sha256

    identity = identity_of(resolved_recipe(own_stores, "ada", RECIPE), published, sha256_of_files(tiny_model))
    assert manifest.version == identity.version(RECIPE)
    assert (manifest.prompt_version, manifest.code_version) == (PROMPT_VERSION, TRAINING_VERSION)
    assert list(trainings(own_stores)) == [], "weights lie once, in the registry"
    assert list(own_stores.settings.data_dir.glob("locks/ada/pins/*")) == []

    write_recipe(save_steps=3, validation_windows=5)
    abandoned = own_stores.settings.data_dir / "training" / "ada" / f"{RECIPE}-0123456789"
    abandoned.mkdir(parents=True)
    assert metadata(run())["already_trained"] is True, "how often it is saved and watched changes no weight"
    assert own_stores.models.versions("ada") == [manifest]
    assert not abandoned.exists()

    publish_dataset(own_stores, [*rows(), row(900, "train")])
    run()
    assert len(own_stores.models.versions("ada", RECIPE)) == 2


def trainings(stores):
    return (stores.settings.data_dir / "training" / "ada").glob("*")


def test_a_finished_training_that_never_reached_the_registry_is_published_and_orphans_go(own_stores, run, monkeypatch):
    publish_dataset(own_stores)

    def killed(*_: object) -> None:
        raise dg.Failure("killed before the manifest was written", allow_retries=False)

    with monkeypatch.context() as patch:
        patch.setattr(ModelRegistry, "publish", killed)
        assert not run(raise_on_error=False).success
    assert own_stores.models.versions("ada") == []
    [folder] = trainings(own_stores)
    written = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
    orphan = Path(str(own_stores.models.folder("ada", RECIPE, "small-of-a-killed-run")))
    orphan.mkdir()
    (folder / CURVE).write_text('{"step": 1, "loss": 9.25}\n')
    run()
    [again] = own_stores.models.versions("ada")
    assert (Path(again.path) / "adapter" / "adapter_model.safetensors").read_bytes() == written
    assert "9.25" in (Path(again.path) / CURVE).read_text(), "taken as it was, not trained again"
    assert not orphan.exists()
    assert list(trainings(own_stores)) == []


def test_a_bad_recipe_fails_the_run_with_the_text_for_a_person(own_stores, run, write_recipe):
    publish_dataset(own_stores)
    write_recipe("/no/such/model")
    result = run(raise_on_error=False)
    [failure] = [event for event in result.all_events if event.is_step_failure]
    text = failure.step_failure_data.user_failure_data.description
    assert text == "base model /no/such/model is not a folder: correct the path in the recipe"
    assert own_stores.models.versions("ada") == []


def test_weights_that_are_no_numbers_never_enter_the_registry(own_stores, run, write_recipe):
    publish_dataset(own_stores)
    write_recipe(learning_rate=1e30, warmup=0.0, scheduler="constant_with_warmup")
    result = run(raise_on_error=False)
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "lower learning_rate in the recipe" in failure.step_failure_data.user_failure_data.description
    assert own_stores.models.versions("ada") == []


def test_edits_become_pairs_only_with_consent(own_stores, run):
    publish_dataset(own_stores)
    said = {"author": "ada", "model_version": "v1", "prompt": "Write a post: rope", "draft": "Rope is rope."}
    for name, edited, consented in (("a", "A rope keeps.", True), ("b", "No.", False), ("c", "Rope is rope.", True)):
        own_stores.warehouse.save_interaction(Interaction(id=name, edited=edited, consented=consented, **said))
    run()
    pairs = own_stores.features.table("ada", f"preference_pairs-{RECIPE}")
    [pair] = pairs.rows(["pair_id", "chosen", "rejected"])
    assert pair == {"pair_id": "a", "chosen": "A rope keeps.", "rejected": "Rope is rope."}


def test_old_pairs_that_no_model_names_go_with_the_next_ones(own_stores, instance, monkeypatch):
    monkeypatch.setattr("twin_assets.stores.features.KEEP_VERSIONS", timedelta(0))
    for text in ("A rope keeps.", "A rope holds."):
        said = {"author": "ada", "model_version": "v1", "prompt": "Write a post: rope", "draft": "Rope is rope."}
        own_stores.warehouse.save_interaction(Interaction(id="a", edited=text, consented=True, **said))
        dg.materialize(
            [preference_pairs],
            partition_key=author_recipe("ada", RECIPE),
            instance=instance,
            resources={"features": FeaturesIOManager()},
        )
    assert own_stores.features.snapshots("ada", f"preference_pairs-{RECIPE}") == [f"preference_pairs-{RECIPE}-00002"]
