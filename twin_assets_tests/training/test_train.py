"""The training process's work, on small models of the architectures that recipes name."""

import json
import time

import pytest

from twin_assets.errors import BadRecipe, NotEnoughWriting
from twin_assets.stores.models import sha256_of_files
from twin_assets.training import train as training
from twin_assets.training.assets import resolved_recipe
from twin_assets.training.result import ADAPTER, CHECKPOINTS, CURVE, TrainingResult
from twin_assets.training.train import last_checkpoint, planned_steps, train
from twin_assets_tests.training.conftest import RECIPE, publish_dataset, row

LINEAGE = {"author": "ada", "version": "v1", "dataset": "instruction_dataset-00001"}


@pytest.fixture
def fit(own_stores, write_recipe, tmp_path):
    """fit(folder name) -> result: trains the recipe on ada's dataset."""
    publish_dataset(own_stores)
    said: list[str] = []

    def run(name: str = "out") -> TrainingResult:
        recipe = resolved_recipe(own_stores, "ada", RECIPE)
        dataset = own_stores.features.table("ada", "instruction_dataset")
        return train(recipe, dataset, tmp_path / name, own_stores.settings, LINEAGE, said.append)

    run.said = said  # type: ignore[attr-defined]
    return run


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen3"])
def test_each_architecture_learns_the_authors_writing(fit, write_recipe, make_tiny_model, architecture, tmp_path):
    write_recipe(make_tiny_model(architecture), max_steps=30)
    result = fit()
    assert result.validation_after < result.validation_before - 0.3
    assert result.steps == 30
    curve = [json.loads(line) for line in (tmp_path / "out" / CURVE).read_text().splitlines()]
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert [path.name for path in (tmp_path / "out" / ADAPTER).glob("*.safetensors")] == ["adapter_model.safetensors"]
    assert not (tmp_path / "out" / CHECKPOINTS).exists()


def test_qlora_trains_on_a_base_in_4_bits(fit, write_recipe):
    write_recipe(precision="nf4", max_steps=30)
    result = fit()
    assert result.base.precision == "nf4"
    assert result.validation_after < result.validation_before - 0.3


def test_the_same_writing_gives_the_same_weights(fit, tmp_path):
    fit("a")
    fit("b")
    assert sha256_of_files(tmp_path / "a" / ADAPTER) == sha256_of_files(tmp_path / "b" / ADAPTER)


def test_a_training_that_was_cut_off_goes_on_from_its_checkpoint_to_the_same_weights(
    fit, write_recipe, tmp_path, monkeypatch
):
    write_recipe(max_steps=12, save_steps=4)
    fit("whole")

    class CutOffError(Exception):
        pass

    real = training.Generator
    calls = []

    def dies_at_the_end(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise CutOffError
        return real(*arguments)

    monkeypatch.setattr(training, "Generator", dies_at_the_end)
    with pytest.raises(CutOffError):
        fit("cut")
    monkeypatch.undo()
    checkpoints = tmp_path / "cut" / CHECKPOINTS
    (checkpoints / "checkpoint-12" / "trainer_state.json").unlink()  # cut off while it was being written
    fit("cut")
    assert any("going on from checkpoint-8" in line for line in fit.said)
    assert sha256_of_files(tmp_path / "cut" / ADAPTER) == sha256_of_files(tmp_path / "whole" / ADAPTER)
    assert (tmp_path / "cut" / CURVE).read_text().count("\n") == (tmp_path / "whole" / CURVE).read_text().count("\n")


def test_a_checkpoint_without_its_last_file_is_thrown_away(tmp_path):
    whole, broken = tmp_path / "checkpoint-4", tmp_path / "checkpoint-8"
    for folder, text in ((whole, "{}"), (broken, '{"ep')):
        folder.mkdir()
        (folder / "trainer_state.json").write_text(text)
    assert last_checkpoint(tmp_path) == whole
    assert not broken.exists()
    assert last_checkpoint(tmp_path / "nothing") is None


def test_a_finished_training_is_not_done_again(fit, tmp_path):
    first = fit()
    written = (tmp_path / "out" / "result.json").stat().st_mtime_ns
    assert fit() == first
    assert (tmp_path / "out" / "result.json").stat().st_mtime_ns == written


def test_a_budget_in_minutes_ends_the_training_with_a_small_learning_rate(fit, write_recipe, tmp_path):
    write_recipe(max_steps=100_000, epochs=100_000, max_minutes=0.05, save_steps=10_000)
    started = time.monotonic()
    result = fit()
    assert 1 < result.steps < result.steps_planned
    assert time.monotonic() - started < 60
    assert (tmp_path / "out" / ADAPTER / "adapter_model.safetensors").is_file()


def test_progress_is_told_in_words(fit, write_recipe, monkeypatch):
    from twin_assets.training import trainer

    monkeypatch.setattr(trainer, "SAY_EVERY_S", 0.0)
    fit()
    assert any(line.startswith("training: step 12 of 12, loss ") for line in fit.said)


def test_a_base_model_that_is_not_there_is_named(fit, write_recipe, tmp_path):
    write_recipe(tmp_path / "nowhere")
    with pytest.raises(BadRecipe, match="nowhere is no folder: mend the path in the recipe"):
        fit()


def test_nothing_that_fits_is_said_with_the_way_out(own_stores, write_recipe, fit):
    publish_dataset(own_stores, [row(1, "train") | {"instruction": "tide " * 900}])
    with pytest.raises(NotEnoughWriting, match=r"1 too long.*more context_tokens"):
        fit()


def test_steps_follow_epochs_up_to_the_most(own_stores, write_recipe):
    write_recipe(epochs=3, max_steps=None, batch_size=4, gradient_accumulation=2)
    recipe = resolved_recipe(own_stores, "ada", RECIPE)
    assert planned_steps(recipe, 41) == 18
    assert planned_steps(recipe, 1) == 3
    write_recipe(epochs=3, max_steps=5)
    assert planned_steps(resolved_recipe(own_stores, "ada", RECIPE), 41) == 5


def test_losses_configuration_and_lineage_are_tracked_offline(fit, own_stores, monkeypatch, tmp_path):
    from twin_assets.stores import open_stores

    monkeypatch.setenv("TWIN_TRACKING", "offline")
    open_stores.cache_clear()
    stores = open_stores()
    recipe = resolved_recipe(stores, "ada", RECIPE)
    dataset = stores.features.table("ada", "instruction_dataset")
    result = train(recipe, dataset, tmp_path / "tracked", stores.settings, LINEAGE, lambda _: None)
    run = result.tracking_run
    assert run.startswith(str(stores.settings.data_dir / "wandb" / "ada"))
    [log] = list(__import__("pathlib").Path(run).glob("*.wandb"))
    content = log.read_bytes()
    assert b"instruction_dataset-00001" in content
    assert b"train/loss" in content
