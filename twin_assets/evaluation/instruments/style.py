"""How far a set of texts is from an author's style: Burrows's Delta with punctuation and word statistics.

Each feature is a z-score against the spread in the author's own writing. It is clipped, because otherwise one odd rate
in a short text would outweigh all others. The z-scores of a set are averaged before their size is taken: single blocks
by one author differ from each other as much as from a similar author's blocks, but sets do not (four blocks of 150
words, skeeto against simonw: AUC 0.42 block by block, 0.85 as sets). So only sets of equal size are compared.
Function words are only counted in English; in other languages and in code, the distance rests on the other features.
See: Burrows 2002, "Delta": a measure of stylistic difference; Evert et al. 2017, Understanding and explaining Delta.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CLIP = 3.0

BLOCK_WORDS = 150
"""Texts are joined or cut into blocks of about this many words, because a post of 30 words has no stable rates."""

CHARACTERS_PER_WORD = 6
N_STATISTICS = 12

MIN_BLOCKS = 4
"""With fewer blocks of the author's writing than this, their spread cannot be measured."""

_ENGLISH = """
    a about after again all also although always am among an and another any are as at back be because been before
    being between both but by can could did do does down each either enough even ever every few first for from further
    had has have he her here him his how however i if in indeed instead into is it its itself just last least less like
    made many may me might more most much must my near never no nor not nothing now of off often on once one only or
    other our out over own perhaps quite rather really same she should since so some something still such than that
    the their them then there these they thing this those though through thus to together too toward two under until up
    upon us very was we well were what when where whether which while who whole whose why will with within without
    would yet you your
"""
FUNCTION_WORDS = tuple(_ENGLISH.split())

PUNCTUATION = (",", ".", ";", ":", "!", "?", "(", '"', "'", "-", "—", "…", "/", "*", "`", "#", "_", "=", "{", "[")

_SAME_MARK = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "—", "。": ".", "，": ",", "！": "!", "？": "?"}
)
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"')\]]*(?:\s+|$)|\n\s*\n|(?<=[。！？])")

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StyleSpace:
    """The scale on which texts are compared: the centre and spread of each feature in the author's own writing."""

    centre: Vector
    spread: Vector
    english: bool
    n_blocks: int

    @classmethod
    def of(cls, texts: Iterable[str], english: bool) -> "StyleSpace | None":
        """Measure an author's texts; None if there are too few of them to know the spread."""
        measured = [features(block, english) for block in blocks(texts)]
        if len(measured) < MIN_BLOCKS:
            return None
        table = np.stack(measured)
        return cls(table.mean(axis=0), np.maximum(table.std(axis=0), _min_spread(english)), english, len(measured))

    def position(self, text: str) -> Vector:
        """The z-scores of a text, clipped at ±3."""
        return np.clip((features(text, self.english) - self.centre) / self.spread, -CLIP, CLIP)

    def distance(self, blocks_of_set: Sequence[str]) -> float:
        """The mean size of the set's average z-scores: about 0.4 for four blocks by the author, 3 at most.

        It falls with the number of blocks, as noise does in any average, so only compare sets of equal size.
        """
        average = np.mean([self.position(block) for block in blocks_of_set], axis=0)
        return float(np.mean(np.abs(average)))


def cosine_delta(a: Vector, b: Vector) -> float:
    """The distance of two single texts by their positions: 1 minus the cosine of their z-scores, 0 to 2."""
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 1.0 - float(a @ b) / size if size else 1.0


def blocks(texts: Iterable[str]) -> Iterator[str]:
    """Join texts into blocks of BLOCK_WORDS words or a little more; a short rest is dropped unless it is all."""
    pooled: list[str] = []
    n_words = 0
    made = 0
    for text in texts:
        for paragraph in _pieces(text):
            pooled.append(paragraph)
            n_words += len(_WORD.findall(paragraph))
            if n_words >= BLOCK_WORDS:
                yield "\n\n".join(pooled)
                pooled, n_words, made = [], 0, made + 1
    if n_words and (not made or n_words >= BLOCK_WORDS // 2):
        yield "\n\n".join(pooled)


def _pieces(text: str) -> Iterator[str]:
    """The paragraphs of a text; those longer than a block are cut at spaces."""
    for paragraph in re.split(r"\n\s*\n", text):
        words = paragraph.split(" ")
        for start in range(0, len(words), BLOCK_WORDS):
            if piece := " ".join(words[start : start + BLOCK_WORDS]).strip():
                yield piece


def features(text: str, english: bool) -> Vector:
    """Measure a text's punctuation and word statistics, and its function words if it is English.

    Rates are square roots of relative frequencies, so that rare and common marks are equally noisy.
    """
    text = text.translate(_SAME_MARK)
    words = _WORD.findall(text)
    values = [*_punctuation(text), *_statistics(text, words)]
    if english:
        counts = Counter(word.lower() for word in words)
        values += [(counts[word] / max(len(words), 1)) ** 0.5 for word in FUNCTION_WORDS]
    return np.asarray(values, dtype=np.float64)


def _min_spread(english: bool) -> Vector:
    """The least spread of each feature, so that a word which only the other author uses still counts.

    It is half the sampling noise of a square root of a rate, 1/(2 sqrt(n)), for the n words or characters of a block.
    """
    marks = np.full(len(PUNCTUATION), 0.25 / (BLOCK_WORDS * CHARACTERS_PER_WORD) ** 0.5)
    words = np.full(len(FUNCTION_WORDS) if english else 0, 0.25 / BLOCK_WORDS**0.5)
    return np.concatenate([marks, np.full(N_STATISTICS, 0.02), words])


def _punctuation(text: str) -> list[float]:
    length = max(len(text), 1)
    return [(text.count(mark) / length) ** 0.5 for mark in PUNCTUATION]


def _statistics(text: str, words: Sequence[str]) -> list[float]:
    sentences = [len(_WORD.findall(sentence)) for sentence in _SENTENCE_END.split(text)]
    lengths = np.asarray([length for length in sentences if length] or [0])
    letters = np.asarray([len(word) for word in words] or [0])
    lines = [line for line in text.splitlines() if line.strip()]
    n = max(len(words), 1)
    return [
        float(np.mean(np.log1p(lengths))),
        float(np.std(np.log1p(lengths))),
        float(np.mean(lengths < 8)),
        float(np.mean(letters)),
        float(np.std(letters)),
        float(np.mean(letters > 7)),
        sum(word[0].isupper() for word in words) / n,
        sum("'" in word for word in words) / n,
        sum(character.isdigit() for character in text) / max(len(text), 1),
        _variety(words),
        float(np.log1p(len(words) / max(len(lines), 1))),
        sum(line[0] in " \t" for line in lines) / max(len(lines), 1),
    ]


def _variety(words: Sequence[str], segment: int = 50) -> float:
    """Different words per word, in segments of equal length because the plain ratio falls with a text's length."""
    lowered = [word.lower() for word in words]
    segments = [lowered[start : start + segment] for start in range(0, max(len(lowered) - segment, 0) + 1, segment)]
    return float(np.mean([len(set(part)) / max(len(part), 1) for part in segments]))
