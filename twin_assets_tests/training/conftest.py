"""An author with a dataset, and recipes on small models made on the spot."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from twin_assets.documents import AuthorProfile, Consent, RecipeChoice
from twin_assets.orchestration.partitions import add_partitions
from twin_assets.schemas import INSTRUCTION_DATASET, from_dicts
from twin_assets.stores import Stores, open_stores
from twin_assets.stores.features import Publication, Snapshot
from twin_assets_tests.evaluation.conftest import dataset_rows, row

RECIPE = "small"


def rows(n_train: int = 40) -> list[dict[str, Any]]:
    return [*dataset_rows(n_train, 4), *(row(500 + n, "validation") for n in range(6))]


def publish_dataset(stores: Stores, given: list[dict[str, Any]] | None = None) -> Publication:
    table = from_dicts(given or rows(), INSTRUCTION_DATASET)
    return stores.features.commit_snapshot("ada", "instruction_dataset", Snapshot(table))


@pytest.fixture
def own_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    """What `open_stores()` gives in an asset's body and in its child process: stores of this test alone."""
    monkeypatch.setenv("TWIN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TWIN_RECIPES_DIR", str(tmp_path / "recipes"))
    monkeypatch.setenv("TWIN_TRACKING", "disabled")
    (tmp_path / "recipes").mkdir()
    open_stores.cache_clear()
    stores = open_stores()
    profile = AuthorProfile(
        id="ada", name="Ada Example", consent=Consent(who="Ada Example"), recipes=[RecipeChoice(name=RECIPE)]
    )
    stores.warehouse.profiles.add(profile)
    yield stores
    open_stores.cache_clear()


@pytest.fixture
def write_recipe(own_stores: Stores, tiny_model: Path) -> Callable[..., None]:
    """write_recipe(base=…, precision=…, lora=…, **training): a small recipe under the name RECIPE."""

    def write(
        base: str | Path | None = None, precision: str = "fp32", lora: dict[str, Any] | None = None, **training: object
    ) -> None:
        content = {
            "description": "small",
            "base": {"name": str(base or tiny_model), "precision": precision},
            "context_tokens": 256,
            "answer_tokens": 128,
            "lora": lora or {"r": 8, "alpha": 16},
            "training": {"max_steps": 12, "epochs": 100, "learning_rate": 0.01, "batch_size": 4, "save_steps": 4}
            | training,
        }
        (own_stores.settings.recipes_dir / f"{RECIPE}.yaml").write_text(yaml.safe_dump(content))

    write()
    return write


@pytest.fixture
def instance(dagster_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    add_partitions(dagster_instance, ["ada"], [RECIPE])
    return dagster_instance
