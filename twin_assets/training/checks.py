"""Blocking checks on a finished training, before it enters the registry."""

import math
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from twin_assets.orchestration.partitions import authors_recipes
from twin_assets.training.result import ADAPTER, TrainingResult, weights_sound

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
    verdicts = {"weights_sound": weights_sound(folder / ADAPTER), "loss_sound": _loss(folder)}
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


def _loss(folder: Path) -> tuple[bool, str]:
    result = TrainingResult.read(folder)
    if result is None:
        return False, "there is no result"
    text = f"{result.loss_first:.3f} at the first line, {result.loss_last:.3f} at the last"
    return math.isfinite(result.loss_first) and math.isfinite(result.loss_last), text
