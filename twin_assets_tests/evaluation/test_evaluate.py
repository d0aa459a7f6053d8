"""One model version measured on what was held out of its dataset."""

import json
import math
from pathlib import Path

import pytest

from twin_assets.errors import BadRecipe
from twin_assets.evaluation.evaluate import _read_training_texts, _styles, _token_limits, _whole_drafts, evaluate
from twin_assets.evaluation.gates import gates, limits_of, verdict
from twin_assets.evaluation.models import Models, Name, open_models
from twin_assets.evaluation.result import Copying, Evaluation, Options, store_evaluation, stored_evaluation
from twin_assets.language.generation import Sampling
from twin_assets.language.generation.copy_guard import CODE_COPY_WORDS, COPY_WORDS
from twin_assets.language.generation.in_process import InProcess
from twin_assets.language.prompts import (
    DraftRequest,
    EncodedPrompt,
    Passage,
    encode_example,
    encode_prompt,
    windows,
)
from twin_assets.stores import Stores
from twin_assets_tests.evaluation.conftest import World, dataset_rows, publish_version, row

OPTIONS = Options(n_drafts=4, draft_tokens=120)


def measure(world: World, options: Options = OPTIONS, **changes: object) -> Evaluation:
    manifest = world.manifest.model_copy(update=changes)
    return evaluate(manifest, world.dataset, world.models, options, lambda _: None)


@pytest.fixture(scope="module")
def found(world: World) -> Evaluation:
    return measure(world)


def test_an_adapter_that_learnt_the_author_beats_its_base_in_bits_and_in_style(
    stores: Stores, fluent_base: Path, fluent_adapter: Path
):
    """A base with its own style, because drafts of two models with random weights only differ by chance."""
    manifest = publish_version(stores, dataset_rows(), fluent_base, fluent_adapter)
    dataset = stores.features.snapshot("ada", manifest.dataset.table)
    with open_models(InProcess(stores), manifest) as models:
        found = evaluate(manifest, dataset, models, OPTIONS, lambda _: None)
    assert found.n_clusters == 12
    assert found.overall is not None
    assert found.overall.adapter < found.overall.base - 0.2
    assert found.overall.high < 0
    base, adapter, author = (found.style(whose) for whose in ("base", "adapter", "author"))
    assert base is not None and adapter is not None and author is not None  # noqa: PT018
    assert author < base
    assert adapter < base
    assert {row.name for row in found.likelihoods} == {"all", "code", "post", "newest"}


def test_bits_are_of_the_answers_bytes_each_once(world: World, found: Evaluation):
    held_out = [one for one in dataset_rows() if one["split"] == "test"]
    n_bytes = sum(len(one["answer"].encode()) for one in held_out)
    nats = sum(
        world.models.nats("base", list(windows(example, 256, score_closing=False)))
        for one in held_out
        for example in [encode_example(world.models.tokenizer, DraftRequest.from_row(one), one["answer"], 128)]
    )
    assert found.overall is not None
    assert found.overall.n_bytes == n_bytes
    assert found.overall.base == pytest.approx(nats / math.log(2) / n_bytes, abs=1e-3)


def test_the_same_version_gives_the_same_evaluation(world: World, found: Evaluation):
    assert measure(world) == found


def test_drafts_are_made_for_held_out_prompts_by_both_and_shown_beside_the_authors_own(found: Evaluation):
    assert len(found.drafts) == 4
    assert {draft.category for draft in found.drafts} == {"post", "code"}
    assert all(draft.example_id.startswith("ada:files:1") for draft in found.drafts)
    assert all(draft.base != draft.adapter for draft in found.drafts)
    assert set(found.recitation) == {"base", "adapter", "author"}


