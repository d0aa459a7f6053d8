"""A base with three authors' adapters, and the real small model exported once."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from twin_assets.documents import BaseModelRef, DatasetRef, ModelManifest
from twin_assets.language.base_models import ResolvedBase, load_tokenizer
from twin_assets.language.generation.engines.onnx_export import exported
from twin_assets.language.prompts import DraftRequest, EncodedPrompt, Window, encode_example, encode_prompt, windows
from twin_assets.stores import Stores
from twin_assets.stores.models import sha256_of_files

AUTHORS = ("ada", "ben", "cyd")


def write_adapter(model: Path, folder: Path, seed: int, size: float = 0.5, rank: int = 4) -> Path:
    """A LoRA adapter with random weights on every linear layer of a llama-like model, without loading the model."""
    from safetensors.numpy import save_file

    config = json.loads((model / "config.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads, kv = (config[f"num_{kind}_heads"] * config["head_dim"] for kind in ("attention", "key_value"))
    shapes = {
        "self_attn.q_proj": (hidden, heads), "self_attn.k_proj": (hidden, kv), "self_attn.v_proj": (hidden, kv),
        "self_attn.o_proj": (heads, hidden), "mlp.gate_proj": (hidden, inner), "mlp.up_proj": (hidden, inner),
        "mlp.down_proj": (inner, hidden),
    }  # fmt: skip
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for name, (width, out) in shapes.items():
            key = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{key}.lora_A.weight"] = (random.standard_normal((rank, width)) / width**0.5).astype(np.float32)
            tensors[f"{key}.lora_B.weight"] = (random.standard_normal((out, rank)) * size / rank).astype(np.float32)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    about = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "bias": "none",
        "target_modules": sorted(name.rpartition(".")[2] for name in shapes),
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(about))
    return folder


@pytest.fixture
def publish(stores: Stores) -> Callable[..., ModelManifest]:
    """publish(author, base, version) -> the manifest of a version whose own adapter is in the registry."""

    def make(author: str, base: Path, version: str = "v1", seed: int | None = None, **more: object) -> ModelManifest:
        folder = Path(str(stores.models.folder(author, "small", version)))
        write_adapter(base, folder / "adapter", AUTHORS.index(author) if seed is None else seed)
        return manifest_of(author, base, version, **more)

    return make


def manifest_of(author: str, base: Path, version: str = "v1", **more: object) -> ModelManifest:
    fields = {
        "author": author,
        "version": version,
        "recipe_name": "small",
        "recipe": {},
        "recipe_hash": "h",
        "base": BaseModelRef(name=str(base), revision=sha256_of_files(base)),
        "weights_sha256": "w",
        "dataset": DatasetRef(table="t", version="1", data_version="d"),
        "prompt_version": "1",
        "prompt_template": "ours",
        "code_version": "1",
    }
    return ModelManifest.model_validate(fields | more)


@pytest.fixture(scope="session")
def smollm2_onnx(smollm2: ResolvedBase) -> Path:
    """The real small model, exported once for all test processes."""
    return exported(smollm2.revision[:16], smollm2.path, smollm2.path.parent / "cache", lambda _: None)


def prompt_for(folder: Path, text: str = "Write a post: rope", max_tokens: int = 256) -> EncodedPrompt:
    return encode_prompt(load_tokenizer(folder), DraftRequest(text), max_tokens)


def windows_for(folder: Path, text: str = "A rope keeps. " * 20, context: int = 128) -> list[Window]:
    example = encode_example(load_tokenizer(folder), DraftRequest("Write a post: rope"), text, 256)
    return list(windows(example, context, score_closing=False))


THREADS = int(os.environ.get("OMP_NUM_THREADS", "0"))
