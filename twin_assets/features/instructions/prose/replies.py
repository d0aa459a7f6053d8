"""Tell whether the text below a quote is a reply to it.

Authors also set off output, examples, prompts and their own notes as quotes, and the text below a quote may be about
something else.
"""

import re

from twin_assets.features.instructions.answers import plain_text
from twin_assets.features.instructions.prose.key_phrases import UNSPACED, KeyPhrases, words_of

MAX_QUOTE = 800
MIN_QUOTED, MIN_QUOTED_WORDS = 20, 8
"""A quote with fewer characters or words is a mere phrase, and nothing to reply to."""

_SHOWN = re.compile(
    r"\b(prompt\w*|asked|thoughts?|process|responses?|started|told it|ran|runs?|output|outputs|prints?|printed|"
    r"returned|returns|gave me|gives|produces?|produced|errors?|examples?|sentence|generated|looks like|like so|log|"
    r"warning|replaced?|command)\b",
    re.IGNORECASE,
)
"""Words of a line that leads up to output, an example or a prompt set off as a quote."""
_SAID = re.compile(
    r"\b(says?|said|writes?|wrote|explains?|explained|according|documentation|docs|quot\w+|tweet\w*|asks?|"
    r"pointed|points out|argues?|suggest\w*|comment\w*|replied|answer\w*)\b",
    re.IGNORECASE,
)
_NOTE = re.compile(r"[\s>*_:]*(update|edit|note|warning|tl;?dr)\b", re.IGNORECASE)
_SET_OFF = re.compile(r"[\s>]*(`|#|\d+[.)]\s)")
"""The beginning of a quote that is code, a page with headings, or a list of steps."""
_REFERS = re.compile(
    r"(this|that|these|those|yes|no|i (dis)?agree|exactly|indeed|true|not quite|well)\b", re.IGNORECASE
)
_ATTRIBUTION = re.compile(r"[—―–]\s?[A-Z][^\n]{1,60}$")
"""The last line of an epigraph, which is not something that the author replies to."""


def is_statement(quote: str, above: str) -> bool:
    """True if a block quote is a statement of some length by somebody. above: the paragraph that leads up to it."""
    text = plain_text(quote.replace(">", " "))
    is_long = len(text) >= MIN_QUOTED and (len(text.split()) >= MIN_QUOTED_WORDS or UNSPACED.search(text))
    no_speech = _SET_OFF.match(quote) or _NOTE.match(quote) or _ATTRIBUTION.search(quote)
    is_shown = _SHOWN.search(above) and not _SAID.search(above)
    return bool(is_long and len(quote) <= MAX_QUOTE and not no_speech and not is_shown)


def is_reply(reply: str, quote: str, phrases: KeyPhrases, language: str | None) -> bool:
    """True if a text is about the quote above it: it refers to the quote, or repeats one of its key words."""
    if reply.startswith(("#", "![", "<")):
        return False
    opening = reply.partition("\n\n")[0]
    # Without spaces between words, shared words cannot be found.
    if _REFERS.match(opening) or UNSPACED.search(opening):
        return True
    shared = {*words_of(plain_text(quote.replace(">", " ")))}.intersection(words_of(opening))
    return phrases.any_key_word(shared, language)
