"""ONNX Runtime: 8-bit weights, five times as fast as torch on a laptop, and an adapter is just more inputs.

Because an adapter's weights travel with each call, no call can be made with another's, and a newly published one is
usable as soon as its file is read. Sequences share a cache tensor while they are decoded together, one row each, so a
batch whose members stay the same copies nothing.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from twin_assets.errors import NotThere
from twin_assets.language.generation.engine import CannotApply
from twin_assets.language.generation.onnx_export import LORA_A, LORA_B, MODEL, POSITIONS, Shape, Slot
from twin_assets.language.generation.sampling import Logits
from twin_assets.language.prompts import Window

if TYPE_CHECKING:
    from onnxruntime import IOBinding, OrtValue

Array = npt.NDArray[np.float32]

ROUND = 128
"""Caches are sized in steps of so many tokens, so that sequences of like length fit into one tensor."""

SPIN_US = "50"

PREFIX = "base_model.model."


@dataclass(eq=False)
class OnnxAdapter:
    """A's and B's by input name, B already scaled."""

    tensors: "dict[str, OrtValue]"
    n_bytes: int


@dataclass(eq=False)
class _Buffer:
    """Keys and values of several sequences: per layer (rows, heads, size, head size).

    arrays: the memory itself; tensors: what ONNX Runtime reads and writes it through.
    """

    arrays: dict[str, Array]
    tensors: "dict[str, OrtValue]"
    size: int
    rows: list["OnnxCache"]
    bound: "tuple[OnnxAdapter, IOBinding] | None" = None


@dataclass(eq=False)
class OnnxCache:
    """A row of a buffer."""

    buffer: _Buffer
    length: int = 0


class OnnxEngine:
    """An exported base model; see `onnx_export`."""

    turn = 1

    def __init__(self, folder: Path, threads: int = 0) -> None:
        """threads: 0 leaves it to ONNX Runtime, one per core."""
        import onnxruntime

        self.shape = Shape.read(folder)
        self.name = "onnxruntime, 8 bits"
        self.vocabulary = self.shape.vocabulary
        self.weights_bytes = sum(file.stat().st_size for file in folder.glob(f"{MODEL}*"))
        self.bytes_per_token = self.shape.layers * 2 * self.shape.kv_heads * self.shape.head_size * 4
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # By default threads spin for long while they wait: beside a busy process a token took three times as long.
        options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_US)
        self._session = onnxruntime.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
        self._none = self._adapter({})
        self._scratch: OnnxCache | None = None

    def close(self) -> None:
        """Let go of the weights."""
        del self._session
        self._scratch = None

    def load(self, folder: Path) -> OnnxAdapter:
        """Read an adapter. Raises NotThere, and CannotApply for one that is more than LoRA on the layers' products."""
        from safetensors.numpy import load_file

        file = folder / "adapter_model.safetensors"
        if not file.is_file():
            raise NotThere(f"no adapter_model.safetensors in {folder}")
        scaling = _scaling(json.loads((folder / "adapter_config.json").read_text()))
        tensors = {
            name.removeprefix(PREFIX): value.astype(np.float32) for name, value in _read(file, load_file).items()
        }
        pairs = {name.rpartition(".lora_")[0] for name in tensors}
        known = {name for slot in self.shape.slots for name, _ in slot.modules}
        if strange := sorted(pairs - known)[:1] or [name for name in tensors if ".lora_" not in name][:1]:
            raise CannotApply(f"the adapter in {folder} changes {strange[0]}, which is no layer of the exported graph")
        return self._adapter({name: _pair(tensors, name, scaling) for name in pairs})

    def unload(self, adapter: OnnxAdapter) -> None:
        """Its arrays go with the last reference."""

    def _adapter(self, pairs: dict[str, tuple[Array, Array]]) -> OnnxAdapter:
        """Inputs for every slot; one that the adapter leaves alone gets zeros of rank 1."""
        from onnxruntime import OrtValue

        tensors: dict[str, OrtValue] = {}
        n_bytes = 0
        for slot in self.shape.slots:
            for name, value in zip((LORA_A, LORA_B), _packed(slot, pairs), strict=True):
                tensors[name.format(slot=slot.name)] = OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value))
                n_bytes += value.nbytes
        return OnnxAdapter(tensors, n_bytes)

    def cache(self, max_tokens: int) -> OnnxCache:
        """The cache of a new sequence, in a buffer of its own."""
        buffer = self._buffer(1, max_tokens)
        cache = OnnxCache(buffer)
        buffer.rows.append(cache)
        return cache

    def _buffer(self, n: int, tokens: int) -> _Buffer:
        from onnxruntime import OrtValue

        size = math.ceil(tokens / ROUND) * ROUND
        dimensions = (n, self.shape.kv_heads, size, self.shape.head_size)
        names = [f"{layer}.{kind}" for layer in range(self.shape.layers) for kind in ("key", "value")]
        arrays = {name: np.zeros(dimensions, np.float32) for name in names}
        return _Buffer(arrays, {name: OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}, size, [])

    def extend(self, cache: OnnxCache, ids: Sequence[int], adapter: OnnxAdapter | None) -> Logits:
        """Read tokens into a sequence; the logits of what comes after them."""
        together = cache.buffer if cache.buffer.rows == [cache] else self._together([cache])
        given = np.asarray([ids], dtype=np.int64)
        logits = self._run(together, adapter, given, [cache.length + len(ids)], np.asarray([len(ids) - 1]))
        cache.length += len(ids)
        last: Logits = logits[0]
        return last

    def step(self, caches: Sequence[OnnxCache], tokens: Sequence[int], adapter: OnnxAdapter | None) -> Logits:
        """Read one token into each sequence; logits (sequences, vocabulary)."""
        first = caches[0].buffer
        buffer = first if first.rows == list(caches) else self._together(caches)
        given = np.asarray(tokens, dtype=np.int64)[:, None]
        logits = self._run(buffer, adapter, given, [cache.length + 1 for cache in caches], np.arange(len(caches)))
        for cache in caches:
            cache.length += 1
        return logits

    def _together(self, caches: Sequence[OnnxCache]) -> _Buffer:
        """Copy sequences into the rows of one buffer."""
        buffer = self._buffer(len(caches), max(cache.buffer.size for cache in caches))
        for name, new in buffer.arrays.items():
            for row, cache in enumerate(caches):
                old = cache.buffer.arrays[name][cache.buffer.rows.index(cache)]
                new[row, :, : cache.length] = old[:, : cache.length]
        buffer.rows = list(caches)
        for cache in caches:
            cache.buffer = buffer
        return buffer

    def _run(
        self,
        buffer: _Buffer,
        adapter: OnnxAdapter | None,
        ids: npt.NDArray[np.int64],
        lengths: Sequence[int],
        positions: npt.NDArray[np.int64],
    ) -> Logits:
        """One pass. ids: (rows, new tokens); lengths: of the rows, with them; positions: where logits are due."""
        binding = self._binding(buffer, adapter or self._none)
        mask = (np.arange(max(lengths)) < np.asarray(lengths)[:, None]).astype(np.int64)
        binding.bind_output("logits", "cpu")  # anew: its shape is that of the positions
        binding.bind_cpu_input("input_ids", ids)
        binding.bind_cpu_input("attention_mask", mask)
        positions = positions.astype(np.int64)  # a name of its own, since the binding keeps only an address
        binding.bind_cpu_input(POSITIONS, positions)
        self._session.run_with_iobinding(binding)
        outputs = binding.get_outputs()
        logits: Logits = outputs[-1].numpy().copy()  # what it shows goes with `outputs`
        return logits

    def _binding(self, buffer: _Buffer, adapter: OnnxAdapter) -> "IOBinding":
        if buffer.bound is not None and buffer.bound[0] is adapter:
            return buffer.bound[1]
        binding: Any = self._session.io_binding()
        for name, tensor in adapter.tensors.items():
            binding.bind_ortvalue_input(name, tensor)
        for name, tensor in buffer.tensors.items():
            binding.bind_ortvalue_input(f"past_key_values.{name}", tensor)
            binding.bind_ortvalue_output(f"present.{name}", tensor)  # written in place
        buffer.bound = (adapter, binding)
        return binding

    def score(self, windows: Sequence[Window], adapter: OnnxAdapter | None) -> list[float]:
        """Nats of each window, one after the other: a batch would be no faster here."""
        return [self._score(window, adapter) for window in windows]

    def _score(self, window: Window, adapter: OnnxAdapter | None) -> float:
        if self._scratch is None or self._scratch.buffer.size < len(window.ids):
            self._scratch = self.cache(len(window.ids))
        targets = np.flatnonzero(np.asarray(window.mask[1:], dtype=bool))
        if not len(targets):
            return 0.0
        given = np.asarray([window.ids], dtype=np.int64)
        logits = self._run(self._scratch.buffer, adapter, given, [len(window.ids)], targets)
        largest = logits.max(axis=1)
        totals = np.exp(logits - largest[:, None]).sum(axis=1, dtype=np.float64)
        chosen = logits[np.arange(len(targets)), np.asarray(window.ids)[targets + 1]]
        return math.fsum(np.log(totals) + largest - chosen)


