"""The inputs of an exported graph, by name and shape; the export writes them and the engine reads them."""

import json
from dataclasses import dataclass
from pathlib import Path

MODEL, SHAPE = "model.onnx", "shape.json"
LORA_A, LORA_B = "lora.{slot}.A", "lora.{slot}.B"
POSITIONS = "positions"


@dataclass(frozen=True)
class Slot:
    """A matrix product that an adapter can change. modules: (name, output size) of its linear layers, side by side."""

    name: str
    modules: list[tuple[str, int]]
    inputs: int


@dataclass(frozen=True)
class Shape:
    """The sizes of an exported graph, and its slots for adapters."""

    layers: int
    kv_heads: int
    head_size: int
    vocabulary: int
    slots: list[Slot]

    @classmethod
    def read(cls, folder: Path) -> "Shape":
        """Read the shape that was written beside the graph."""
        found = json.loads((folder / SHAPE).read_text())
        slots = [Slot(one["name"], [(n, size) for n, size in one["modules"]], one["inputs"]) for one in found["slots"]]
        return cls(**(found | {"slots": slots}))
