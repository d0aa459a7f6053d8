"""The ONNX Runtime engine: 8-bit weights, five times as fast as torch on a laptop.

An adapter's weights are inputs of every call, so no call can use another's by mistake, and a newly published adapter
can be used as soon as its file is read. Sequences that are decoded together share a cache tensor, one row each. Nothing
is copied while they stay the same; one that joins or leaves moves one row.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from twin_assets.errors import NotThere
from twin_assets.language.generation.engines.engine import UnsupportedAdapter
from twin_assets.language.generation.engines.onnx_graph import LORA_A, LORA_B, MODEL, POSITIONS, Shape, Slot
from twin_assets.language.generation.sampling import Logits
from twin_assets.language.prompts import Window

if TYPE_CHECKING:
    from onnxruntime import IOBinding, OrtValue

Array = npt.NDArray[np.float32]

CACHE_STEP_TOKENS = 128
"""Cache sizes are multiples of this many tokens, so that sequences of similar length fit into one tensor."""

SPIN_US = "50"
"""How long a waiting thread of ONNX Runtime spins, in microseconds."""

PREFIX = "base_model.model."


@dataclass(eq=False)
class OnnxAdapter:
    """The matrices A and B of each slot by input name; B is already scaled."""

    tensors: "dict[str, OrtValue]"
    n_bytes: int


@dataclass(eq=False)
class _Buffer:
    """The keys and values of several sequences, by layer, shape (capacity, heads, size, head size).

    rows: the sequences in the first rows, in order; the rows after them are free. bound: the last binding, with its
    adapter and number of rows.
    """

    arrays: dict[str, Array]
    size: int
    rows: list["OnnxCache"] = field(default_factory=list)
    bound: "tuple[OnnxAdapter, int, IOBinding] | None" = None

    @property
    def capacity(self) -> int:
        """How many rows the buffer has."""
        return len(next(iter(self.arrays.values())))

    def free(self, at: int) -> None:
        """Free a row by moving the last sequence into it."""
        last = self.rows.pop()
        if at < len(self.rows):
            for array in self.arrays.values():
                array[at, :, : last.length] = array[len(self.rows), :, : last.length]
            self.rows[at] = last


@dataclass(eq=False)
class OnnxCache:
    """A row of a buffer. size: the most tokens that it may hold; length: how many it holds."""

    buffer: _Buffer
    size: int
    length: int = 0

    def move(self, to: _Buffer) -> None:
        """Move the sequence into the first free row of another buffer."""
        home, at = self.buffer, self.buffer.rows.index(self)
        for name, array in to.arrays.items():
            array[len(to.rows), :, : self.length] = home.arrays[name][at, :, : self.length]
        to.rows.append(self)
        self.buffer = to
        home.free(at)


class OnnxEngine:
    """Runs an exported base model; see `onnx_export`."""

    tokens_per_turn = 1

    def __init__(self, folder: Path, threads: int = 0) -> None:
        """threads: 0 means one per core."""
        import onnxruntime

        self.shape = Shape.read(folder)
        self.name = "onnxruntime, 8 bits"
        self.vocabulary = self.shape.vocabulary
        self.weights_bytes = sum(file.stat().st_size for file in folder.glob(f"{MODEL}*"))
        self.bytes_per_token = self.shape.layers * 2 * self.shape.kv_heads * self.shape.head_size * 4
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # By default waiting threads spin for long; beside a busy process a token then takes three times as long.
        options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_US)
        self._session = onnxruntime.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
        self._no_adapter = self._adapter({})
        self._scratch: OnnxCache | None = None

    def close(self) -> None:
        """Free the weights."""
        del self._session
        self._scratch = None

    def load(self, folder: Path) -> OnnxAdapter:
        """Read an adapter. Raises NotThere, or UnsupportedAdapter if it is more than LoRA on linear layers."""
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
        if unknown := sorted(pairs - known)[:1] or [name for name in tensors if ".lora_" not in name][:1]:
            raise UnsupportedAdapter(
                f"the adapter in {folder} changes {unknown[0]}, which is not a layer of the exported graph"
            )
        return self._adapter({name: _pair(tensors, name, scaling) for name in pairs})

    def unload(self, adapter: OnnxAdapter) -> None:
        """Do nothing: the arrays are freed with the last reference."""

    def _adapter(self, pairs: dict[str, tuple[Array, Array]]) -> OnnxAdapter:
        """Make the inputs for every slot; a slot that the adapter does not change gets zeros of rank 1."""
        from onnxruntime import OrtValue

        tensors: dict[str, OrtValue] = {}
        n_bytes = 0
        for slot in self.shape.slots:
            for name, value in zip((LORA_A, LORA_B), _packed(slot, pairs), strict=True):
                tensors[name.format(slot=slot.name)] = OrtValue.ortvalue_from_numpy(np.ascontiguousarray(value))
                n_bytes += value.nbytes
        return OnnxAdapter(tensors, n_bytes)

    def cache(self, max_tokens: int) -> OnnxCache:
        """Make the cache of a new sequence, in its own buffer."""
        cache = OnnxCache(self._buffer(1, max_tokens), max_tokens)
        cache.buffer.rows.append(cache)
        return cache

    def forget(self, cache: OnnxCache) -> None:
        """Free a sequence's row."""
        cache.buffer.free(cache.buffer.rows.index(cache))

    def _buffer(self, capacity: int, tokens: int) -> _Buffer:
        """Make an empty buffer. The system only provides its memory as it is written."""
        size = math.ceil(tokens / CACHE_STEP_TOKENS) * CACHE_STEP_TOKENS
        dimensions = (capacity, self.shape.kv_heads, size, self.shape.head_size)
        names = [f"{layer}.{kind}" for layer in range(self.shape.layers) for kind in ("key", "value")]
        return _Buffer({name: np.zeros(dimensions, np.float32) for name in names}, size)

    def extend(self, cache: OnnxCache, ids: Sequence[int], adapter: OnnxAdapter | None) -> Logits:
        """Read tokens into a sequence, and return the logits after them."""
        buffer = self._merged([cache])
        given = np.asarray([ids], dtype=np.int64)
        logits = self._run(buffer, adapter, given, [cache.length + len(ids)], np.asarray([len(ids) - 1]))
        cache.length += len(ids)
        last: Logits = logits[0]
        return last

    def step(self, caches: Sequence[OnnxCache], tokens: Sequence[int], adapter: OnnxAdapter | None) -> Logits:
        """Read one token into each sequence; logits, shape (sequences, vocabulary)."""
        buffer = self._merged(caches)
        given = dict(zip(map(id, caches), tokens, strict=True))
        ids = np.asarray([[given[id(row)]] for row in buffer.rows], dtype=np.int64)
        logits = self._run(buffer, adapter, ids, [row.length + 1 for row in buffer.rows], np.arange(len(caches)))
        for cache in caches:
            cache.length += 1
        if buffer.rows == list(caches):
            return logits
        ordered: Logits = logits[[buffer.rows.index(cache) for cache in caches]]
        return ordered

    def _merged(self, caches: Sequence[OnnxCache]) -> _Buffer:
        """A buffer with just these sequences: the one with most of them, if all fit into it, or else a new one."""
        wanted = set(map(id, caches))
        homes = {id(cache.buffer): cache.buffer for cache in caches}.values()
        buffer = max(homes, key=lambda home: sum(id(row) in wanted for row in home.rows))
        longest = max(cache.size for cache in caches)
        n_others = sum(id(row) not in wanted for row in buffer.rows)
        if buffer.capacity < len(caches) or buffer.size < longest or n_others > len(caches):
            buffer = self._buffer(1 << (len(caches) - 1).bit_length(), longest)
        for row in list(buffer.rows):
            if id(row) not in wanted:
                row.move(self._buffer(1, row.size))
        for cache in caches:
            if cache.buffer is not buffer:
                cache.move(buffer)
        return buffer

    def _run(
        self,
        buffer: _Buffer,
        adapter: OnnxAdapter | None,
        ids: npt.NDArray[np.int64],
        lengths: Sequence[int],
        positions: npt.NDArray[np.int64],
    ) -> Logits:
        """Run one pass. ids: (rows, new tokens). lengths: of the rows with them. positions: where to compute logits."""
        binding = self._binding(buffer, adapter or self._no_adapter)
        mask = (np.arange(max(lengths)) < np.asarray(lengths)[:, None]).astype(np.int64)
        binding.bind_output("logits", "cpu")  # every time, because its shape depends on the positions
        binding.bind_cpu_input("input_ids", ids)
        binding.bind_cpu_input("attention_mask", mask)
        positions = positions.astype(np.int64)  # kept in a variable, because the binding only keeps its address
        binding.bind_cpu_input(POSITIONS, positions)
        self._session.run_with_iobinding(binding)
        outputs = binding.get_outputs()
        logits: Logits = outputs[-1].numpy().copy()  # a copy, because the array is freed with `outputs`
        return logits

    def _binding(self, buffer: _Buffer, adapter: OnnxAdapter) -> "IOBinding":
        n_rows = len(buffer.rows)
        if buffer.bound is not None and buffer.bound[:2] == (adapter, n_rows):
            return buffer.bound[2]
        from onnxruntime import OrtValue

        binding: Any = self._session.io_binding()
        for name, tensor in adapter.tensors.items():
            binding.bind_ortvalue_input(name, tensor)
        for name, array in buffer.arrays.items():
            rows = OrtValue.ortvalue_from_numpy(array[:n_rows])
            binding.bind_ortvalue_input(f"past_key_values.{name}", rows)
            binding.bind_ortvalue_output(f"present.{name}", rows)  # written in place
        buffer.bound = (adapter, n_rows, binding)
        return binding

    def score(self, windows: Sequence[Window], adapter: OnnxAdapter | None) -> list[float]:
        """The nats of each window's masked tokens, one window at a time, since batches are no faster here."""
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
    """Read the adapter's tensors. If they are bfloat16, torch reads them, because NumPy has no such type."""
    try:
        return dict(load(file))
    except (TypeError, AttributeError):
        from safetensors.torch import load_file

        return {name: tensor.float().numpy() for name, tensor in load_file(file).items()}


def _scaling(config: dict[str, Any]) -> float:
    """The factor of the update. Raises UnsupportedAdapter for kinds of LoRA that are more than a sum.

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
        raise UnsupportedAdapter(f"an adapter with {', '.join(more) or config.get('peft_type')} needs torch")
    rank = int(config["r"])
    return float(config["lora_alpha"]) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _pair(tensors: dict[str, Array], module: str, scaling: float) -> tuple[Array, Array]:
    """A module's A, shape (inputs, rank), and its scaled B, shape (rank, outputs)."""
    a, b = (tensors[f"{module}.lora_{which}.weight"].T for which in "AB")
    return a, b * np.float32(scaling)


def _packed(slot: Slot, pairs: dict[str, tuple[Array, Array]]) -> tuple[Array, Array]:
    """A and B of a slot. If the slot has several modules side by side, B is block-diagonal."""
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
