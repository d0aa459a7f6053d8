"""Sessions with models in this process: whose weights answer, what stays loaded, what is unloaded, and who waits."""

import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twin_assets.documents import BaseModelRef, ModelManifest
from twin_assets.errors import BadInput, BadRecipe, NotThere
from twin_assets.language.base_models import BaseSpec, ResolvedBase, load_base
from twin_assets.language.generation import Sampling, in_process
from twin_assets.language.generation.engines.torch_engine import TorchEngine
from twin_assets.language.generation.in_process import InProcess
from twin_assets.language.generation.sampling import TokenSampler
from twin_assets.language.generation.scheduler import Closed
from twin_assets.stores import Stores
from twin_assets_tests.language.generation.conftest import AUTHORS, manifest_of, prompt_for, windows_for, write_adapter

SAMPLED = Sampling(max_new_tokens=12, temperature=1.0, seed=5)
GREEDY = Sampling(max_new_tokens=12, temperature=0, repetition_penalty=1.0)
ENDLESS = Sampling(max_new_tokens=10_000, temperature=1.0, seed=1)


@pytest.fixture
def backend(stores: Stores) -> Iterator[InProcess]:
    made = InProcess(stores)
    yield made
    for key in list(made._bases):
        made._bases[key].scheduler.close()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The logits from which drafts are drawn, in order."""
    seen: list[np.ndarray] = []

    class Recording(TokenSampler):
        def next(self, logits: np.ndarray) -> int:
            seen.append(logits.copy())
            return super().next(logits)

    monkeypatch.setattr(in_process, "TokenSampler", Recording)
    return seen


def logits_alone(base: Path, adapter: Path | None, ids: list[int], n_tokens: int) -> np.ndarray:
    """The logits of transformers, wrapped by peft for an adapter, when it drafts greedily: (tokens, vocabulary)."""
    import torch
    from peft import PeftModel

    model = load_base(ResolvedBase("x", base, "r", "fp32"), "cpu")[0]
    model = PeftModel.from_pretrained(model, adapter).eval() if adapter else model.eval()
    rows, ids = [], list(ids)
    with torch.inference_mode():
        for _ in range(n_tokens):
            rows.append(model(input_ids=torch.tensor([ids])).logits[0, -1].float().numpy())
            ids.append(int(rows[-1].argmax()))
    return np.stack(rows)


ACTS = st.lists(st.tuples(st.sampled_from(["hold", "draft", "promote"]), st.integers(0, 3)), min_size=4, max_size=10)


def test_logits_are_those_of_the_authors_own_adapter_whatever_came_before(
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    settings_of_a_machine,
    recorded,
):
    """Three authors and the bare base, drafting, held open, promoted and evicted in every order."""
    base, prompt = tiny_model, prompt_for(tiny_model)
    home = tmp_path_factory.mktemp("adapters")
    folders = {(n, v): write_adapter(base, home / f"{n}-{v}", 10 * n + v) for n in range(3) for v in range(4)}
    alone: dict[tuple[int, int] | None, np.ndarray] = {}

    def expected(which: tuple[int, int] | None) -> np.ndarray:
        if which not in alone:
            alone[which] = logits_alone(base, folders[which] if which else None, prompt.ids, 4)
        return alone[which]

    @settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
    @given(acts=ACTS)
    def check(acts: list[tuple[str, int]]) -> None:
        stores = settings_of_a_machine()
        versions = dict.fromkeys(range(3), 0)
        for n in range(3):
            _publish(stores, AUTHORS[n], 0, folders[n, 0])
        backend = InProcess(stores, memory_bytes=ROOM_FOR_TWO)
        held = []
        for act, who in acts:
            if act == "promote" and who < 3 and versions[who] < 3:
                versions[who] += 1
                _publish(stores, AUTHORS[who], versions[who], folders[who, versions[who]])
                continue
            which = (who, versions[who]) if who < 3 else None
            model = manifest_of(AUTHORS[who], base, f"v{versions[who]}") if which else BaseSpec(name=str(base))
            session = backend.open(model)
            if act == "hold":
                held.append((session, which))
                continue
            for one, whose in [(session, which), *held[-2:]]:
                recorded.clear()
                one.generate(prompt, Sampling(max_new_tokens=4, temperature=0, repetition_penalty=1.0))
                wanted = expected(whose)[: len(recorded)]
                assert np.stack(recorded) == pytest.approx(wanted, abs=1e-3), (acts, whose)
            session.close()
        for session, _ in held:
            session.close()
        for loaded in backend._bases.values():
            loaded.scheduler.close()

    check()


ROOM_FOR_TWO = int((550_000 + 2 * 45_000) / 0.75)
"""Enough for the tiny base and two adapters, so that a third one evicts."""


def _publish(stores: Stores, author: str, version: int, folder: Path) -> None:
    home = Path(str(stores.models.folder(author, "small", f"v{version}")))
    shutil.copytree(folder, home / "adapter", dirs_exist_ok=True)


@pytest.fixture
def settings_of_a_machine(tmp_path: Path) -> Callable[[], Stores]:
    """Makes stores with a new data folder at each call."""
    from twin_assets.settings import Settings

    made = iter(range(1_000))
    return lambda: Stores(Settings(_env_file=None, data_dir=tmp_path / str(next(made))))


def test_a_greedy_draft_is_what_transformers_generates(backend: InProcess, tiny_model: Path):
    import torch

    prompt = prompt_for(tiny_model)
    model, tokenizer = load_base(ResolvedBase("x", tiny_model, "r", "fp32"), "cpu")
    ids = torch.tensor([prompt.ids])
    with torch.inference_mode():
        wanted = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    with backend.open(BaseSpec(name=str(tiny_model))) as session:
        assert session.generate(prompt, GREEDY) == tokenizer.decode(wanted, skip_special_tokens=True).strip()


def test_a_seed_gives_the_same_draft_and_the_stream_is_the_draft_in_pieces(backend: InProcess, tiny_model: Path):
    prompt = prompt_for(tiny_model)
    with backend.open(BaseSpec(name=str(tiny_model))) as session:
        first = session.generate(prompt, SAMPLED)
        pieces = list(session.stream(prompt, SAMPLED))
        assert len(pieces) > 5
        assert "".join(pieces).strip() == first
        assert session.generate(prompt, Sampling(max_new_tokens=12, temperature=1.0, seed=6)) != first


def test_drafts_at_once_are_those_alone(backend: InProcess, tiny_model: Path, publish):
    prompts = [prompt_for(tiny_model, f"Write a post: {'rope ' * (n + 1)}") for n in range(9)]
    models = [*(publish(author, tiny_model) for author in AUTHORS), BaseSpec(name=str(tiny_model))]

    def draft(n: int) -> str:
        with backend.open(models[n % 4]) as session:
            return session.generate(prompts[n], Sampling(max_new_tokens=20, temperature=1, seed=n))

    alone = [draft(n) for n in range(9)]
    assert len(set(alone)) == 9
    with ThreadPoolExecutor(9) as pool:
        assert list(pool.map(draft, range(9))) == alone


def test_requests_with_one_adapter_share_their_passes(backend: InProcess, tiny_model: Path, monkeypatch):
    widths: list[int] = []
    step = TorchEngine.step

    def counting(self, caches, tokens, adapter):
        widths.append(len(caches))
        return step(self, caches, tokens, adapter)

    monkeypatch.setattr(TorchEngine, "step", counting)
    prompt = prompt_for(tiny_model)

    def draft(seed: int) -> None:
        with backend.open(BaseSpec(name=str(tiny_model))) as session:
            session.generate(prompt, Sampling(max_new_tokens=60, temperature=1.0, seed=seed, repetition_penalty=1))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(draft, range(6)))
    assert max(widths) == 6
    assert sum(widths) / len(widths) > 2


def test_an_adapter_is_held_from_opening_to_closing(stores: Stores, tiny_model: Path, publish, recorded):
    """However many others come in between, the chosen model answers and nobody is told that it is not loaded."""
    backend = InProcess(stores, memory_bytes=ROOM_FOR_TWO)
    prompt, first = prompt_for(tiny_model), publish("ada", tiny_model)
    session = backend.open(first)
    for n in range(6):
        with backend.open(publish("ben", tiny_model, f"v{n}", seed=50 + n)) as other:
            other.generate(prompt, GREEDY)
    (names,) = backend.loaded.values()
    assert first.id in names
    assert len(names) < 4, "those that nobody held made room"
    recorded.clear()
    session.generate(prompt, GREEDY)
    adapter = Path(str(stores.models.folder("ada", "small", "v1"))) / "adapter"
    wanted = logits_alone(tiny_model, adapter, prompt.ids, len(recorded))
    assert np.stack(recorded) == pytest.approx(wanted, abs=1e-3)
    session.close()
    session.close()


def test_a_base_goes_before_another_is_loaded(stores: Stores, tiny_model: Path, make_tiny_model, monkeypatch):
    backend = InProcess(stores, memory_bytes=1_200_000)
    other = make_tiny_model("qwen3")
    in_memory: list[list[str]] = []
    load = in_process.load_engine

    def spying(*arguments):
        in_memory.append(list(backend.loaded))
        return load(*arguments)

    monkeypatch.setattr(in_process, "load_engine", spying)
    backend.open(BaseSpec(name=str(tiny_model))).close()
    backend.open(BaseSpec(name=str(other))).close()
    assert in_memory == [[], []]
    held = backend.open(BaseSpec(name=str(tiny_model)))
    with backend.open(BaseSpec(name=str(other))):
        assert set(backend.loaded) == {str(tiny_model), str(other)}, "one that is held stays"
    held.close()


def test_a_base_that_nobody_uses_goes_by_itself(backend: InProcess, tiny_model: Path, monkeypatch):
    monkeypatch.setattr(in_process, "IDLE_S", 0.3)
    session = backend.open(BaseSpec(name=str(tiny_model)))
    time.sleep(0.8)
    assert backend.loaded
    session.close()
    end = time.monotonic() + 10
    while backend.loaded and time.monotonic() < end:
        time.sleep(0.05)
    assert not backend.loaded


def test_a_base_is_loaded_once_however_many_ask(backend: InProcess, tiny_model: Path, publish):
    manifests = [publish(author, tiny_model) for author in AUTHORS]
    with ThreadPoolExecutor(6) as pool:
        sessions = list(pool.map(backend.open, [*manifests, *manifests]))
    assert len({id(session._base) for session in sessions}) == 1
    assert sorted(backend.loaded[str(tiny_model)]) == [f"{author}@v1" for author in AUTHORS]
    for session in sessions:
        session.close()


def test_closing_the_stream_or_setting_the_event_ends_the_work_within_a_token(
    backend: InProcess, tiny_model: Path, recorded
):
    prompt = prompt_for(tiny_model)
    with backend.open(BaseSpec(name=str(tiny_model))) as session:
        pieces = session.stream(prompt, ENDLESS)
        next(pieces)
        pieces.close()
        at_rest(session, recorded)
        stop, heard = threading.Event(), []
        for piece in session.stream(prompt, ENDLESS, stop):
            heard.append(piece)
            stop.set()
        assert len(heard) == 1
        at_rest(session, recorded)


def at_rest(session, recorded: list) -> None:
    """Wait until no more passes are run."""
    session._base.scheduler.call(lambda: None)
    session._base.scheduler.call(lambda: None)
    n = len(recorded)
    time.sleep(0.2)
    assert len(recorded) == n


def test_a_long_prompt_does_not_stop_a_draft_that_is_being_written(backend: InProcess, make_tiny_model, monkeypatch):
    """The prompt is read in chunks, and others get a token between two of them."""
    base = make_tiny_model(context=4096)
    order: list[str] = []
    extend, step = TorchEngine.extend, TorchEngine.step

    def reading(self, cache, ids, adapter):
        order.append("read" if len(ids) > 1 else "write")
        return extend(self, cache, ids, adapter)

    def writing(self, caches, tokens, adapter):
        order.append("write")
        return step(self, caches, tokens, adapter)

    monkeypatch.setattr(TorchEngine, "extend", reading)
    monkeypatch.setattr(TorchEngine, "step", writing)
    with backend.open(BaseSpec(name=str(base))) as session:
        short = session.stream(prompt_for(base), ENDLESS)
        next(short)
        long = prompt_for(base, "rope " * 1500, 4000)
        assert len(long.ids) > 3 * 256
        order.clear()
        session.generate(long, Sampling(max_new_tokens=1, seed=1))
        short.close()
    reads = [n for n, what in enumerate(order) if what == "read"]
    assert len(reads) == -(-len(long.ids) // 256)
    assert all("write" in order[a:b] for a, b in itertools.pairwise(reads))


def test_an_error_of_the_engine_ends_its_own_draft_and_no_other(backend: InProcess, tiny_model: Path, monkeypatch):
    prompt = prompt_for(tiny_model)
    extend = TorchEngine.extend

    def failing(self, cache, ids, adapter):
        if len(ids) > len(prompt.ids):
            raise RuntimeError("out of memory")
        return extend(self, cache, ids, adapter)

    with backend.open(BaseSpec(name=str(tiny_model))) as session:
        wanted = session.generate(prompt, SAMPLED)
        monkeypatch.setattr(TorchEngine, "extend", failing)
        with ThreadPoolExecutor(2) as pool:
            bad = pool.submit(session.generate, prompt_for(tiny_model, "Write a longer post about rope"), SAMPLED)
            assert pool.submit(session.generate, prompt, SAMPLED).result() == wanted
        with pytest.raises(RuntimeError, match="out of memory"):
            bad.result()
        assert session.generate(prompt, SAMPLED) == wanted


def test_a_draft_ends_at_the_context_and_a_prompt_that_fills_it_is_refused(backend: InProcess, make_tiny_model):
    base = make_tiny_model(context=64)
    prompt = prompt_for(base, "Write a post: rope", 64)
    with backend.open(BaseSpec(name=str(base))) as session:
        counted: list[None] = []
        for _ in session.stream(prompt, ENDLESS, None, lambda: counted.append(None)):
            pass
        assert 0 < len(counted) <= 64 - len(prompt.ids)
        session.context_tokens = len(prompt.ids)
        with pytest.raises(BadInput, match="shorten it"):
            session.stream(prompt, ENDLESS)


def test_what_cannot_be_had_is_named_and_holds_nothing(backend: InProcess, tiny_model: Path, publish):
    moved = publish("ada", tiny_model).model_copy(
        update={"base": BaseModelRef(name=str(tiny_model), revision="0" * 64)}
    )
    with pytest.raises(BadRecipe, match="is wanted"):
        backend.open(moved)
    with pytest.raises(NotThere, match="safetensors"):
        backend.open(manifest_of("ada", tiny_model, "v9"))
    assert not any(base.holders for base in backend._bases.values())


def test_an_adapter_that_onnx_cannot_apply_drafts_by_torch(
    stores: Stores, smollm2: ResolvedBase, smollm2_onnx: Path, publish, monkeypatch
):
    """An adapter that ONNX can apply drafts under it within ten seconds of being published."""
    import json

    monkeypatch.setattr(in_process, "exported", lambda *_: smollm2_onnx)
    stores.settings.__dict__["generation_engine"] = "onnx"
    backend = InProcess(stores)
    prompt = prompt_for(smollm2.path)
    windows = windows_for(smollm2.path, "The float sticks when the tide turns. I clean it on Sundays. " * 6, 256)
    backend.open(BaseSpec(name=str(smollm2.path))).close()
    manifest: ModelManifest = publish("ada", smollm2.path)
    started = time.monotonic()
    with backend.open(manifest) as session:
        assert session.generate(prompt, GREEDY)
        assert time.monotonic() - started < 10
        assert session.engine == "onnxruntime, 8 bits"
        by_onnx = sum(session.score(windows))
    strange = publish("ben", smollm2.path, seed=0)
    file = Path(str(stores.models.folder("ben", "small", "v1"))) / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"alpha_pattern": {"nothing": 1}}))
    with backend.open(strange) as session:
        assert session.engine.startswith("torch")
        assert sum(session.score(windows)) == pytest.approx(by_onnx, rel=0.03), "the same weights, by another engine"


def test_what_is_handed_to_an_unloaded_base_is_refused_and_never_waited_for(backend: InProcess, tiny_model: Path):
    session = backend.open(BaseSpec(name=str(tiny_model)))
    session._base.scheduler.close()
    with ThreadPoolExecutor(2) as pool:
        scored = pool.submit(session.score, windows_for(tiny_model))
        drafted = pool.submit(session.generate, prompt_for(tiny_model), GREEDY)
        for waiting in (scored, drafted):
            with pytest.raises(Closed, match="open a new session"):
                waiting.result(timeout=10)
