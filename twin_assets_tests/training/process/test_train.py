"""The training process's work, on small models of the architectures that recipes name."""

import json
import time
from pathlib import Path

import pytest

from twin_assets.errors import BadRecipe, NotEnoughWriting, TwinError
from twin_assets.stores.models import sha256_of_files
from twin_assets.training.assets import resolved_recipe
from twin_assets.training.process import train as training
from twin_assets.training.process.train import last_checkpoint, planned_steps, train
from twin_assets.training.result import ADAPTER, CHECKPOINTS, CURVE, TrainingResult
from twin_assets_tests.training.conftest import RECIPE, publish_dataset, row, rows
from twin_assets_tests.training.process.cutting import CutOffError, cut_off_at

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


def curve_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / CURVE).read_text().splitlines()]


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen3"])
def test_each_architecture_learns_the_authors_writing(fit, write_recipe, make_tiny_model, architecture, tmp_path):
    write_recipe(make_tiny_model(architecture), max_steps=30)
    result = fit()
    assert result.validation_after < result.validation_before - 0.3
    assert result.steps == 30
    losses = [line["loss"] for line in curve_of(tmp_path / "out") if "loss" in line]
    assert losses[-1] < losses[0]
    assert [path.name for path in (tmp_path / "out" / ADAPTER).glob("*.safetensors")] == ["adapter_model.safetensors"]
    assert not (tmp_path / "out" / CHECKPOINTS).exists()


def test_a_training_on_a_cpu_scores_answers_only_by_the_base_that_is_frozen(fit, monkeypatch):
    from twin_assets.training.process import trainer

    scored: list[int] = []
    real = trainer.answer_nll
    monkeypatch.setattr(trainer, "answer_nll", lambda model, batch: scored.append(1) or real(model, batch))
    fit()
    assert len(scored) > 12


def test_qlora_trains_on_a_base_in_4_bits(fit, write_recipe):
    write_recipe(precision="nf4", max_steps=30)
    result = fit()
    assert result.base.precision == "nf4"
    assert result.validation_after < result.validation_before - 0.3


def test_the_same_writing_gives_the_same_weights(fit, tmp_path):
    fit("a")
    fit("b")
    assert sha256_of_files(tmp_path / "a" / ADAPTER) == sha256_of_files(tmp_path / "b" / ADAPTER)


def test_a_training_that_was_cut_off_goes_on_from_its_last_whole_checkpoint(fit, write_recipe, tmp_path, monkeypatch):
    write_recipe(max_steps=12, save_steps=4)
    fit("whole")

    def dies(*_: object) -> None:
        raise CutOffError

    monkeypatch.setattr(training, "_curve", dies)
    with pytest.raises(CutOffError):
        fit("cut")
    monkeypatch.undo()
    checkpoints = tmp_path / "cut" / CHECKPOINTS
    (checkpoints / "checkpoint-12" / "trainer_state.json").unlink()  # cut off while it was being written
    fit("cut")
    assert any("continuing from checkpoint-8" in line for line in fit.said)
    assert sha256_of_files(tmp_path / "cut" / ADAPTER) == sha256_of_files(tmp_path / "whole" / ADAPTER)
    whole, cut = curve_of(tmp_path / "whole"), curve_of(tmp_path / "cut")
    assert [(line["step"], line.get("eval_loss")) for line in cut] == [
        (line["step"], line.get("eval_loss")) for line in whole
    ]


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


@pytest.mark.parametrize(("scheduler", "last_share"), [("linear", 0.3), ("constant_with_warmup", 1.0)])
def test_a_budget_in_minutes_ends_the_training_on_the_recipes_own_schedule(
    fit, write_recipe, tmp_path, scheduler, last_share
):
    write_recipe(max_steps=100_000, epochs=100_000, max_minutes=0.05, save_steps=10_000, scheduler=scheduler)
    started = time.monotonic()
    result = fit()
    assert 1 < result.steps < result.steps_planned
    assert time.monotonic() - started < 60
    assert (tmp_path / "out" / ADAPTER / "adapter_model.safetensors").is_file()
    rates = [line["learning_rate"] for line in curve_of(tmp_path / "out") if "loss" in line]
    assert rates[-1] <= 0.01 * last_share
    assert max(rates) > 0.007, "warm-up is a share of the budget, not of the steps that fit into no budget"
    if scheduler == "constant_with_warmup":
        assert rates[-1] == 0.01