def test_an_adapter_that_is_mute_in_prose_passes_no_evaluation_however_well_it_predicts(
    stores: Stores, able_base: Path, mute_adapter: Path
):
    manifest = publish_version(stores, dataset_rows(n_train=120), able_base, mute_adapter)
    dataset = stores.features.snapshot("ada", manifest.dataset.table)
    with open_models(InProcess(stores), manifest) as models:
        found = evaluate(manifest, dataset, models, OPTIONS, lambda _: None)
    assert found.overall is not None
    assert found.overall.adapter < found.overall.base
    assert all(not draft.adapter for draft in found.drafts if draft.category == "post")
    assert all(draft.adapter for draft in found.drafts if draft.category == "code")
    failed = verdict(gates(found, limits_of({})))
    assert {"ends_at_once", "drafts_whole", "style"} <= set(failed.removeprefix("failed: ").split(", "))
    assert ("prose", "adapter wrote nothing") in [(gap.kind, gap.reason) for gap in found.style_gaps]


def test_code_may_copy_longer_runs_than_prose_when_it_is_drafted(world: World):
    drawn: list[Sampling] = []

    class Noting(Models):
        def draft(self, name: Name, prompt: EncodedPrompt, sampling: Sampling) -> str:
            drawn.append(sampling)
            return super().draft(name, prompt, sampling)

    options = Options(n_drafts=4, draft_tokens=2)
    found = evaluate(world.manifest, world.dataset, Noting(world.models.sessions), options, lambda _: None)
    copied = {draft.category: sampling.copy_words for draft, sampling in zip(found.drafts, drawn[::2], strict=True)}
    assert copied == {"code": CODE_COPY_WORDS, "post": COPY_WORDS}
    assert drawn[::2] == drawn[1::2], "base and adapter draw alike"


def test_a_kind_without_a_word_by_the_adapter_is_a_gap_and_not_left_out(world: World, found: Evaluation):
    rows = dataset_rows(n_train=120)
    training = {
        ("code", False): [one["answer"] for one in rows if one["category"] == "code"],
        ("prose", True): [one["answer"] for one in rows if one["category"] == "post"],
    }
    drafts = [
        draft.model_copy(
            update={"adapter": draft.author if draft.category == "code" else "", "base": "Some rope. " * 40}
        )
        for draft in found.drafts
    ]
    styles, gaps = _styles(drafts, rows, training)
    assert [one.kind for one in styles] == ["code"]
    assert [(gap.kind, gap.english, gap.reason) for gap in gaps] == [("prose", True, "adapter wrote nothing")]
    judged = found.model_copy(update={"styles": styles, "style_gaps": gaps, "drafts": drafts})
    judged.whole_drafts = _whole_drafts(drafts)
    judged.recitation = {"adapter": Copying(longest_run=1, copied=0)}
    assert verdict(gates(judged, limits_of({}))) == "failed: drafts_whole, style"


def test_a_turns_end_is_scored_by_itself(found: Evaluation):
    assert [row.category for row in found.endings] == ["code", "post"]
    assert sum(row.n_rows for row in found.endings) == 12
    for one in found.endings:
        chances = (one.base_at_once, one.adapter_at_once, one.base_when_due, one.adapter_when_due)
        assert all(0 < chance < 0.01 for chance in chances), "a tiny model of random weights takes all for as likely"


def test_a_draft_that_is_no_draft_is_counted(found: Evaluation):
    echo = found.drafts[0].model_copy(update={"adapter": found.drafts[0].instruction})
    as_short_as_the_author = found.drafts[1].model_copy(update={"adapter": "So it goes.", "author": "It is so."})
    counted = {row.category: row.adapter for row in _whole_drafts([echo, as_short_as_the_author])}
    assert counted == {echo.category: 0.0, as_short_as_the_author.category: 1.0}


