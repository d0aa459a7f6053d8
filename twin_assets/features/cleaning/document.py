"""Turn one raw document into one row of `cleaned_documents`.

Articles become markdown in which quotes are block quotes. Posts keep line breaks, emoji, hashtags and mentions, because
these belong to the author's voice. Code stays as it is, except that its licence header goes. Typography such as curly
quotes and fullwidth punctuation is kept, because a model learns what it sees. Secrets and addresses are masked here, so
that no later step has them.
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
from twin_assets.features.cleaning.notes import without_note_syntax
from twin_assets.features.redaction import Kind, Redacted, redact, redact_url
from twin_assets.language.detection import detect_language, language_code

CLEANING_VERSION = "6"

NO_TEXT = "no text after cleaning"

_TRACKING = re.compile(
    r"utm_.*|fbclid|gclid|dclid|gbraid|wbraid|msclkid|yclid|twclid|li_fat_id|mc_[ce]id|mkt_tok|_hs(enc|mi)|trk|trackingId|"
    r"igshid?|ref_src|ref_url|s_cid|vero_id|oly_(anon|enc)_id|wickedid|rdid|__s"
)
_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&*+,;=%-]+")
"""A URL ends at the first character outside RFC 3986, so that text which follows without a space is not removed with a
parameter. Brackets and quotation marks end it too, because they are more often around an address than in it.
See: https://www.rfc-editor.org/rfc/rfc3986#section-2"""
_AFTER_URL = ".,;:!?*_~"
"""At the end of a URL, these characters belong to the sentence or to markdown."""
_PLACEHOLDER = re.compile(r"\{|<[a-z][\w -]*>(?!.*</)|\[[\w -]+\]")
"""A placeholder for a value, as in `?utm_source={source}` or `=<source>`; but not a tag or a footnote."""
_REDIRECTORS = {
    ("www.google.com", "/url"): ("url", "q"), ("l.facebook.com", "/l.php"): ("u",),
    ("lm.facebook.com", "/l.php"): ("u",),
    ("www.linkedin.com", "/redir/redirect"): ("url",), ("www.linkedin.com", "/safety/go"): ("url",),
    ("www.youtube.com", "/redirect"): ("q",), ("slack-redir.net", "/link"): ("url",), ("l.instagram.com", "/"): ("u",),
    ("out.reddit.com", "/"): ("url",),
}  # fmt: skip
"""Addresses that only count a click and name their target in a parameter. A short link names no target and is kept."""
_SPAN_OR_COMMENT = re.compile(
    rf"{SPAN.pattern}|^[ \t]*<!--(?:(?!-->).)*-->[ \t]*\n|<!--.*?-->", re.DOTALL | re.MULTILINE
)
"""An HTML comment such as `<!--more-->`, which no reader sees, or a span of code, in which one is shown."""
_ATTRIBUTES = re.compile(r"\{: ?(?:[.#][A-Za-z_-]|[\w-]+=)[^}\n]*\}")
"""Kramdown's attribute lists, as in `{: .class}`. See: https://kramdown.gettalong.org/syntax.html#attribute-list-definitions"""
_INVISIBLE = re.compile("[\ufeff\u2060]|(?<=[ -~])\u200b|\u200b(?=[ -~])")
"""Invisible characters. A zero-width space is one only beside ASCII; in Khmer and Thai it separates words."""
_EMPTY_LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\(\)")
_TRAILING = re.compile(r"(?<![ \t])[ \t]+$", re.MULTILINE)
_TRAILING_BUT_BREAKS = re.compile(
    r"^(?P<broken>(?![ \t]*(?:#{1,6}[ \t]|\|)).*\S  ) *"
    r"(?=\n[ \t]*(?![-*+][ \t]|\d{1,9}[.)][ \t]|#{1,6}[ \t]|\||(?:-+|=+)[ \t]*$)\S)|" + _TRAILING.pattern,
    re.MULTILINE,
)
"""White space at line ends, except two spaces inside a paragraph, which are a line break in markdown.
See: https://spec.commonmark.org/0.31.2/#hard-line-breaks"""
_BLANK_LINES = re.compile(r"\n{3,}")
_BLANK_BEGINNING = re.compile(r"\A(?:[^\S\n]*\n)+")


