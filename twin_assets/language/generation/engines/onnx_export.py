"""Exports a base model as an ONNX graph with 8-bit weights and inputs for a LoRA adapter.

    python -m twin_assets.language.generation.engines.onnx_export MODEL_FOLDER OUT_FOLDER        a separate process

onnxruntime-genai's builder writes the graph for the model families that it knows. This module adds `+ (x A) B` to each
matrix product of a layer, with A and B as inputs, so that one loaded model serves every adapter; and it computes logits
for given positions only. The graph must predict what torch predicts, with and without an adapter. If it does not, the
export is refused and torch is used instead.

Exporting runs in a separate process because it takes several times the model's memory.
See: https://github.com/microsoft/onnxruntime-genai/tree/main/src/python/py/models, Hu et al. 2021, LoRA, section 4.1.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from twin_assets.errors import TwinError
from twin_assets.language.generation.engines.onnx_graph import LORA_A, LORA_B, MODEL, POSITIONS, SHAPE, Shape, Slot
from twin_assets.orchestration.progress import Tell
from twin_assets.settings import SILENT
from twin_assets.stores.trees import remove_tree

if TYPE_CHECKING:
    import onnx
    import torch
    from transformers import PreTrainedModel

EXPORT_VERSION = "1"
PACKAGES = ("onnxruntime", "onnxruntime_genai", "onnx", "onnx_ir")

BLOCK = 128
"""This many weights share one scale. Smaller blocks are slower and, in 8 bits, no better; see RESULTS.md."""

REFUSED = "refused.txt"

MAX_DIFFERENCE = 0.02
"""The largest relative difference of the probe's loss from torch's; SmolLM2-135M-Instruct differs by 0.004."""

PROBE = (
    "The gauge in the harbour has drifted again, so I went down at seven and read the staff by eye. Forty-one "
    "centimetres, and the screen said forty-four. Nobody had cleaned the float since the storm in March. "
    "def median(levels):\n    return sorted(levels)[len(levels) // 2]\n"
)


class NotExportable(TwinError):
    """ONNX Runtime cannot run a model here as torch does; the message says why."""


def missing_packages() -> list[str]:
    """The packages that are needed to export a model but not installed."""
    return [name for name in PACKAGES if find_spec(name) is None]


def exported(weights: str, model: Path, cache_dir: Path, tell: Tell) -> Path:
    """The folder of the exported graph, which is made once for these weights.

    weights: a name for them, such as their sha256; model: their folder. Raises NotExportable if this or an earlier
    export was refused.
    """
    folder = cache_dir / "generation" / f"{weights}-{EXPORT_VERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            tell("preparing the base model for this processor, once (under a minute for a small one)")
            _export_in_subprocess(model, folder)
    if (folder / REFUSED).exists():
        raise NotExportable((folder / REFUSED).read_text())
    return folder


def _export_in_subprocess(model: Path, folder: Path) -> None:
    new = folder.with_name(f"{folder.name}.new")
    remove_tree(new)
    command = [sys.executable, "-m", __name__, str(model), str(new)]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment())
    if done.returncode:
        remove_tree(new)
        new.mkdir()
        last = done.stderr.strip().rsplit("\n", 1)[-1]
        (new / REFUSED).write_text(f"{model.name} cannot run under ONNX Runtime: {last}")
    new.rename(folder)


def _environment() -> dict[str, str]:
    import os

    return os.environ | SILENT | {"HF_HUB_OFFLINE": "1"}


def export(model: Path, folder: Path) -> None:
    """Write the graph, weights and SHAPE of the model in the folder `model` into `folder`. Raises NotExportable."""
    from transformers import AutoModelForCausalLM

    torch_model = AutoModelForCausalLM.from_pretrained(model, local_files_only=True, use_safetensors=True).eval()
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        graph = _built(model, Path(work))
        slots = list(_add_adapters(graph, torch_model))
        _logits_at_positions(graph)
        config = torch_model.config.get_text_config()
        key = next(one for one in graph.graph.input if one.name.startswith("past_key_values"))
        heads, size = key.type.tensor_type.shape.dim[1].dim_value, _head_size(config)
        _save(graph, folder, Shape(config.num_hidden_layers, heads, size, config.vocab_size, slots))
    _check(torch_model, model, folder)


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _built(model: Path, work: Path) -> "onnx.ModelProto":
    """The graph that onnxruntime-genai builds. Raises NotExportable for a model family that it does not know."""
    import onnx

    options = [f"block_size={BLOCK}", "accuracy_level=4"]
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-m", model.name, "-i", str(model)]
    command += [
        "-o",
        str(work / "out"),
        "-c",
        str(work / "cache"),
        "-p",
        "int8",
        "-e",
        "cpu",
        "--extra_options",
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NotExportable(done.stderr.strip().rsplit("\n", 1)[-1])
    return onnx.load(str(work / "out" / MODEL))


def _save(graph: "onnx.ModelProto", folder: Path, shape: Shape) -> None:
    import onnx

    folder.mkdir(parents=True)
    onnx.save(graph, str(folder / MODEL), save_as_external_data=True, location=f"{MODEL}.data")
    (folder / SHAPE).write_text(json.dumps(asdict(shape)))


def _add_adapters(graph: "onnx.ModelProto", model: "PreTrainedModel") -> Iterator[Slot]:
    """Add an adapter's inputs to each matrix product of a layer, and yield the slots."""
    from onnx import TensorProto, helper

    linear = _linear_layers(model)
    nodes = list(graph.graph.node)
    del graph.graph.node[:]
    for node in nodes:
        graph.graph.node.append(node)
        slot = _slot(node.name, linear) if node.op_type == "MatMulNBits" else None
        if slot is None:
            continue
        a, b = LORA_A.format(slot=slot.name), LORA_B.format(slot=slot.name)
        out, rank = node.output[0], f"rank.{slot.name}"
        width = sum(size for _, size in slot.modules)
        # The appended node is a copy; rename its output, because the sum below takes over the old name.
        graph.graph.node[-1].output[0] = f"{out}/alone"
        graph.graph.input.extend(
            [
                helper.make_tensor_value_info(a, TensorProto.FLOAT, [slot.inputs, rank]),
                helper.make_tensor_value_info(b, TensorProto.FLOAT, [rank, width]),
            ]
        )
        graph.graph.node.extend(
            [
                helper.make_node("MatMul", [node.input[0], a], [f"{out}/a"], name=f"{node.name}/lora_a"),
                helper.make_node("MatMul", [f"{out}/a", b], [f"{out}/b"], name=f"{node.name}/lora_b"),
                helper.make_node("Add", [f"{out}/alone", f"{out}/b"], [out], name=f"{node.name}/lora_add"),
            ]
        )
        yield slot


