"""The paragraphs and words of a document, which are counted over all documents of its author.

Paragraphs that many documents share are boilerplate, and the counts of words weigh key phrases. One changed document
changes the counts, so each document's paragraphs and words are cached from run to run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from twin_assets.documents import digest
from twin_assets.features.cleaning import CLEANING_VERSION
from twin_assets.features.instructions.answers import plain_text, without_code
from twin_assets.features.instructions.boilerplate import paragraphs
from twin_assets.features.instructions.prose.key_phrases import words_of
from twin_assets.features.memo import Memo

CORPUS_COUNTS_VERSION = "2"
"""To be raised with each change to what counts as the paragraphs and words of a text."""


@dataclass(frozen=True)
class ParagraphsAndWords:
    """What is counted of one document.

    paragraphs: normalized, as boilerplate compares them. words: each once, sorted, also from inside code and markup.
    """

    paragraphs: Sequence[str] = ()
    words: Sequence[str] = ()


def paragraphs_and_words(text: str, memo: Memo) -> ParagraphsAndWords:
    """The paragraphs and words of a text that is not code. memo: those of the last run."""
    key = digest(["counted", CORPUS_COUNTS_VERSION, CLEANING_VERSION, text], 32)
    entry = memo.get(key)
    if entry is None:
        entry = {
            "paragraphs": [paragraph for _, paragraph in paragraphs(text)],
            # One string is read much faster than a list.
            "words": " ".join(words_of(f"{text}\n{plain_text(without_code(text))}")),
        }
        memo.put(key, entry)
    return ParagraphsAndWords(entry["paragraphs"], entry["words"].split())
