"""Feeds, and the HTML fragments in feeds and exports: read by feedparser and lxml, cleaned of what is not text.

The input comes from outside, so almost nothing here raises for it: what is not a feed has no entries, and broken HTML
is repaired as a browser would. See: https://feedparser.readthedocs.io/ and https://www.rssboard.org/rss-specification.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from twin_assets.content.metadata.dates import parse_date, undated_note
from twin_assets.content.web import Response, host_of
from twin_assets.errors import BadSource

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_NUMBERED = re.compile(rb"&#([xX]0*[0-9a-fA-F]{4}|0*[0-9]{5});")
_NO_XML = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
_BODY = re.compile(r"<body[\s>]", re.IGNORECASE)
_END = re.compile(r"</(body|html)\s*>", re.IGNORECASE)

_TAG = re.compile(r"<(/?)([a-zA-Z][\w-]*)[^<>]*>")

_REMOVED = "removed"
"""The tag that elements get before they are removed; HTML has no such tag."""


@dataclass(frozen=True)
class FeedEntry:
    """An entry as its feed gives it. name: its id, or else its link or title. is_whole: has content, not a summary.

    title: as text. html: with absolute links. notes: what it gives and cannot be used, such as an impossible date.
    """

    name: str
    title: str | None
    url: str | None
    html: str
    is_whole: bool
    author: str | None
    tags: tuple[str, ...]
    media_types: tuple[str, ...]
    published_at: datetime | None
    updated_at: datetime | None
    notes: tuple[str, ...] = ()


def read_feed(response: Response) -> list[FeedEntry]:
    """The entries of an RSS or Atom feed, in its order; none if it is not a feed.

    Raises BadSource for a feed on which feedparser fails.
    """
    import feedparser

    # Relative links are relative to the location, unless the feed names another base.
    headers = {"content-type": response.content_type}
    body = without_half_characters(response.body)
    try:
        as_written = feedparser.parse(body, response_headers=headers, sanitize_html=False)
        is_atom = str(as_written.version).startswith("atom")
        # RSS may lie on another host than its site.
        site = None if is_atom else absolute_url(response.url, str(as_written.feed.get("link") or ""))
        parsed = feedparser.parse(body, response_headers=headers | {"content-location": site or response.url})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadSource(
            f"feed {response.url} is broken and cannot be read ({error}): check it at validator.w3.org/feed, or give "
            "the site's URL instead; nothing is taken as deleted"
        ) from error
    language = parsed.feed.get("language")
    return [
        replace(_entry(entry, response.url, language), name=_name(written), title=_title(written, is_atom=is_atom))
        for entry, written in zip(parsed.entries, as_written.entries, strict=True)
    ]


def without_half_characters(xml: bytes) -> bytes:
    """XML with U+FFFD for each reference to a surrogate: parsers accept those and fail later.

    Feeds often write an emoji as two of them by mistake.
    """
    return _NUMBERED.sub(lambda found: b"&#xFFFD;" if _is_half(found[1]) else found[0], xml)


def by_author(
    entries: Sequence[FeedEntry], author: str | None, url: str
) -> tuple[Sequence[FeedEntry], Sequence[FeedEntry]]:
    """The entries by `author`, and those by others.

    author: a name as the feed writes it; None when one person writes the whole feed. Raises BadSource when it is None
    and several people write.
    """
    names = sorted({entry.author for entry in entries if entry.author})
    if author is None:
        if len(names) > 1:
            raise BadSource(f"{url} is written by {', '.join(names)}: choose one, --option author='{names[0]}'")
        return entries, ()
    own = [entry for entry in entries if (entry.author or "").casefold() == author.casefold()]
    return own, [entry for entry in entries if entry not in own]


def absolute_url(base: str, link: str) -> str | None:
    """The absolute http(s) URL of a link on a page; None when it is not one."""
    try:
        url = urljoin(base, link)
    except ValueError:
        return None
    return url if host_of(url) else None


def parse_html(html: str) -> "HtmlElement":
    """The body of a page or fragment. Text that is not HTML becomes a body with that text."""
    from lxml.html import HTMLParser, document_fromstring

    page = html if _BODY.search(html) else f"<html><body>{_END.sub('', html)}</body></html>"
    # As bytes: lxml rejects a str with an encoding declaration.
    data = xml_text(page).encode()
    document = document_fromstring(data, parser=HTMLParser(encoding="utf-8"), ensure_head_body=True)
    body = document.find("body")
    return document if body is None else body


def remove(
    root: "HtmlElement",
    *,
    tags: Collection[str] = (),
    classes: Collection[str] = (),
    elements: Iterable["HtmlElement"] = (),
) -> None:
    """Remove these elements, all with one of the tags or classes, and comments; the text after them stays."""
    from lxml.etree import Comment, ProcessingInstruction, strip_elements

    for element in [*elements, *(found for name in classes for found in root.find_class(name))]:
        if isinstance(element.tag, str):  # comments have no tag, and are removed anyway
            element.tag = _REMOVED
    # Not drop_tree: it raises for a character that HTML may reference and XML may not contain, such as &#27;.
    strip_elements(root, _REMOVED, Comment, ProcessingInstruction, *tags, with_tail=False)


def unwrap_code_figures(root: "HtmlElement") -> None:
    """Make each figure that holds code a plain division, so that the code stays where pictures are removed."""
    for figure in list(root.iter("figure")):
        if next(figure.iter("pre"), None) is not None:
            figure.tag = "div"


def inner_html(element: "HtmlElement") -> str:
    """The contents of an element as HTML."""
    from lxml.html import tostring

    whole = tostring(element, encoding="unicode", with_tail=False)
    return whole[whole.index(">") + 1 : whole.rindex("<")].strip() if whole.endswith(f"</{element.tag}>") else ""


def xml_text(text: str) -> str:
    """The text without what XML cannot contain: lone surrogates, as in JSON, become U+FFFD, control characters go.

    See: https://www.w3.org/TR/xml/#charsets
    """
    return re.sub(_NO_XML, "", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def plain_text(element: "HtmlElement") -> str:
    """An element's text with single spaces, also between neighbouring blocks."""
    return " ".join(" ".join(map(str, element.itertext())).split())