def test_copying_from_the_prompt_and_from_training_are_told_apart(world: World, found: Evaluation):
    trained = next(one["answer"] for one in dataset_rows() if one["split"] == "train")
    recited, shown, own = (found.drafts[0].model_copy(update={"adapter": trained}) for _ in range(3))
    own.adapter = "Nothing of this was ever written by anybody in that place, and so it is nobody's but mine."
    passage = Passage("c", "t", "", trained)
    prompts = [
        encode_prompt(world.models.tokenizer, DraftRequest("Write.", passages), 10_000)
        for passages in ((), (passage,), (passage,))
    ]
    by_writer, _ = _read_training_texts(world.dataset, [recited, shown, own], prompts)
    copying = by_writer["adapter"]
    assert (copying.copied, copying.shown, copying.worst) == (pytest.approx(1 / 3, abs=1e-3),) * 2 + (1.0,)
    assert copying.longest_run == copying.shown_longest_run > 30


def test_an_evaluation_of_an_earlier_version_can_still_be_read(world: World, found: Evaluation, tmp_path: Path):
    new = {"endings", "whole_drafts", "style_gaps"}
    old = found.model_dump(mode="json", exclude=new)
    old["recitation"] = {whose: {"longest_run": 3, "copied": 0.0} for whose in ("base", "adapter")}
    manifest = world.manifest.model_copy(update={"path": str(tmp_path)})
    (tmp_path / "evaluation.json").write_text(json.dumps(old))
    held = stored_evaluation(manifest, OPTIONS)
    assert held is not None
    assert held.recitation["adapter"].worst == 0.0
    assert "not measured" in {gate.name: gate.text for gate in gates(held, limits_of({}))}["ends_at_once"]


def test_progress_is_told(world: World):
    told: list[str] = []
    options = Options(n_drafts=1, draft_tokens=2)
    evaluate(world.manifest, world.dataset, world.models, options, told.append)
    assert "scored 12 of 12 held-out rows" in told
    assert "drafted 1 of 1 held-out prompts" in told


def test_a_prompt_too_long_for_the_context_is_counted(stores: Stores, world: World):
    rows = dataset_rows()
    for one in rows:
        one["instruction"] += " rope" * 200
    manifest = publish_version(stores, rows, Path(world.manifest.base.name))
    dataset = stores.features.snapshot("ada", manifest.dataset.table)
    narrow = evaluate(manifest, dataset, world.models, OPTIONS, lambda _: None)
    assert narrow.n_too_long == 12
    assert narrow.likelihoods == []
    assert narrow.endings == []
    assert narrow.drafts == []


def test_a_recipe_that_leaves_a_prompt_no_room_on_its_base_is_refused(world: World):
    assert _token_limits(world.manifest, world.models) == (256, 128)
    longer = world.manifest.model_copy(update={"recipe": {"context_tokens": 2048, "answer_tokens": 300}})
    assert _token_limits(longer, world.models) == (512, 212)
    with pytest.raises(BadRecipe, match="lower answer_tokens"):
        measure(world, recipe={"context_tokens": 2048, "answer_tokens": 500})


def test_nothing_held_out_is_not_enough_writing_and_needs_no_model(stores: Stores, world: World):
    manifest = publish_version(stores, [row(n, "train") for n in range(5)], Path(world.manifest.base.name))
    dataset = stores.features.snapshot("ada", manifest.dataset.table)
    nothing = evaluate(manifest, dataset, None, OPTIONS, lambda _: None)
    assert verdict(gates(nothing, limits_of({}))) == "not enough writing"


def test_an_evaluation_is_stored_whole_and_found_again_only_by_its_own_code_and_options(
    world: World, found: Evaluation, tmp_path: Path
):
    manifest = world.manifest.model_copy(update={"path": str(tmp_path)})
    assert stored_evaluation(manifest, OPTIONS) is None
    store_evaluation(manifest, found)
    assert stored_evaluation(manifest, OPTIONS) == found
    assert stored_evaluation(manifest, Options(n_drafts=5)) is None
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]


def test_the_manifest_gets_the_figures_and_no_text(found: Evaluation):
    held = found.for_manifest()
    text = json.dumps(held)
    assert held["bits_per_byte"]["adapter"] == found.overall.adapter
    assert not any(draft.author[:30] in text or draft.adapter[:30] in text for draft in found.drafts)
