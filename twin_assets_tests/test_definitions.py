"""What the definitions promise before anything runs."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from twin_assets.collection.registry import crawlers
from twin_assets.definitions import ASSETS, defs
from twin_assets.orchestration.partitions import authors, authors_recipes

ROOT = Path(__file__).resolve().parent.parent

BY_AUTHOR = {
    "raw/blog", "raw/files", "cleaned_documents", "chunks", "embeddings", "instruction_dataset", "production_model",
    "monitoring_report",
}  # fmt: skip
BY_AUTHOR_AND_RECIPE = {"preference_pairs", "adapter", "evaluation_report"}


def specs() -> list[dg.AssetSpec]:
    return [spec for asset in ASSETS for spec in asset.specs]


def test_every_asset_of_the_design_exists_with_its_partitions():
    by_partitions = {spec.key.to_user_string(): spec.partitions_def for spec in specs()}
    assert {key for key, partitions in by_partitions.items() if partitions == authors} >= BY_AUTHOR
    assert {key for key, partitions in by_partitions.items() if partitions == authors_recipes} == BY_AUTHOR_AND_RECIPE


@pytest.mark.parametrize("spec", specs(), ids=lambda spec: spec.key.to_user_string())
def test_every_asset_says_what_it_is(spec):
    assert spec.description
    assert spec.group_name in {"collection", "features", "training", "evaluation", "monitoring"}
    assert spec.owners
    assert spec.kinds
    assert spec.code_version


def test_every_check_is_partitioned():
    checks = [spec for asset in ASSETS for spec in asset.check_specs]
    assert len(checks) > 10
    assert not [check.name for check in checks if check.partitions_def is None]


def test_every_stage_has_checks():
    checked = {check.asset_key.to_user_string() for asset in ASSETS for check in asset.check_specs}
    unchecked = {spec.key.to_user_string() for spec in specs()} - checked
    assert unchecked <= {"preference_pairs", "production_model"}


def test_automation_is_on_and_makes_no_backfills():
    [sensor] = [s for s in defs.sensors or [] if isinstance(s, dg.AutomationConditionSensorDefinition)]
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.emit_backfills is False


def test_definitions_load():
    dg.Definitions.validate_loadable(defs)
    assert {key.path[-1] for key in defs.resolve_all_asset_keys()} >= set(crawlers())


def test_importing_the_definitions_is_quick_and_loads_nothing_heavy():
    heavy = {"torch", "transformers", "lancedb", "gradio", "litellm", "wandb", "ray", "pyarrow", "numpy"}
    code = "import sys, twin_assets.definitions; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert not heavy & set(out.split())
    # Processor time, of the best of five whole processes each, taken in turns: other work disturbs it least.
    pairs = [(_seconds("import twin_assets.definitions"), _seconds("import dagster")) for _ in range(5)]
    ours, bare = (min(times) for times in zip(*pairs, strict=True))
    assert ours <= 1.5 * bare, f"{ours:.2f} s against {bare:.2f} s"


def _seconds(code: str) -> float:
    script = f"import time; t = time.process_time(); {code}; print(time.process_time() - t)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return float(done.stdout)


def test_instance_configuration_is_what_the_design_asks():
    config = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert config["telemetry"] == {"enabled": False}
    assert config["storage"]["sqlite"]["base_dir"] == {"env": "TWIN_DAGSTER_DIR"}
    assert config["concurrency"]["pools"] == {"granularity": "op", "default_limit": 1}
    assert config["run_retries"] == {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False}
    assert config["run_monitoring"]["enabled"]
    assert config["retention"]


def test_crawls_and_training_take_turns_in_their_pools():
    pools = {asset.key.to_user_string(): asset.op.pool for asset in ASSETS}
    assert pools["adapter"] == "gpu"
    assert pools["raw/files"] == "crawl_files"
    assert pools["raw/blog"] == "crawl_blog"


CODE_VERSIONS = {
    "adapter": "2",
    "chunks": "5f2772354722a182",
    "cleaned_documents": "45dcd36470e27026",
    "embeddings": "5045b81045414736",
    "evaluation_report": "2",
    "instruction_dataset": "a60ff0b5ef2eaf55",
    "monitoring_report": "1",
    "preference_pairs": "2",
    "production_model": "1",
}
"""Changing one of these makes every row or model of that asset again, for every author: do it only on purpose."""


def test_no_row_and_no_model_is_made_again_by_accident():
    """Renaming a function, rewording a docstring or moving a module must leave these as they are."""
    versions = {spec.key.to_user_string(): spec.code_version for spec in specs()}
    crawled = {name: version for name, version in versions.items() if name.startswith("raw/")}
    assert {name: version for name, version in versions.items() if name not in crawled} == CODE_VERSIONS
    assert set(crawled.values()) == {"1"}
