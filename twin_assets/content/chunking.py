"""Cut a cleaned text, where cuts cost least, into pieces that fit an embedding model or a training answer.

Each possible cut has a cost, read from the text's syntax tree (`content.syntax`): low between sections or top-level
functions, higher the deeper inside them, highest inside a part that fits one chunk. Dynamic programming over the token
counts of one tokenization of the whole text finds the cuts of least total cost, so that a document is tokenized twice:
once to cut it, once to count the tokens of its chunks. Joined together, the chunks are the text.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from twin_assets.content.code import code_language
from twin_assets.content.syntax import MARKDOWN, Enclosure, Lines, structure
from twin_assets.documents import Category

if TYPE_CHECKING:
    from semantic_text_splitter import TextSplitter
    from tokenizers import Tokenizer

CHUNKING_VERSION = "3"

PATH_SEPARATOR = " > "

CHUNK_COST = 1.0
SLACK_COST = 0.6
"""A chunk costs this much more, times the square of its unused share, so that equal lengths are cheapest."""
MID_WORD_COST = 8.0


@dataclass(frozen=True)
class _Level:
    """Possible cuts in a part that has no structure and does not fit one chunk: at each end of the pattern."""

    pattern: re.Pattern[str]
    cost: float


_PARAGRAPHS = _Level(re.compile(r"\n[ \t]*\n\s*"), 0.3)
_LINES = _Level(re.compile(r"\n"), 0.5)
# A full stop before a small letter or a digit ends an abbreviation. CJK sentences end without white space.
_SENTENCES = _Level(re.compile(r"[.!?…][\"'”’»)\]*_]*\s+(?![a-z0-9])|[。！？][”’」』）]*\s*"), 0.7)
_WORDS = _Level(re.compile(r"\s+"), 4.0)
_LEVELS = {
    Category.ARTICLE: (_PARAGRAPHS, _SENTENCES, _WORDS),
    Category.POST: (_PARAGRAPHS, _LINES, _SENTENCES, _WORDS),
    Category.CODE: (_PARAGRAPHS, _LINES, _WORDS),
}


class Measure(Protocol):
    """The unit in which lengths are counted."""

    def starts(self, text: str) -> Sequence[int]:
        """The index of the character in which each unit of a text starts, in order."""
        ...

    def splitter(self, limit: int) -> "TextSplitter":
        """A splitter that cuts text without any structure into pieces of at most `limit` units."""
        ...


@dataclass(frozen=True)
class Tokens:
    """Lengths in the tokens of a model's tokenizer."""

    tokenizer: "Tokenizer"

    def starts(self, text: str) -> Sequence[int]:
        """See Measure."""
        return [start for start, _ in self.tokenizer.encode(text, add_special_tokens=False).offsets]

    def splitter(self, limit: int) -> "TextSplitter":
        """See Measure. trim=False: white space belongs to the text; every character is in exactly one chunk."""
        from semantic_text_splitter import TextSplitter

        return TextSplitter.from_huggingface_tokenizer(self.tokenizer, limit, trim=False)


class Utf8Bytes:
    """Lengths in UTF-8 bytes, which are the same for every model."""

    def starts(self, text: str) -> Sequence[int]:
        """See Measure."""
        if text.isascii():
            return range(len(text))
        return [at for at, character in enumerate(text) for _ in character.encode()]

    def splitter(self, limit: int) -> "TextSplitter":
        """See Measure."""
        from semantic_text_splitter import TextSplitter

        return TextSplitter.from_callback(lambda piece: len(piece.encode()), limit, trim=False)


@dataclass(frozen=True)
class Chunk:
    """A piece of a text. start, end: character offsets into it, so that text == whole[start:end]."""

    position: int
    start: int
    end: int
    text: str
    heading_path: str
    n_tokens: int


class Chunker:
    """Cuts texts into chunks of at most `max_tokens` units of a measure, called tokens below even if they are bytes."""

    def __init__(self, measure: Measure, max_tokens: int) -> None:
        self._measure = measure
        self._max_tokens = max_tokens
        self._splitter = measure.splitter(max_tokens)

    def chunks(self, text: str, category: Category, title: str | None = None) -> Iterator[Chunk]:
        """The chunks of a text, in order.

        title: a code document's path, which gives its language and begins its chunks' paths. A chunk's path names what
        contains it: an article's headings, or a file, its classes and functions.
        """
        if not text:
            return
        token_starts = self._measure.starts(text)
        lines = Lines(text, token_starts, self._max_tokens)
        is_code = category is Category.CODE
        found = structure(text, lines, code_language(title or "", text) if is_code else MARKDOWN)
        costs = {lines.starts[row]: cost for row, cost in found.costs.items()}
        ruler = _Ruler(token_starts, self._max_tokens)
        places = _Places(text, ruler, self._splitter).refined(costs, _LEVELS[category])
        cuts = _cheapest_cuts(places, len(text), ruler)
        spans = list(self._fitting(text, [0, *cuts, len(text)]))
        paths = _paths(text, lines, [(start, end) for start, end, _ in spans], found.enclosures)
        root = [title] if is_code and title else []
        for position, ((start, end, n_tokens), path) in enumerate(zip(spans, paths, strict=True)):
            yield Chunk(position, start, end, text[start:end], PATH_SEPARATOR.join([*root, *path]), n_tokens)

    def _fitting(self, text: str, edges: list[int]) -> Iterator[tuple[int, int, int]]:
        """Start, end and number of tokens of each chunk.

        A tokenizer that marks the start of a text may count one token more in a chunk than in the whole text: a chunk
        that then no longer fits is cut again.
        """
        for start, end in pairwise(edges):
            n_tokens = self._count(text[start:end])
            if n_tokens <= self._max_tokens:
                yield start, end, n_tokens
                continue
            for offset, piece in self._splitter.chunk_indices(text[start:end]):
                yield start + offset, start + offset + len(piece), self._count(piece)

    def _count(self, text: str) -> int:
        return len(self._measure.starts(text))


