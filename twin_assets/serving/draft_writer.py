"""Write one draft in up to three tries: if a try gives next to nothing, the next one uses the next seed.

The reader sees none of this. The beginning of a try is held back until it clearly begins a draft, after about a dozen
words, and without any echo of the request. The price is that the first words arrive together, some tokens later. What
was released is never taken back, so a reader never gets two drafts in one.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal, cast

from twin_assets.documents import Category
from twin_assets.language.empty_drafts import has_own_words, is_nearly_empty, may_be_echo, without_echo
from twin_assets.language.generation import PieceStream, Sampling

MAX_TRIES = 3

HEARTBEAT_S = 2.0
"""The longest time without an event while a beginning is held back, in seconds; clients that left are noticed by it."""

Draw = Callable[[Sampling, Callable[[], None]], Iterator[str]]
"""draw(sampling, on_token) yields the pieces of one try, and calls on_token for each of its tokens."""


@dataclass(frozen=True)
class Retry:
    """The last try gave next to nothing, and try `number`, 2 or higher, begins."""

    number: int


@dataclass(frozen=True)
class Waiting:
    """The model is writing, and what it has written is still held back."""


Event = str | Retry | Waiting
"""A piece of the draft, or what the draft is waiting for; the first piece comes after the last wait."""


@dataclass(frozen=True)
class _Attempt:
    """The text of a try that was held back to its end, without an echo. was_cut: it reached the length limit."""

    text: str
    was_cut: bool


class DraftWriter:
    """Writes a draft. Its fields say how far the draft has come, even if it ends early.

    text: what was released. n_tokens: the number of tokens in all tries. first_token_s: when the first of them came, by
    time.monotonic(). was_cut: the draft reached the length limit. is_empty: every try gave next to nothing.
    """

    def __init__(
        self, draw: Draw, sampling: Sampling, asked: Sequence[str], category: Category | None, stop: threading.Event
    ) -> None:
        """asked: wordings of the request that a draft may echo. stop: ends the work between two tokens, in any try."""
        self._draw = draw
        self._sampling = sampling
        self._asked = asked
        self._category = category
        self._stop = stop
        self.text = ""
        self.n_tokens = 0
        self.n_tries = 0
        self.first_token_s: float | None = None
        self.was_cut = False
        self.is_empty = False

    @property
    def finish_reason(self) -> Literal["stop", "length"]:
        """Why the draft ended, in OpenAI's terms."""
        return "length" if self.was_cut else "stop"

    def pieces(self) -> Generator[Event, None, None]:
        """The draft, piece by piece; if every try is nearly empty, the longest of them in one piece.

        Greedy sampling has one try, since another one would be the same.
        """
        best = _Attempt("", was_cut=False)
        for number in range(1 if self._sampling.temperature <= 0 else MAX_TRIES):
            if number:
                yield Retry(number + 1)
            attempt = yield from self._attempt(number)
            if attempt is None or self._stop.is_set():
                return
            best = max(best, attempt, key=lambda one: len(one.text))
        self.is_empty = True
        self.was_cut = best.was_cut
        if best.text:
            yield self._release(best.text)

    def _attempt(self, number: int) -> Generator[Event, None, _Attempt | None]:
        """One try: yields its pieces and returns None, or returns what it held back to its end."""
        seed = self._sampling.seed
        sampling = self._sampling if seed is None else replace(self._sampling, seed=seed + number)
        before = self.n_tokens
        self.n_tries += 1
        held, released, since = "", False, time.monotonic()
        with closing(cast(PieceStream, self._draw(sampling, self._count))) as drawn:
            for piece in trimmed(drawn):
                if released:
                    yield self._release(piece)
                    continue
                held += piece
                if not is_nearly_empty(held, self._asked, self._category) and not may_be_echo(held, self._asked):
                    released = True
                    yield self._release(without_echo(held, self._asked))
                elif time.monotonic() - since >= HEARTBEAT_S:
                    since = time.monotonic()
                    yield Waiting()
        self.was_cut = self.n_tokens - before >= sampling.max_new_tokens
        if released:
            return None
        if self.was_cut and has_own_words(held, self._asked):
            yield self._release(without_echo(held, self._asked))
            return None
        return _Attempt(without_echo(held, self._asked), self.was_cut)

    def _release(self, piece: str) -> str:
        self.text += piece
        return piece

    def _count(self) -> None:
        self.n_tokens += 1
        if self.first_token_s is None:
            self.first_token_s = time.monotonic()


def trimmed(pieces: Iterator[str]) -> Iterator[str]:
    """The pieces, without white space before the first and after the last word."""
    held, begun = "", False
    for piece in pieces:
        held += piece if begun else piece.lstrip()
        ready = held.rstrip()
        if ready:
            begun = True
            yield ready
            held = held[len(ready) :]
