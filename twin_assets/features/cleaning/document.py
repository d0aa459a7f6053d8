"""One raw document to one row of `cleaned_documents`.

Articles become markdown in which quotes are block quotes, posts keep line breaks, emoji, hashtags and mentions because
those are the voice, code is kept exact but for its licence header. Line breaks, emoji, quotes and fullwidth punctuation
survive: a model learns what it sees. Secrets and addresses are masked here, so that nothing after this has them.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from twin_assets.content.code import code_language
from twin_assets.content.repositories import MAX_WRITTEN_BYTES, TreeFile, read_written, reason_to_skip
from twin_assets.documents import Category, RawDocument
from twin_assets.features.cleaning.blocks import SPAN, change_prose, prose
from twin_assets.features.cleaning.highlights import fenced_highlights, preformatted_highlights
from twin_assets.features.cleaning.licences import without_licence_header
from twin_assets.features.redaction import Kind, Redacted, redact, redact_url
from twin_assets.language.detection import detect_language, language_code

CLEANING_VERSION = "5"

NO_TEXT = "no text after cleaning"

_TRACKING = re.compile(
    r"utm_.*|fbclid|gclid|dclid|gbraid|wbraid|msclkid|yclid|twclid|li_fat_id|mc_[ce]id|mkt_tok|_hs(enc|mi)|trk|trackingId|"
    r"igshid?|ref_src|ref_url|s_cid|vero_id|oly_(anon|enc)_id|wickedid|rdid|__s"
)
_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&*+,;=%-]+")
"""The characters of RFC 3986, so that text which goes on without a space does not go with a parameter; brackets and
quotation marks are more often around an address than in it. See: https://www.rfc-editor.org/rfc/rfc3986#section-2"""
_AFTER_URL = ".,;:!?*_~"
"""At its end they are the sentence's, or markdown's."""
_GOES_ON = re.compile(r"\{|<[a-z][\w -]*>(?!.*</)|\[[\w -]+\]")
"""What stands in a template for a value: `?utm_source={source}`, `=<source>`; a tag or a footnote does not."""
_REDIRECTORS = {
    ("www.google.com", "/url"): ("url", "q"), ("l.facebook.com", "/l.php"): ("u",),
    ("lm.facebook.com", "/l.php"): ("u",),
    ("www.linkedin.com", "/redir/redirect"): ("url",), ("www.linkedin.com", "/safety/go"): ("url",),
    ("www.youtube.com", "/redirect"): ("q",), ("slack-redir.net", "/link"): ("url",), ("l.instagram.com", "/"): ("u",),
    ("out.reddit.com", "/"): ("url",),
}  # fmt: skip
"""Addresses that only count a click and carry where they lead; a short link, which does not, stays as it is."""
_SPAN_OR_COMMENT = re.compile(
    rf"{SPAN.pattern}|^[ \t]*<!--(?:(?!-->).)*-->[ \t]*\n|<!--.*?-->", re.DOTALL | re.MULTILINE
)
"""Nobody sees a comment: `<!--more-->`, what a generator leaves. In a span of code it is shown."""
_ATTRIBUTES = re.compile(r"\{: ?(?:[.#][A-Za-z_-]|[\w-]+=)[^}\n]*\}")
"""Kramdown's `{: .class}`. See: https://kramdown.gettalong.org/syntax.html#attribute-list-definitions"""
_INVISIBLE = re.compile("[\ufeff\u2060]|(?<=[ -~])\u200b|\u200b(?=[ -~])")
"""The zero-width space parts words in Khmer and Thai, and does nothing beside ASCII."""
_EMPTY_LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\(\)")
_TRAILING = re.compile(r"(?<![ \t])[ \t]+$", re.MULTILINE)
_TRAILING_BUT_BREAKS = re.compile(
    r"^(?P<broken>(?![ \t]*(?:#{1,6}[ \t]|\|)).*\S  ) *"
    r"(?=\n[ \t]*(?![-*+][ \t]|\d{1,9}[.)][ \t]|#{1,6}[ \t]|\||(?:-+|=+)[ \t]*$)\S)|" + _TRAILING.pattern,
    re.MULTILINE,
)
"""Two spaces at the end of a line that its paragraph goes on after break it; no heading, table or item goes on so.
See: https://spec.commonmark.org/0.31.2/#hard-line-breaks"""
_BLANK_LINES = re.compile(r"\n{3,}")
_BLANK_BEGINNING = re.compile(r"\A(?:[^\S\n]*\n)+")


@dataclass(frozen=True)
class Cleaned:
    """A row without its cluster and lineage, or why there is none; and how much was masked, by kind."""

    row: dict[str, Any] | None
    left_out: str | None
    masked: Mapping[Kind, int]


