"""The result of the training process: a folder with the adapter, its loss curve, and `result.json`, written last."""

import resource
import sys
from pathlib import Path

from pydantic import ConfigDict, ValidationError

from twin_assets.documents import BaseModelRef, Stored

FILE = "result.json"
ADAPTER = "adapter"
CURVE = "metrics.jsonl"
CHECKPOINTS = "checkpoints"

CURVE_POINTS = 100
"""The loss curve has about this many points."""


class TrainingResult(Stored):
    """The counts, losses and times of a finished training.

    Losses are in nats per answer token. n_windows: training sequences of at most `context_tokens`. n_learned: answer
    tokens that the steps learned from, counted again in every epoch. seconds: the time of all attempts together.
    """

    model_config = ConfigDict(ser_json_inf_nan="constants")

    base: BaseModelRef
    prompt_template: str
    steps: int
    steps_planned: int
    n_rows: int
    n_windows: int
    n_too_long: int
    dropped_passages: int
    trained_parameters: int
    loss_first: float
    loss_last: float
    validation_before: float | None
    validation_after: float | None
    n_learned: int = 0
    seconds: float
    peak_memory_mib: int
    device: str
    tracking_run: str | None

    def metrics(self) -> dict[str, float]:
        """The figures as the manifest keeps them; without validation rows there are no validation losses."""
        named: dict[str, float | None] = {
            "steps": self.steps,
            "steps_planned": self.steps_planned,
            "rows": self.n_rows,
            "windows": self.n_windows,
            "rows_too_long": self.n_too_long,
            "dropped_passages": self.dropped_passages,
            "trained_parameters": self.trained_parameters,
            "loss_first": self.loss_first,
            "loss_last": self.loss_last,
            "validation_before": self.validation_before,
            "validation_after": self.validation_after,
            "learned_tokens": self.n_learned,
            "seconds": self.seconds,
            "peak_memory_mib": self.peak_memory_mib,
        }
        return {name: value for name, value in named.items() if value is not None}

    @classmethod
    def read(cls, folder: Path) -> "TrainingResult | None":
        """The result in a training folder; None if it cannot be read, which means that training has not finished."""
        try:
            return cls.model_validate_json((folder / FILE).read_text())
        except (OSError, ValidationError, UnicodeDecodeError):
            return None

    def write(self, folder: Path) -> None:
        """Write the file in one step, because a folder that holds it counts as a finished training."""
        new = folder / f"{FILE}.new"
        new.write_text(self.model_dump_json(indent=1))
        new.replace(folder / FILE)


def weights_sound(folder: Path) -> tuple[bool, str]:
    """(whether every weight of the adapter is finite and each layer has changed, what was found in words)."""
    from safetensors import safe_open

    infinite = unmoved = total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  a safe_open handle is no mapping
                tensor = file.get_tensor(name)
                total += 1
                infinite += not bool(tensor.isfinite().all())
                # LoRA's B starts as zeros, so that training starts from the base model.
                unmoved += "lora_B" in name and not bool(tensor.any())
    text = f"{total} tensors, {infinite} not finite, {unmoved} never moved"
    return total > 0 and not infinite and not unmoved, text


def peak_memory_mib(device: str) -> int:
    """The most memory that this process has held, in MiB: GPU memory on `cuda`, else resident memory."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated()) // 2**20
    # ru_maxrss is in kilobytes, except on macOS, where it is in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
