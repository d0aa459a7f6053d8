"""One draft out of a few tries: a try that comes to next to nothing is drawn again, with the next seed.

Nobody sees it: the beginning is held back until it is clearly one of a draft, a dozen words or the like, and without
its echo of what was asked. Price: the first words come together, some tokens later. What was let go is never taken
back, so a reader never gets two drafts in one.
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
"""While a beginning is held back, a sign of life at least this often: clients that are gone are noticed by it."""

Draw = Callable[[Sampling, Callable[[], None]], Iterator[str]]
"""draw(sampling, on_token): the pieces of one try; on_token is called for each of its tokens."""


@dataclass(frozen=True)
class Again:
    """The last try came to next to nothing, and this one begins. number: 2 or more."""

    number: int


@dataclass(frozen=True)
class Waiting:
    """The model writes, and what it has written is still held back."""


Event = str | Again | Waiting
"""A piece of the draft, or what it waits for; no piece comes before the last wait."""


@dataclass(frozen=True)
class _Held:
    """All of a try that was not let go, without an echo. was_cut: it ended at the longest that was allowed."""

    text: str
    was_cut: bool


class Writing:
    """A draft as it is written. Its fields say how far it has come, also when it ends early.

    text: what was let go. n_tokens: of all tries. first_token_s: when the first of them came, by time.monotonic().
    was_cut: it ended at the longest that was allowed. is_empty: every try came to next to nothing.
    """

    def __init__(
        self, draw: Draw, sampling: Sampling, asked: Sequence[str], category: Category | None, stop: threading.Event
    ) -> None:
        """asked: what a draft may echo. stop: ends the work between two tokens, in any try."""
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
        """As OpenAI calls it."""
        return "length" if self.was_cut else "stop"

    def pieces(self) -> Generator[Event, None, None]:
        """The draft, piece by piece; the best of the tries, all of it at once, when each one is nearly empty.

        Greedy drawing has one try: another one would be the same.
        """
        best = _Held("", was_cut=False)
        for number in range(1 if self._sampling.temperature <= 0 else MAX_TRIES):
            if number:
                yield Again(number + 1)
            held = yield from self._try(number)
            if held is None or self._stop.is_set():
                return
            best = max(best, held, key=lambda one: len(one.text))
        self.is_empty = True
        self.was_cut = best.was_cut
        if best.text:
            yield self._let_go(best.text)

    def _try(self, number: int) -> Generator[Event, None, _Held | None]:
        """One try; what it held back to its end, or None when it was let go."""
        seed = self._sampling.seed
        sampling = self._sampling if seed is None else replace(self._sampling, seed=seed + number)
        before = self.n_tokens
        self.n_tries += 1
        held, released, since = "", False, time.monotonic()
        with closing(cast(PieceStream, self._draw(sampling, self._count))) as drawn:
            for piece in trimmed(drawn):
                if released:
                    yield self._let_go(piece)
                    continue
                held += piece
                if not is_nearly_empty(held, self._asked, self._category) and not may_be_echo(held, self._asked):
                    released = True
                    yield self._let_go(without_echo(held, self._asked))
                elif time.monotonic() - since >= HEARTBEAT_S:
                    since = time.monotonic()
                    yield Waiting()
        self.was_cut = self.n_tokens - before >= sampling.max_new_tokens
        if released:
            return None
        if self.was_cut and has_own_words(held, self._asked):
            yield self._let_go(without_echo(held, self._asked))
            return None
        return _Held(without_echo(held, self._asked), self.was_cut)

    def _let_go(self, piece: str) -> str:
        self.text += piece
        return piece

    def _count(self) -> None:
        self.n_tokens += 1
        if self.first_token_s is None:
            self.first_token_s = time.monotonic()


def trimmed(pieces: Iterator[str]) -> Iterator[str]:
    """The pieces without white space around the whole."""
    held, begun = "", False
    for piece in pieces:
        held += piece if begun else piece.lstrip()
        ready = held.rstrip()
        if ready:
            begun = True
            yield ready
            held = held[len(ready) :]
