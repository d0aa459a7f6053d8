"""From figures to the verdict that promotion reads."""

import pytest

from twin_assets.errors import BadRecipe
from twin_assets.evaluation.gates import DESCRIPTIONS, LIMITS, gates, limits_of, verdict
from twin_assets.evaluation.result import Copying, Ending, Evaluation, Likelihood, StyleDistance, StyleGap, WholeDrafts


def evaluation(
    n_clusters: int = 12,
    difference: float = -0.2,
    adapter_style: float = 0.5,
    at_once: float = 0.01,
    whole: float = 1.0,
    **copying: float,
):
    adapter = {"longest_run": 9, "copied": 0.01, "shown": 0.05, "shown_longest_run": 10, "worst": 0.1} | copying
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
        endings=[
            Ending(category=name, n_rows=4, base_at_once=0, adapter_at_once=p, base_when_due=0, adapter_when_due=0.4)
            for name, p in (("code", 0.0), ("post", at_once))
        ],
        whole_drafts=[
            WholeDrafts(category=name, n_drafts=3, base=1, adapter=share)
            for name, share in (("code", 1.0), ("post", whole))
        ],
        recitation={"base": Copying(longest_run=3, copied=0), "adapter": Copying(**adapter)},
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
        ({"at_once": 0.2}, "ends_at_once"),
        ({"whole": 0.5}, "drafts_whole"),
        ({"copied": 0.2}, "recitation"),
        ({"shown": 0.3}, "copied_from_shown"),
        ({"worst": 0.5}, "worst_draft"),
        ({"longest_run": 41}, "longest_run"),
        ({"shown_longest_run": 41}, "longest_run"),
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
    empty = {"likelihoods": [], "endings": [], "whole_drafts": [], "recitation": {}, "styles": []}
    nothing = evaluation().model_copy(update=empty)
    assert failed(nothing) == [name for name in LIMITS if name != "enough_held_out"]
    assert all("not measured" in gate.text for gate in gates(nothing, limits_of({})) if not gate.passed)


def test_style_is_weighted_by_how_much_of_each_kind_was_written():
    assert evaluation().style("base") == pytest.approx((0.6 * 2 + 0.9) / 3)


def test_a_kind_in_which_the_adapter_wrote_nothing_fails_the_style_gate_and_is_named():
    gap = StyleGap(kind="prose", english=False, reason="adapter wrote nothing")
    found = evaluation().model_copy(update={"style_gaps": [gap]})
    assert failed(found) == ["style"]
    assert "wrote nothing in prose" in gates(found, limits_of({}))[-1].text


def test_a_kind_with_too_little_training_text_is_no_fault_of_the_adapter():
    gap = StyleGap(kind="code", english=False, reason="too little training text")
    assert failed(evaluation().model_copy(update={"style_gaps": [gap]})) == []


@pytest.mark.parametrize(
    ("n_drafts", "whole", "passes"),
    [(3, 2 / 3, True), (3, 1 / 3, False), (2, 0.5, False), (1, 0.0, False), (8, 0.75, False), (8, 7 / 8, True)],
)
def test_one_draft_that_went_wrong_is_forgiven_and_two_are_not(n_drafts, whole, passes):
    found = evaluation()
    found.whole_drafts = [
        WholeDrafts(category="code", n_drafts=3, base=1, adapter=0.6667),
        WholeDrafts(category="post", n_drafts=n_drafts, base=1, adapter=round(whole, 4)),
    ]
    assert ("drafts_whole" not in failed(found)) == passes
