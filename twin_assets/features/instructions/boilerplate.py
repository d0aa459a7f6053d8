"""Find the paragraphs that an author puts above or below many pieces: a sign-off, "subscribe", "part of a series".

They are found by counting, since no list could name them all. A paragraph that recurs in the middle of pieces ("For
example:") belongs to the author's style and stays; so do lead-ins, lines of hashtags, and code.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from twin_assets.features.cleaning.blocks import code_lines

MIN_DOCUMENTS = 3
"""A paragraph at the edge of this many documents is boilerplate."""
EDGE = 3
"""This many paragraphs at either end of a document are its edge."""

_NUMBER = re.compile(r"\d+")
_HASHTAGS_OR_HEADING = re.compile(r"(#[^\s#]+\s*)+|#{1,6}\s.*")


def boilerplate(texts: Iterable[Sequence[str]]) -> frozenset[str]:
    """The paragraphs at the edge of at least MIN_DOCUMENTS of these texts. texts: the normalized paragraphs of each.

    A text of one paragraph has no edge: three posts that say the same are still posts.
    """
    counts: Counter[str] = Counter()
    for found in texts:
        if len(found) > 1:
            counts.update({paragraph for paragraph in (*found[:EDGE], *found[-EDGE:]) if paragraph})
    return frozenset(paragraph for paragraph, count in counts.items() if count >= MIN_DOCUMENTS)


def paragraphs(text: str) -> list[tuple[range, str]]:
    """The lines of each paragraph of a text that is not code, and the paragraph in the form that is counted."""
    lines = text.split("\n")
    code = code_lines(text)
    found: list[tuple[range, str]] = []
    start = 0
    for number in range(len(lines) + 1):
        if number == len(lines) or number in code or not lines[number].strip():
            if number > start:
                found.append((range(start, number), _normalized(lines[start:number])))
            start = number + 1
    return found


def _normalized(lines: Sequence[str]) -> str:
    """A paragraph without case, extra white space and numbers; "" for hashtags, headings and lead-ins (`Output:`)."""
    paragraph = " ".join(" ".join(lines).split())
    if _HASHTAGS_OR_HEADING.fullmatch(paragraph) or paragraph.endswith((":", "：")):
        return ""
    return _NUMBER.sub("0", paragraph).casefold()