def _read(file: Path, load: Any) -> dict[str, Array]:
    """The adapter's tensors; in bfloat16 they are read by torch, since NumPy has no such type."""
    try:
        return dict(load(file))
    except (TypeError, AttributeError):
        from safetensors.torch import load_file

        return {name: tensor.float().numpy() for name, tensor in load_file(file).items()}


def _scaling(config: dict[str, Any]) -> float:
    """What an update is multiplied by. Raises CannotApply for kinds of LoRA that are more than a sum.

    See: peft's LoraConfig; Kalajdzievski 2023, rsLoRA, for the square root.
    """
    more = [
        name
        for name in (
            "use_dora",
            "rank_pattern",
            "alpha_pattern",
            "modules_to_save",
            "layer_replication",
            "alora_invocation_tokens",
        )
        if config.get(name)
    ]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none" or more:
        raise CannotApply(f"an adapter with {', '.join(more) or config.get('peft_type')} needs torch")
    rank = int(config["r"])
    return float(config["lora_alpha"]) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _pair(tensors: dict[str, Array], module: str, scaling: float) -> tuple[Array, Array]:
    """A as (inputs, rank) and B, scaled, as (rank, outputs)."""
    a, b = (tensors[f"{module}.lora_{which}.weight"].T for which in "AB")
    return a, b * np.float32(scaling)


def _packed(slot: Slot, pairs: dict[str, tuple[Array, Array]]) -> tuple[Array, Array]:
    """A and B of a slot; of several modules side by side, B is block-diagonal."""
    a_parts, b_parts, at = [], [], 0
    width = sum(size for _, size in slot.modules)
    for name, size in slot.modules:
        if name in pairs:
            a, b = pairs[name]
            wide = np.zeros((b.shape[0], width), np.float32)
            wide[:, at : at + size] = b
            a_parts.append(a)
            b_parts.append(wide)
        at += size
    if not a_parts:
        return np.zeros((slot.inputs, 1), np.float32), np.zeros((1, width), np.float32)
    return np.concatenate(a_parts, axis=1), np.concatenate(b_parts)