@dataclass(frozen=True)
class Cleaned:
    """A row without its cluster and lineage, or the reason why there is none; and how much was masked, by kind."""

    row: dict[str, Any] | None
    rejected_because: str | None
    masked: Mapping[Kind, int]


def cleaned_row(document: RawDocument, *, trainable: bool, quotable: bool) -> Cleaned:
    """Clean and mask a document, and detect its language."""
    text = clean(document)
    reason = _reason_not_written_by_hand(document, text) if text.strip() else NO_TEXT
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
    """Clean a document's text, by its category, without masking anything."""
    text = document.content.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    if document.category is Category.CODE:
        text = without_licence_header(text, _code_language(document))
        return text.rstrip("\n") + "\n" if text.strip() else ""
    is_html = document.content_type == "text/html"
    text = _markdown(preformatted_highlights(text)) if is_html else fenced_highlights(text)
    if document.content_type == "text/markdown":
        text = without_note_syntax(text)
    text = change_prose(text, partial(_tidied, category=document.category))
    # The first line keeps its indent, which may belong to code, a list or a poem.
    return _BLANK_BEGINNING.sub("", text).rstrip() + "\n"


def without_tracking(url: str) -> str:
    """The URL that a click leads to, without the parameters that only say who clicked."""
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
    """The title in one line with its encoding repaired; the title of code is a path and stays as it is."""
    title = document.title or ""
    if document.category is Category.CODE:
        return title
    return " ".join(_outside_spans(_INVISIBLE.sub("", title), _repaired).split())


def _tidied(text: str, category: Category) -> str:
    """Repair the encoding of prose, clean its links, and remove white space that no reader sees."""
    text = _SPAN_OR_COMMENT.sub(lambda found: found[1] or "", _INVISIBLE.sub("", text))
    text = _outside_spans(text, lambda part: _URL.sub(_clean_link, _without_hidden_marks(_repaired(part))))
    # A post is shown with its own line breaks, so two spaces at a line's end do nothing there.
    text = _TRAILING.sub("", text) if category is Category.POST else _TRAILING_BUT_BREAKS.sub(r"\g<broken>", text)
    return _BLANK_LINES.sub("\n\n", text)


def _outside_spans(text: str, change: Callable[[str], str]) -> str:
    """Apply a function outside spans of code, in which an author may show what a broken text looks like."""
    return "".join(part if number % 2 else change(part) for number, part in enumerate(SPAN.split(text)))


def _without_hidden_marks(text: str) -> str:
    return _EMPTY_LINK.sub(r"\1", _ATTRIBUTES.sub("", text))


def _clean_link(match: re.Match[str]) -> str:
    if _PLACEHOLDER.match(match.string, match.end()):
        return match[0]
    url = match[0].rstrip(_AFTER_URL)
    return without_tracking(url) + match[0][len(url) :]


def _language(text: str) -> str | None:
    """Detect the language of the prose, without code and addresses."""
    return detect_language(_URL.sub("", prose(text)))


def _reason_not_written_by_hand(document: RawDocument, text: str) -> str | None:
    """Why code is not the author's own, judged by its path and text: it is vendored, generated or minified."""
    if document.category is not Category.CODE:
        return None
    path = str(document.metadata.get("path") or document.title or "")
    if not code_language(path, text):
        path = "unnamed.c"  # without a name that says more, its text alone decides
    reason = reason_to_skip(TreeFile(path, sha=""), MAX_WRITTEN_BYTES)
    written = reason or read_written(path, text.encode("utf-8", "surrogatepass"))
    return f"code that {written}" if isinstance(written, str) else None


def _code_language(document: RawDocument) -> str | None:
    named = document.metadata.get("language")
    return str(named) if named else code_language(document.title or document.external_id, document.content)


def _markdown(html: str) -> str:
    from twin_assets.content.extraction import html_to_markdown

    return html_to_markdown(html)


def _repaired(text: str) -> str:
    import ftfy

    # Curly quotes, dashes and wide forms are the author's typography; an entity in prose may be meant literally.
    return str(
        ftfy.fix_text(
            text, uncurl_quotes=False, unescape_html=False, fix_latin_ligatures=False, fix_character_width=False
        )
    )
