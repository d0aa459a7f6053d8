"""Any blog: an RSS or Atom feed, a sitemap, a site whose page names its feed, or a single page.

A sitemap is a complete listing, so what vanished from it is gone; a feed is a window on the newest, so nothing is. What
the server says did not change (304, `lastmod`) is not fetched again.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urljoin, urlsplit

from twin_assets.collection.events import Checkpoint, Event, Failed, Found, Item, LeftOut, ListingComplete, Unchanged
from twin_assets.collection.registry import register
from twin_assets.content.access_walls import refuse_walls
from twin_assets.content.extraction import extract_page
from twin_assets.content.feeds import FeedEntry, absolute_url, read_feed, without_half_characters, xml_text
from twin_assets.content.web import Answer, WebClient, host_of
from twin_assets.documents import Category, Source
from twin_assets.errors import BadItem, BadSource

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_PAGES = 5_000
PAGES_PER_CHECKPOINT = 20
MIN_FULL_TEXT = 600
"""Characters of HTML; a feed entry with less is taken for a teaser, and its page is fetched."""

_ENCODING = re.compile(rb"""\s*<\?xml[^>]*?encoding=["']([\w.:-]+)["']""")
_DECLARED = re.compile(r"^\s*<\?xml[^>]*\?>")
_FEED_ROOTS = frozenset({"rss", "feed", "rdf"})
_SITEMAP_ROOTS = frozenset({"urlset", "sitemapindex"})
_FEED_TYPE = re.compile("rss|atom", re.IGNORECASE)
_FEED_NAME = re.compile(r"(\.(xml|rss|atom|rdf)$)|(/(feed|rss|atom)/?$)", re.IGNORECASE)


@register
class BlogCrawler:
    """Follows what the given URL turns out to be."""

    platform: ClassVar[str] = "blog"
    accepted: ClassVar[str] = "the http(s) URL of a feed, a sitemap, a site or a page"
    options: ClassVar[Mapping[str, str]] = {}

    def accepts(self, where: str) -> bool:
        """An http(s) URL."""
        return bool(host_of(where))

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """The blog's articles, from the listing that the URL leads to."""
        url = state.get("listing") or source.where
        answer = _listing(http, url)
        if answer.unchanged and state.get("kind") == "feed" and state.get("complete"):
            yield Unchanged(tuple(state["ids"]))
            return
        kind, answer = _recognise(answer, source.where, http)
        listing = {"listing": answer.url, "kind": kind}
        if kind == "feed":
            yield from _feed(answer, http, listing)
        elif kind == "sitemap":
            yield from _sitemap(answer, http, state, listing)
        else:
            yield from _single_page(answer)


def _listing(http: WebClient, url: str) -> Answer:
    try:
        return http.get(url)
    except BadItem as error:
        raise BadSource(f"{error}: nothing is taken as deleted; mend the URL if it moved") from error


def _recognise(answer: Answer, asked: str, http: WebClient) -> tuple[str, Answer]:
    """What the URL turned out to be (feed, sitemap or page), and the listing itself."""
    kind = _kind(answer)
    if kind:
        return kind, answer
    if _FEED_NAME.search(urlsplit(asked).path):
        raise BadSource(
            f"feed {asked} is not RSS or Atom (got {answer.described()}): give the feed's own URL, or the site's"
        )
    if "html" not in answer.content_type and not answer.text.lstrip().lower().startswith(("<!doctype html", "<html")):
        raise BadSource(f"{asked} is neither a feed nor a page (got {answer.described()}): give a feed's or site's URL")
    is_site = urlsplit(answer.url).path in ("", "/")
    for found in _announced_feeds(answer) if is_site else ():
        listing = _try(http, found)
        if listing and _kind(listing) == "feed":
            return "feed", listing
    if is_site and (listing := _try(http, urljoin(answer.url, "/sitemap.xml"))) and _kind(listing) == "sitemap":
        return "sitemap", listing
    return "page", answer


def _try(http: WebClient, url: str) -> Answer | None:
    try:
        return http.get(url)
    except BadItem:
        return None


def _kind(answer: Answer) -> str | None:
    root = _xml_root(answer)
    if root is None:
        return None
    name = str(root.tag).rsplit("}", 1)[-1].lower()
    return "feed" if name in _FEED_ROOTS else "sitemap" if name in _SITEMAP_ROOTS else None


def _xml_root(answer: Answer) -> "_Element | None":
    from lxml import etree

    # No entities, no network, no huge trees: the document is somebody else's.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, recover=True)
    head = answer.body.lstrip()[:1_000].lower()
    if not head.startswith((b"<", b"\xef\xbb\xbf<")) or head.startswith((b"<!doctype html", b"<html")):
        return None
    try:
        return etree.fromstring(_well_encoded(answer.body).strip(), parser)
    except (etree.XMLSyntaxError, ValueError):
        return None


def _well_encoded(body: bytes) -> bytes:
    """XML as UTF-8 of characters that XML may hold; lxml keeps wrong bytes, and raises when they are read."""
    declared = _ENCODING.match(body)
    try:
        text = body.decode(declared[1].decode() if declared else "utf-8-sig", "replace")
    except (LookupError, UnicodeError):
        text = body.decode("utf-8-sig", "replace")
    return without_half_characters(xml_text(_DECLARED.sub("", text, count=1)).encode())


def _announced_feeds(answer: Answer) -> list[str]:
    from lxml import html

    try:
        tree = html.fromstring(answer.body)
    except (ValueError, html.etree.ParserError):
        return []
    links = [link for link in tree.iterfind(".//link[@rel='alternate']") if _FEED_TYPE.search(link.get("type", ""))]
    addresses = [link.get("href", "") for link in links]
    joined = [absolute_url(answer.url, address) for address in addresses if address and "comments" not in address]
    return [url for url in joined if url]


def _feed(answer: Answer, http: WebClient, listing: dict[str, Any]) -> Iterator[Event]:
    entries = read_feed(answer)
    if not entries:
        raise BadSource(f"feed {answer.url} has no entries: nothing is taken as deleted; give the site's URL instead")
    ids = []
    for entry in entries:
        if not entry.name:
            yield Failed(answer.url, "an entry without id, link or title cannot be told from others")
            continue
        try:
            yield Found(_entry_item(entry, http))
            ids.append(entry.name)
        except BadItem as error:
            yield Failed(entry.name, str(error))
    # An entry that failed must be tried again, though the feed has not changed by then.
    yield Checkpoint(listing | {"ids": ids, "complete": len(ids) == len(entries)})


def _entry_item(entry: FeedEntry, http: WebClient) -> Item:
    fields: dict[str, Any] = {
        "external_id": entry.name,
        "category": Category.ARTICLE,
        "url": entry.url,
        "title": entry.title,
        "published_at": entry.published_at,
        "updated_at": entry.updated_at,
        "metadata": {"tags": list(entry.tags)},
    }
    if len(entry.html) < MIN_FULL_TEXT and not entry.is_whole and entry.url:
        page = _page(http.get(entry.url))
        return Item(**fields | {"content": page.text, "language": page.language})
    if not entry.html.strip():
        raise BadItem("has no text and no link to a page")
    return Item(**fields | {"content": entry.html, "content_type": "text/html"})


def _page(answer: Answer) -> Any:
    refuse_walls(answer)
    page = extract_page(answer.text, answer.url)
    if page is None:
        raise BadItem(f"{answer.url} has no main text (got {answer.described()})")
    return page


def _single_page(answer: Answer) -> Iterator[Event]:
    try:
        yield Found(_page_item(answer))
    except BadItem as error:
        raise BadSource(f"{error}: give the page of an article, a feed or a sitemap") from error


def _page_item(answer: Answer, url: str | None = None) -> Item:
    page = _page(answer)
    return Item(
        external_id=url or answer.url,
        content=page.text,
        category=Category.ARTICLE,
        url=answer.url,
        title=page.title,
        language=page.language,
        published_at=page.published_at,
    )


def _sitemap(answer: Answer, http: WebClient, state: dict[str, Any], listing: dict[str, Any]) -> Iterator[Event]:
    pages: dict[str, str | None] = dict(state.get("pages", {}))
    urls: dict[str, str | None] = {}
    complete = True
    for event in sitemap_urls(answer, http):
        if isinstance(event, Failed):
            complete = False
            yield event
        elif len(urls) < MAX_PAGES:
            urls[event[0]] = event[1]
        else:
            complete = False
            yield LeftOut(event[0], f"beyond the first {MAX_PAGES} pages of the sitemap: split the source")
    for number, (url, modified) in enumerate(urls.items(), 1):
        yield _visit(url, modified, pages, http)
        if number % PAGES_PER_CHECKPOINT == 0:
            yield Checkpoint(listing | {"pages": dict(pages)})
    yield Checkpoint(listing | {"pages": {url: about for url, about in pages.items() if url in urls}})
    if complete and urls:
        yield ListingComplete()


def _visit(url: str, modified: str | None, pages: dict[str, str | None], http: WebClient) -> Event:
    """One page of a sitemap: fetched only when it may have changed. pages: what was read, with its `lastmod`."""
    if modified and pages.get(url) == modified:
        return Unchanged((url,))
    try:
        answer = http.get(url)
        if answer.unchanged and url in pages:
            pages[url] = modified
            return Unchanged((url,))
        item = _page_item(answer, url)
    except BadItem as error:
        return Failed(url, str(error))
    pages[url] = modified
    return Found(item)


def sitemap_urls(answer: Answer, http: WebClient, depth: int = 0) -> Iterator[tuple[str, str | None] | Failed]:
    """(url, lastmod) of a sitemap and of those it names; see https://www.sitemaps.org/protocol.html."""
    root = _xml_root(answer)
    if root is None:
        yield Failed(answer.url, f"is no sitemap (got {answer.described()})")
        return
    host = host_of(answer.url)
    for element in root:
        facts = {str(child.tag).rsplit("}", 1)[-1]: (child.text or "").strip() for child in element}
        url = facts.get("loc")
        if not url:
            continue
        if str(element.tag).endswith("}sitemap") or element.tag == "sitemap":
            if depth >= 2 or host_of(url) != host:
                yield Failed(url, "a sitemap of another host, or nested too deep, is not followed")
                continue
            try:
                yield from sitemap_urls(http.get(url), http, depth + 1)
            except BadItem as error:
                yield Failed(url, str(error))
        else:
            yield url, facts.get("lastmod") or None
