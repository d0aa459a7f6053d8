"""Draws the next token, in NumPy: the same for every engine, in a hundredth of the time of a forward pass.

transformers' own processors give the same distribution (a test compares them), but take 6 ms per token for a vocabulary
of 49,152, half of a small model's forward pass; most of that is spent on sorting tokens that are never drawn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from twin_assets.documents import Category
from twin_assets.language.generation.copy_guard import CODE_COPY_WORDS, COPY_WORDS

CANDIDATES = 1_024
"""This many of the likeliest tokens are sorted first; the whole vocabulary only if they do not reach top_p."""

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. With a seed, the same prompt gives the same draft.

    temperature: 0 is greedy. top_p: only the smallest set of tokens with this probability is drawn from.
    repetition_penalty: 1 is none; as in Keskar et al. 2019, CTRL, section 4.1, but only over the draft, because the
    prompt shows the author's words so that they are used.
    """

    max_new_tokens: int = 512
    temperature: float = 0.4
    """By reading its drafts, a small model keeps to its subject at 0.4 and loses it at 0.7; see RESULTS.md."""
    top_p: float = 0.95
    repetition_penalty: float = 1.1
    seed: int | None = None
    copy_words: int | None = COPY_WORDS
    """A run of about this many words may be copied from the prompt's texts; None sets no limit."""

    def for_category(self, category: Category | None) -> Self:
        """The settings for drafts of a category: code may copy longer runs."""
        if category is not Category.CODE or self.copy_words is None:
            return self
        return replace(self, copy_words=max(self.copy_words, CODE_COPY_WORDS))


class TokenSampler:
    """Draws the tokens of one draft, with its own random state."""

    def __init__(self, sampling: Sampling, banned: Callable[[Sequence[int]], Sequence[int]] | None = None) -> None:
        """banned: a function from the draft so far to the tokens that must not come next."""
        self._sampling = sampling
        self._banned = banned
        self._random = np.random.default_rng(None if sampling.seed is None else sampling.seed % 2**64)
        self.drawn: list[int] = []

    def next(self, logits: Logits) -> int:
        """Draw the next token. logits: one row over the whole vocabulary, which is changed."""
        token = self._next(self._shaped(logits))
        self.drawn.append(token)
        return token

    def _shaped(self, logits: Logits) -> Logits:
        """The logits after penalty, bans and temperature."""
        penalty = self._sampling.repetition_penalty
        if penalty != 1 and self.drawn:
            seen = np.unique(self.drawn)
            values = logits[seen]
            logits[seen] = np.where(values < 0, values * penalty, values / penalty)
        if self._banned is not None and (banned := list(self._banned(self.drawn))):
            logits[banned] = -np.inf
        return logits if self._sampling.temperature <= 0 else logits / np.float32(self._sampling.temperature)

    def _next(self, logits: Logits) -> int:
        if self._sampling.temperature <= 0:
            return int(logits.argmax())
        tokens, probabilities = nucleus(logits, self._sampling.top_p)
        at = np.searchsorted(np.cumsum(probabilities), self._random.random() * probabilities.sum(), side="right")
        return int(tokens[min(int(at), len(tokens) - 1)])


def nucleus(logits: Logits, top_p: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The smallest set of tokens with probability `top_p`, likeliest first, and their probabilities.

    See: Holtzman et al. 2020, The Curious Case of Neural Text Degeneration, section 3.1.
    """
    weights = np.exp(logits - logits.max())
    total = float(weights.sum(dtype=np.float64))
    for n in (CANDIDATES, len(weights)):
        n = min(n, len(weights))
        likely = np.argpartition(weights, len(weights) - n)[-n:]
        likely = likely[np.argsort(-weights[likely], kind="stable")]
        probabilities = weights[likely].astype(np.float64) / total
        mass = np.cumsum(probabilities)
        if n == len(weights) or mass[-1] >= top_p:
            break
    keep = int(np.searchsorted(mass, min(top_p, mass[-1]), side="left")) + 1 if top_p < 1 else len(likely)
    return likely[:keep], probabilities[:keep]
