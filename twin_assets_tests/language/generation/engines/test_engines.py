"""Both engines against transformers and peft alone: logits, caches, batches, scores."""

from pathlib import Path

import numpy as np
import pytest

from twin_assets.cli.demo import SAMPLE
from twin_assets.errors import NotThere
from twin_assets.language.base_models import ResolvedBase, load_base
from twin_assets.language.generation.engines import torch_engine
from twin_assets.language.generation.engines.engine import AnyEngine, UnsupportedAdapter
from twin_assets.language.generation.engines.onnx_engine import OnnxEngine
from twin_assets.language.generation.engines.onnx_export import NotExportable, exported
from twin_assets.language.generation.engines.torch_engine import TorchEngine
from twin_assets_tests.language.generation.conftest import prompt_for, windows_for, write_adapter

PROMPTS = [f"Write a post: {subject}" for subject in ("rope", "fog on the water", "how bread rises", "why I keep bees")]


def load(folder: Path):
    return load_base(ResolvedBase("x", folder, "r", "fp32"), "cpu")[0]


@pytest.fixture(params=["llama", "qwen3"])
def small(request: pytest.FixtureRequest, make_tiny_model, tmp_path: Path) -> tuple[Path, list[Path]]:
    """A base and two adapters."""
    base = make_tiny_model(request.param)
    return base, [write_adapter(base, tmp_path / f"a{n}", n) for n in range(2)]


def peft_alone(base: Path, adapter: Path | None):
    from peft import PeftModel

    model = load(base)
    return PeftModel.from_pretrained(model, adapter).eval() if adapter else model.eval()


def logits_of(model, ids: list[int]) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids])).logits[0].float().numpy()


def test_torch_gives_the_logits_of_transformers_whole_in_pieces_and_in_a_batch(small):
    base, adapters = small
    engine = TorchEngine(load(base))
    loaded = [None, *(engine.load(folder) for folder in adapters)]
    for adapter, folder in zip(loaded, [None, *adapters], strict=True):
        alone = peft_alone(base, folder)
        prompts = [prompt_for(base, text).ids for text in PROMPTS]
        caches = [engine.cache(64) for _ in prompts]
        for cache, ids in zip(caches, prompts, strict=True):
            engine.extend(cache, ids[:5], adapter)
            found = engine.extend(cache, ids[5:], adapter)
            assert found == pytest.approx(logits_of(alone, ids)[-1], abs=2e-4)
        for members in ([0, 1, 2], [0, 2, 3], [3]):
            found = engine.step([caches[n] for n in members], [7 + n for n in members], adapter)
            for n, row in zip(members, found, strict=True):
                prompts[n].append(7 + n)
                assert row == pytest.approx(logits_of(alone, prompts[n])[-1], abs=5e-4), (members, n)


def test_torch_scores_as_peft_alone_does_whatever_the_batch(small, monkeypatch: pytest.MonkeyPatch):
    import torch

    base, adapters = small
    engine, windows = TorchEngine(load(base)), windows_for(base)
    assert len(windows) > 2
    alone = peft_alone(base, adapters[1])
    wanted = []
    for window in windows:
        logits = torch.tensor(logits_of(alone, window.ids)).log_softmax(-1)
        wanted.append(-sum(float(logits[n - 1, window.ids[n]]) for n, scored in enumerate(window.mask) if scored))
    engine.load(adapters[0])
    adapter = engine.load(adapters[1])
    assert engine.score(windows, adapter) == pytest.approx(wanted, rel=1e-4)
    monkeypatch.setattr(torch_engine, "SCORED_TOKENS", 1)
    assert engine.score(windows, adapter) == pytest.approx(wanted, rel=1e-4)
    assert engine.score(windows, None) != pytest.approx(wanted, rel=1e-3)


def test_a_sliding_window_is_decoded_row_by_row_and_right(make_tiny_model):
    base = make_tiny_model("mistral")
    model = load(base)
    model.config.sliding_window = 16
    engine = TorchEngine(model)
    prompts = [prompt_for(base, text).ids for text in PROMPTS]
    caches = [engine.cache(64) for _ in prompts]
    for cache, ids in zip(caches, prompts, strict=True):
        engine.extend(cache, ids, None)
    found = engine.step(caches, [9] * 4, None)
    for ids, row in zip(prompts, found, strict=True):
        assert row == pytest.approx(logits_of(model, [*ids, 9])[-1], abs=5e-4)


def test_an_adapter_that_is_not_there_or_is_a_pickle_is_refused(tiny_model: Path, tmp_path: Path):
    (tmp_path / "adapter_model.bin").write_bytes(b"a pickle")
    with pytest.raises(NotThere, match="safetensors"):
        TorchEngine(load(tiny_model)).load(tmp_path)


@pytest.fixture(scope="module")
def real(smollm2: ResolvedBase, smollm2_onnx: Path, tmp_path_factory: pytest.TempPathFactory):
    """The real model exported, and an adapter that changes it about as much as training does."""
    folder = write_adapter(smollm2.path, tmp_path_factory.mktemp("real") / "adapter", 1, size=1.5, rank=8)
    engine = OnnxEngine(smollm2_onnx, threads=2)
    return engine, engine.load(folder), folder


