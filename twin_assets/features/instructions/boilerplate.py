"""Paragraphs that an author puts under, or over, many of their pieces: a sign-off, "subscribe", "part of a series".

Found by counting, since no list knows everybody's. A paragraph that is repeated in the middle of pieces ("For
example:") is the author's way of writing and stays; so do lines that lead up to something, lines of hashtags, and code.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from twin_assets.features.cleaning.blocks import code_lines

MIN_DOCUMENTS = 3
"""A paragraph at the edge of this many documents is boilerplate."""
EDGE = 3
"""Paragraphs from either end of a document that count as its edge."""

_NUMBER = re.compile(r"\d+")
_HASHTAGS_OR_HEADING = re.compile(r"(#[^\s#]+\s*)+|#{1,6}\s.*")


def boilerplate(texts: Iterable[Sequence[str]]) -> frozenset[str]:
    """What stands at the edge of MIN_DOCUMENTS of these texts or more; each text is its paragraphs as they are counted.

    A text of one paragraph has no edge: three posts that say the same are posts.
    """
    counts: Counter[str] = Counter()
    for found in texts:
        if len(found) > 1:
            counts.update({paragraph for paragraph in (*found[:EDGE], *found[-EDGE:]) if paragraph})
    return frozenset(paragraph for paragraph, count in counts.items() if count >= MIN_DOCUMENTS)


def paragraphs(text: str) -> list[tuple[range, str]]:
    """The lines of each paragraph of a text that is not code, and the paragraph as it is counted."""
    lines = text.split("\n")
    code = code_lines(text)
    found: list[tuple[range, str]] = []
    start = 0
    for number in range(len(lines) + 1):
        if number == len(lines) or number in code or not lines[number].strip():
            if number > start:
                found.append((range(start, number), _counted(lines[start:number])))
            start = number + 1
    return found


def _counted(lines: Sequence[str]) -> str:
    """A paragraph without case, white space and numbers; "" for hashtags, headings and `Output:`."""
    paragraph = " ".join(" ".join(lines).split())
    if _HASHTAGS_OR_HEADING.fullmatch(paragraph) or paragraph.endswith((":", "：")):
        return ""
    return _NUMBER.sub("0", paragraph).casefold()
