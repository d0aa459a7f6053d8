"""A session with one model: it drafts and, where the model can, scores."""

import collections.abc
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Self

from twin_assets.errors import BadInput
from twin_assets.language.generation.sampling import Sampling
from twin_assets.language.generation.text import until_marks
from twin_assets.language.prompts import ROLE_MARKS, EncodedPrompt, Window, template_kind

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


PieceStream = collections.abc.Generator[str, None, None]
"""Text as it comes; closing it frees what the draft holds."""


Stop = threading.Event | None
OnToken = Callable[[], None] | None


class Session(ABC):
    """One model, base or adapter, held ready from opening to closing: what it drafts with cannot change meanwhile.

    context_tokens: the longest sequence, prompt and draft together. engine: what computes, in words, such as
    `onnxruntime, 8 bits`.
    """

    context_tokens: int
    tokenizer: "PreTrainedTokenizerBase"
    engine: str

    def stream(
        self, prompt: EncodedPrompt, sampling: Sampling, stop: Stop = None, on_token: OnToken = None
    ) -> PieceStream:
        """The draft, piece by piece; closing the iterator, or setting `stop`, ends the work within a token.

        on_token: called for each token of the draft; a piece may be several. Raises BadInput, before the first piece,
        for a prompt that fills the context.
        """
        if len(prompt.ids) >= self.context_tokens:
            raise BadInput(
                f"the prompt is {len(prompt.ids)} tokens long and the model's context {self.context_tokens}: shorten it"
            )
        marks = ROLE_MARKS if template_kind(self.tokenizer) == "ours" else ()
        return until_marks(self._pieces(prompt, sampling, stop, on_token), marks)

    @abstractmethod
    def _pieces(self, prompt: EncodedPrompt, sampling: Sampling, stop: Stop, on_token: OnToken) -> PieceStream:
        """What `stream` gives, up to where the model itself ends."""

    @abstractmethod
    def score(self, windows: Sequence[Window]) -> list[float] | None:
        """Negative log-likelihood in nats of each window's masked tokens, in the order given; None if it cannot."""

    def generate(self, prompt: EncodedPrompt, sampling: Sampling) -> str:
        """The whole draft, as `stream` gives it."""
        with closing(self.stream(prompt, sampling)) as pieces:
            return "".join(pieces).strip()

    def close(self) -> None:  # noqa: B027  a server's session holds nothing
        """Let go of the model. A second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