def test_the_first_and_the_last_loss_are_known_however_few_steps_there_were(fit, write_recipe):
    write_recipe(max_steps=100_000, epochs=100_000, max_minutes=0.0001)
    result = fit()
    assert result.steps == 1
    assert result.loss_first == result.loss_last > 0
    assert fit() == result, "it is read back as finished"


def test_minutes_are_of_all_attempts_together(fit, write_recipe, monkeypatch, tmp_path):
    from twin_assets.training.process import callbacks

    write_recipe(max_steps=100_000, epochs=100_000, max_minutes=1, save_steps=3)
    real, clock = callbacks.time.monotonic, [0.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: real() + clock[0])
    cut_off_at(monkeypatch, 3, lambda: clock.__setitem__(0, clock[0] + 15))
    with pytest.raises(CutOffError):
        fit()
    monkeypatch.undo()
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: real() + clock[0])
    cut_off_at(monkeypatch, None, lambda: clock.__setitem__(0, clock[0] + 15))
    result = fit()
    assert result.steps == 4, "45 of 60 seconds were used before, so one more step of 15 is all"
    assert result.seconds > 60
    tokens = [line["learned_tokens"] for line in curve_of(tmp_path / "out") if "loss" in line]
    assert tokens == sorted(tokens)


@pytest.mark.parametrize("settings", [{"learning_rate": 1e30}, {"learning_rate": 1e30, "max_steps": 1}])
def test_a_loss_that_is_no_number_stops_the_training_and_the_next_try_begins_anew(
    fit, write_recipe, tmp_path, settings
):
    write_recipe(**{"warmup": 0.0, "scheduler": "constant_with_warmup", "save_steps": 1, "max_steps": 5000} | settings)
    with pytest.raises(TwinError, match=r"lower learning_rate in .*recipe.*1e\+30") as raised:
        fit()
    assert TrainingResult.read(tmp_path / "out") is None
    if "max_steps" not in settings:
        assert "at step 2" in str(raised.value)
    write_recipe(max_steps=3)
    result = fit()
    assert result.steps == 3
    assert not any("continuing from" in line for line in fit.said)


def test_the_gradients_norm_speed_and_memory_are_on_the_curve(fit, tmp_path):
    fit()
    last = [line for line in curve_of(tmp_path / "out") if "loss" in line][-1]
    assert last["grad_norm"] > 0
    assert last["tokens_per_second"] > 0
    assert last["learned_tokens"] > 1000
    assert last["peak_memory_mib"] > 100


def test_a_result_that_cannot_be_read_is_an_unfinished_training(fit, tmp_path):
    first = fit()
    path = tmp_path / "out" / "result.json"
    for broken in ("", "{", path.read_text().replace(f"{first.loss_last}", "null")):
        path.write_text(broken)
        assert fit().loss_last == first.loss_last


def test_validation_is_scored_along_the_way_where_the_recipe_says_so(fit, write_recipe, tmp_path):
    write_recipe(max_steps=12, validation_steps=5)
    result = fit()
    scored = {line["step"]: line["eval_loss"] for line in curve_of(tmp_path / "out") if "eval_loss" in line}
    assert list(scored) == [0, 5, 10, 12]
    assert (scored[0], scored[12]) == (result.validation_before, result.validation_after)
    assert scored[12] < scored[0]


def test_no_validation_text_leaves_no_validation_loss(own_stores, fit):
    publish_dataset(own_stores, [one for one in rows() if one["split"] == "train"])
    assert (fit().validation_before, fit().validation_after) == (None, None)


