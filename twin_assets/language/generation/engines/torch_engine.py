"""The torch engine: it runs every architecture and adapter, on a GPU if there is one, and is the reference for others.

peft keeps the active adapter in the model itself, so every call names the adapter that it needs and never relies on
what an earlier call did. A switch takes as long as a few tokens, hence `tokens_per_turn`.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin_assets.errors import NotThere
from twin_assets.language.generation.sampling import Logits
from twin_assets.language.prompts import Window

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

SCORED_TOKENS = 2_048
"""The most tokens in one forward pass when scoring, padding included. It limits the memory for logits."""


@dataclass(eq=False)
class TorchAdapter:
    """An adapter in the model. name: the one that peft knows it by."""

    name: str
    n_bytes: int


@dataclass(eq=False)
class _Batch:
    """Sequences that share a cache, one row each, padded on the left to the same length."""

    cache: "DynamicCache"
    rows: list["TorchCache"]
    padding: list[int]


@dataclass(eq=False)
class TorchCache:
    """A row of a batch. length: how many tokens it has read."""

    batch: _Batch
    length: int = 0


class TorchEngine:
    """A transformers model with peft adapters."""

    tokens_per_turn = 8

    def __init__(self, model: "PreTrainedModel") -> None:
        """model: a causal language model, possibly already wrapped by peft."""
        # Any: a PreTrainedModel, wrapped in a PeftModel once the first adapter is loaded.
        self._model: Any = model.eval()
        config = model.config.get_text_config()
        self.name = f"torch, {str(model.dtype).removeprefix('torch.')}"
        self.vocabulary = int(config.vocab_size)
        self.weights_bytes = int(model.get_memory_footprint())
        heads = int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)
        size = int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
        self.bytes_per_token = config.num_hidden_layers * 2 * heads * size * model.dtype.itemsize
        self._can_batch = _attends_to_everything(config)
        self._names = itertools.count()
        self._active: str | None = None
        self._has_peft = False

    def close(self) -> None:
        """Free the weights."""
        del self._model

    def load(self, folder: Path) -> TorchAdapter:
        """Read an adapter. Raises NotThere if there is none in safetensors, since a pickle is never read."""
        file = folder / "adapter_model.safetensors"
        if not file.is_file():
            raise NotThere(f"no adapter_model.safetensors in {folder}")
        from peft import PeftModel

        name = f"adapter{next(self._names)}"
        self._active = "unknown"  # so that the next call selects its adapter, whatever loading leaves active
        if self._has_peft:
            self._model.load_adapter(folder, adapter_name=name)
        else:
            self._model = PeftModel.from_pretrained(self._model, folder, adapter_name=name)
            self._has_peft = True
        self._model.eval()
        return TorchAdapter(name, file.stat().st_size)

    def unload(self, adapter: TorchAdapter) -> None:
        """Unload an adapter."""
        self._model.delete_adapter(adapter.name)
        self._active = "unknown"

    def cache(self, max_tokens: int) -> TorchCache:
        """Make the cache of a new sequence, which grows as tokens are read."""
        from transformers import DynamicCache

        batch = _Batch(DynamicCache(config=self._model.config), [], [0])
        cache = TorchCache(batch)
        batch.rows.append(cache)
        return cache

    def forget(self, cache: TorchCache) -> None:
        """Do nothing: the memory is freed when the rest of the batch is merged again."""

    def extend(self, cache: TorchCache, ids: Sequence[int], adapter: TorchAdapter | None) -> Logits:
        """Read tokens into a sequence, and return the logits after them."""
        import torch

        if cache.batch.rows != [cache]:
            self._merged([cache])
        given = torch.tensor([list(ids)], device=self._model.device)
        logits = self._forward(adapter, input_ids=given, past_key_values=cache.batch.cache, use_cache=True)
        cache.length += len(ids)
        last: Logits = logits[0]
        return last

    def step(self, caches: Sequence[TorchCache], tokens: Sequence[int], adapter: TorchAdapter | None) -> Logits:
        """Read one token into each sequence; logits, shape (sequences, vocabulary)."""
        import numpy as np
        import torch

        if len(caches) == 1 or not self._can_batch:
            return np.stack([self.extend(cache, [token], adapter) for cache, token in zip(caches, tokens, strict=True)])
        batch = caches[0].batch if caches[0].batch.rows == list(caches) else self._merged(caches)
        device = self._model.device
        width = max(cache.length + padding for cache, padding in zip(caches, batch.padding, strict=True)) + 1
        mask = (torch.arange(width)[None] >= torch.tensor(batch.padding)[:, None]).long()
        logits = self._forward(
            adapter,
            input_ids=torch.tensor(list(tokens), device=device)[:, None],
            attention_mask=mask.to(device),
            position_ids=torch.tensor([cache.length for cache in caches], device=device)[:, None],
            past_key_values=batch.cache,
            use_cache=True,
        )
        for cache in caches:
            cache.length += 1
        return logits

    def _merged(self, caches: Sequence[TorchCache]) -> _Batch:
        """Copy sequences into the rows of one new cache."""
        import torch
        from transformers import DynamicCache

        longest = max(cache.length for cache in caches)
        merged = DynamicCache(config=self._model.config)
        for layer in range(len(caches[0].batch.cache.layers)):
            sides: tuple[list[Any], list[Any]] = ([], [])
            for cache in caches:
                row, of_layer = cache.batch.rows.index(cache), cache.batch.cache.layers[layer]
                for side, kept in zip(sides, (of_layer.keys, of_layer.values), strict=True):
                    sequence = kept[row : row + 1, :, kept.shape[2] - cache.length :]
                    side.append(torch.nn.functional.pad(sequence, (0, 0, longest - cache.length, 0)))
            merged.update(torch.cat(sides[0]), torch.cat(sides[1]), layer)
        batch = _Batch(merged, list(caches), [longest - cache.length for cache in caches])
        for cache in caches:
            cache.batch = batch
        return batch

    def _forward(self, adapter: TorchAdapter | None, **given: Any) -> Logits:
        """Run the model, and return the logits of the last position of each row."""
        import torch

        with torch.inference_mode():
            self._use(adapter)
            logits = self._model(**given, logits_to_keep=1).logits[:, -1].float().cpu()
        found: Logits = logits.numpy()
        return found

    def _use(self, adapter: TorchAdapter | None) -> None:
        """Select an adapter, or the base model alone, for the next forward pass."""
        wanted = adapter.name if adapter else None
        if not self._has_peft or wanted == self._active:
            return
        if wanted is None:
            self._model.base_model.disable_adapter_layers()
        else:
            self._model.base_model.enable_adapter_layers()
            self._model.set_adapter(wanted, inference_mode=True)
        self._active = wanted

    def score(self, windows: Sequence[Window], adapter: TorchAdapter | None) -> list[float]:
        """The nats of each window's masked tokens; windows of similar length are batched."""
        found: dict[int, float] = {}
        for batch in _batches(windows, SCORED_TOKENS):
            found.update(zip(batch, self._score([windows[n] for n in batch], adapter), strict=True))
        return [found[n] for n in range(len(windows))]

    def _score(self, batch: Sequence[Window], adapter: TorchAdapter | None) -> list[float]:
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
        with torch.inference_mode():
            self._use(adapter)
            logits = self._model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
            nats = torch.nn.functional.cross_entropy(logits[scored].float(), ids[:, 1:][scored], reduction="none")
        parts = torch.split(nats.double().cpu(), scored.sum(dim=1).tolist())
        return [math.fsum(part.tolist()) for part in parts]


def _attends_to_everything(config: Any) -> bool:
    """True if every layer attends to the whole sequence; caches with a sliding window cannot be padded."""
    kinds = getattr(config, "layer_types", None)
    return all(kind == "full_attention" for kind in kinds) if kinds else getattr(config, "sliding_window", None) is None


def _batches(windows: Sequence[Window], max_tokens: int) -> Iterator[list[int]]:
    """Put windows of similar length into batches of at most `max_tokens` tokens with padding; yields their indexes."""
    batch: list[int] = []
    for n in sorted(range(len(windows)), key=lambda n: len(windows[n].ids)):
        if batch and len(windows[n].ids) * (len(batch) + 1) > max_tokens:
            yield batch
            batch = []
        batch.append(n)
    if batch:
        yield batch
