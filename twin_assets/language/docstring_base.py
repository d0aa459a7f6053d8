"""The base model `docstrings`: a small Llama trained on the user's machine on text that every installation has.

It is there for testing: the whole graph runs with it and without a network, but it writes documentation-like English at
best. It reads docstrings of the standard library and of installed packages and never an author's text, so that held-out
writing stays unseen. Its budget is in steps and its threads are fixed, so that the same installation always makes the
same bytes; the revision is their sha256. A name such as `docstrings:steps=40,layers=2` contains all its settings, so
that the model can be made again from a manifest.
"""

import ast
import hashlib
import json
import shutil
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twin_assets.documents import Category, digest
from twin_assets.errors import BadRecipe, TwinError
from twin_assets.language.prompts import (
    PROMPT_VERSION,
    DraftRequest,
    Passage,
    continue_instruction,
    encode_example,
    write_instruction,
)
from twin_assets.orchestration.progress import Tell

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CODE_VERSION = "1"
"""A part of a build's identity. Raise it when the same spec would make a different model."""

PACKAGES = ("dagster", "matplotlib", "numpy", "pandas", "scipy", "sklearn", "torch", "transformers")
"""The packages whose docstrings are read besides the standard library's, as far as they are installed."""

SKIPPED_FOLDERS = frozenset({"__pycache__", "_vendor", "idlelib", "lib2to3", "site-packages", "test", "tests"})
MIN_CHARACTERS = 120
PROGRESS_INTERVAL_S = 5.0

RECORD = "base.json"
"""This file is written last, so a folder that holds it is a finished build."""