def test_onnx_scores_within_one_percent_of_torch_with_an_adapter_and_without(real, smollm2: ResolvedBase):
    engine, adapter, folder = real
    articles = sorted((SAMPLE / "wren" / "articles").glob("*.md"))[::12]
    windows = [one for file in articles for one in windows_for(smollm2.path, file.read_text()[300:1500], 512)[:1]]
    reference = TorchEngine(load_base(smollm2, "cpu")[0])
    bare, adapted = sum(reference.score(windows, None)), sum(reference.score(windows, reference.load(folder)))
    assert abs(adapted - bare) > 0.03 * bare, "the adapter matters, so the comparison says something"
    assert sum(engine.score(windows, None)) == pytest.approx(bare, rel=0.01)
    assert sum(engine.score(windows, adapter)) == pytest.approx(adapted, rel=0.01)


def test_onnx_sequences_do_not_touch_each_other_in_pieces_and_batches(real, smollm2: ResolvedBase):
    """Each row of a batch gives the same as alone, while rows of different lengths come and go."""
    engine, adapter, _ = real
    prompts = [prompt_for(smollm2.path, text * (n + 1)).ids for n, text in enumerate(PROMPTS)]
    alone = []
    for n, ids in enumerate(prompts):
        cache = engine.cache(512)
        rows = [engine.extend(cache, ids, adapter).copy()]
        rows += [engine.step([cache], [100 + n + step], adapter)[0].copy() for step in range(len(TOGETHER) + 1)]
        alone.append(rows)
    caches = [engine.cache(512) for _ in prompts]
    for n, (cache, ids) in enumerate(zip(caches, prompts, strict=True)):
        engine.extend(cache, ids[:20], adapter)
        assert near(engine.extend(cache, ids[20:], adapter), alone[n][0])
    n_steps = [0] * len(prompts)
    for members in TOGETHER:
        found = engine.step([caches[n] for n in members], [100 + n + n_steps[n] for n in members], adapter)
        for row, n in zip(found, members, strict=True):
            n_steps[n] += 1
            assert near(row, alone[n][n_steps[n]]), (members, n)
    for forgotten in (0, 2):
        engine.forget(caches[forgotten])
    found = engine.step([caches[3], caches[1]], [100 + n + n_steps[n] for n in (3, 1)], adapter)
    assert near(found[0], alone[3][n_steps[3] + 1])
    assert near(found[1], alone[1][n_steps[1] + 1])


@pytest.mark.parametrize("n_gone", [1, 3])
def test_onnx_sequences_that_join_or_leave_move_no_other(real, smollm2: ResolvedBase, n_gone: int):
    """The sequences that stay keep their rows, because copying all of them takes most of the time under load."""
    engine, adapter, _ = real
    caches = [engine.cache(256) for _ in range(8)]
    for cache in caches:
        engine.extend(cache, prompt_for(smollm2.path).ids, adapter)
    engine.step(caches, [9] * 8, adapter)
    buffer = caches[0].buffer
    for cache in caches[:n_gone]:
        engine.forget(cache)
    left = caches[n_gone:]
    engine.step(left, [9] * len(left), adapter)
    late = engine.cache(256)
    engine.extend(late, prompt_for(smollm2.path).ids, adapter)
    engine.step([*left, late], [9] * (len(left) + 1), adapter)
    assert late.buffer is buffer
    assert buffer.rows[n_gone:-1] == caches[n_gone : 8 - n_gone], "only the last took the places that came free"
    assert set(map(id, buffer.rows)) == set(map(id, [*left, late]))


TOGETHER = ([0, 1, 2, 3], [3, 1], [1], [2, 0, 1], [0, 1, 2], [3, 2, 1, 0])
"""Which sequences are decoded together, pass by pass."""


def near(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Sums in another order, rounded to 8 bits, differ by 1% of the logits' range; for another text by 10% or more."""
    return float(np.sqrt(((found - wanted) ** 2).mean())) < 0.03 * float(wanted.max() - wanted.min())


def test_onnx_refuses_an_adapter_that_it_would_apply_in_part(real, tmp_path: Path):
    import json
    import shutil

    engine, _, folder = real
    for change in ({"use_dora": True}, {"rank_pattern": {"q_proj": 2}}, {"modules_to_save": ["lm_head"]}):
        other = tmp_path / next(iter(change))
        shutil.copytree(folder, other)
        about = json.loads((other / "adapter_config.json").read_text()) | change
        (other / "adapter_config.json").write_text(json.dumps(about))
        with pytest.raises(UnsupportedAdapter, match=next(iter(change))):
            engine.load(other)


def test_a_model_that_the_library_does_not_know_is_refused_once_and_remembered(tiny_model: Path, tmp_path: Path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text((tiny_model / "config.json").read_text().replace("llama", "gpt_neox"))
    (broken / "model.safetensors").write_bytes((tiny_model / "model.safetensors").read_bytes())
    said: list[str] = []
    for _ in range(2):
        with pytest.raises(NotExportable, match="broken cannot run under ONNX Runtime"):
            exported("w", broken, tmp_path / "cache", said.append)
    assert len(said) == 1


def test_engines_are_what_the_scheduler_takes(tiny_model: Path):
    engine: AnyEngine = TorchEngine(load(tiny_model))
    assert engine.bytes_per_token == 2 * 2 * 2 * 16 * 4
    assert engine.weights_bytes > 100_000
