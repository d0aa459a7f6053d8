"""One raw document to one row of `cleaned_documents`.

Articles become markdown, posts keep line breaks, emoji, hashtags and mentions because those are the voice, code is kept
exact. Line breaks, emoji and quotes survive: a model learns what it sees.
"""

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from twin_assets.documents import Category, RawDocument
from twin_assets.language.detection import detect_language

CLEANING_VERSION = "1"

_TRACKING = re.compile(r"^(utm_.*|fbclid|gclid|mc_[ce]id|trk|trackingId|igshid|ref_src)$")
_URL = re.compile(r"https?://[^\s<>()\[\]\"']+")
_TRAILING = re.compile(r"[ \t]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")


def cleaned_row(document: RawDocument, *, trainable: bool, quotable: bool) -> dict[str, Any] | None:
    """The row without its cluster and lineage; None when nothing is left of the text."""
    text = clean(document)
    if not text.strip():
        return None
    language = None if document.category is Category.CODE else document.language or detect_language(text)
    return {
        "document_id": document.id,
        "platform": document.platform,
        "category": str(document.category),
        "title": document.title,
        "url": document.url,
        "language": language,
        "published_at": document.published_at,
        "trainable": trainable,
        "quotable": quotable,
        "source_id": document.source_id,
        "visibility": document.visibility,
        "text": text,
        "n_words": len(text.split()),
    }


def clean(document: RawDocument) -> str:
    """The document's text, cleaned by its category."""
    text = _markdown(document.content) if document.content_type == "text/html" else document.content
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    if document.category is Category.CODE:
        return text.rstrip("\n") + "\n" if text.strip() else ""
    text = _URL.sub(lambda match: without_tracking(match[0]), _repaired(text))
    return _BLANK_LINES.sub("\n\n", _TRAILING.sub("", text)).strip() + "\n"


def without_tracking(url: str) -> str:
    """The URL without parameters that only say who clicked; any other URL comes back as it was."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    query = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in query if not _TRACKING.match(name)]
    return url if kept == query else urlunsplit(parts._replace(query=urlencode(kept)))


def _markdown(html: str) -> str:
    from twin_assets.content.extraction import html_to_markdown

    return html_to_markdown(html)


def _repaired(text: str) -> str:
    import ftfy

    # Curly quotes and dashes are the author's typography; HTML entities in prose may be meant as they stand.
    return str(ftfy.fix_text(text, uncurl_quotes=False, unescape_html=False, fix_latin_ligatures=False))
