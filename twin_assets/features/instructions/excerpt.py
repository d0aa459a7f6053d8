"""How far a text has got: what is shown of it where the task is to continue."""

import re
from collections.abc import Sequence

from twin_assets.documents import Category

CONTINUE_BYTES = 400
"""How much of the text before is shown when the task is to continue."""

_PROSE_BEGINS = (
    re.compile(r"\n\s*\n"),
    re.compile(r"(?<=[.!?…])[\"”’)*_]*\s+(?=[^\sa-z])|[。！？]"),
    re.compile(r"\s"),
)
_CODE_BEGINS = (
    re.compile(r"\n\s*\n(?=[^\s})\]])"), re.compile(r"\n(?=[^\s})\]/*;-])"), re.compile(r"\n"), re.compile(r"\s")
)  # fmt: skip
"""Where a part begins, the best first: a paragraph, a sentence, a word; a definition, a line."""


def excerpt(text: str, code: Sequence[range], category: Category) -> str:
    """The last CONTINUE_BYTES of a text, or so: from where a part of it begins, never inside a block of code.

    Of prose from a paragraph, up to twice as long, else from a sentence; of code from a line that is not indented, else
    from any. code: the blocks of code of the whole text.
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
    """The end of a text without the rest of a block that it begins in; where little else is left, with the block."""
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
    """Where the code block begins and ends that a character stands in."""
    lines = text.split("\n")
    row = text.count("\n", 0, at)
    block = next((block for block in code if row in block and row > block.start), None)
    if block is None:
        return None
    begin = sum(len(line) + 1 for line in lines[: block.start])
    return begin, begin + sum(len(line) + 1 for line in lines[block.start : block.stop])