class _Ruler:
    """Counts the tokens between two characters of a text."""

    def __init__(self, token_starts: Sequence[int], max_tokens: int) -> None:
        self._token_starts = token_starts
        self.max_tokens = max_tokens

    def before(self, offset: int) -> int:
        """The number of tokens that start before a character."""
        return bisect_left(self._token_starts, offset)

    def fits(self, start: int, end: int) -> bool:
        """True if the text from start to end fits one chunk."""
        return self.before(end) - self.before(start) <= self.max_tokens


@dataclass(frozen=True)
class _Places:
    """Finds the places where a text can be cut."""

    text: str
    ruler: _Ruler
    splitter: "TextSplitter"

    def refined(self, costs: dict[int, float], levels: Sequence[_Level]) -> Iterator[tuple[int, float]]:
        """Places and their costs, in order: the given ones, and more wherever the text between two does not fit."""
        for start, end in pairwise([0, *sorted(costs.keys() - {0}), len(self.text)]):
            yield start, costs.get(start, 0.0)
            yield from self._between(start, end, levels)

    def _between(self, start: int, end: int, levels: Sequence[_Level]) -> Iterator[tuple[int, float]]:
        if self.ruler.fits(start, end):
            return
        if not levels:
            pieces = self.splitter.chunk_indices(self.text[start:end])
            yield from ((start + offset, MID_WORD_COST) for offset, _ in pieces[1:])
            return
        level, *finer = levels
        ends = (match.end() for match in level.pattern.finditer(self.text, start, end))
        for left, right in pairwise([start, *(place for place in ends if start < place < end), end]):
            if left > start:
                yield left, level.cost
            yield from self._between(left, right, finer)


def _cheapest_cuts(places: Iterable[tuple[int, float]], end: int, ruler: _Ruler) -> list[int]:
    """The cuts of least total cost that leave no chunk too long. end: the text's length.

    This is how Knuth and Plass break paragraphs into lines (Software: Practice and Experience 11, 1981), with tokens
    for widths. A piece that is too long by itself stays. No chunk is without a token: of several places with no token
    between them only the cheapest counts, so that the work grows only with the text's length.
    """
    n_tokens = ruler.before(end)
    cheapest: dict[int, tuple[float, int]] = {}
    for place, cost in places:
        before = ruler.before(place)
        if 0 < before < n_tokens:
            cheapest[before] = min(cheapest.get(before, (cost, place)), (cost, place))
    tokens = [0, *cheapest, n_tokens]
    costs = [0.0, *(cost for cost, _ in cheapest.values())]
    cuts = [0, *(place for _, place in cheapest.values())]
    best = [0.0] * len(tokens)
    came_from = [0] * len(tokens)
    for at in range(1, len(tokens)):
        best[at], came_from[at] = min(
            (best[start] + costs[start] + _chunk_cost(tokens[at] - tokens[start], ruler.max_tokens), start)
            for start in _starts(tokens, at, ruler.max_tokens)
        )
    chosen = []
    at = came_from[-1]
    while at > 0:
        chosen.append(cuts[at])
        at = came_from[at]
    return chosen[::-1]


def _starts(tokens: list[int], at: int, max_tokens: int) -> range:
    return range(min(bisect_left(tokens, tokens[at] - max_tokens, 0, at), at - 1), at)


def _chunk_cost(n_tokens: int, max_tokens: int) -> float:
    return CHUNK_COST + SLACK_COST * (1 - n_tokens / max_tokens) ** 2


def _paths(text: str, lines: Lines, spans: list[tuple[int, int]], enclosures: list[Enclosure]) -> Iterator[list[str]]:
    """What contains each chunk, outermost first: what was open where it begins, and what contains all of it."""
    waiting = iter(enclosures)
    coming = next(waiting, None)
    open_: list[Enclosure] = []
    for start, end in spans:
        piece = text[start:end]
        first = lines.row_at(start + len(piece) - len(piece.lstrip()))
        last = lines.row_at(start + max(len(piece.rstrip()) - 1, 0))
        while coming is not None and coming.first <= first:
            open_.append(coming)
            coming = next(waiting, None)
        open_ = [enclosure for enclosure in open_ if enclosure.last >= first]
        yield [enclosure.label for enclosure in open_ if enclosure.first < first or enclosure.last >= last]
