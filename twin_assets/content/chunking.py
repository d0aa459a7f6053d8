"""Cut a cleaned text into chunks that fit the embedding model, by category; nothing is cut mid-word, nothing is lost.

Articles are cut at markdown structure and carry their heading path, posts stay whole while they fit, code is cut at
blank lines and line ends. Chunks keep every character: put together they are the text.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twin_assets.documents import Category

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHUNKING_VERSION = "1"

_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


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
    """Chunks of at most `max_tokens` of `tokenizer`'s tokens."""

    def __init__(self, tokenizer: "Tokenizer", max_tokens: int) -> None:
        from semantic_text_splitter import MarkdownSplitter, TextSplitter

        self._tokenizer = tokenizer
        # trim=False: white space belongs to the text; every character is in exactly one chunk.
        markdown = MarkdownSplitter.from_huggingface_tokenizer(tokenizer, max_tokens, trim=False)
        plain = TextSplitter.from_huggingface_tokenizer(tokenizer, max_tokens, trim=False)
        self._split: dict[Category, Callable[[str], list[tuple[int, str]]]] = {
            Category.ARTICLE: markdown.chunk_indices,
            Category.POST: plain.chunk_indices,
            Category.CODE: plain.chunk_indices,
        }

    def chunks(self, text: str, category: Category) -> Iterator[Chunk]:
        """The chunks of a text in order; a piece of nothing but white space is joined to its neighbour."""
        headings = list(_headings(text)) if category is Category.ARTICLE else []
        for position, (start, piece) in enumerate(_without_blank(self._split[category](text))):
            path = _path_at(headings, start, start + len(piece))
            n_tokens = len(self._tokenizer.encode(piece, add_special_tokens=False).ids)
            yield Chunk(position, start, start + len(piece), piece, path, n_tokens)


def _without_blank(pieces: list[tuple[int, str]]) -> list[tuple[int, str]]:
    joined: list[tuple[int, str]] = []
    for start, piece in pieces:
        if joined and (not piece.strip() or not joined[-1][1].strip()):
            joined[-1] = (joined[-1][0], joined[-1][1] + piece)
        else:
            joined.append((start, piece))
    return joined


def _headings(text: str) -> Iterator[tuple[int, int, str]]:
    fenced = [match.span() for match in _FENCE.finditer(text)]
    for match in _HEADING.finditer(text):
        if not any(start <= match.start() < end for start, end in fenced):
            yield match.start(), len(match[1]), match[2]


def _path_at(headings: list[tuple[int, int, str]], start: int, end: int) -> str:
    """The headings above a chunk, outermost first; a heading that opens the chunk counts as above it."""
    stack: list[tuple[int, str]] = []
    for position, level, title in headings:
        if position >= end or (position > start and stack):
            break
        stack = [entry for entry in stack if entry[0] < level] + [(level, title)]
    return " > ".join(title for _, title in stack)
