"""Which version may replace the one in production without a person."""

from datetime import UTC, datetime, timedelta

import pytest

from twin_assets.documents import DatasetRef, Gate, ModelManifest
from twin_assets.evaluation.promotion import choose, compare
from twin_assets_tests.stores.conftest import manifest

SAME_ROWS = {"n_clusters": 9, "n_rows": 20, "n_bytes": 9_000}


def version(name: str, adapter: float | None, *, passed: bool = True, dataset: str = "d", **rows: int) -> ModelManifest:
    bits = {"base": 2.0, "adapter": adapter, **SAME_ROWS, **rows} if adapter is not None else None
    return manifest(
        name,
        evaluation={"bits_per_byte": bits},
        gates=[Gate(name="g", value=1, limit=2, passed=passed)],
        dataset=DatasetRef(table=f"instruction_dataset-{dataset}", version="1", data_version=dataset),
        created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=int(name[1:])),
    )


def test_the_better_of_two_that_were_measured_on_the_same_rows_is_known():
    assert compare(version("v2", 1.1), version("v1", 1.2)).better is True
    assert compare(version("v2", 1.2), version("v1", 1.2)).better is False
    assert "1.3000 bits per byte, v1 has 1.2000" in compare(version("v2", 1.3), version("v1", 1.2)).text


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (version("v1", 1.2, dataset="e"), "another dataset"),
        (version("v1", None), "v1 has no bits per byte measured"),
        (version("v1", 1.2, n_bytes=9_001), "different held-out rows"),
        (manifest("v1"), "v1 has no bits per byte measured"),
    ],
)
def test_what_was_not_measured_on_the_same_rows_cannot_be_compared(other, why):
    found = compare(version("v2", 0.1), other)
    assert found.better is None
    assert why in found.text


def test_the_best_of_those_that_are_better_is_chosen_and_not_the_newest():
    production = version("v1", 1.4)
    choice = choose([version("v2", 1.1), version("v3", 1.3), version("v4", 0.9, passed=False)], production)
    assert choice.manifest is not None
    assert choice.manifest.version == "v2"
    assert "better than production: 1.1000 bits per byte, v1 has 1.4000" in choice.reason


@pytest.mark.parametrize("candidate", [version("v2", 1.4), version("v2", 1.5), version("v2", 0.1, dataset="e")])
def test_production_is_never_replaced_by_what_is_not_known_to_be_better(candidate):
    choice = choose([candidate], version("v1", 1.4))
    assert choice.manifest is None
    assert choice.reason.startswith("ada@v2 passed every gate and ")


def test_with_nothing_in_production_the_newest_is_taken_unless_another_is_known_to_be_better():
    assert choose([], None).manifest is None
    known = choose([version("v1", 1.1), version("v2", 1.3)], None).manifest
    unknown = choose([version("v1", 1.1, dataset="e"), version("v2", 1.3)], None).manifest
    assert known is not None
    assert unknown is not None
    assert (known.version, unknown.version) == ("v1", "v2")