def _entry(entry: Any, feed_url: str, language: str | None) -> FeedEntry:
    # Any: feedparser's entries are dicts with attributes of every kind.
    content = entry.get("content") or [{}]
    links = entry.get("enclosures") or []
    language = (entry.get("title_detail") or {}).get("language") or language
    published, updated = (parse_date(entry.get(name), language) for name in ("published", "updated"))
    given = entry.get("published") or entry.get("updated")
    return FeedEntry(
        name="",
        title=None,
        url=absolute_url(feed_url, str(entry.get("link"))) if entry.get("link") else None,
        html=str(content[0].get("value") or entry.get("summary") or ""),
        is_whole=bool(entry.get("content")),
        author=str(entry.get("author")).strip() if entry.get("author") else None,
        tags=tuple(str(tag.get("term")) for tag in entry.get("tags", []) if tag.get("term")),
        media_types=tuple(str(link.get("type") or "") for link in links),
        published_at=published or updated,
        updated_at=updated,
        notes=(undated_note(given),) if given and not (published or updated) else (),
    )


def _name(written: Any) -> str:
    """What identifies an entry, as it is written: feedparser would make an absolute URL of an id."""
    return str(written.get("id") or written.get("link") or written.get("title") or "")


def _title(entry: Any, *, is_atom: bool) -> str | None:
    """An entry's title as text. RSS does not say whether a title is text or HTML, so an unclosed tag there is a word.

    See: https://www.rssboard.org/rss-profile#data-types-characterdata, https://www.rfc-editor.org/rfc/rfc4287#section-3.1
    """
    title = str(entry.get("title") or "")
    kind = (entry.get("title_detail") or {}).get("type")
    if is_atom and kind == "text/plain":
        return " ".join(title.split()) or None
    if not is_atom:
        title = _TAG.sub(lambda tag: tag[0] if _is_markup(tag, title) else f"&lt;{tag[0][1:]}", title)
    text = str(parse_html(title).text_content()) if "<" in title or "&" in title else title
    return " ".join(text.split()) or None


def _is_markup(tag: re.Match[str], text: str) -> bool:
    """True for a tag of HTML that has its other half in the text, or needs none."""
    from lxml.html import defs

    name = tag[2].lower()
    if name not in defs.tags:
        return False
    other = rf"<{name}[\s>]" if tag[1] else rf"</{name}\s*>"
    return name in defs.empty_tags or bool(re.search(other, text, re.IGNORECASE))


def _is_half(reference: bytes) -> bool:
    """True if a numeric character reference is a surrogate, which is not a character."""
    number = int(reference[1:], 16) if reference[:1] in b"xX" else int(reference)
    return 0xD800 <= number <= 0xDFFF
