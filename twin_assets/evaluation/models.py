"""The two models that an evaluation compares, by name: `base` and `adapter`."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from twin_assets.documents import ModelManifest
from twin_assets.errors import TwinError
from twin_assets.language.base_models import BaseSpec
from twin_assets.language.generation import Backend, Sampling, Session
from twin_assets.language.prompts import EncodedPrompt, Window
from twin_assets.orchestration.progress import Tell, silent

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Name = Literal["base", "adapter"]
NAMES: tuple[Name, ...] = ("base", "adapter")


@dataclass(frozen=True)
class Models:
    """An open session with each of the two models."""

    sessions: dict[Name, Session]

    @property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The tokenizer, which both models share."""
        return self.sessions["base"].tokenizer

    @property
    def context_tokens(self) -> int:
        """The longest sequence that the models take."""
        return self.sessions["base"].context_tokens

    @property
    def engine(self) -> str:
        """The engine that computes, in words."""
        return self.sessions["adapter"].engine

    def nats(self, name: Name, windows: Sequence[Window]) -> float:
        """The negative log-likelihood of the masked tokens, in nats. Raises TwinError if the backend gives none."""
        found = self.sessions[name].score(windows)
        if found is None:
            raise TwinError(f"{self.engine} gives no likelihoods: evaluate with TWIN_GENERATION=in_process")
        return math.fsum(found)

    def draft(self, name: Name, prompt: EncodedPrompt, sampling: Sampling) -> str:
        """A complete draft by one of the models."""
        return self.sessions[name].generate(prompt, sampling)


@contextmanager
def open_models(backend: Backend, manifest: ModelManifest, tell: Tell = silent) -> Iterator[Models]:
    """Open a version and its base model on one backend, so that both are computed in the same way."""
    ref = manifest.base
    with (
        backend.open(manifest, tell) as adapter,
        backend.open(BaseSpec(name=ref.name, revision=ref.revision, precision=ref.precision)) as base,
    ):
        yield Models({"base": base, "adapter": adapter})
