"""What an exported graph takes, by name and shape: written by the export, read by the engine."""

import json
from dataclasses import dataclass
from pathlib import Path

MODEL, SHAPE = "model.onnx", "shape.json"
LORA_A, LORA_B = "lora.{slot}.A", "lora.{slot}.B"
POSITIONS = "positions"


@dataclass(frozen=True)
class Slot:
    """A matrix product that an adapter can change. modules: its linear layers and their outputs, side by side."""

    name: str
    modules: list[tuple[str, int]]
    inputs: int


@dataclass(frozen=True)
class Shape:
    """What an exported graph takes."""

    layers: int
    kv_heads: int
    head_size: int
    vocabulary: int
    slots: list[Slot]

    @classmethod
    def read(cls, folder: Path) -> "Shape":
        """As it was written beside the graph."""
        found = json.loads((folder / SHAPE).read_text())
        slots = [Slot(one["name"], [(n, size) for n, size in one["modules"]], one["inputs"]) for one in found["slots"]]
        return cls(**(found | {"slots": slots}))
