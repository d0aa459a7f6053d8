"""`evaluation_report` and `production_model` as Dagster runs them."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from twin_assets.documents import AuthorProfile, Consent, Gate, ModelManifest, RecipeChoice, utcnow
from twin_assets.errors import BadRecipe, TwinError
from twin_assets.evaluation.assets import EvaluationConfig, evaluation_report, is_evaluated, production_model
from twin_assets.evaluation.gates import LIMITS
from twin_assets.evaluation.loading import check_loads
from twin_assets.evaluation.result import Options
from twin_assets.orchestration.partitions import author_recipe
from twin_assets.stores import Stores, open_stores
from twin_assets.stores.models import sha256_of_files
from twin_assets_tests.evaluation.conftest import RECIPE, dataset_rows, publish_version, row

SMALL = {"ops": {"evaluation_report": {"config": {"n_drafts": 2, "draft_tokens": 100}}}}


def report(instance: dg.DagsterInstance, config: dict[str, Any] = SMALL) -> dg.ExecuteInProcessResult:
    key = author_recipe("ada", RECIPE)
    return dg.materialize([evaluation_report], partition_key=key, instance=instance, run_config=config)


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (materialization,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in materialization.metadata.items()}


def test_a_version_is_evaluated_in_a_process_of_its_own_and_only_once(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path, trained_adapter: Path
):
    manifest = publish_version(own_stores, dataset_rows(), tiny_model, trained_adapter)
    result = report(instance)
    shown = metadata(result, "evaluation_report")
    assert shown["already_evaluated"] is False
    assert shown["adapter_bits_per_byte"] < shown["base_bits_per_byte"]
    assert "Bits per byte" in shown["report"]
    assert shown["plot"].startswith("![evaluation](data:image/png;base64,")

    held = own_stores.models.version("ada", manifest.version)
    assert held.evaluation is not None
    assert held.evaluation["bits_per_byte"]["adapter"] == shown["adapter_bits_per_byte"]
    assert [gate.name for gate in held.gates] == list(LIMITS)
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert checks == {gate.name: gate.passed for gate in held.gates}

    file = Path(manifest.path) / "evaluation.json"
    written = file.stat().st_mtime_ns
    drafts = json.loads(file.read_text())["drafts"]
    assert len(drafts) == 2
    assert metadata(report(instance), "evaluation_report")["already_evaluated"] is True
    assert file.stat().st_mtime_ns == written
    assert own_stores.models.version("ada", manifest.version).evaluation == held.evaluation


def test_too_few_held_out_documents_are_a_verdict_and_no_failure(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path
):
    publish_version(own_stores, [row(n, "train") for n in range(5)], tiny_model)
    shown = metadata(report(instance), "evaluation_report")
    assert shown["verdict"] == "not enough writing"
    assert own_stores.models.version("ada", "v1").passed is False


def test_the_version_that_the_adapter_names_is_evaluated_and_not_a_newer_one(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path
):
    for version in ("v1", "v2"):
        publish_version(own_stores, [row(n, "train") for n in range(5)], tiny_model, version=version)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            "adapter", partition=author_recipe("ada", RECIPE), tags={"dagster/data_version": "v1-weights"}
        )
    )
    assert metadata(report(instance), "evaluation_report")["version"] == "v1"
    assert own_stores.models.version("ada", "v2").evaluation is None


def test_a_report_before_any_adapter_says_what_to_do(own_stores: Stores, instance: dg.DagsterInstance):
    with pytest.raises(Exception, match="materialize `adapter`"):
        report(instance)


def evaluated(
    stores: Stores,
    base: Path,
    version: str,
    *,
    passed: bool,
    adapter: Path | None = None,
    adapter_bits: float = 1.0,
    **rows: int,
) -> ModelManifest:
    """A version with a verdict; adapter: its weights, for a version that is to be loaded. rows: how much was scored."""
    manifest = publish_version(stores, [row(n, "train") for n in range(5)], base, adapter, version)
    if adapter:
        whole = {"weights_sha256": sha256_of_files(adapter), "created_at": utcnow()}
        stores.warehouse.manifests.save(manifest.model_copy(update=whole))
    gates = [Gate(name=name, value=1.0, limit=1.0, passed=passed, text="") for name in LIMITS]
    bits = {"adapter": adapter_bits, **rows} if rows else None
    return stores.models.save_evaluation(manifest, {"made_by": Options().made_by, "bits_per_byte": bits}, gates)


def promote(instance: dg.DagsterInstance, **config: str) -> dict[str, Any]:
    run_config = {"ops": {"production_model": {"config": {"who": "Ada", "reason": "reads well", **config}}}}
    result = dg.materialize([production_model], partition_key="ada", instance=instance, run_config=run_config)
    return metadata(result, "production_model")


def test_the_newest_version_that_passed_goes_into_production(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path, trained_adapter: Path
):
    for version, passed in (("v1", True), ("v2", True), ("v3", False)):
        evaluated(own_stores, tiny_model, version, passed=passed, adapter=trained_adapter)
    shown = promote(instance)
    assert (shown["version"], shown["previous"], shown["who"], shown["passed_every_gate"]) == (
        "v2",
        "none",
        "Ada",
        True,
    )
    assert own_stores.models.production("ada").version == "v2"
    latest = instance.get_latest_materialization_event(dg.AssetKey("production_model"))
    assert latest.asset_materialization.tags["dagster/data_version"] == "v2"


def test_a_named_version_is_promoted_whatever_its_gates_and_so_is_a_rollback(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path, trained_adapter: Path
):
    for version, passed in (("v1", True), ("v2", False)):
        evaluated(own_stores, tiny_model, version, passed=passed, adapter=trained_adapter)
    promote(instance, version="v1")
    assert promote(instance, version="v2")["passed_every_gate"] is False
    back = promote(instance, version="v1", reason="v2 rambles")
    assert (back["previous"], back["version"]) == ("v2", "v1")
    stages = {manifest.version: manifest.stage for manifest in own_stores.models.versions("ada")}
    assert stages == {"v1": "production", "v2": "archived"}


def test_nothing_that_passed_is_a_clear_failure_and_moves_nothing(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path
):
    evaluated(own_stores, tiny_model, "v1", passed=False)
    with pytest.raises(Exception, match="no candidate that passed every gate"):
        promote(instance)
    assert own_stores.models.production("ada") is None


def test_a_recipe_says_how_much_is_evaluated_and_a_run_may_say_otherwise():
    recipe = {"evaluation": {"n_drafts": 2, "max_clusters": 9}}
    assert EvaluationConfig().options(recipe) == Options(n_drafts=2, max_clusters=9)
    assert EvaluationConfig(n_drafts=5).options(recipe) == Options(n_drafts=5, max_clusters=9)
    assert EvaluationConfig().options({}) == Options()
    with pytest.raises(BadRecipe, match=r"evaluation\.drafts: .*known: max_clusters"):
        EvaluationConfig().options({"evaluation": {"drafts": 2}})


def broken_weights(folder: Path) -> str:
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"half a file")
    return "are not those that were published"


def no_weights(folder: Path) -> str:
    (folder / "adapter" / "adapter_model.safetensors").unlink()
    return "has no weights in"


def no_configuration(folder: Path) -> str:
    (folder / "adapter" / "adapter_config.json").unlink()
    return "does not load on"


@pytest.mark.parametrize("breaks", [broken_weights, no_weights, no_configuration])
def test_a_version_that_does_not_load_is_refused_and_production_stays(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path, trained_adapter: Path, breaks
):
    for version in ("v1", "v2"):
        evaluated(own_stores, tiny_model, version, passed=True, adapter=trained_adapter)
    own_stores.models.promote("ada", "v1", "Ada", "")
    said = breaks(Path(own_stores.models.version("ada", "v2").path))
    with pytest.raises(Exception, match=f"ada@v2.* {said}"):
        promote(instance, version="v2")
    assert own_stores.models.production("ada").version == "v1"


def test_weights_that_are_no_numbers_are_refused(own_stores: Stores, tiny_model: Path, trained_adapter: Path):
    from safetensors.torch import load_file, save_file

    manifest = evaluated(own_stores, tiny_model, "v1", passed=True, adapter=trained_adapter)
    weights = Path(manifest.path) / "adapter" / "adapter_model.safetensors"
    save_file({name: tensor * float("nan") for name, tensor in load_file(weights).items()}, weights)
    whole = {"weights_sha256": sha256_of_files(weights.parent)}
    with pytest.raises(TwinError, match="the logits of ada@v1 are not finite numbers"):
        check_loads(own_stores, manifest.model_copy(update=whole), lambda _: None)


def test_a_recipes_limits_and_options_of_today_judge_a_version_and_train_none(
    own_stores: Stores, instance: dg.DagsterInstance, tiny_model: Path, tmp_path: Path, monkeypatch
):
    """A limit that moved, or more that is drafted, is a new verdict and no new training."""
    monkeypatch.setenv("TWIN_RECIPES_DIR", str(tmp_path))
    open_stores.cache_clear()
    stores = open_stores()
    profile = AuthorProfile(id="ada", name="Ada", consent=Consent(who="Ada"), recipes=[RecipeChoice(name=RECIPE)])
    stores.warehouse.profiles.add(profile)
    publish_version(stores, [row(n, "train") for n in range(5)], tiny_model)

    def write(**keys: object) -> None:
        (tmp_path / f"{RECIPE}.yaml").write_text(yaml.safe_dump({"description": "d", **keys}))

    def limits() -> dict[str, float]:
        return {gate.name: gate.limit for gate in stores.models.version("ada", "v1").gates}

    def judged() -> bool:
        return is_evaluated(stores, stores.models.version("ada", "v1"))

    write(gates={"enough_held_out": 9}, evaluation={"n_drafts": 2})
    assert not judged()
    report(instance, {})
    assert judged()
    assert limits()["enough_held_out"] == 9
    write(gates={"enough_held_out": 12}, evaluation={"n_drafts": 2})
    assert not judged()
    assert metadata(report(instance, {}), "evaluation_report")["already_evaluated"] is True
    assert judged()
    assert limits()["enough_held_out"] == 12
    write(gates={"enough_held_out": 12}, evaluation={"n_drafts": 3})
    assert not judged()
