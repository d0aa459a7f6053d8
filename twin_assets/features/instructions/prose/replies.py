"""Whether what stands below a quotation is a reply to it.

Output, examples, prompts and an author's own notes are set off as quotations too; and what follows a quotation may be
the next thing that the author has to say.
"""

import re

from twin_assets.features.instructions.answers import plain_text
from twin_assets.features.instructions.prose.key_phrases import UNSPACED, KeyPhrases, words_of

MAX_QUOTE = 800
MIN_QUOTED, MIN_QUOTED_WORDS = 20, 8
"""A shorter quotation is a word or a phrase that the text goes on about, and nothing to reply to."""

_SHOWN = re.compile(
    r"\b(prompt\w*|asked|thoughts?|process|responses?|started|told it|ran|runs?|output|outputs|prints?|printed|"
    r"returned|returns|gave me|gives|produces?|produced|errors?|examples?|sentence|generated|looks like|like so|log|"
    r"warning|replaced?|command)\b",
    re.IGNORECASE,
)
"""Words of a line above what is set off as a quotation and is output, an example or a prompt."""
_SAID = re.compile(
    r"\b(says?|said|writes?|wrote|explains?|explained|according|documentation|docs|quot\w+|tweet\w*|asks?|"
    r"pointed|points out|argues?|suggest\w*|comment\w*|replied|answer\w*)\b",
    re.IGNORECASE,
)
_NOTE = re.compile(r"[\s>*_:]*(update|edit|note|warning|tl;?dr)\b", re.IGNORECASE)
_SET_OFF = re.compile(r"[\s>]*(`|#|\d+[.)]\s)")
"""Code, a page with its headings, steps to follow."""
_REFERS = re.compile(
    r"(this|that|these|those|yes|no|i (dis)?agree|exactly|indeed|true|not quite|well)\b", re.IGNORECASE
)
_ATTRIBUTION = re.compile(r"[—―–]\s?[A-Z][^\n]{1,60}$")
"""Below an epigraph, which opens a chapter and is not what the author answers."""


def is_said(quote: str, above: str) -> bool:
    """Whether a block quote is what somebody says, at some length. above: the paragraph that leads up to it."""
    said = plain_text(quote.replace(">", " "))
    is_long = len(said) >= MIN_QUOTED and (len(said.split()) >= MIN_QUOTED_WORDS or UNSPACED.search(said))
    no_speech = _SET_OFF.match(quote) or _NOTE.match(quote) or _ATTRIBUTION.search(quote)
    is_shown = _SHOWN.search(above) and not _SAID.search(above)
    return bool(is_long and len(quote) <= MAX_QUOTE and not no_speech and not is_shown)


def answers_it(reply: str, quote: str, phrases: KeyPhrases, language: str | None) -> bool:
    """Whether a text speaks of the quotation above it: points at it, or says one of its key words again."""
    if reply.startswith(("#", "![", "<")):
        return False
    opening = reply.partition("\n\n")[0]
    # Where no space parts words, which are shared cannot be told.
    if _REFERS.match(opening) or UNSPACED.search(opening):
        return True
    shared = {*words_of(plain_text(quote.replace(">", " ")))}.intersection(words_of(opening))
    return phrases.any_key_word(shared, language)
