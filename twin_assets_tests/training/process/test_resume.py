"""A training that is cut off anywhere ends as if it had not been."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twin_assets.stores.models import sha256_of_files
from twin_assets.training.assets import resolved_recipe
from twin_assets.training.process.train import train
from twin_assets.training.result import ADAPTER
from twin_assets_tests.training.conftest import RECIPE, publish_dataset, rows
from twin_assets_tests.training.process.cutting import CutOffError, cut_off_at

LINEAGE = {"author": "ada", "version": "v1", "dataset": "instruction_dataset-00001"}


@pytest.mark.slow
@pytest.mark.parametrize(("accumulation", "dropout"), [(1, 0.0), (2, 0.0), (1, 0.2)])
def test_the_weights_are_the_same_wherever_a_training_is_cut_off(
    own_stores, write_recipe, make_tiny_model, tmp_path, accumulation, dropout
):
    """Ten windows, four or eight a step: 12 steps are four or six epochs."""
    publish_dataset(own_stores, rows(n_train=10))
    write_recipe(
        make_tiny_model(context=256),
        max_steps=12,
        gradient_accumulation=accumulation,
        validation_windows=2,
        lora={"r": 4, "alpha": 8, "dropout": dropout},
    )
    table = own_stores.features.table("ada", "instruction_dataset")
    n = iter(range(1000))

    def weights(cut_at: int | None = None, save_steps: int = 100) -> str:
        folder = tmp_path / f"{next(n)}"
        recipe = resolved_recipe(own_stores, "ada", RECIPE)
        recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"save_steps": save_steps})})
        arguments = (recipe, table, folder, own_stores.settings, LINEAGE, lambda _: None)
        if cut_at is not None:
            with pytest.MonkeyPatch.context() as patch:
                cut_off_at(patch, cut_at)
                with pytest.raises(CutOffError):
                    train(*arguments)
        train(*arguments)
        return sha256_of_files(folder / ADAPTER)

    whole = weights()

    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
    @given(cut_at=st.integers(0, 11), save_steps=st.integers(1, 5))
    def holds(cut_at: int, save_steps: int) -> None:
        assert weights(cut_at, save_steps) == whole

    holds()
