"""Verbatim copying: how many of a draft's words are in runs of at least MIN_RUN words that other texts also have.

An evaluation asks two questions: how much comes from training texts that the prompt did not show (the model has
memorized them), and how much comes from passages that the prompt showed (the model copied what it should have drawn
on). Each word counts for only one of them, because what the prompt holds is cut out before the training texts are
compared. One suffix automaton over all drafts reads the training texts once: the time is linear in their length, and
the memory only grows with the drafts, which are few.
See: Carlini et al. 2023, Quantifying memorization across neural language models; Blumer et al. 1985 for the automaton.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MIN_RUN = 8
"""A run of at least this many words counts as copied; shorter ones are common phrases."""

WORD = re.compile(r"(?P<sign>[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
"""Matches a Chinese, Japanese or Korean character (group `sign`), or a word."""


@dataclass(frozen=True)
class Copied:
    """How much of a draft is copied word for word from some texts.

    share: the share of its words in copied runs of at least MIN_RUN words, 0 to 1. longest_run: in words, even if it is
    shorter than MIN_RUN.
    """

    share: float = 0.0
    longest_run: int = 0


@dataclass(frozen=True)
class Recitation:
    """What a draft of `n_words` copies. trained: from training texts not in its prompt. shown: from shown passages."""

    n_words: int
    trained: Copied
    shown: Copied


def words(text: str) -> list[str]:
    """Lower-cased words without punctuation; each Chinese, Japanese or Korean character is a word."""
    return [match[0] for match in WORD.finditer(text.casefold())]


def copied(draft: str, texts: Sequence[str]) -> Copied:
    """How much of a draft is copied word for word from a few texts."""
    own = words(draft)
    (lengths,) = matching_lengths([own], [words(text) for text in texts])
    return _measure([lengths], len(own))


class RecitationSearch:
    """Measures what a set of drafts copies, while the training answers are given to it one at a time."""

    def __init__(self, drafts: Sequence[str], prompts: Sequence[str], passages: Sequence[Sequence[str]]) -> None:
        """prompts: the whole prompt of each draft. passages: the passages that each prompt showed."""
        self._drafts, self._passages = drafts, passages
        self._words = [words(draft) for draft in drafts]
        self._parts = [_unquoted(own, words(prompt)) for own, prompt in zip(self._words, prompts, strict=True)]
        self._automaton = _Automaton(piece for part in self._parts for piece in part)

    def read(self, training_text: str) -> None:
        """Compare the drafts with one more training answer."""
        self._automaton.read(words(training_text))

    def results(self) -> list[Recitation]:
        """The recitation of each draft, compared with all the training answers read so far."""
        longest = self._automaton.longest()
        return [
            Recitation(
                len(own),
                _measure([[longest[state] for state in self._automaton.walk(piece)] for piece in part], len(own)),
                copied(draft, shown),
            )
            for draft, own, part, shown in zip(self._drafts, self._words, self._parts, self._passages, strict=True)
        ]


def _measure(pieces: Sequence[Sequence[int]], n_words: int) -> Copied:
    """Sum up a draft of `n_words`. pieces: for each word of each piece, the length of the run that ends there."""
    n_copied = sum(sum(_in_long_runs(lengths)) for lengths in pieces)
    longest = max((length for lengths in pieces for length in lengths), default=0)
    return Copied(round(n_copied / n_words, 4) if n_words else 0.0, longest)


def _in_long_runs(lengths: Sequence[int]) -> list[bool]:
    """Whether each word is in a run of at least MIN_RUN words. lengths: of the run that ends at each word."""
    inside = [False] * len(lengths)
    for end, length in enumerate(lengths):
        if length >= MIN_RUN:
            inside[end - length + 1 : end + 1] = [True] * length
    return inside


def _unquoted(draft: list[str], prompt: list[str]) -> list[list[str]]:
    """The pieces of a draft that remain without its runs of at least MIN_RUN words from the prompt."""
    (lengths,) = matching_lengths([draft], [prompt])
    pieces: list[list[str]] = [[]]
    for word, is_quoted in zip(draft, _in_long_runs(lengths), strict=True):
        if is_quoted:
            if pieces[-1]:
                pieces.append([])
        else:
            pieces[-1].append(word)
    return [piece for piece in pieces if piece]


def matching_lengths(pieces: Sequence[Sequence[str]], corpus: Iterable[Sequence[str]]) -> list[list[int]]:
    """For each word of each piece, the length of the longest run ending there that also occurs in the corpus."""
    automaton = _Automaton(pieces)
    for text in corpus:
        automaton.read(text)
    found = automaton.longest()
    return [[found[state] for state in automaton.walk(piece)] for piece in pieces]


class _Automaton:
    """A suffix automaton over several word sequences; `_best[s]` is the longest match of the corpus in state s."""

    def __init__(self, pieces: Iterable[Sequence[str]]) -> None:
        self._next: list[dict[str, int]] = [{}]
        self._link = [-1]
        self._length = [0]
        for piece in pieces:
            last = 0
            for word in piece:
                last = self._extend(last, word)
        self._best = [0] * len(self._next)

    def _extend(self, last: int, word: str) -> int:
        if word in self._next[last]:
            known = self._next[last][word]
            if self._length[known] == self._length[last] + 1:
                return known
            return self._clone(last, word, known)
        state = self._add(self._length[last] + 1, {}, 0)
        at = last
        while at >= 0 and word not in self._next[at]:
            self._next[at][word] = state
            at = self._link[at]
        if at >= 0:
            known = self._next[at][word]
            exact = self._length[known] == self._length[at] + 1
            self._link[state] = known if exact else self._clone(at, word, known)
        return state

    def _clone(self, at: int, word: str, known: int) -> int:
        clone = self._add(self._length[at] + 1, dict(self._next[known]), self._link[known])
        self._link[known] = clone
        while at >= 0 and self._next[at].get(word) == known:
            self._next[at][word] = clone
            at = self._link[at]
        return clone

    def _add(self, length: int, following: dict[str, int], link: int) -> int:
        self._next.append(following)
        self._length.append(length)
        self._link.append(link)
        return len(self._next) - 1

    def read(self, text: Sequence[str]) -> None:
        """Follow a text of the corpus, and record in each state the longest match that ends there."""
        state, length = 0, 0
        for word in text:
            while state and word not in self._next[state]:
                state = self._link[state]
                length = self._length[state]
            if word in self._next[state]:
                state = self._next[state][word]
                length += 1
                self._best[state] = max(self._best[state], length)

    def longest(self) -> list[int]:
        """For each state, the longest match of any run that ends where the state's runs end."""
        by_length = sorted(range(1, len(self._next)), key=self._length.__getitem__)
        found = list(self._best)
        for state in reversed(by_length):
            if found[state]:
                # A match in a state is also a full match of all its suffixes.
                found[self._link[state]] = max(found[self._link[state]], self._length[self._link[state]])
        for state in by_length:
            found[state] = max(found[state], found[self._link[state]])
        return found

    def walk(self, piece: Sequence[str]) -> Iterator[int]:
        """The states of a piece's prefixes."""
        state = 0
        for word in piece:
            state = self._next[state][word]
            yield state
