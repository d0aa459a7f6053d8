"""The gates as asset checks, which show the registry's verdict and block nothing."""

from collections.abc import Iterable

import dagster as dg

from twin_assets.documents import Gate
from twin_assets.evaluation.gates import DESCRIPTIONS
from twin_assets.orchestration.partitions import authors_recipes


def check_specs(asset: str) -> list[dg.AssetCheckSpec]:
    """One check per gate. They are partitioned, so that a failure shows for its own author and recipe only."""
    return [
        dg.AssetCheckSpec(name, asset=asset, description=description, partitions_def=authors_recipes)
        for name, description in DESCRIPTIONS.items()
    ]


def check_results(asset: str, gates: Iterable[Gate]) -> list[dg.AssetCheckResult]:
    """The gates as check results. A failed gate is only a warning, because the run itself succeeded."""
    return [
        dg.AssetCheckResult(
            asset_key=dg.AssetKey(asset),
            check_name=gate.name,
            passed=gate.passed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"result": gate.text, **_numbers(gate)},
        )
        for gate in gates
    ]


def _numbers(gate: Gate) -> dict[str, float]:
    return {name: value for name in ("value", "limit") if (value := getattr(gate, name)) is not None}
