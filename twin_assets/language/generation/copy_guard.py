"""Keeps a draft from copying the texts in its prompt, by naming the tokens that would make a copied run too long.

A small model likes to repeat a passage that it was shown word for word. The guard names the tokens that would make a
run of more than `max_words` words equal to a run of a shown text, so that the sampler can leave them out. A model that
is only denied one word replaces that word and goes on copying, so after a run of full length, later runs from the same
text may only be half as long. Words are compared as `recitation` counts them: capitals, punctuation, line breaks and
the tokenizer make no difference. A word is denied at its first token, together with other words that begin with the
same token, and never in the middle. Quotations are not exempt. A character that the tokenizer splits into bytes has no
token of its own and is allowed.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from twin_assets.language.recitation import WORD, words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COPY_WORDS = 12
"""A draft may copy at most this many words of prose in one run."""

CODE_COPY_WORDS = 40
"""The limit for code, whose imports, signatures and calls are meant to be the same throughout a project."""

MIN_WORDS = 4
"""Shorter runs than this are always allowed, because they are common phrases."""


class CopyGuard:
    """Tells which words must not come next in one draft."""

    def __init__(self, shown: Sequence[Sequence[str]], max_words: int) -> None:
        """shown: the words of each text in the prompt. max_words: the longest run that may be copied, at least 1."""
        if max_words < 1:
            raise ValueError(f"a run of {max_words} words cannot be allowed: give at least 1")
        self._max = max_words
        self._max_later = min(max_words, max(MIN_WORDS, max_words // 2))
        self._after_full_run = _following(shown, self._max)
        self._after_half_run = _following(shown, self._max_later)
        self._copied_texts: set[int] = set()
        self._n_seen = 0

    def banned(self, written: Sequence[str], n_tentative: int = 0) -> set[str]:
        """The words that must not come next. The time it takes grows with what was added since the last call.

        written: the words of the draft so far. n_tentative: how many of them at the end may still change.
        """
        n_final = len(written) - n_tentative
        for end in range(max(self._n_seen + 1, self._max), n_final + 1):
            run = tuple(written[end - self._max : end])
            self._copied_texts |= {text for text, _ in self._after_full_run.get(run, ())}
        self._n_seen = n_final
        full = self._after_full_run.get(_last(written, self._max), ())
        half = self._after_half_run.get(_last(written, self._max_later), ()) if self._copied_texts else ()
        return {word for _, word in full} | {word for text, word in half if text in self._copied_texts}


Following = dict[tuple[str, ...], list[tuple[int, str]]]
"""For each run of words, (number of the text, word) for every word that follows the run in a text."""


def _following(shown: Sequence[Sequence[str]], length: int) -> Following:
    found: Following = {}
    for number, text in enumerate(shown):
        for start in range(len(text) - length):
            found.setdefault(tuple(text[start : start + length]), []).append((number, text[start + length]))
    return found


def _last(written: Sequence[str], length: int) -> tuple[str, ...]:
    return tuple(written[-length:]) if len(written) >= length else ()


class WordStarts:
    """A tokenizer's tokens that begin a word, by the letters with which they begin it."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer = tokenizer

    @cached_property
    def _by_letters(self) -> dict[str, list[tuple[int, bool]]]:
        """(token, whether it begins a new word in any position), by the letters of the word's beginning."""
        found: dict[str, list[tuple[int, bool]]] = {}
        names = self.tokenizer.convert_ids_to_tokens(list(range(len(self.tokenizer))))
        texts = self.tokenizer.batch_decode([[token] for token in range(len(names))])
        for token, (name, text) in enumerate(zip(names, texts, strict=True)):
            first = WORD.search(text.casefold())
            if first is not None:
                is_apart = str(name).startswith("\u2581") or first.start() > 0 or first.lastgroup == "sign"
                found.setdefault(first[0], []).append((token, is_apart))
        return found

    def of(self, word: str, is_open: bool) -> list[int]:
        """The tokens that would begin `word`. is_open: the draft does not end inside a word."""
        return [
            token
            for end in range(1, len(word) + 1)
            for token, is_apart in self._by_letters.get(word[:end], ())
            if is_open or is_apart
        ]


class TokenGuard:
    """A `CopyGuard` for a sampler, in terms of tokens."""

    def __init__(self, word_starts: WordStarts, shown: Sequence[str], max_words: int) -> None:
        """shown: each text in the prompt. max_words: the longest run that may be copied."""
        from twin_assets.language.generation.text import DecodedStream

        self._beginnings = word_starts
        self._guard = CopyGuard([words(text) for text in shown], max_words)
        self._stream = DecodedStream(word_starts.tokenizer)
        self._n_seen = 0
        self._words: list[str] = []
        self._rest = ""
        """The end of the draft, whose last word may not be complete yet."""

    def banned(self, generated: Sequence[int]) -> list[int]:
        """The ids that must not come next. generated: all ids drawn so far."""
        for token in generated[self._n_seen :]:
            self._rest += self._stream.step(token)
        self._n_seen = len(generated)
        self._take_whole_words()
        incomplete = words(self._rest)
        found = self._guard.banned([*self._words, *incomplete], n_tentative=len(incomplete))
        return sorted({token for word in found for token in self._beginnings.of(word, is_open=not incomplete)})

    def _take_whole_words(self) -> None:
        """Move the words that can no longer change from `_rest` to `_words`."""
        found = list(WORD.finditer(self._rest))
        goes_on = bool(found) and found[-1].end() == len(self._rest) and found[-1].lastgroup != "sign"
        end = found[-1].start() if goes_on else len(self._rest)
        self._words += words(self._rest[:end])
        self._rest = self._rest[end:]
