"""Remove licence headers from code: no author wrote them, and a model learns them faster than anything else.

Only the comments above the first line of code are searched, and only lines that belong to a licence are removed. A
title, a usage note or a remark beside it stays, and so does a docstring, which is code.

See: https://spdx.dev/learn/handling-license-info/ and the headers that https://choosealicense.com/licenses/ asks for.
"""

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import accumulate, groupby

from twin_assets.content.code import COMMENTS

_PREAMBLE = re.compile(r"#!.*|#.*coding[:=].*|<\?php.*|<\?xml.*|['\"]use strict['\"];?|", re.IGNORECASE)
_DECORATION = re.compile(
    r"^\s*(?:rem\b|\(\*|\{-?|--\[\[|#\[+|<#)?[\s*#/;%!\"=|-]*|[\s*#/=|-]*(?:\*\)|-?\}|\]\]|\]#|#>)?\s*$", re.IGNORECASE
)
_LICENCE_PARAGRAPH = re.compile(
    r"permission is hereby granted|permission to use, copy, modify|permission is granted to anyone|"
    r"redistribution and use|redistributions (?:of|in) (?:source|binary)|licensed (?:to|under)|"
    r"unless required by applicable law|is free software[:;,] you can redistribute|is distributed in the hope that|"
    r"gnu (?:lesser |affero |library )?general public|the software is provided|this software is provided|"
    r"software is provided by the|without warrant|any express or implied|the above copyright notice|"
    r"neither the name of|subject to the terms of the mozilla|mozilla public licen[cs]e|"
    r"use of this source code is governed by|see the (?:accompanying )?licen[cs]e|"
    r"(?:found|included) in the licen[cs]e file|anyone is free to copy|dedicate any and all copyright|"
    r"for more information, please refer to <?https?://unlicense|boost software licen[cs]e|eclipse public licen[cs]e|"
    r"to the extent possible under law|this software must not be misrepresented|altered source versions|"
    r"creative commons|made available under the terms",
    re.IGNORECASE,
)
_LICENCE_LINE = re.compile(
    r"spdx-license-identifier\s*:.*|@?licen[cs]e\s*[:=].*|@licen[cs]e\b.*|"
    r"(?:[\w ]{0,40}\b)?(?:licensed|released|distributed|available) under (?:the )?(?:terms of )?(?:the )?"
    r"[\w .,-]{0,40}\b(?:licen[cs]e|mit|bsd|isc|apache|[al]?gpl|mpl|zlib|cc0)\b[\w .,()-]{0,20}|"
    r"(?:the )?(?:mit|bsd|isc|apache|gpl|lgpl|agpl|mpl|zlib)\b[\w .,-]{0,24} licen[cs]e[\w .,()]{0,20}|"
    r"(?:this (?:code|file|program|software|work) is )?(?:hereby )?(?:released |dedicated |placed )?(?:in |in?to )?"
    r"the public domain[.!]?|public domain[.!]?|.*free and unencumbered software released into the public domain[.!]?",
    re.IGNORECASE,
)
_COPYRIGHT_LINE = re.compile(
    r"(?:@?copyright\b|\(c\)\s*\d{4}|©|spdx-filecopyrighttext:).*|all rights reserved\.?", re.IGNORECASE
)
_BLANK = re.compile(r"\s*(?:\*|/{2,}|#+|;+|--|%+|!|\"|rem|::)?\s*", re.IGNORECASE)
_OPENS = re.compile(r"\s*(?:/\*+|\(\*|\{-|#\||<#|\{)\s*")
_CLOSES = re.compile(r"\s*(?:\*+/|\*\)|-\}|\|#|#>|\})\s*")


@dataclass(frozen=True)
class _Comment:
    """One comment, on the lines from `start` up to but without `stop`. block: the marks that open and close it."""

    start: int
    stop: int
    block: tuple[str, str] | None


