"""Tell whether a text occurs in another: a teaser in its article, a paragraph that two pieces share, or copied code.

Near-duplicates of whole documents are clusters (duplicates.py); this is about a piece inside a longer one.
"""

from collections.abc import Collection

MIN_PARAGRAPH = 40
"""A paragraph of fewer characters, such as "For example:" or a lone brace, occurs in many texts and is not compared."""
MOSTLY = 0.5
"""A text occurs in another if more than this share of its paragraphs does, by length; a teaser also has a "Read on"."""


def paragraphs_of(text: str) -> frozenset[str]:
    """The longer paragraphs of a text, normalized; if it has none, the whole text as one."""
    paragraphs = map(_normalized, text.split("\n\n"))
    long = frozenset(paragraph for paragraph in paragraphs if len(paragraph) >= MIN_PARAGRAPH)
    return long or frozenset([_normalized(text)])


def is_mostly_in(paragraphs: Collection[str], others: Collection[str]) -> bool:
    """True if most of a text's paragraphs also occur in the other documents."""
    shared = sum(len(paragraph) for paragraph in paragraphs if paragraph in others)
    return shared > MOSTLY * sum(map(len, paragraphs))


def overlaps(one: str, other: str) -> bool:
    """True if one of two texts occurs in the other, whole paragraphs or, as with a chunk, a part of one."""
    here, there = _normalized(one), _normalized(other)
    if here in there or there in here:
        return True
    one_in, other_in = paragraphs_of(one), paragraphs_of(other)
    return is_mostly_in(one_in, other_in) or is_mostly_in(other_in, one_in)


def _normalized(text: str) -> str:
    return " ".join(text.split()).casefold()
