"""Whether a text stands in another: a teaser in its article, a paragraph that two pieces share, code that was copied.

Near-duplicates of whole documents are clusters (duplicates.py); this is about a piece inside a longer one.
"""

from collections.abc import Collection

MIN_PARAGRAPH = 40
"""Characters; shorter ones ("For example:", a lone brace) are in many texts and tell none."""
MOSTLY = 0.5
"""Share of a text's paragraphs, by their length, that makes it stand in another: "Read on" below a teaser is new."""


def paragraphs_of(text: str) -> frozenset[str]:
    """The paragraphs that tell a text, without case and white space; of a text without a long one, all of it."""
    paragraphs = map(_compared, text.split("\n\n"))
    long = frozenset(paragraph for paragraph in paragraphs if len(paragraph) >= MIN_PARAGRAPH)
    return long or frozenset([_compared(text)])


def stands_in(paragraphs: Collection[str], others: Collection[str]) -> bool:
    """Whether a text of these paragraphs stands, most of it, in what those others are of."""
    shared = sum(len(paragraph) for paragraph in paragraphs if paragraph in others)
    return shared > MOSTLY * sum(map(len, paragraphs))


def overlap(one: str, other: str) -> bool:
    """Whether one of two texts stands in the other; one that was cut, as a chunk is, may be a part of a paragraph."""
    here, there = _compared(one), _compared(other)
    if here in there or there in here:
        return True
    here_in, there_in = paragraphs_of(one), paragraphs_of(other)
    return stands_in(here_in, there_in) or stands_in(there_in, here_in)


def _compared(text: str) -> str:
    return " ".join(text.split()).casefold()