def test_the_validation_loss_is_the_plain_models(fit, own_stores, tiny_model):
    """The loss equals transformers' own, window by window."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from twin_assets.training.process.examples import COLUMNS, encode_rows

    found = fit().validation_before
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    table = own_stores.features.table("ada", "instruction_dataset")
    windows = encode_rows(table.rows(COLUMNS, "split = 'validation'"), tokenizer, 256, 128).windows
    total = 0.0
    for window in windows:
        labels = [t if m else -100 for t, m in zip(window.ids, window.mask, strict=True)]
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([window.ids]), labels=torch.tensor([labels])).loss
        total += float(loss) * sum(window.mask)
    assert found == pytest.approx(total / windows.n_learned, abs=2e-4)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_adapters_go_on_the_upper_layers_that_the_recipe_names(fit, write_recipe, tmp_path, share):
    from safetensors import safe_open

    write_recipe(lora={"r": 8, "alpha": 16, "upper_layers": share})
    fit()
    with safe_open(tmp_path / "out" / ADAPTER / "adapter_model.safetensors", "pt") as file:
        layers = {int(name.split(".layers.")[1].split(".")[0]) for name in file.keys()}  # noqa: SIM118
    assert layers == ({1} if share == 0.5 else {0, 1})


def test_the_trainers_prompts_have_the_room_that_the_apis_have_on_a_short_base(
    fit, write_recipe, make_tiny_model, monkeypatch
):
    write_recipe(make_tiny_model(context=192), max_steps=1)
    asked: list[tuple[int, int]] = []
    real = training.encode_rows

    def encode(rows, tokenizer, context_tokens, prompt_tokens, *more, **named):
        asked.append((context_tokens, prompt_tokens))
        return real(rows, tokenizer, context_tokens, prompt_tokens, *more, **named)

    monkeypatch.setattr(training, "encode_rows", encode)
    fit()
    assert set(asked) == {(192, 64)}


def test_a_base_without_a_position_limit_is_a_bad_recipe(fit, write_recipe, make_tiny_model):
    folder = make_tiny_model("bloom")
    config = json.loads((folder / "config.json").read_text())
    config.pop("max_position_embeddings")  # BLOOM has none of its own: its attention is biased by distance
    (folder / "config.json").write_text(json.dumps(config))
    write_recipe(folder)
    with pytest.raises(BadRecipe, match="names no max_position_embeddings"):
        fit()


def test_a_base_too_short_for_the_recipes_answers_is_a_bad_recipe(fit, write_recipe, make_tiny_model):
    write_recipe(make_tiny_model(context=144))
    with pytest.raises(BadRecipe, match=r"answer_tokens 128 leave 16 tokens for a prompt in a context of 144"):
        fit()


def test_progress_is_told_in_words(fit, write_recipe, monkeypatch):
    from twin_assets.training.process import callbacks

    monkeypatch.setattr(callbacks, "PROGRESS_INTERVAL_S", 0.0)
    fit()
    assert any(line.startswith("training: step 12 of 12, loss ") for line in fit.said)


def test_a_base_model_that_is_not_there_is_named(fit, write_recipe, tmp_path):
    write_recipe(tmp_path / "nowhere")
    with pytest.raises(BadRecipe, match="nowhere is not a folder: correct the path in the recipe"):
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


def test_a_training_that_goes_on_is_the_same_run_in_the_tracker(own_stores, write_recipe, monkeypatch, tmp_path):
    from twin_assets.stores import open_stores

    monkeypatch.setenv("TWIN_TRACKING", "offline")
    open_stores.cache_clear()
    stores = open_stores()
    publish_dataset(stores)
    write_recipe(max_steps=6, save_steps=2, validation_steps=3)
    recipe = resolved_recipe(stores, "ada", RECIPE)
    dataset = stores.features.table("ada", "instruction_dataset")
    arguments = (recipe, dataset, tmp_path / "tracked", stores.settings, LINEAGE, lambda _: None)
    with monkeypatch.context() as patch:
        cut_off_at(patch, 4)
        with pytest.raises(CutOffError):
            train(*arguments)
    train(*arguments)
    logs = list((stores.settings.data_dir / "wandb" / "ada").glob("wandb/offline-run-*/*.wandb"))
    assert len(logs) == 2
    assert len({log.stem for log in logs}) == 1, "run-<id>: both attempts are one run"
    content = b"".join(log.read_bytes() for log in logs)
    assert all(name in content for name in (b"eval/loss", b"train/learned_tokens", b"train/tokens_per_second"))