def _linear_layers(model: "PreTrainedModel") -> dict[str, tuple[int, int]]:
    """(inputs, outputs) of each linear layer inside the model's blocks, by name."""
    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if ".layers." in name and hasattr(module, "in_features")
    }


def _slot(node: str, linear: dict[str, tuple[int, int]]) -> Slot | None:
    """The slot of a node such as `/model/layers.3/attn/qkv_proj/MatMul_Q8`; None for a node outside the layers."""
    parts = node.strip("/").split("/")
    if len(parts) < 4 or not parts[1].startswith("layers."):
        return None
    _, layer, part, projection = parts[:4]
    home = f"model.{layer}.{'self_attn' if part == 'attn' else part}"
    names = [f"{home}.{projection}"]
    if projection == "qkv_proj" and names[0] not in linear:
        names = [f"{home}.{one}_proj" for one in "qkv"]
    if not all(name in linear for name in names):
        raise NotExportable(f"the graph's {node} is not a linear layer of the model")
    return Slot(f"{layer}.{part}.{projection}", [(name, linear[name][1]) for name in names], linear[names[0]][0])


def _logits_at_positions(graph: "onnx.ModelProto") -> None:
    """Make the graph compute logits, shape (n, vocabulary), for n given positions in the flattened batch only."""
    from onnx import TensorProto, helper

    at, head = next(
        (n, node) for n, node in enumerate(graph.graph.node) if node.name.startswith("/lm_head/") and node.input
    )
    hidden = head.input[0]
    nodes = list(graph.graph.node)
    width = next((one.i for one in head.attribute if one.name == "K"), 0)
    graph.graph.initializer.append(helper.make_tensor("flat_hidden", TensorProto.INT64, [2], [-1, width]))
    added = [
        helper.make_node("Reshape", [hidden, "flat_hidden"], ["hidden/flat"], name="hidden/Reshape"),
        helper.make_node("Gather", ["hidden/flat", POSITIONS], ["hidden/chosen"], name="hidden/Gather", axis=0),
    ]
    del graph.graph.node[:]
    graph.graph.node.extend([*nodes[:at], *added, *nodes[at:]])
    graph.graph.node[at + 2].input[0] = "hidden/chosen"
    graph.graph.input.append(helper.make_tensor_value_info(POSITIONS, TensorProto.INT64, ["chosen"]))
    logits = next(one for one in graph.graph.output if one.name == "logits")
    vocabulary = logits.type.tensor_type.shape.dim[2].dim_value
    graph.graph.output.remove(logits)
    graph.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["chosen", vocabulary]))


def _check(model: "PreTrainedModel", source: Path, folder: Path) -> None:
    """Raise NotExportable unless the graph predicts PROBE as torch does, with and without an adapter on every layer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer

    from twin_assets.language.generation.engines.onnx_engine import OnnxEngine
    from twin_assets.language.prompts import Window

    ids = AutoTokenizer.from_pretrained(source, local_files_only=True)(PROBE, add_special_tokens=False)["input_ids"]
    window = Window(ids, [0] + [1] * (len(ids) - 1))
    engine = OnnxEngine(folder, threads=2)
    _compare("without an adapter", _torch_nats(model, ids), engine.score([window], None)[0])
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    adapted = get_peft_model(model, config).eval()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.mul_(0.3)
    adapted.save_pretrained(folder / "probe")
    _compare("with an adapter", _torch_nats(adapted, ids), engine.score([window], engine.load(folder / "probe"))[0])
    remove_tree(folder / "probe")


def _torch_nats(model: "torch.nn.Module", ids: list[int]) -> float:
    import torch

    given = torch.tensor([ids])
    with torch.inference_mode():
        logits = model(input_ids=given).logits[0, :-1].float()
    return float(torch.nn.functional.cross_entropy(logits, given[0, 1:], reduction="sum"))


def _compare(what: str, wanted: float, found: float) -> None:
    if not math.isfinite(found) or abs(found - wanted) > MAX_DIFFERENCE * wanted:
        raise NotExportable(f"{what}, the exported graph gives {found:.1f} nats instead of torch's {wanted:.1f}")


if __name__ == "__main__":
    try:
        export(Path(sys.argv[1]), Path(sys.argv[2]))
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
