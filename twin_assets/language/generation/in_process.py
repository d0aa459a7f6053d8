"""Generation in this process: base models in memory, each with its scheduler and its adapters.

Memory is counted by the size of the files of weights and adapters, and by the tokens of caches. Before something new is
loaded, models that no session uses are unloaded as needed; a model in use stays until its session closes. A base model
that has not been used for IDLE_S seconds is unloaded, so that an idle server leaves memory and GPU to training.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from twin_assets.documents import ModelManifest
from twin_assets.errors import NotThere, TwinError
from twin_assets.language.base_models import (
    BaseSpec,
    ResolvedBase,
    context_of,
    device_of,
    load_base,
    load_tokenizer,
    resolve_base,
)
from twin_assets.language.generation.copy_guard import TokenGuard, WordStarts
from twin_assets.language.generation.engines.engine import Adapter, AnyEngine, UnsupportedAdapter
from twin_assets.language.generation.engines.onnx_export import NotExportable, exported, missing_packages
from twin_assets.language.generation.sampling import Sampling, TokenSampler
from twin_assets.language.generation.scheduler import Closed, DraftJob, Scheduler
from twin_assets.language.generation.session import OnToken, PieceStream, Session, Stop
from twin_assets.language.generation.text import DecodedStream, end_ids
from twin_assets.language.prompts import EncodedPrompt, Window
from twin_assets.orchestration.progress import Tell, silent

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase

    from twin_assets.settings import Settings
    from twin_assets.stores import Stores

ADAPTER_FOLDER = "adapter"
"""The adapter's folder inside a version's folder."""

IDLE_S = 600.0
"""A base model that has not been used for this long is unloaded."""

MEMORY_SHARE = 0.5
"""The share of the machine's or the GPU's memory that generation may take, unless the settings give a size."""

CACHE_SHARE = 0.25
"""The share of generation's memory that the caches of one base model's drafts may take."""

SMALL_MODEL_BYTES = 64_000_000
"""A smaller model than this stays with torch, because exporting it takes longer than it ever saves."""

LARGE_SHARE = 0.2
"""A model that takes more than this share of the machine's memory is not exported, which needs four times as much."""


@dataclass(eq=False)
class _Loaded:
    """An adapter in memory. holders: how many open sessions use it."""

    adapter: Adapter
    holders: int = 0
    used_at: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class _Base:
    """A base model in memory. holders: how many open sessions use it."""

    engine: AnyEngine
    scheduler: Scheduler
    tokenizer: "PreTrainedTokenizerBase"
    context_tokens: int
    end_ids: frozenset[int]
    word_starts: WordStarts
    adapters: dict[str, _Loaded] = field(default_factory=dict)
    holders: int = 0
    used_at: float = field(default_factory=time.monotonic)

    @property
    def n_bytes(self) -> int:
        return self.engine.weights_bytes + sum(one.adapter.n_bytes for one in self.adapters.values())


Key = tuple[str, str, str, str]
"""The name, revision and precision of a base model, and its engine."""


