"""One model version measured on what was held out of its dataset."""

import json
import math
from pathlib import Path

import pytest

from twin_assets.evaluation.evaluate import evaluate
from twin_assets.evaluation.gates import gates, limits_of, verdict
from twin_assets.evaluation.result import Evaluation, Options, store_evaluation, stored_evaluation
from twin_assets.language.prompts import DraftRequest, encode_example, windows
from twin_assets.stores import Stores
from twin_assets_tests.evaluation.conftest import World, dataset_rows, publish_version, row

OPTIONS = Options(n_drafts=4, draft_tokens=120)


def measure(world: World, options: Options = OPTIONS, **changes: object) -> Evaluation:
    manifest = world.manifest.model_copy(update=changes)
    return evaluate(manifest, world.dataset, world.generator, options, lambda _: None)


@pytest.fixture(scope="module")
def found(world: World) -> Evaluation:
    return measure(world)


def test_an_adapter_that_learnt_the_author_beats_its_base_in_bits_and_in_style(found: Evaluation):
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
        world.generator.nll(
            windows(
                encode_example(world.generator.tokenizer, DraftRequest.of_row(one), one["answer"], 128),
                256,
                score_closing=False,
            )
        )
        for one in held_out
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
    assert set(found.recitation) == {"base", "adapter"}


def test_progress_is_told(world: World):
    told: list[str] = []
    options = Options(n_drafts=1, draft_tokens=2)
    evaluate(world.manifest, world.dataset, world.generator, options, told.append)
    assert "scored 12 of 12 held-out rows" in told
    assert "drafted 1 of 1 held-out prompts" in told


def test_a_prompt_too_long_for_the_context_is_counted(world: World):
    narrow = measure(world, recipe={"context_tokens": 256, "answer_tokens": 253})
    assert narrow.n_too_long == 12
    assert narrow.likelihoods == []
    assert narrow.drafts == []


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