class DocstringSpec(BaseModel):
    """The settings of a docstring base. The defaults take about two and a half minutes on two cores."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=640, gt=0)
    vocabulary: int = Field(default=4096, ge=300)
    hidden: int = Field(default=256, ge=32, multiple_of=32)
    layers: int = Field(default=4, gt=0)
    context_tokens: int = Field(default=768, ge=64)
    batch_size: int = Field(default=2, gt=0, description="Sequences of `context_tokens` per step.")
    learning_rate: float = Field(default=2e-3, gt=0)
    text_megabytes: float = Field(default=4.0, gt=0, description="The most docstrings to read.")
    threads: int = Field(default=2, gt=0, description="Fixed, because the rounding of sums depends on it.")
    seed: int = 0

    @classmethod
    def named(cls, name: str) -> Self:
        """Parse `docstrings` or `docstrings:key=value,…`. Raises BadRecipe for an invalid key or value."""
        settings = [part.partition("=") for part in name.partition(":")[2].split(",") if part]
        try:
            return cls.model_validate({key.strip(): value for key, _, value in settings})
        except ValidationError as error:
            problem = error.errors()[0]
            known = ", ".join(cls.model_fields)
            raise BadRecipe(
                f"base model {name}: {'.'.join(map(str, problem['loc']))}: {problem['msg']} (settings: {known})"
            ) from error

    @property
    def identity(self) -> str:
        """A hash of everything that the build depends on; the folder is named after it."""
        return digest(["docstring_base", CODE_VERSION, PROMPT_VERSION, self.model_dump()], 12)


@dataclass(frozen=True)
class Docstring:
    """A docstring, with the module and dotted name of what it documents. is_module: it documents a module."""

    module: str
    name: str
    text: str
    is_module: bool


def docstring_base(spec: DocstringSpec, home: Path, tell: Tell) -> Path:
    """The folder of the base that `spec` describes, which is made under `home` if it does not exist.

    A second caller waits for the first. A build that was killed is started over. Raises TwinError if there are hardly
    any docstrings to read.
    """
    folder = home / f"docstrings-{spec.identity}"
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / f"{folder.name}.lock"):
        if not (folder / RECORD).is_file():
            unfinished = folder.with_suffix(".new")
            for leftover in (unfinished, folder):
                shutil.rmtree(leftover, ignore_errors=True)
            _build(spec, unfinished, tell)
            unfinished.rename(folder)
    return folder


def _build(spec: DocstringSpec, folder: Path, tell: Tell) -> None:
    import torch
    from transformers.utils import logging as transformers_logging

    started = time.monotonic()
    tell("making the base model `docstrings`, once for this machine: reading docstrings")
    docstrings = read_docstrings(int(spec.text_megabytes * 1e6))
    n_bytes = sum(len(one.text.encode()) for one in docstrings)
    if n_bytes < 100_000:
        raise TwinError(
            f"only {n_bytes} bytes of docstrings in {sysconfig.get_path('stdlib')}: this Python has no source files; "
            "use a recipe with another base model"
        )
    folder.mkdir(parents=True)
    tokenizer = make_tokenizer([one.text for one in docstrings], spec)
    blocks = training_blocks(docstrings, tokenizer, spec)
    tell(f"read {n_bytes / 1e6:.1f} MB in {len(docstrings)} docstrings, {blocks.numel()} tokens")
    with _fixed_seed_and_threads(spec):
        model = make_model(tokenizer, spec)
        loss = _train(model, blocks, spec, tell)
    transformers_logging.disable_progress_bar()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    record = {
        "spec": spec.model_dump(),
        "code_version": CODE_VERSION,
        "docstrings": len(docstrings),
        "text_bytes": n_bytes,
        "loss": round(loss, 4),
        "torch": torch.__version__,
        "seconds": round(time.monotonic() - started, 1),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1))
    tell(f"the base model `docstrings` is ready: {record['seconds']:.0f} s, loss {loss:.2f}")


def read_docstrings(max_bytes: int) -> list[Docstring]:
    """Read about `max_bytes` of docstrings of the standard library and of PACKAGES, each text once.

    Files are ordered by a hash, so that the limit leaves some of every package.
    """
    docstrings: list[Docstring] = []
    seen: set[str] = set()
    n_bytes = 0
    for module, path in _source_files():
        for one in docstrings_of(_read(path), module):
            if one.text not in seen:
                seen.add(one.text)
                docstrings.append(one)
                n_bytes += len(one.text.encode())
        if n_bytes >= max_bytes:
            break
    return docstrings


def _source_files() -> list[tuple[str, Path]]:
    """(dotted module, file) of every source file, ordered by a hash of the module's name."""
    roots = [("", Path(sysconfig.get_path("stdlib")))]
    for package in PACKAGES:
        spec = find_spec(package)
        if spec and spec.submodule_search_locations:
            roots.append((package, Path(spec.submodule_search_locations[0])))
    files = [
        (".".join([*filter(None, [package]), *path.relative_to(root).with_suffix("").parts]), path)
        for package, root in roots
        for path in root.rglob("*.py")
        if not SKIPPED_FOLDERS & set(path.relative_to(root).parts)
    ]
    return sorted(files, key=lambda file: hashlib.sha256(file[0].encode()).digest())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def docstrings_of(source: str, module: str) -> Iterator[Docstring]:
    """The docstrings of a module, its classes and functions; none if it does not parse. The source is never run."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = (ast.get_docstring(node) or "").strip()
        if len(text) >= MIN_CHARACTERS:
            name = module if isinstance(node, ast.Module) else f"{module}.{node.name}"
            yield Docstring(module, name, text, isinstance(node, ast.Module))


def make_tokenizer(texts: Sequence[str], spec: DocstringSpec) -> "PreTrainedTokenizerBase":
    """Train a byte-level BPE on `texts`; being byte-level, it has no unknown tokens."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        texts, vocab_size=spec.vocabulary, special_tokens=["<pad>", "<s>", "</s>"], show_progress=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer,
        pad_token="<pad>",  # noqa: S106 (a token of text)
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        model_max_length=spec.context_tokens,
    )


