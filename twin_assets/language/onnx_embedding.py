"""A sentence-transformers model in 8 bits under ONNX Runtime: on a CPU more than twice as fast as torch, and as good.

The model is exported once on the user's machine, to data/cache/embedding. These are the choices and their costs:

- Weights and activations are rounded in blocks of BLOCK along each row (MatMulNBits, accuracy level 4). A cranfield
  abstract takes 30 ms of processor time; torch takes 70, and ONNX Runtime in float 42. Scaling whole tensors
  (`quantize_dynamic`) takes 20 but finds less (-0.028 +- 0.011 nDCG@10 for stories by their title), and its range is
  that of a whole batch, so that a vector would depend on its neighbours.
- Each text runs alone on its own thread. There is no padding, no thread waits for another, a text always gives exactly
  the same vector, and it is faster than batches of 8 (36 ms).

See: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from twin_assets.errors import TwinError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from onnxruntime import InferenceSession
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

EXPORT_VERSION = "1"
PACKAGES = ("onnxruntime", "onnx", "onnx_ir")
OPSET = 17
MAX_TOKENS, DIMENSION = "max_tokens", "dimension"
"""Metadata keys of an exported file: how many tokens of a text the model reads, and the length of a vector."""

BLOCK = 128
"""This many weights of a row share one scale."""

MIN_COSINE = 0.99
"""The least cosine to torch's vector of the same text; all-MiniLM-L6-v2 reaches 0.9955 on each of 2,003 documents."""

PROBES = (
    "",
    "tide",
    "Near in meaning is near in space: the gauge in the harbour drifts, and nobody has cleaned it since the storm.",
    'def median(levels):\n    """The middle one."""\n    return sorted(levels)[len(levels) // 2]\n',
    " ".join(f"Day {n}: bread rises, the sensor reads {n * 7} centimetres, and the ledger is kept." for n in range(60)),
)
"""An empty text, a word, prose, code, and a very long text: a graph traced at one length may fail at another."""

log = logging.getLogger(__name__)


class NotExportable(TwinError):
    """ONNX Runtime cannot run a model here as torch does; the message says why."""


@dataclass(frozen=True)
class Model:
    """A model to export. weights: their sha256; a process loads equal weights only once.

    tokenizer: the model's own, from `tokenizer.json`. load: loads it in torch on the CPU, with `eager` attention.
    """

    weights: str
    cache_dir: Path = field(compare=False)
    tokenizer: "Tokenizer" = field(compare=False)
    load: "Callable[[], SentenceTransformer]" = field(compare=False)

    @property
    def path(self) -> Path:
        """The file of the exported model."""
        return self.cache_dir / "embedding" / f"{self.weights}-{EXPORT_VERSION}.onnx"

    @property
    def refusal(self) -> Path:
        """A file with the reason why the model cannot be exported, so that the next process does not try again."""
        return self.path.with_suffix(".refused")


class OnnxEncoder:
    """A loaded exported model."""

    def __init__(self, session: "InferenceSession", tokenizer: "Tokenizer") -> None:
        from tokenizers import Tokenizer

        self._session = session
        notes = session.get_modelmeta().custom_metadata_map
        self.dimension = int(notes[DIMENSION])
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.enable_truncation(int(notes[MAX_TOKENS]))

    def encode(self, texts: Sequence[str]) -> "npt.NDArray[np.float32]":
        """Unit vectors, shape (len(texts), dimension); no vector depends on the other texts."""
        import numpy as np

        token_ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        vectors = np.empty((len(texts), self.dimension), np.float32)

        def embed(n: int) -> None:
            vectors[n] = self._session.run(None, {"input_ids": np.array([token_ids[n]], np.int64)})[0][0]

        longest_first = sorted(range(len(texts)), key=lambda n: -len(token_ids[n]))
        with ThreadPoolExecutor(_processors()) as pool:
            list(pool.map(embed, longest_first))
        norms: npt.NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / norms


