"""The blocks of a markdown text, by CommonMark's parser: what is code in it, and what is prose.

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
"""A span of code; grouped, so that splitting by it leaves the spans in the odd parts."""
_MAY_HOLD_CODE = re.compile(r"```|~~~|\t| {4}")


def blocks(text: str) -> "list[Token]":
    """The text's block tokens, in order; `lines_of` gives the lines of each."""
    return _parser().parse(text)


def lines_of(token: "Token") -> range:
    """The numbers of a block's lines; none for a token that closes one."""
    return range(*token.map) if token.map else range(0)


@lru_cache(maxsize=64)
def code_blocks(text: str) -> tuple[range, ...]:
    """The lines of each block of code: fenced, with the fences, or indented.

    Asked again and again for the text at hand. One without a fence or an indent has no code, and is not parsed.
    """
    if not _MAY_HOLD_CODE.search(text):
        return ()
    return tuple(lines_of(token) for token in blocks(text) if token.type in ("fence", "code_block"))


@lru_cache(maxsize=64)
def code_lines(text: str) -> frozenset[int]:
    """The numbers of the lines that are code."""
    return frozenset(line for block in code_blocks(text) for line in block)


def change_prose(text: str, change: Callable[[str], str]) -> str:
    """The text with each stretch of prose changed, and its code as it stands."""
    return "\n".join(part if is_code else change(part) for is_code, part in _stretches(text))


def prose(text: str) -> str:
    """The text without its code."""
    return "\n".join(part for is_code, part in _stretches(text) if not is_code)


def _stretches(text: str) -> Iterator[tuple[bool, str]]:
    """The text in stretches of lines that are code, or are not."""
    code = code_lines(text)
    for is_code, numbered in groupby(enumerate(text.split("\n")), key=lambda pair: pair[0] in code):
        yield is_code, "\n".join(line for _, line in numbered)


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    # Blocks are all that is asked for; what stands inside a paragraph need not be parsed.
    return MarkdownIt("commonmark").disable(["inline", "text_join"])
