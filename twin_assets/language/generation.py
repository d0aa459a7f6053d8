"""Drafting and scoring with one base model and many LoRA adapters on it.

The token loop is ours, because transformers' own draws from a global random state and keeps the model for a whole
draft: here each request has its own seeded generator, and requests with different adapters take turns token by token
under one lock. Price: no batching across requests; scaled out that is vLLM's work. Logits are shaped by transformers'
own processors, text is decoded by tokenizers' own stream.
"""

import collections.abc
import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin_assets.documents import ModelManifest, digest
from twin_assets.errors import BadInput, NotThere, TwinError
from twin_assets.language.prompts import ROLE_MARKS, DraftRequest, EncodedPrompt, Window, encode_example, template_kind

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from twin_assets.language.base_models import BaseSpec, ResolvedBase
    from twin_assets.stores import Stores

ADAPTER_FOLDER = "adapter"
"""Where the adapter lies inside a version's folder."""

SCORED_TOKENS = 2_048
"""Tokens per forward pass when scoring, padding included: bounds the memory that logits take."""

MAX_ADAPTERS = 32
MAX_BASES = 2

PieceStream = collections.abc.Generator[str, None, None]
"""Text as it comes; closing it frees what the draft holds."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature 0 is greedy; with a seed the same prompt gives the same draft.

    top_p: smallest set of tokens with this probability is kept. repetition_penalty: 1 is none, as in transformers.
    """

    max_new_tokens: int = 512
    temperature: float = 0.7
    top_p: float = 0.95
    repetition_penalty: float = 1.1
    seed: int | None = None


