"""From figures to the verdict that promotion reads."""

import pytest

from twin_assets.errors import BadRecipe
from twin_assets.evaluation.gates import DESCRIPTIONS, LIMITS, gates, limits_of, verdict
from twin_assets.evaluation.likelihood import Likelihood
from twin_assets.evaluation.result import Copying, Evaluation, StyleDistance


def evaluation(n_clusters: int = 12, difference: float = -0.2, copied: float = 0.01, adapter_style: float = 0.5):
    return Evaluation(
        made_by="x",
        version="v1",
        dataset="instruction_dataset-00001",
        base_model="base@1",
        n_clusters=n_clusters,
        n_rows=n_clusters,
        n_left_out=0,
        n_too_long=0,
        likelihoods=[
            Likelihood(
                name="all",
                n_clusters=n_clusters,
                n_rows=n_clusters,
                n_bytes=9000,
                base=2.5,
                adapter=2.5 + difference,
                difference=difference,
                low=difference - 0.1,
                high=difference + 0.1,
            )
        ],
        recitation={"base": Copying(longest_run=3, copied=0), "adapter": Copying(longest_run=9, copied=copied)},
        styles=[
            StyleDistance(kind="prose", english=True, n_blocks=2, base=0.6, adapter=adapter_style, author=0.4),
            StyleDistance(kind="code", english=False, n_blocks=1, base=0.9, adapter=0.9, author=0.5),
        ],
    )


def failed(found: Evaluation, recipe: dict | None = None) -> list[str]:
    return [gate.name for gate in gates(found, limits_of(recipe or {})) if not gate.passed]


def test_a_good_adapter_passes_every_gate():
    found = gates(evaluation(), limits_of({}))
    assert [gate.name for gate in found] == list(LIMITS) == list(DESCRIPTIONS)
    assert verdict(found) == "passed"


@pytest.mark.parametrize(
    ("figures", "gate"),
    [
        ({"difference": 0.0}, "bits_per_byte"),
        ({"copied": 0.2}, "recitation"),
        ({"adapter_style": 0.8}, "style"),
    ],
)
def test_each_figure_beyond_its_limit_fails_its_own_gate(figures: dict, gate: str):
    found = evaluation(**figures)
    assert failed(found) == [gate]
    assert verdict(gates(found, limits_of({}))) == f"failed: {gate}"


def test_fewer_than_eight_held_out_clusters_are_not_enough_writing_whatever_the_recipe_says():
    found = gates(evaluation(n_clusters=7), limits_of({"gates": {"enough_held_out": 2}}))
    assert verdict(found) == "not enough writing"


def test_the_recipe_moves_limits():
    assert failed(evaluation(copied=0.2), {"gates": {"recitation": 0.3}}) == []
    assert failed(evaluation(difference=-0.2), {"gates": {"bits_per_byte": -0.5}}) == ["bits_per_byte"]


@pytest.mark.parametrize("wrong", [{"recitatoin": 0.1}, {"recitation": "low"}, {"recitation": True}, ["recitation"]])
def test_a_limit_that_cannot_be_one_is_named(wrong: object):
    with pytest.raises(BadRecipe, match="recitat"):
        limits_of({"gates": wrong})


def test_what_was_not_measured_has_not_passed():
    nothing = evaluation().model_copy(update={"likelihoods": [], "recitation": {}, "styles": []})
    assert failed(nothing) == ["bits_per_byte", "recitation", "style"]
    assert all("not measured" in gate.text for gate in gates(nothing, limits_of({})) if not gate.passed)


def test_style_is_weighted_by_how_much_of_each_kind_was_written():
    assert evaluation().style("base") == pytest.approx((0.6 * 2 + 0.9) / 3)