def requests(docstrings: Sequence[Docstring]) -> Iterator[tuple[DraftRequest, str]]:
    """Each docstring as the answer to a request such as drafts have: write, write with a passage, or continue."""
    previous = docstrings[-1]
    for n, one in enumerate(docstrings):
        category = Category.ARTICLE if one.is_module or len(one.text) > 600 else Category.POST
        topic = one.text.partition("\n")[0][:120] if n % 2 else one.name
        if n % 5 == 4 and (middle := one.text.find("\n\n", len(one.text) // 3)) > 0:
            before, answer = one.text[:middle], one.text[middle:].strip()
            yield DraftRequest(continue_instruction(category, before[-400:])), answer or one.text
        elif n % 3 == 0:
            passage = Passage(previous.name, previous.name, "", previous.text[:400])
            yield DraftRequest(write_instruction(category, topic, n), (passage,)), one.text
        else:
            yield DraftRequest(write_instruction(category, topic, n)), one.text
        previous = one


def training_blocks(
    docstrings: Sequence[Docstring], tokenizer: "PreTrainedTokenizerBase", spec: DocstringSpec
) -> "torch.Tensor":
    """All examples joined and cut into rows, shape (blocks, context_tokens); the remainder is dropped."""
    import torch

    ids: list[int] = []
    wanted = spec.steps * spec.batch_size * spec.context_tokens
    for request, answer in requests(docstrings):
        ids += encode_example(tokenizer, request, answer, spec.context_tokens).ids
        if len(ids) >= wanted:
            break
    n_blocks = len(ids) // spec.context_tokens
    return torch.tensor(ids[: n_blocks * spec.context_tokens]).view(n_blocks, spec.context_tokens)


def make_model(tokenizer: "PreTrainedTokenizerBase", spec: DocstringSpec) -> "PreTrainedModel":
    """A Llama with random weights and tied embeddings; heads are 64 wide, or 32 in the smallest model."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=spec.hidden,
        intermediate_size=spec.hidden * 8 // 3 // 32 * 32,
        num_hidden_layers=spec.layers,
        num_attention_heads=max(1, spec.hidden // 64),
        max_position_embeddings=spec.context_tokens,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


@contextmanager
def _fixed_seed_and_threads(spec: DocstringSpec) -> Iterator[None]:
    """Use the spec's seed and thread count, and restore the caller's afterwards."""
    import torch

    threads, random_state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(spec.threads)
    torch.manual_seed(spec.seed)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(random_state)


def _train(model: "PreTrainedModel", blocks: "torch.Tensor", spec: DocstringSpec, tell: Tell) -> float:
    """Train on the CPU with AdamW, warm-up and a cosine schedule. Returns the mean loss of the last tenth of steps."""
    import torch
    from torch.optim.lr_scheduler import OneCycleLR

    optimizer = torch.optim.AdamW(model.parameters(), lr=spec.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = OneCycleLR(
        optimizer, spec.learning_rate, total_steps=spec.steps + 1, pct_start=0.05, final_div_factor=0.4,
        cycle_momentum=False,
    )  # fmt: skip
    order = torch.cat([torch.randperm(len(blocks)) for _ in range(-(-spec.steps * spec.batch_size // len(blocks)))])
    losses: list[float] = []
    started = told_at = time.monotonic()
    model.train()
    for step in range(spec.steps):
        batch = blocks[order[step * spec.batch_size : (step + 1) * spec.batch_size]]
        loss: Any = model(input_ids=batch, labels=batch, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        if (now := time.monotonic()) - told_at >= PROGRESS_INTERVAL_S:
            told_at = now
            tokens_per_s = (step + 1) * batch.numel() / (now - started)
            left_s = (spec.steps - step - 1) * (now - started) / (step + 1)
            tell(
                f"base model: step {step + 1} of {spec.steps}, loss {losses[-1]:.2f}, {tokens_per_s:,.0f} tokens/s, "
                f"{left_s:.0f} s left"
            )
    model.eval()
    last = losses[-max(1, spec.steps // 10) :]
    return sum(last) / len(last)