@cache
def onnx_encoder(model: Model) -> OnnxEncoder:
    """The model's encoder; the model is exported first if there is no export or a broken one.

    Raises NotExportable if ONNX Runtime is not installed, or cannot do what the model does in torch.
    """
    if not all(find_spec(package) for package in PACKAGES):
        raise NotExportable(f"it needs the packages {', '.join(PACKAGES)}")
    if (session := _opened(model.path)) is None:
        if model.refusal.exists():
            raise NotExportable(model.refusal.read_text())
        _export_or_remember_why_not(model)
        session = _opened(model.path)
    if session is None:
        raise NotExportable(f"ONNX Runtime cannot read {model.path}")
    return OnnxEncoder(session, model.tokenizer)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _opened(path: Path) -> "InferenceSession | None":
    """Open a session of an exported model; None if there is none or it is broken."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    # One thread per text: without a thread pool, no thread of the session spins while another process works.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it keeps a plan for each length of text
    options.log_severity_level = 4  # a broken file is expected here
    # onnxruntime's exceptions have no public base class below Exception.
    with suppress(Exception):
        session = InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return session if {MAX_TOKENS, DIMENSION} <= session.get_modelmeta().custom_metadata_map.keys() else None
    return None


def _export_or_remember_why_not(model: Model) -> None:
    log.warning("exporting the embedding model to 8 bits, once: this takes a few seconds")
    try:
        model.path.parent.mkdir(parents=True, exist_ok=True)
        _export(model)
    except Exception as problem:
        why = str(problem) if isinstance(problem, NotExportable) else f"{type(problem).__name__}: {problem}"
        if not isinstance(problem, OSError | MemoryError):  # a full disk says nothing about the model
            _write(model.refusal, why.encode())
        raise NotExportable(why) from problem


def _export(model: Model) -> None:
    """Export the model to 8 bits, and write the file once it is known to do what the model does."""
    torch_model = model.load()
    _check_modules(torch_model)
    with tempfile.TemporaryDirectory() as folder:
        traced, quantised = Path(folder) / "float.onnx", Path(folder) / "8bit.onnx"
        _trace(torch_model, traced)
        notes = {MAX_TOKENS: torch_model.max_seq_length, DIMENSION: torch_model.get_embedding_dimension()}
        _quantise(traced, quantised, notes)
        session = _opened(quantised)
        if session is None:
            raise NotExportable("ONNX Runtime cannot read what torch exported")
        _check_vectors(OnnxEncoder(session, model.tokenizer), torch_model)
        _write(model.path, quantised.read_bytes())


def _check_modules(model: "SentenceTransformer") -> None:
    """Raise NotExportable unless a vector is the mean, or the first, of a transformer's token vectors."""
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    first, *rest = model
    pooling = [module for module in rest if not isinstance(module, Normalize)]
    if not isinstance(first, Transformer) or len(pooling) != 1 or not isinstance(pooling[0], Pooling):
        raise NotExportable(f"its modules are {', '.join(type(module).__name__ for module in model)}")
    if pooling[0].pooling_mode not in ("mean", "cls"):
        raise NotExportable(f"its pooling is {pooling[0].pooling_mode}")
    if model.default_prompt_name is not None:
        raise NotExportable(f"it puts a prompt ({model.default_prompt_name}) before each text")
    if not model.max_seq_length:
        raise NotExportable("it does not say how many tokens it reads")


def _trace(model: "SentenceTransformer", path: Path) -> None:
    """Write the whole model as a graph, from the token ids of one text to its vector."""
    import torch

    class Vector(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            features = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}
            vector: torch.Tensor = self.model(features)["sentence_embedding"]
            return vector

    example = model.tokenizer("A text of some tokens.", return_tensors="pt")["input_ids"]
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns of every size that it takes as constant; _check_vectors finds out if one is not.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Vector().eval(),
            (example,),
            str(path),
            input_names=["input_ids"],
            output_names=["vector"],
            dynamic_axes={"input_ids": {1: "tokens"}},
            opset_version=OPSET,
            dynamo=False,  # the newer exporter takes 10 s instead of 2, and needs one more package
        )


def _quantise(traced: Path, path: Path, notes: dict[str, int]) -> None:
    import onnx

    with _root_logger_left_alone():
        from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    blocks = DefaultWeightOnlyQuantConfig(
        bits=8, block_size=BLOCK, is_symmetric=True, accuracy_level=4, op_types_to_quantize=("MatMul",)
    )
    quantizer = MatMulNBitsQuantizer(onnx.load(traced), algo_config=blocks)
    quantizer.process()
    graph = quantizer.model.model
    onnx.helper.set_model_props(graph, {name: str(value) for name, value in notes.items()})
    onnx.save(graph, path)


@contextmanager
def _root_logger_left_alone() -> Iterator[None]:
    """Importing the quantizer calls `logging.basicConfig`, which does nothing while the root logger has a handler."""
    handler = logging.NullHandler()
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)


def _check_vectors(encoder: OnnxEncoder, model: "SentenceTransformer") -> None:
    """Raise NotExportable if a probe's vector has a cosine below MIN_COSINE to torch's."""
    expected = model.encode(list(PROBES), normalize_embeddings=True, show_progress_bar=False)
    least = float((encoder.encode(PROBES) * expected).sum(axis=1).min())
    if not least >= MIN_COSINE:
        raise NotExportable(f"its vectors in 8 bits have a cosine of {least:.3f} to torch's, less than {MIN_COSINE}")


def _write(path: Path, content: bytes) -> None:
    """Write a file in one step, so that another process sees all of it or nothing."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
