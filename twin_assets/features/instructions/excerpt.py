"""Cut the excerpt that an example shows when its task is to continue a text."""

import re
from collections.abc import Sequence

from twin_assets.documents import Category

CONTINUE_BYTES = 400
"""About this much of the text before the answer is shown, in bytes."""

_PROSE_BEGINS = (
    re.compile(r"\n\s*\n"),
    re.compile(r"(?<=[.!?…])[\"”’)*_]*\s+(?=[^\sa-z])|[。！？]"),
    re.compile(r"\s"),
)
_CODE_BEGINS = (
    re.compile(r"\n\s*\n(?=[^\s})\]])"), re.compile(r"\n(?=[^\s})\]/*;-])"), re.compile(r"\n"), re.compile(r"\s")
)  # fmt: skip
"""Where an excerpt may begin, the best first: a paragraph, a sentence, a word; in code a definition, a line, a word."""


def excerpt(text: str, code: Sequence[range], category: Category) -> str:
    """About the last CONTINUE_BYTES of a text, never from inside a block of code.

    An excerpt of prose begins with a paragraph, and may then be twice as long, or else with a sentence; an excerpt of
    code begins with a line without indent, or else with any line. code: the blocks of code of the whole text.
    """
    if len(text.encode()) <= CONTINUE_BYTES:
        return text
    is_code = category is Category.CODE
    for pattern in _CODE_BEGINS if is_code else _PROSE_BEGINS:
        longest = CONTINUE_BYTES if is_code else 2 * CONTINUE_BYTES
        starts = [found.end() for found in pattern.finditer(text, max(0, len(text) - longest))]
        tails = [(len(tail.encode()), tail) for start in starts if (tail := text[start:].lstrip("\n"))]
        fit = [pair for pair in tails if CONTINUE_BYTES / 3 <= pair[0] <= CONTINUE_BYTES]
        longer = [pair for pair in tails if CONTINUE_BYTES < pair[0] <= longest]
        if found := (max(fit) if fit else min(longer, default=None)):
            return _whole_code(text, found[1], code)
    return text.encode()[-CONTINUE_BYTES:].decode(errors="ignore")


def _whole_code(text: str, tail: str, code: Sequence[range]) -> str:
    """Drop the rest of a code block that the tail begins in; if little else is left, complete the block instead."""
    start = len(text) - len(tail)
    block = _block_around(text, start, code)
    if block is None:
        return tail
    begin, end = block
    rest = text[end:].lstrip("\n")
    if len(rest.encode()) >= CONTINUE_BYTES / 3:
        return rest
    whole = text[begin:]
    if len(whole.encode()) <= 2 * CONTINUE_BYTES:
        return whole
    fence, _, _ = whole.partition("\n")
    rows = tail if text[start - 1] == "\n" else tail.partition("\n")[2]
    return f"{fence}\n{rows}" if fence.lstrip().startswith(("```", "~~~")) else rows


def _block_around(text: str, at: int, code: Sequence[range]) -> tuple[int, int] | None:
    """The start and end of the code block around a character; None if it is not in one."""
    lines = text.split("\n")
    row = text.count("\n", 0, at)
    block = next((block for block in code if row in block and row > block.start), None)
    if block is None:
        return None
    begin = sum(len(line) + 1 for line in lines[: block.start])
    return begin, begin + sum(len(line) + 1 for line in lines[block.start : block.stop])
