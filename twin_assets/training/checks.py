"""Blocking checks on a finished training, before it enters the registry."""

import math
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from twin_assets.partitions import authors_recipes
from twin_assets.training.result import ADAPTER, TrainingResult

SPECS = {
    "weights_sound": "Every weight of the adapter is finite, and training has moved it from where it began.",
    "loss_sound": "The loss was a number to the end.",
}


def adapter_check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """Partitioned, so that one author's failure is nobody else's status."""
    return [
        dg.AssetCheckSpec(name, asset=asset, description=text, blocking=True, partitions_def=authors_recipes)
        for name, text in SPECS.items()
    ]


def adapter_verdicts(asset: str, folder: Path) -> Iterator[dg.AssetCheckResult]:
    """Yield the checks' results; raises dagster.Failure, without retries, when one did not pass."""
    verdicts = {"weights_sound": _weights(folder / ADAPTER), "loss_sound": _loss(folder)}
    for name, (passed, text) in verdicts.items():
        yield dg.AssetCheckResult(
            asset_key=dg.AssetKey(asset), check_name=name, passed=passed, metadata={"result": text}
        )
    failed = [f"{name}: {text}" for name, (passed, text) in verdicts.items() if not passed]
    if failed:
        raise dg.Failure(
            f"{asset}: nothing was published. {'; '.join(failed)}. A lower learning_rate in the recipe usually helps; "
            f"the folder {folder} can be looked at, and is made anew once it is deleted",
            allow_retries=False,
        )


def _weights(folder: Path) -> tuple[bool, str]:
    from safetensors import safe_open

    infinite = unmoved = total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118  a safe_open handle is no mapping
                tensor = file.get_tensor(name)
                total += 1
                infinite += not bool(tensor.isfinite().all())
                # LoRA's B begins as zeros, so that training starts at the base model.
                unmoved += "lora_B" in name and not bool(tensor.any())
    text = f"{total} tensors, {infinite} not finite, {unmoved} never moved"
    return total > 0 and not infinite and not unmoved, text


def _loss(folder: Path) -> tuple[bool, str]:
    result = TrainingResult.read(folder)
    if result is None:
        return False, "there is no result"
    text = f"{result.loss_first:.3f} at the first line, {result.loss_last:.3f} at the last"
    return math.isfinite(result.loss_first) and math.isfinite(result.loss_last), text