class InProcess:
    """A backend that runs models in this process. Safe to use from several threads."""

    def __init__(self, stores: "Stores", memory_bytes: int | None = None) -> None:
        """memory_bytes: for weights, adapters and caches; None takes the settings' size, or a share of the memory."""
        self._stores = stores
        self._settings: Settings = stores.settings
        given = memory_bytes or self._settings.generation_memory_mib * 2**20
        self._memory = given or int(_memory(self._settings) * MEMORY_SHARE)
        self._bases: dict[Key, _Base] = {}
        self._lock = threading.Lock()
        self._loading = threading.Lock()

    def open(self, model: ModelManifest | BaseSpec, tell: Tell = silent) -> "LocalSession":
        """Open a session with a version of the registry or a base model, which is loaded if it is not in memory."""
        if isinstance(model, BaseSpec):
            return self._session(self._hold_base(model, tell), None)
        return self._open_version(model, tell)

    def _open_version(self, manifest: ModelManifest, tell: Tell) -> "LocalSession":
        if manifest.serving != "adapter":
            raise TwinError(f"{manifest.id} is served as {manifest.serving}, but this process only serves adapters")
        folder = self._stores.models.local_folder(manifest, self._settings.cache_dir) / ADAPTER_FOLDER
        ref = manifest.base
        spec = BaseSpec(name=ref.name, revision=ref.revision, precision=ref.precision)
        try:
            try:
                return self._with_adapter(spec, manifest.id, folder, tell)
            except UnsupportedAdapter:
                return self._with_adapter(spec, manifest.id, folder, tell, engine="torch")
        except NotThere as error:
            raise NotThere(f"{error}: train {manifest.id} again") from error

    def _with_adapter(
        self, spec: BaseSpec, name: str, folder: Path, tell: Tell, engine: str | None = None
    ) -> "LocalSession":
        """A session with an adapter. The base model is released if the adapter cannot be loaded."""
        base = self._hold_base(spec, tell, engine)
        try:
            return self._session(base, self._hold_adapter(base, name, folder))
        except BaseException:
            self._release(base, None)
            raise

    def _session(self, base: _Base, loaded: _Loaded | None) -> "LocalSession":
        return LocalSession(base, loaded.adapter if loaded else None, lambda: self._release(base, loaded))

    def _hold_base(self, spec: BaseSpec, tell: Tell, engine: str | None = None) -> _Base:
        """Load the base model if need be, and keep it in memory until it is released."""
        resolved = resolve_base(spec, self._settings, tell)
        engine = engine or _engine_for(resolved, self._settings)
        key = (resolved.name, resolved.revision, resolved.precision, engine)
        with self._loading:
            with self._lock:
                if found := self._bases.get(key):
                    return _held(found)
            self._make_room(_files_bytes(resolved.path))
            base = self._load(resolved, engine, tell)
            with self._lock:
                self._bases[key] = _held(base)
            threading.Thread(target=self._drop_when_idle, args=(key,), name="idle-base", daemon=True).start()
            return base

    def _load(self, resolved: ResolvedBase, engine: str, tell: Tell) -> _Base:
        made = load_engine(resolved, engine, self._settings, tell)
        tokenizer = load_tokenizer(resolved.path)
        return _Base(
            engine=made,
            scheduler=Scheduler(made, int(self._memory * CACHE_SHARE)),
            tokenizer=tokenizer,
            context_tokens=context_of(resolved),
            end_ids=end_ids(_generation_config(resolved.path), tokenizer),
            word_starts=WordStarts(tokenizer),
        )

    def _hold_adapter(self, base: _Base, name: str, folder: Path) -> _Loaded:
        with self._loading:
            with self._lock:
                if found := base.adapters.get(name):
                    return _held(found)
            self._make_room(_files_bytes(folder))
            adapter = base.scheduler.call(lambda: base.engine.load(folder))
            with self._lock:
                base.adapters[name] = _held(_Loaded(adapter))
                return base.adapters[name]

    def _release(self, base: _Base, loaded: _Loaded | None) -> None:
        with self._lock:
            for one in (base, loaded):
                if one is not None:
                    one.holders -= 1
                    one.used_at = time.monotonic()

    def _make_room(self, wanted: int) -> None:
        """Unload what no session uses, least recently used first, until `wanted` bytes fit or nothing is left."""
        while True:
            with self._lock:
                used = sum(base.n_bytes for base in self._bases.values())
                if used + wanted <= self._memory * (1 - CACHE_SHARE):
                    return
                unload = self._oldest_idle()
            if unload is None:
                return
            unload()

    def _oldest_idle(self) -> Callable[[], object] | None:
        """A function that unloads the least recently used idle adapter or base. Call it with the lock held."""
        idle: list[tuple[float, Callable[[], object]]] = []
        for key, base in self._bases.items():
            if not base.holders:
                idle.append((base.used_at, lambda key=key: self._drop_base(key)))  # type: ignore[misc]
            for name, one in base.adapters.items():
                if not one.holders:
                    idle.append((one.used_at, lambda base=base, name=name: self._drop_adapter(base, name)))  # type: ignore[misc]
        return min(idle, key=lambda one: one[0])[1] if idle else None

    def _drop_adapter(self, base: _Base, name: str) -> None:
        with self._lock:
            if base.adapters[name].holders:
                return
            dropped = base.adapters.pop(name)
        with suppress(Closed):  # its base, with everything on it, may have been unloaded meanwhile
            base.scheduler.call(lambda: base.engine.unload(dropped.adapter))

    def _drop_base(self, key: Key) -> None:
        with self._lock:
            if key not in self._bases or self._bases[key].holders:
                return
            base = self._bases.pop(key)
        base.scheduler.close()

    def _drop_when_idle(self, key: Key) -> None:
        """Wait until no session has used a base for IDLE_S, and unload it."""
        while True:
            with self._lock:
                base = self._bases.get(key)
                if base is None:
                    return
                left = IDLE_S if base.holders else base.used_at + IDLE_S - time.monotonic()
            if left <= 0:
                self._drop_base(key)
            else:
                time.sleep(left)

    @property
    def n_held(self) -> dict[str, int]:
        """How many open sessions use each adapter, by name."""
        with self._lock:
            return {name: one.holders for base in self._bases.values() for name, one in base.adapters.items()}

    @property
    def loaded(self) -> dict[str, list[str]]:
        """The names of the adapters in memory, by the name of their base model."""
        with self._lock:
            return {key[0]: list(base.adapters) for key, base in self._bases.items()}