class Generator:
    """One base model with its tokenizer, and the adapters put on it. Safe to use from several threads."""

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", context_tokens: int) -> None:
        """context_tokens: the longest sequence the base model takes."""
        self.tokenizer = tokenizer
        self.context_tokens = context_tokens
        # Any: a PreTrainedModel until the first adapter, then a PeftModel around it.
        self._model: Any = model.eval()
        self._lock = threading.RLock()
        self._adapters: OrderedDict[str, str] = OrderedDict()
        self._in_use: Counter[str] = Counter()
        self._active: str | None = None
        self._end_ids = _end_ids(model, tokenizer)
        self._stop_marks = ROLE_MARKS if template_kind(tokenizer) == "ours" else ()

    @property
    def adapters(self) -> list[str]:
        """Names of the loaded adapters, least recently used first."""
        return list(self._adapters)

    def add_adapter(self, name: str, folder: Path) -> None:
        """Put a LoRA adapter from `folder` on the base model under `name`; one that is there stays.

        Raises NotThere when the folder holds no adapter in safetensors; a pickle is never read.
        """
        if not (folder / "adapter_model.safetensors").is_file():
            raise NotThere(f"no adapter_model.safetensors in {folder}: train {name} again")
        with self._lock:
            if name in self._adapters:
                self._adapters.move_to_end(name)
                return
            from peft import PeftModel

            inner = digest(name, 16)  # a module's name may hold no dot, a version's may
            if self._adapters:
                self._model.load_adapter(folder, adapter_name=inner)
            else:
                self._model = PeftModel.from_pretrained(self._model, folder, adapter_name=inner).eval()
            self._adapters[name] = inner
            self._active = inner
            self._switch_to(name)
            self._drop_unused()

    def stream(
        self,
        prompt: EncodedPrompt,
        sampling: Sampling,
        adapter: str | None = None,
        stop_event: threading.Event | None = None,
        on_token: Callable[[], None] | None = None,
    ) -> Iterator[str]:
        """The draft, piece by piece; closing the iterator, or setting `stop_event`, ends the work.

        adapter: a name given to `add_adapter`; None is the base model. Special tokens never show.
        on_token: called for each token of the draft; a piece may be several.
        Raises NotThere for an adapter that is not loaded and BadInput for a prompt that fills the context, both
        before the first piece.
        """
        if len(prompt.ids) >= self.context_tokens:
            raise BadInput(
                f"the prompt is {len(prompt.ids)} tokens long and the model's context {self.context_tokens}: shorten it"
            )
        self._known(adapter)
        return _until_marks(self._pieces(prompt.ids, sampling, adapter, stop_event, on_token), self._stop_marks)

    def generate(self, prompt: EncodedPrompt, sampling: Sampling, adapter: str | None = None) -> str:
        """The whole draft, as `stream` gives it."""
        return "".join(self.stream(prompt, sampling, adapter)).strip()

    def nll(self, windows: Iterable[Window], adapter: str | None = None) -> float:
        """Negative log-likelihood in nats, summed over the tokens that the windows' masks name."""
        return math.fsum(
            value for batch in _batches(list(windows), SCORED_TOKENS) for value in self._score(batch, adapter)
        )

    def _known(self, adapter: str | None) -> None:
        if adapter is not None and adapter not in self._adapters:
            loaded = ", ".join(self._adapters) or "none"
            raise NotThere(f"adapter {adapter!r} is not loaded (loaded: {loaded})")

    def _pieces(
        self,
        ids: list[int],
        sampling: Sampling,
        adapter: str | None,
        stop_event: threading.Event | None,
        on_token: Callable[[], None] | None,
    ) -> PieceStream:
        decoded = _DecodedStream(self.tokenizer)
        with self._using(adapter):
            for token in self._tokens(ids, sampling, adapter):
                if stop_event is not None and stop_event.is_set():
                    return
                if token in self._end_ids:
                    break
                if on_token is not None:
                    on_token()
                if piece := decoded.step(token):
                    yield piece
            if piece := decoded.rest():
                yield piece

    def _tokens(self, ids: list[int], sampling: Sampling, adapter: str | None) -> Iterator[int]:
        import torch
        from transformers import DynamicCache

        drawn = _Sampler(sampling, n_prompt=len(ids))
        cache = DynamicCache(config=self._model.config)
        seen = torch.tensor([ids], device=self._model.device)
        new = seen
        for _ in range(min(sampling.max_new_tokens, self.context_tokens - len(ids))):
            with self._lock, torch.inference_mode():
                self._switch_to(adapter)
                logits = self._model(input_ids=new, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
            token = drawn.token(logits[:, -1].float().cpu(), seen.cpu())
            yield token
            new = torch.tensor([[token]], device=seen.device)
            seen = torch.cat([seen, new], dim=1)

    def _score(self, batch: Sequence[Window], adapter: str | None) -> list[float]:
        import torch

        width = max(len(window.ids) for window in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        mask = torch.zeros(len(batch), width, dtype=torch.long)
        scored = torch.zeros(len(batch), width, dtype=torch.bool)
        for row, window in enumerate(batch):
            ids[row, : len(window.ids)] = torch.tensor(window.ids)
            mask[row, : len(window.ids)] = 1
            scored[row, : len(window.mask)] = torch.tensor(window.mask, dtype=torch.bool)
        device = self._model.device
        ids, mask, scored = ids.to(device), mask.to(device), scored[:, 1:].to(device)
        with self._using(adapter), self._lock, torch.inference_mode():
            self._switch_to(adapter)
            logits = self._model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
            nats = torch.nn.functional.cross_entropy(logits[scored].float(), ids[:, 1:][scored], reduction="none")
        parts = torch.split(nats.double().cpu(), scored.sum(dim=1).tolist())
        return [float(part.sum()) for part in parts]

    @contextmanager
    def _using(self, adapter: str | None) -> Iterator[None]:
        """Keep an adapter loaded while something is drawn from it."""
        if adapter is None:
            yield
            return
        with self._lock:
            self._known(adapter)
            self._in_use[adapter] += 1
            self._adapters.move_to_end(adapter)
        try:
            yield
        finally:
            with self._lock:
                self._in_use[adapter] -= 1

    def _switch_to(self, adapter: str | None) -> None:
        """Make an adapter, or the base model alone, answer the next forward pass. The lock is held."""
        wanted = self._adapters[adapter] if adapter is not None else None
        if wanted == self._active:
            return
        if wanted is None:
            self._model.base_model.disable_adapter_layers()
        else:
            self._model.base_model.enable_adapter_layers()
            self._model.set_adapter(wanted, inference_mode=True)
        self._active = wanted

    def _drop_unused(self) -> None:
        """Let go of the adapters unused for longest, down to MAX_ADAPTERS. The lock is held."""
        idle = [name for name in self._adapters if not self._in_use[name]]
        for name in idle[: max(0, len(self._adapters) - MAX_ADAPTERS)]:
            self._model.delete_adapter(self._adapters.pop(name))


class _DecodedStream:
    """Text of tokens that come one by one: a piece is given out once no further token can change it.

    Not tokenizers' DecodeStream, which raises on a model that draws bytes that are no UTF-8 (a small one does). The
    window of tokens that are decoded again is that of text-generation-inference.
    See: https://github.com/huggingface/text-generation-inference/blob/main/server/text_generation_server/models/model.py
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._before = self._given = 0

    def step(self, token: int) -> str:
        """The text that this token completes; empty while it ends in the middle of a character."""
        self._ids.append(token)
        waits = self._decode(self._ids[self._before :]).endswith("\N{REPLACEMENT CHARACTER}")
        # Four bytes are the longest character: what is still none after that will never be one.
        return "" if waits and len(self._ids) - self._given < 4 else self.rest()

    def rest(self) -> str:
        """What was not given out yet."""
        known = self._decode(self._ids[self._before : self._given])
        text = self._decode(self._ids[self._before :])
        new = text[len(known) :] if text.startswith(known) else self._decode(self._ids[self._given :])
        self._before, self._given = self._given, len(self._ids)
        return new

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


class _Sampler:
    """Draws tokens as a `Sampling` says, from a random state of its own, on the CPU: the same on every device."""

    def __init__(self, sampling: Sampling, n_prompt: int) -> None:
        import torch
        from transformers import (
            LogitsProcessorList,
            RepetitionPenaltyLogitsProcessor,
            TemperatureLogitsWarper,
            TopPLogitsWarper,
        )

        self._greedy = sampling.temperature <= 0
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)
        self._shape = LogitsProcessorList()
        if sampling.repetition_penalty != 1:
            # Of the draft only: the prompt shows the author's words so that they are used.
            self._shape.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty, n_prompt))
        if not self._greedy:
            self._shape.append(TemperatureLogitsWarper(sampling.temperature))
            if sampling.top_p < 1:
                self._shape.append(TopPLogitsWarper(sampling.top_p))

    def token(self, logits: "torch.Tensor", seen: "torch.Tensor") -> int:
        """The next token. logits: (1, vocabulary); seen: ids so far, (1, n)."""
        import torch

        shaped = self._shape(seen, logits)
        if self._greedy:
            return int(shaped.argmax(dim=-1))
        return int(torch.multinomial(torch.softmax(shaped, dim=-1), 1, generator=self._random))


class Generators:
    """The few base models in memory, each with its adapters, by (name, revision, precision)."""

    def __init__(self, stores: "Stores", max_bases: int = MAX_BASES) -> None:
        self._stores = stores
        self._max_bases = max_bases
        self._loaded: OrderedDict[tuple[str, str, str], Generator] = OrderedDict()
        self._lock = threading.Lock()
        self._loading = threading.Lock()

    def for_manifest(self, manifest: ModelManifest) -> Generator:
        """The generator that drafts for a model version, with its adapter on it under the name `manifest.id`."""
        from twin_assets.language.base_models import BaseSpec

        if manifest.serving != "adapter":
            raise TwinError(f"{manifest.id} is served {manifest.serving}: this process serves adapters only")
        base = manifest.base
        generator = self.for_base(BaseSpec(name=base.name, revision=base.revision, precision=base.precision))
        if manifest.id not in generator.adapters:
            folder = self._stores.models.local_folder(manifest, self._stores.settings.cache_dir)
            generator.add_adapter(manifest.id, folder / ADAPTER_FOLDER)
        return generator

    def for_base(self, spec: "BaseSpec") -> Generator:
        """The generator of a base model without any adapter; loads it when it is not in memory."""
        from twin_assets.language.base_models import resolve_base

        resolved = resolve_base(spec, self._stores.settings)
        key = (resolved.name, resolved.revision, resolved.precision)
        if found := self._find(key):
            return found
        with self._loading:
            if found := self._find(key):
                return found
            generator = load_generator(resolved, self._stores.settings.device)
            with self._lock:
                self._loaded[key] = generator
                while len(self._loaded) > self._max_bases:
                    self._loaded.popitem(last=False)
            return generator

    def _find(self, key: tuple[str, str, str]) -> Generator | None:
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)


def load_generator(base: "ResolvedBase", device: str) -> Generator:
    """A generator around a base model, as large in context as the model's own position embeddings."""
    from twin_assets.language.base_models import load_base

    model, tokenizer = load_base(base, device)
    return Generator(model, tokenizer, int(model.config.max_position_embeddings))


def _end_ids(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """Tokens that end a draft: the model's, the tokenizer's, and the special ones its template closes a turn with."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = {*(configured if isinstance(configured, list) else [configured]), tokenizer.eos_token_id} - {None}
    example = encode_example(tokenizer, DraftRequest("x"), "y", max_prompt_tokens=1_000_000)
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(int(number) for number in ids | (set(example.answer_ids[-example.n_closing :]) & special))


def _until_marks(pieces: PieceStream, marks: Sequence[str]) -> Iterator[str]:
    """The pieces up to the first mark; what may be the beginning of one is held back until it is decided."""
    held = ""
    with closing(pieces):
        for piece in pieces:
            held += piece
            if any(mark in held for mark in marks):
                yield min((held.partition(mark)[0] for mark in marks), key=len)
                return
            keep = max((n for mark in marks for n in range(1, len(mark)) if held.endswith(mark[:n])), default=0)
            if ready := held[: len(held) - keep]:
                yield ready
            held = held[len(held) - keep :]
    if held:
        yield held


def _batches(windows: Sequence[Window], max_tokens: int) -> Iterator[list[Window]]:
    """Windows of like length together, at most `max_tokens` with padding, at least one."""
    batch: list[Window] = []
    for window in sorted(windows, key=lambda window: len(window.ids)):
        if batch and len(window.ids) * (len(batch) + 1) > max_tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
