"""Keeps a draft from being what it was shown: which tokens would continue a copied run beyond what is allowed.

A small model's easiest answer is the passage it was shown, word for word. The guard names the tokens that would make a
run of more than `max_words` words equal to a run of a shown text, so that the sampler can leave them out. A model that
is only kept from the next word changes that one and goes on copying; so once a run was as long as it may be, later runs
of the same text may be half as long. Words are compared as `recitation` counts them: other capitals, marks and line
breaks do not make another text, and a tokenizer that cuts them otherwise does not either. A word is forbidden at its
beginning, with whatever else begins alike, and never broken off. Quotations are not exempt. A letter that a tokenizer
cuts into bytes has no token of its own, and is let through.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from twin_assets.language.recitation import WORD, words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COPY_WORDS = 12
"""Words of prose that a draft may copy in one run: about a dozen."""

CODE_COPY_WORDS = 40
"""Words of code: imports, signatures and calls are the same in every file of a project, and are meant to be."""

MIN_WORDS = 4
"""No run of fewer words is forbidden: that is how anybody speaks."""


class CopyGuard:
    """For one draft: which words must not come next."""

    def __init__(self, shown: Sequence[Sequence[str]], max_words: int) -> None:
        """shown: the words of each text in the prompt. max_words: the longest run that may be copied, at least 1."""
        if max_words < 1:
            raise ValueError(f"a run of {max_words} words cannot be allowed: give at least 1")
        self._max = max_words
        self._later = min(max_words, max(MIN_WORDS, max_words // 2))
        self._full = _following(shown, self._max)
        self._half = _following(shown, self._later)
        self._used: set[int] = set()
        self._n_seen = 0

    def banned(self, written: Sequence[str], n_tentative: int = 0) -> set[str]:
        """The words that must not come next. Takes time in proportion to what was added since the last call.

        n_tentative: how many at the end may still change.
        """
        n_final = len(written) - n_tentative
        for end in range(max(self._n_seen + 1, self._max), n_final + 1):
            self._used |= {text for text, _ in self._full.get(tuple(written[end - self._max : end]), ())}
        self._n_seen = n_final
        full = self._full.get(_last(written, self._max), ())
        half = self._half.get(_last(written, self._later), ()) if self._used else ()
        return {word for _, word in full} | {word for text, word in half if text in self._used}


Following = dict[tuple[str, ...], list[tuple[int, str]]]
"""By run of words: (number of the text, word) for each word that comes behind the run in a text."""


def _following(shown: Sequence[Sequence[str]], length: int) -> Following:
    found: Following = {}
    for number, text in enumerate(shown):
        for start in range(len(text) - length):
            found.setdefault(tuple(text[start : start + length]), []).append((number, text[start + length]))
    return found


def _last(written: Sequence[str], length: int) -> tuple[str, ...]:
    return tuple(written[-length:]) if len(written) >= length else ()


class Beginnings:
    """For one tokenizer: the tokens that begin a word, by the letters that they begin it with."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer = tokenizer

    @cached_property
    def _by_letters(self) -> dict[str, list[tuple[int, bool]]]:
        """(token, whether it begins a word wherever it stands)."""
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
        """Tokens that would begin `word`, or end as its beginning. is_open: no word is under way."""
        return [
            token
            for end in range(1, len(word) + 1)
            for token, is_apart in self._by_letters.get(word[:end], ())
            if is_open or is_apart
        ]


class TokenGuard:
    """A `CopyGuard` for a sampler: from the tokens drawn so far to the tokens that must not be drawn next."""

    def __init__(self, beginnings: Beginnings, shown: Sequence[str], max_words: int) -> None:
        """shown: each text in the prompt. max_words: the longest run that may be copied."""
        from twin_assets.language.generation.text import DecodedStream

        self._beginnings = beginnings
        self._guard = CopyGuard([words(text) for text in shown], max_words)
        self._stream = DecodedStream(beginnings.tokenizer)
        self._n_seen = 0
        self._done: list[str] = []
        self._rest = ""
        """The end of the draft, where a word may still go on."""

    def banned(self, generated: Sequence[int]) -> list[int]:
        """The ids that must not come next, given all that were drawn."""
        for token in generated[self._n_seen :]:
            self._rest += self._stream.step(token)
        self._n_seen = len(generated)
        self._take_whole_words()
        under_way = words(self._rest)
        found = self._guard.banned([*self._done, *under_way], n_tentative=len(under_way))
        return sorted({token for word in found for token in self._beginnings.of(word, is_open=not under_way)})

    def _take_whole_words(self) -> None:
        """Move what can no longer change from `_rest` to `_done`."""
        found = list(WORD.finditer(self._rest))
        goes_on = bool(found) and found[-1].end() == len(self._rest) and found[-1].lastgroup != "sign"
        end = found[-1].start() if goes_on else len(self._rest)
        self._done += words(self._rest[:end])
        self._rest = self._rest[end:]
