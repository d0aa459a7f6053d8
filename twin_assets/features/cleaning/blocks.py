"""Tell code from prose in a markdown text, by the blocks that a CommonMark parser finds.

See: https://spec.commonmark.org/0.31.2/#blocks-and-inlines
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

SPAN = re.compile(r"(`[^`\n]+`)")
"""A span of code. The pattern is a group, so that a split by it leaves the spans in the odd parts."""
_MAY_HOLD_CODE = re.compile(r"```|~~~|\t| {4}")


def blocks(text: str) -> "list[Token]":
    """The tokens of the text's blocks, in order; `lines_of` gives the lines of each."""
    return _parser().parse(text)


def lines_of(token: "Token") -> range:
    """The numbers of a block's lines; an empty range for a token that closes a block."""
    return range(*token.map) if token.map else range(0)


@lru_cache(maxsize=64)
def code_blocks(text: str) -> tuple[range, ...]:
    """The lines of each block of code: indented, or fenced, with the fences.

    Callers ask many times for the same text, hence the cache. A text without a fence or an indent is not parsed.
    """
    if not _MAY_HOLD_CODE.search(text):
        return ()
    return tuple(lines_of(token) for token in blocks(text) if token.type in ("fence", "code_block"))


@lru_cache(maxsize=64)
def code_lines(text: str) -> frozenset[int]:
    """The numbers of the lines that are code."""
    return frozenset(line for block in code_blocks(text) for line in block)


def change_prose(text: str, change: Callable[[str], str]) -> str:
    """Apply a function to each stretch of prose, and leave the code as it is."""
    return "\n".join(part if is_code else change(part) for is_code, part in _stretches(text))


def prose(text: str) -> str:
    """The text without its code."""
    return "\n".join(part for is_code, part in _stretches(text) if not is_code)


def _stretches(text: str) -> Iterator[tuple[bool, str]]:
    """Split the text into stretches of lines that are code and lines that are not, as (is_code, text)."""
    code = code_lines(text)
    for is_code, numbered in groupby(enumerate(text.split("\n")), key=lambda pair: pair[0] in code):
        yield is_code, "\n".join(line for _, line in numbered)


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    # Only blocks are needed, so the text inside paragraphs is not parsed.
    return MarkdownIt("commonmark").disable(["inline", "text_join"])