def cleaned_row(document: RawDocument, *, trainable: bool, quotable: bool) -> Cleaned:
    """The document cleaned, masked and told its language."""
    text = clean(document)
    reason = _foreign(document, text) if text.strip() else NO_TEXT
    if reason:
        return Cleaned(None, reason, {})
    language = None if document.category is Category.CODE else language_code(document.language) or _language(text)
    body = redact(text, document.category, language)
    title = redact(_title(document), Category.ARTICLE, language)
    url = redact_url(without_tracking(document.url)) if document.url else Redacted("", {})
    row = {
        "document_id": document.id,
        "platform": document.platform,
        "category": str(document.category),
        "title": title.text or None,
        "url": url.text or None,
        "language": language,
        "published_at": document.published_at,
        "trainable": trainable,
        "quotable": quotable,
        "source_id": document.source_id,
        "visibility": document.visibility,
        "text": body.text,
        "n_words": len(body.text.split()),
    }
    masked = sum((Counter(part.counts) for part in (body, title, url)), Counter[Kind]())
    return Cleaned(row, None, masked)


def clean(document: RawDocument) -> str:
    """The document's text, cleaned by its category; nothing is masked yet."""
    text = document.content.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    if document.category is Category.CODE:
        text = without_licence_header(text, _code_language(document))
        return text.rstrip("\n") + "\n" if text.strip() else ""
    is_html = document.content_type == "text/html"
    text = _markdown(preformatted_highlights(text)) if is_html else fenced_highlights(text)
    text = change_prose(text, partial(_tidied, category=document.category))
    # The first line keeps its indent: that of code, of a list, or of a poem.
    return _BLANK_BEGINNING.sub("", text).rstrip() + "\n"


def without_tracking(url: str) -> str:
    """The URL that a click leads to, without parameters that only say who clicked; any other URL as it was."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    for name in _REDIRECTORS.get((parts.netloc.lower(), parts.path), ()):
        target = dict(parse_qsl(parts.query)).get(name, "")
        if target.startswith(("https://", "http://")):
            return without_tracking(target)
    query = parts.query.replace("&amp;", "&").split("&")
    kept = [part for part in query if not _TRACKING.fullmatch(part.partition("=")[0])]
    return url if kept == query else urlunsplit(parts._replace(query="&".join(kept)))


def _title(document: RawDocument) -> str:
    """The title in one line, its encoding repaired; it is plain text, and code's is a path."""
    title = document.title or ""
    if document.category is Category.CODE:
        return title
    return " ".join(_outside_spans(_INVISIBLE.sub("", title), _repaired).split())


def _tidied(text: str, category: Category) -> str:
    """Prose with its encoding repaired, clean links, and no white space that nobody sees."""
    text = _SPAN_OR_COMMENT.sub(lambda found: found[1] or "", _INVISIBLE.sub("", text))
    text = _outside_spans(text, lambda part: _URL.sub(_clean_link, _visible(_repaired(part))))
    # The lines of a post are broken as they stand.
    text = _TRAILING.sub("", text) if category is Category.POST else _TRAILING_BUT_BREAKS.sub(r"\g<broken>", text)
    return _BLANK_LINES.sub("\n\n", text)


def _outside_spans(text: str, change: Callable[[str], str]) -> str:
    """The text with all but its spans of code changed: an author may show there what a broken text looks like."""
    return "".join(part if number % 2 else change(part) for number, part in enumerate(SPAN.split(text)))


def _visible(text: str) -> str:
    return _EMPTY_LINK.sub(r"\1", _ATTRIBUTES.sub("", text))


def _clean_link(match: re.Match[str]) -> str:
    if _GOES_ON.match(match.string, match.end()):
        return match[0]
    url = match[0].rstrip(_AFTER_URL)
    return without_tracking(url) + match[0][len(url) :]


def _language(text: str) -> str | None:
    """The language of the prose: code and addresses are in none."""
    return detect_language(_URL.sub("", prose(text)))


def _foreign(document: RawDocument, text: str) -> str | None:
    """Why code is not the author's hand: vendored, generated or minified, by its path or its text."""
    if document.category is not Category.CODE:
        return None
    path = str(document.metadata.get("path") or document.title or "")
    if not code_language(path, text):
        path = "unnamed.c"  # without a name that says more, its text alone decides
    reason = reason_to_skip(TreeFile(path, sha=""), MAX_WRITTEN_BYTES)
    written = reason or read_written(path, text.encode("utf-8", "surrogatepass"))
    return f"code that {written}" if isinstance(written, str) else None


def _code_language(document: RawDocument) -> str | None:
    told = document.metadata.get("language")
    return str(told) if told else code_language(document.title or document.external_id, document.content)


def _markdown(html: str) -> str:
    from twin_assets.content.extraction import html_to_markdown

    return html_to_markdown(html)


def _repaired(text: str) -> str:
    import ftfy

    # Curly quotes, dashes and wide forms are the author's typography; entities in prose may be meant as they stand.
    return str(
        ftfy.fix_text(
            text, uncurl_quotes=False, unescape_html=False, fix_latin_ligatures=False, fix_character_width=False
        )
    )
