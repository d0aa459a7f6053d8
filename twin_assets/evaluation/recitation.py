"""Verbatim copying: how much of a draft stands word for word in the training answers.

What the draft's own prompt already quotes is cut out first: repeating a retrieved passage is what a draft was asked
for. One suffix automaton over all drafts reads the training text once, so time and memory are linear: memory in the
drafts, which are few, and never in the training text.
See: Carlini et al. 2023, Quantifying memorization across neural language models; Blumer et al. 1985 for the automaton.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

GRAM = 8
"""A run of this many words is copying, shorter ones are idiom."""

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


@dataclass(frozen=True)
class Recitation:
    """What a draft shares with the training answers.

    longest_run: words of the longest common run, not quoted by the prompt. copied: share of its GRAM-word sequences
    that stand in the training answers, 0 to 1.
    """

    n_words: int
    longest_run: int
    copied: float


def words(text: str) -> list[str]:
    """Lower-cased words without punctuation; each Chinese, Japanese or Korean character is a word."""
    return _WORD.findall(text.casefold())


def recitation(drafts: Sequence[str], prompts: Sequence[str], training: Iterable[str]) -> list[Recitation]:
    """The recitation of each draft, given what its prompt showed.

    training: the training answers; they are read once, one after the other.
    """
    parts = [_unquoted(words(draft), words(prompt)) for draft, prompt in zip(drafts, prompts, strict=True)]
    pieces = [piece for part in parts for piece in part]
    matched = iter(matching_lengths(pieces, (words(text) for text in training)))
    return [_measure(part, [next(matched) for _ in part]) for part in parts]


def _measure(pieces: Sequence[Sequence[str]], matched: Sequence[Sequence[int]]) -> Recitation:
    lengths = [length for piece in matched for length in piece]
    grams = [length >= GRAM for piece in matched for length in piece[GRAM - 1 :]]
    copied = sum(grams) / len(grams) if grams else 0.0
    return Recitation(sum(len(piece) for piece in pieces), max(lengths, default=0), round(copied, 4))


def _unquoted(draft: list[str], prompt: list[str]) -> list[list[str]]:
    """The draft without its runs of at least GRAM words that stand in the prompt, in pieces."""
    (ending,) = matching_lengths([draft], [prompt])
    quoted = [False] * len(draft)
    for end, length in enumerate(ending):
        if length >= GRAM:
            quoted[end - length + 1 : end + 1] = [True] * length
    pieces: list[list[str]] = [[]]
    for word, is_quoted in zip(draft, quoted, strict=True):
        if is_quoted:
            if pieces[-1]:
                pieces.append([])
        else:
            pieces[-1].append(word)
    return [piece for piece in pieces if piece]


def matching_lengths(pieces: Sequence[Sequence[str]], corpus: Iterable[Sequence[str]]) -> list[list[int]]:
    """For each position of each piece, the length of the longest run of words ending there that the corpus has."""
    automaton = _Automaton(pieces)
    for text in corpus:
        automaton.read(text)
    found = automaton.longest()
    return [[found[state] for state in automaton.walk(piece)] for piece in pieces]


class _Automaton:
    """Suffix automaton over several word sequences; `best[s]` is the longest match the corpus had in state s."""

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
        """Follow a text of the corpus, noting in each state the longest match that ended there."""
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
                # A match in a state is a match of all its suffixes, whole.
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