def without_licence_header(code: str, language: str | None) -> str:
    """Remove the licence from the leading comments of code; code in an unknown language stays as it is."""
    if language not in COMMENTS:
        return code
    lines = code.split("\n")
    comments = list(_leading_comments(lines, *COMMENTS[language]))
    legal = {number for comment in comments for number in _legal_lines(lines, comment)}
    if not legal:
        return code
    legal |= {
        number
        for comment in comments
        for number in range(comment.start, comment.stop)
        if _COPYRIGHT_LINE.fullmatch(_words(lines[number]))
    }
    dropped: set[int] = set()
    for comment in comments:
        dropped |= _cut(lines, comment, legal)
    return "\n".join(_closed_up(lines, dropped))


def _leading_comments(
    lines: Sequence[str], prefixes: tuple[str, ...], block: tuple[str, str] | None
) -> Iterator[_Comment]:
    """The comments above the code; consecutive line comments are one comment."""
    number = 0
    while number < len(lines):
        line = lines[number].strip().lower()
        if block and line.startswith(block[0]):
            opened = number
            rest = line[len(block[0]) :]
            while block[1] not in rest and number + 1 < len(lines):
                number += 1
                rest = lines[number]
            if not rest.rstrip().endswith(block[1]):
                return  # code follows on the same line, or the comment never ends
            yield _Comment(opened, number + 1, block)
        elif _PREAMBLE.fullmatch(line):
            pass
        elif prefixes and line.startswith(prefixes) and not line.startswith('"""'):
            opened = number
            while number + 1 < len(lines) and lines[number + 1].strip().lower().startswith(prefixes):
                number += 1
            yield _Comment(opened, number + 1, None)
        else:
            return
        number += 1


def _legal_lines(lines: Sequence[str], comment: _Comment) -> Iterator[int]:
    """Lines that only name a licence, and the rest of each paragraph from the line in which a licence text begins."""
    numbers = range(comment.start, comment.stop)
    for has_words, paragraph in groupby(numbers, key=lambda number: bool(_words(lines[number]))):
        if not has_words:
            continue
        left = []
        for number in paragraph:
            if _LICENCE_LINE.fullmatch(_words(lines[number])):
                yield number
            else:
                left.append(number)
        yield from left[_licence_begins([_words(lines[number]) for number in left]) :]


def _licence_begins(paragraph: Sequence[str]) -> int:
    """The index of the line in which a licence text begins; the number of lines if there is none."""
    found = _LICENCE_PARAGRAPH.search(" ".join(paragraph))
    if not found:
        return len(paragraph)
    ends = list(accumulate(len(line) + 1 for line in paragraph))
    begin = next(index for index, end in enumerate(ends) if found.start() < end)
    while begin and paragraph[begin][0].islower():
        begin -= 1
    return begin


def _words(line: str) -> str:
    """A line of a comment without its comment marks."""
    return "" if _OPENS.fullmatch(line) or _CLOSES.fullmatch(line) else _DECORATION.sub("", line)


def _cut(lines: list[str], comment: _Comment, legal: set[int]) -> set[int]:
    """The lines of a comment to drop; a line that opens or closes it keeps only that mark."""
    numbers = range(comment.start, comment.stop)
    gone = legal.intersection(numbers)
    if not gone or not any(_words(lines[number]) for number in numbers if number not in gone):
        return set(numbers) if gone else gone
    if comment.block:
        opening, closing = comment.block
        first, last = comment.start, comment.stop - 1
        if first in gone:
            lines[first] = lines[first][: lines[first].lower().index(opening) + len(opening)]
        if last in gone:
            lines[last] = f" {closing}" if closing == "*/" else closing
        gone -= {first, last}
    return gone


def _closed_up(lines: Sequence[str], dropped: AbstractSet[int]) -> list[str]:
    """The lines that stay, without the empty lines around those that were dropped."""
    kept: list[str] = []
    follows_gap = False
    for number, line in enumerate(lines):
        above = kept[-1] if kept else None
        opens = above is not None and bool(_OPENS.fullmatch(above))
        is_blank = bool(_BLANK.fullmatch(line))
        at_gap = follows_gap or opens
        is_needless = at_gap and is_blank and (above is None or opens or bool(_BLANK.fullmatch(above)))
        follows_gap = number in dropped or is_needless
        if follows_gap:
            continue
        if at_gap:
            ends = is_blank or _CLOSES.fullmatch(line)
            while kept and _BLANK.fullmatch(kept[-1]) and (ends or kept[-1].strip()):
                kept.pop()
        kept.append(line)
    return kept