Held = TypeVar("Held", _Base, _Loaded)


def _held(one: Held) -> Held:
    one.holders += 1
    return one


class LocalSession(Session):
    """A session with a model in this process."""

    def __init__(self, base: _Base, adapter: Adapter | None, release: Callable[[], None]) -> None:
        self._base = base
        self._adapter = adapter
        self._release: Callable[[], None] | None = release
        self._once = threading.Lock()
        self.context_tokens = base.context_tokens
        self.tokenizer = base.tokenizer
        self.engine = base.engine.name

    def _pieces(self, prompt: EncodedPrompt, sampling: Sampling, stop: Stop, on_token: OnToken) -> PieceStream:
        job = DraftJob(
            ids=prompt.ids,
            sampler=TokenSampler(sampling, _guard(prompt, sampling, self._base.word_starts)),
            max_new=min(sampling.max_new_tokens, self.context_tokens - len(prompt.ids)),
            end_ids=self._base.end_ids,
            adapter=self._adapter,
        )
        decoded = DecodedStream(self.tokenizer)
        with closing(self._base.scheduler.tokens(job, stop)) as tokens:
            for token in tokens:
                if on_token is not None:
                    on_token()
                if piece := decoded.step(token):
                    yield piece
            if piece := decoded.rest():
                yield piece

    def score(self, windows: Sequence[Window]) -> list[float]:
        """The nats of each window's masked tokens."""
        base, adapter = self._base, self._adapter
        return base.scheduler.call(lambda: base.engine.score(windows, adapter))

    def close(self) -> None:
        """Release base and adapter."""
        with self._once:
            release, self._release = self._release, None
        if release is not None:
            release()


def _guard(
    prompt: EncodedPrompt, sampling: Sampling, word_starts: WordStarts
) -> Callable[[Sequence[int]], Sequence[int]] | None:
    """A function that names the tokens with which a draft would copy too much from its prompt, if it is guarded."""
    if sampling.copy_words is None or not prompt.shown:
        return None
    return TokenGuard(word_starts, prompt.shown, sampling.copy_words).banned


def _engine_for(base: ResolvedBase, settings: "Settings") -> str:
    """The engine that the settings name; with `auto`, `onnx` if it is possible and faster, and otherwise `torch`."""
    if settings.generation_engine != "auto":
        return settings.generation_engine
    if device_of(settings.device) != "cpu" or base.precision not in ("fp32", "bf16") or missing_packages():
        return "torch"
    size = _files_bytes(base.path)
    return "onnx" if SMALL_MODEL_BYTES <= size <= LARGE_SHARE * _memory(settings) else "torch"


def load_engine(base: ResolvedBase, engine: str, settings: "Settings", tell: Tell) -> AnyEngine:
    """Load the base's weights into an engine; torch takes over if ONNX Runtime cannot run the model correctly."""
    if engine == "onnx":
        from twin_assets.language.generation.engines.onnx_engine import OnnxEngine

        try:
            return OnnxEngine(exported(base.revision[:16], base.path, settings.cache_dir, tell))
        except NotExportable as error:
            tell(f"{error}; using torch instead, which is several times slower")
    from twin_assets.language.generation.engines.torch_engine import TorchEngine

    return TorchEngine(load_base(base, settings.device)[0])


def _generation_config(folder: Path) -> "GenerationConfig | None":
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(folder, local_files_only=True)
    except OSError:
        return None


def _files_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _memory(settings: "Settings") -> int:
    """The memory of the device that generates, in bytes."""
    device = device_of(settings.device)
    if device == "cpu":
        import psutil

        return int(psutil.virtual_memory().total)
    import torch

    return int(torch.cuda.get_device_properties(device).total_memory)
