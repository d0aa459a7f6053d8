"""Blocking checks on a finished training, before it enters the registry."""

import math
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from twin_assets.orchestration.partitions import authors_recipes
from twin_assets.training.result import ADAPTER, TrainingResult, weights_sound

SPECS = {
    "weights_sound": "Every weight of the adapter is finite, and training has changed each layer.",
    "loss_sound": "The loss stayed a finite number until the end.",
}


def adapter_check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """The checks' specs. They are partitioned, so that a failure shows for its own author and recipe only."""
    return [
        dg.AssetCheckSpec(name, asset=asset, description=text, blocking=True, partitions_def=authors_recipes)
        for name, text in SPECS.items()
    ]


def adapter_verdicts(asset: str, folder: Path) -> Iterator[dg.AssetCheckResult]:
    """Yield the results of the checks. Raises dagster.Failure, without retries, if one did not pass."""
    verdicts = {"weights_sound": weights_sound(folder / ADAPTER), "loss_sound": _loss(folder)}
    for name, (passed, text) in verdicts.items():
        yield dg.AssetCheckResult(
            asset_key=dg.AssetKey(asset), check_name=name, passed=passed, metadata={"result": text}
        )
    failed = [f"{name}: {text}" for name, (passed, text) in verdicts.items() if not passed]
    if failed:
        raise dg.Failure(
            f"{asset}: nothing was published. {'; '.join(failed)}. A lower learning_rate in the recipe usually helps; "
            f"to train again, delete the folder {folder}",
            allow_retries=False,
        )


def _loss(folder: Path) -> tuple[bool, str]:
    result = TrainingResult.read(folder)
    if result is None:
        return False, "there is no training result"
    text = f"{result.loss_first:.3f} at the first line, {result.loss_last:.3f} at the last"
    return math.isfinite(result.loss_first) and math.isfinite(result.loss_last), text
