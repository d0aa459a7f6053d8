"""The feature assets over a real warehouse and feature store, run in process."""

import re
from collections.abc import Callable

import dagster as dg
import pytest

from twin_assets.documents import Category
from twin_assets.features import assets as features
from twin_assets.features.cleaning import own_lines
from twin_assets.orchestration.partitions import add_partitions
from twin_assets.stores import Stores
from twin_assets.stores.features_io import FeaturesIOManager


def own_words(text: str, category: Category) -> str:
    """A cleaned text without what it quotes."""
    own, lines = own_lines(text, category), text.split("\n")
    words = "\n".join(line for number, line in enumerate(lines) if number in own)
    return re.sub(r"\n{3,}", "\n\n", words).strip("\n") + "\n" if words.strip() else ""


@pytest.fixture
def materialize(project: Stores, ada) -> Callable[..., dg.ExecuteInProcessResult]:
    """materialize(*assets) -> result, for author ada on one ephemeral instance."""
    instance = dg.DagsterInstance.ephemeral()
    add_partitions(instance, ["ada"], [])
    everything = features.assets([])

    def run(*names: str, raise_on_error: bool = True) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            everything,
            selection=list(names) or None,
            partition_key="ada",
            instance=instance,
            resources={"features": FeaturesIOManager()},
            raise_on_error=raise_on_error,
        )

    run.instance = instance  # type: ignore[attr-defined]
    return run
