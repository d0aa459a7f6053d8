"""Feeds, and the HTML fragments that they and exports carry: read by feedparser and lxml, freed of furniture.

What comes in is somebody else's, so nothing here raises for it: no feed has no entries, broken HTML is mended as a
browser would. See: https://feedparser.readthedocs.io/ and https://www.rssboard.org/rss-specification.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from twin_assets.content.extraction import parse_date
from twin_assets.content.web import Answer, host_of
from twin_assets.errors import BadSource

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_NUMBERED = re.compile(rb"&#([xX]0*[0-9a-fA-F]{4}|0*[0-9]{5});")
_NO_XML = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
_BODY = re.compile(r"<body[\s>]", re.IGNORECASE)
_END = re.compile(r"</(body|html)\s*>", re.IGNORECASE)

_REMOVED = "removed"
"""A tag that HTML does not have."""


@dataclass(frozen=True)
class FeedEntry:
    """An entry as its feed gives it. name: its id, else its link or title; is_whole: has content, not a summary."""

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


def read_feed(answer: Answer) -> list[FeedEntry]:
    """The entries of an RSS or Atom feed, in its order; none for what is no feed.

    Raises BadSource for one that feedparser stumbles over.
    """
    import feedparser

    headers = {"content-type": answer.content_type}
    try:
        parsed = feedparser.parse(without_half_characters(answer.body), response_headers=headers)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadSource(
            f"feed {answer.url} is broken in a way that no reader takes ({error}): check it at validator.w3.org/feed, "
            "or give the site's URL instead; nothing is taken as deleted"
        ) from error
    return [_entry(entry, answer.url) for entry in parsed.entries]


def without_half_characters(xml: bytes) -> bytes:
    """XML whose references to half a character name U+FFFD instead; parsers take them and fail later.

    An emoji written as two of them is a common mistake of feeds.
    """
    return _NUMBERED.sub(lambda found: b"&#xFFFD;" if _is_half(found[1]) else found[0], xml)


def by_author(
    entries: Sequence[FeedEntry], author: str | None, url: str
) -> tuple[Sequence[FeedEntry], Sequence[FeedEntry]]:
    """The entries of `author`, and the others'. Raises BadSource when several people write and nobody says who it is.

    author: a name as the feed writes it; None for whoever writes all of the feed.
    """
    names = sorted({entry.author for entry in entries if entry.author})
    if author is None:
        if len(names) > 1:
            raise BadSource(f"{url} is written by {', '.join(names)}: say whose it is, --option author='{names[0]}'")
        return entries, ()
    own = [entry for entry in entries if (entry.author or "").casefold() == author.casefold()]
    return own, [entry for entry in entries if entry not in own]


def absolute_url(base: str, link: str) -> str | None:
    """An http(s) URL from a link as a page writes it; None when it is not one."""
    try:
        url = urljoin(base, link)
    except ValueError:
        return None
    return url if host_of(url) else None


def parse_html(html: str) -> "HtmlElement":
    """The body of a page or fragment. What is no HTML at all is a body with that text."""
    from lxml.html import HTMLParser, document_fromstring

    page = html if _BODY.search(html) else f"<html><body>{_END.sub('', html)}</body></html>"
    # As bytes: lxml takes a str with an encoding declaration amiss.
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
    """Take these elements, every one with one of the tags or classes, and comments out; the text after them stays."""
    from lxml.etree import Comment, ProcessingInstruction, strip_elements

    for element in [*elements, *(found for name in classes for found in root.find_class(name))]:
        if isinstance(element.tag, str):  # comments have none of their own, and go all the same
            element.tag = _REMOVED
    # Not by drop_tree, which raises for a text with a character that HTML may name and XML not hold, such as &#27;.
    strip_elements(root, _REMOVED, Comment, ProcessingInstruction, *tags, with_tail=False)


def inner_html(element: "HtmlElement") -> str:
    """What an element holds, as HTML."""
    from lxml.html import tostring

    whole = tostring(element, encoding="unicode", with_tail=False)
    return whole[whole.index(">") + 1 : whole.rindex("<")].strip() if whole.endswith(f"</{element.tag}>") else ""


def xml_text(text: str) -> str:
    """`text` without what XML cannot hold: half a character, as JSON may write one, is U+FFFD, control characters go.

    See: https://www.w3.org/TR/xml/#charsets
    """
    return re.sub(_NO_XML, "", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def plain_text(element: "HtmlElement") -> str:
    """An element's text with single spaces, words of neighbouring blocks apart."""
    return " ".join(" ".join(map(str, element.itertext())).split())


def _entry(entry: Any, feed_url: str) -> FeedEntry:
    # Any: feedparser's entries are dicts with attributes of every kind.
    content = entry.get("content") or [{}]
    links = entry.get("enclosures") or []
    return FeedEntry(
        name=str(entry.get("id") or entry.get("link") or entry.get("title") or ""),
        title=str(entry.get("title")) if entry.get("title") else None,
        url=absolute_url(feed_url, str(entry.get("link"))) if entry.get("link") else None,
        html=str(content[0].get("value") or entry.get("summary") or ""),
        is_whole=bool(entry.get("content")),
        author=str(entry.get("author")).strip() if entry.get("author") else None,
        tags=tuple(str(tag.get("term")) for tag in entry.get("tags", []) if tag.get("term")),
        media_types=tuple(str(link.get("type") or "") for link in links),
        published_at=parse_date(entry.get("published")) or parse_date(entry.get("updated")),
        updated_at=parse_date(entry.get("updated")),
    )


def _is_half(reference: bytes) -> bool:
    """Whether a numeric character reference names a surrogate, which is no character."""
    number = int(reference[1:], 16) if reference[:1] in b"xX" else int(reference)
    return 0xD800 <= number <= 0xDFFF
