"""The checks between a finished training and the registry."""

import dagster as dg
import pytest
import torch
from safetensors.torch import save_file

from twin_assets.documents import BaseModelRef
from twin_assets.training.checks import adapter_verdicts
from twin_assets.training.result import ADAPTER, TrainingResult


def finished(folder, weight: float = 1.0, loss: float = 1.0):
    """A folder as a training leaves it, of one layer."""
    (folder / ADAPTER).mkdir(parents=True)
    save_file({"x.lora_B.weight": torch.tensor([weight])}, folder / ADAPTER / "adapter_model.safetensors")
    counts = dict.fromkeys(
        ("steps", "steps_planned", "n_rows", "n_windows", "n_too_long", "dropped_passages", "trained_parameters"), 1
    )
    TrainingResult(
        base=BaseModelRef(name="b", revision="r", precision="fp32"),
        prompt_template="ours",
        loss_first=loss,
        loss_last=loss,
        validation_before=None,
        validation_after=None,
        seconds=1.0,
        peak_memory_mib=1,
        device="cpu",
        tracking_run=None,
        **counts,
    ).write(folder)
    return folder


def verdicts(folder) -> dict[str, bool]:
    shown: list[dg.AssetCheckResult] = []
    with pytest.raises(dg.Failure, match="nothing was published"):
        shown.extend(adapter_verdicts("adapter", folder))
    return {one.check_name: one.passed for one in shown}


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 0.0])
def test_weights_that_are_no_numbers_or_never_moved_do_not_pass(tmp_path, weight):
    assert verdicts(finished(tmp_path / "out", weight=weight)) == {"weights_sound": False, "loss_sound": True}


def test_a_loss_that_is_no_number_is_read_and_does_not_pass(tmp_path):
    assert verdicts(finished(tmp_path / "out", loss=float("nan"))) == {"weights_sound": True, "loss_sound": False}


def test_a_sound_training_passes(tmp_path):
    assert all(one.passed for one in adapter_verdicts("adapter", finished(tmp_path / "out")))
