"""A session with one model, which drafts and, if the model can, scores."""

import collections.abc
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from types import TracebackType
from typing import TYPE_CHECKING, Self

from twin_assets.errors import BadInput
from twin_assets.language.generation.sampling import Sampling
from twin_assets.language.generation.text import until_markers
from twin_assets.language.prompts import ROLE_MARKERS, EncodedPrompt, Window, template_kind

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


PieceStream = collections.abc.Generator[str, None, None]
"""The pieces of a draft as they are written; closing the stream frees the draft's resources."""


Stop = threading.Event | None
OnToken = Callable[[], None] | None


class Session(ABC):
    """One model, base or adapter, that stays loaded and unchanged from opening to closing.

    context_tokens: the longest sequence, prompt and draft together. engine: a description of the engine, such as
    `onnxruntime, 8 bits`.
    """

    context_tokens: int
    tokenizer: "PreTrainedTokenizerBase"
    engine: str

    def stream(
        self, prompt: EncodedPrompt, sampling: Sampling, stop: Stop = None, on_token: OnToken = None
    ) -> PieceStream:
        """Draft, piece by piece. Closing the iterator, or setting `stop`, ends the work within a token.

        on_token: is called for each token of the draft; a piece may have several. Raises BadInput, before the first
        piece, if the prompt fills the context.
        """
        if len(prompt.ids) >= self.context_tokens:
            raise BadInput(
                f"the prompt has {len(prompt.ids)} tokens, the model's context only {self.context_tokens}: shorten it"
            )
        markers = ROLE_MARKERS if template_kind(self.tokenizer) == "ours" else ()
        return until_markers(self._pieces(prompt, sampling, stop, on_token), markers)

    @abstractmethod
    def _pieces(self, prompt: EncodedPrompt, sampling: Sampling, stop: Stop, on_token: OnToken) -> PieceStream:
        """The pieces of a draft, up to where the model itself ends it."""

    @abstractmethod
    def score(self, windows: Sequence[Window]) -> list[float] | None:
        """The negative log-likelihood of each window's masked tokens, in nats; None if the model cannot give it."""

    def generate(self, prompt: EncodedPrompt, sampling: Sampling) -> str:
        """A whole draft at once."""
        with closing(self.stream(prompt, sampling)) as pieces:
            return "".join(pieces).strip()

    def close(self) -> None:  # noqa: B027  a server's session holds nothing
        """Release the model. A second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
