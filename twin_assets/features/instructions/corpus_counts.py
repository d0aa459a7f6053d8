"""What of a document is counted over all of its author's: its paragraphs tell boilerplate, its words weigh phrases.

All documents count each time that one of them changes, so this is kept from one time to the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from twin_assets.documents import digest
from twin_assets.features.cleaning import CLEANING_VERSION
from twin_assets.features.instructions.answers import plain_text, without_code
from twin_assets.features.instructions.boilerplate import paragraphs
from twin_assets.features.instructions.prose.key_phrases import words_of
from twin_assets.features.memo import Memo

COUNTED_VERSION = "2"
"""Raised with whatever changes what a text's paragraphs and words are."""


@dataclass(frozen=True)
class Counted:
    """paragraphs: as boilerplate compares them; words: each once, in order, with those that code and marks hide."""

    paragraphs: Sequence[str] = ()
    words: Sequence[str] = ()


def counted(text: str, known: Memo) -> Counted:
    """What is counted of a text that is not code. known: what was, the last time."""
    key = digest(["counted", COUNTED_VERSION, CLEANING_VERSION, text], 32)
    entry = known.get(key)
    if entry is None:
        entry = {
            "paragraphs": [paragraph for _, paragraph in paragraphs(text)],
            # As one string, which is read much quicker than a list of them.
            "words": " ".join(words_of(f"{text}\n{plain_text(without_code(text))}")),
        }
        known.put(key, entry)
    return Counted(entry["paragraphs"], entry["words"].split())
