"""Keeps a draft from being what it was shown: which tokens would continue a copied run beyond what is allowed.

A small model's easiest answer is the passage it was shown, word for word. The guard names the tokens that would make a
run of more than `max_tokens` equal to a run of a shown text, so that the sampler can leave them out. A model that is
only kept from the next word changes that one and goes on copying; so once a run was as long as it may be, later runs of
the same text may be half as long. Runs of token ids are compared, which is cheap; price: a text that is copied with
other capitals, marks or line breaks is another text here. How much a finished draft copies, word by word, is measured
by `recitation`. Quotations are not exempt: in ids one can't see where they begin and end.
"""

from collections.abc import Sequence

COPY_WORDS = 12
"""Words of prose that a draft may copy in one run: about a dozen."""

CODE_COPY_WORDS = 40
"""Words of code: imports, signatures and calls are the same in every file of a project, and are meant to be."""

MIN_TOKENS = 4
"""No run of fewer tokens is forbidden: that is how anybody speaks."""


def tokens_for_words(n_words: int, shown: Sequence[Sequence[int]], n_shown_words: int) -> int:
    """How many tokens `n_words` words take, at the rate of the shown texts with their tokenizer.

    Some 1.3 tokens a word for English with a vocabulary of 50,000 or more, three with one of 1,000.
    """
    n_tokens = sum(len(text) for text in shown)
    rate = n_tokens / n_shown_words if n_shown_words else 1.0
    return max(2 * MIN_TOKENS, round(n_words * rate))


class CopyGuard:
    """For one draft: give it all tokens drawn so far before each next one is drawn."""

    def __init__(self, shown: Sequence[Sequence[int]], max_tokens: int) -> None:
        """shown: token ids of each text in the prompt. max_tokens: the longest run that may be copied, at least 1."""
        if max_tokens < 1:
            raise ValueError(f"a run of {max_tokens} tokens cannot be allowed: give at least 1")
        self._max = max_tokens
        self._later = min(max_tokens, max(MIN_TOKENS, max_tokens // 2))
        self._full = _following(shown, self._max)
        self._half = _following(shown, self._later)
        self._used: set[int] = set()
        self._n_seen = 0

    def banned(self, generated: Sequence[int]) -> list[int]:
        """The ids that must not come next. Takes time in proportion to what was added since the last call."""
        for end in range(max(self._n_seen + 1, self._max), len(generated) + 1):
            self._used |= {text for text, _ in self._full.get(tuple(generated[end - self._max : end]), ())}
        self._n_seen = len(generated)
        full = self._full.get(_last(generated, self._max), ())
        half = self._half.get(_last(generated, self._later), ()) if self._used else ()
        return sorted({token for _, token in full} | {token for text, token in half if text in self._used})


Following = dict[tuple[int, ...], list[tuple[int, int]]]
"""By run of ids: (number of the text, id) for each id that comes behind the run in a text."""


def _following(shown: Sequence[Sequence[int]], length: int) -> Following:
    found: Following = {}
    for number, text in enumerate(shown):
        for start in range(len(text) - length):
            found.setdefault(tuple(text[start : start + length]), []).append((number, text[start + length]))
    return found


def _last(generated: Sequence[int], length: int) -> tuple[int, ...]:
    return tuple(generated[-length:]) if len(generated) >= length else ()
