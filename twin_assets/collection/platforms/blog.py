"""Any blog: an RSS or Atom feed, a sitemap, a site whose page names its feed, or a single page.

A sitemap is a complete listing, so what has vanished from it is gone; a feed shows only the newest entries, so nothing
is. What the server reports as unchanged (304, `lastmod`) is not fetched again.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urljoin, urlsplit

from twin_assets.collection.events import Checkpoint, Event, Failed, Found, Item, ListingComplete, Skipped, Unchanged
from twin_assets.collection.registry import register
from twin_assets.content.access_walls import refuse_access_wall
from twin_assets.content.extraction import extract_page
from twin_assets.content.feeds import FeedEntry, absolute_url, read_feed, without_half_characters, xml_text
from twin_assets.content.web import Response, WebClient, host_of
from twin_assets.documents import Category, Source
from twin_assets.errors import BadItem, BadSource

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_PAGES = 5_000
PAGES_PER_CHECKPOINT = 20
MIN_FULL_TEXT = 600
"""A feed entry with less HTML than this, in characters, counts as a teaser, and its page is fetched."""

_ENCODING = re.compile(rb"""\s*<\?xml[^>]*?encoding=["']([\w.:-]+)["']""")
_DECLARED = re.compile(r"^\s*<\?xml[^>]*\?>")
_FEED_ROOTS = frozenset({"rss", "feed", "rdf"})
_SITEMAP_ROOTS = frozenset({"urlset", "sitemapindex"})
_FEED_TYPE = re.compile("rss|atom", re.IGNORECASE)
_FEED_NAME = re.compile(r"(\.(xml|rss|atom|rdf)$)|(/(feed|rss|atom)/?$)", re.IGNORECASE)


@register
class BlogCrawler:
    """Reads a feed, a sitemap, a site or a page, whichever the URL turns out to be."""

    platform: ClassVar[str] = "blog"
    accepted: ClassVar[str] = "the http(s) URL of a feed, a sitemap, a site or a page"
    options: ClassVar[Mapping[str, str]] = {}

    def accepts(self, where: str) -> bool:
        """True for an http(s) URL."""
        return bool(host_of(where))

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """The blog's articles, from the listing that the URL leads to."""
        url = state.get("listing") or source.where
        response = _listing(http, url)
        if response.unchanged and state.get("kind") == "feed" and state.get("complete"):
            yield Unchanged(tuple(state["ids"]))
            return
        kind, response = _recognise(response, source.where, http)
        listing = {"listing": response.url, "kind": kind}
        if kind == "feed":
            yield from _feed(response, http, state, listing)
        elif kind == "sitemap":
            yield from _sitemap(response, http, state, listing)
        else:
            yield from _single_page(response)


def _listing(http: WebClient, url: str) -> Response:
    try:
        return http.get(url)
    except BadItem as error:
        raise BadSource(f"{error}: nothing is taken as deleted; correct the URL if it moved") from error


def _recognise(response: Response, asked: str, http: WebClient) -> tuple[str, Response]:
    """What the URL turned out to be (feed, sitemap or page), and the listing itself."""
    kind = _kind(response)
    if kind:
        return kind, response
    if _FEED_NAME.search(urlsplit(asked).path):
        raise BadSource(
            f"feed {asked} is not RSS or Atom (got {response.described()}): give the feed's own URL, or the site's"
        )
    if "html" not in response.content_type and not response.text.lstrip().lower().startswith(
        ("<!doctype html", "<html")
    ):
        raise BadSource(
            f"{asked} is neither a feed nor a page (got {response.described()}): give a feed's or site's URL"
        )
    is_site = urlsplit(response.url).path in ("", "/")
    for found in _announced_feeds(response) if is_site else ():
        listing = _try(http, found)
        if listing and _kind(listing) == "feed":
            return "feed", listing
    if is_site and (listing := _try(http, urljoin(response.url, "/sitemap.xml"))) and _kind(listing) == "sitemap":
        return "sitemap", listing
    return "page", response


def _try(http: WebClient, url: str) -> Response | None:
    try:
        return http.get(url)
    except BadItem:
        return None


def _kind(response: Response) -> str | None:
    root = _xml_root(response)
    if root is None:
        return None
    name = str(root.tag).rsplit("}", 1)[-1].lower()
    return "feed" if name in _FEED_ROOTS else "sitemap" if name in _SITEMAP_ROOTS else None


def _xml_root(response: Response) -> "_Element | None":
    from lxml import etree

    # No entities, no network, no huge trees: the document comes from outside.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, recover=True)
    head = response.body.lstrip()[:1_000].lower()
    if not head.startswith((b"<", b"\xef\xbb\xbf<")) or head.startswith((b"<!doctype html", b"<html")):
        return None
    try:
        return etree.fromstring(_well_encoded(response.body).strip(), parser)
    except (etree.XMLSyntaxError, ValueError):
        return None


def _well_encoded(body: bytes) -> bytes:
    """The XML as UTF-8 without characters that XML may not contain; lxml keeps them, and raises when they are read."""
    declared = _ENCODING.match(body)
    try:
        text = body.decode(declared[1].decode() if declared else "utf-8-sig", "replace")
    except (LookupError, UnicodeError):
        text = body.decode("utf-8-sig", "replace")
    return without_half_characters(xml_text(_DECLARED.sub("", text, count=1)).encode())


def _announced_feeds(response: Response) -> list[str]:
    from lxml import html

    try:
        tree = html.fromstring(response.body)
    except (ValueError, html.etree.ParserError):
        return []
    links = [link for link in tree.iterfind(".//link[@rel='alternate']") if _FEED_TYPE.search(link.get("type", ""))]
    addresses = [link.get("href", "") for link in links]
    joined = [absolute_url(response.url, address) for address in addresses if address and "comments" not in address]
    return [url for url in joined if url]


def _feed(response: Response, http: WebClient, state: dict[str, Any], listing: dict[str, Any]) -> Iterator[Event]:
    entries = read_feed(response)
    if not entries:
        raise BadSource(f"feed {response.url} has no entries: nothing is taken as deleted; give the site's URL instead")
    # Remembered: the feed of a later day may hold only one of them, which must keep its name.
    shared = _shared_names(entries) | set(state.get("shared_ids", ()))
    ids = []
    for entry in (_apart(entry, shared) for entry in entries):
        if not entry.name:
            yield Failed(response.url, "has an entry without id, link or title, which cannot be told apart from others")
            continue
        try:
            yield Found(_entry_item(entry, http))
            ids.append(entry.name)
        except BadItem as error:
            yield Failed(entry.name, str(error))
    # An entry that failed must be tried again, even if the feed has not changed by then.
    yield Checkpoint(
        listing
        | {"ids": ids, "complete": len(ids) == len(entries)}
        | ({"shared_ids": sorted(shared)} if shared else {})
    )


def _shared_names(entries: list[FeedEntry]) -> set[str]:
    """The ids that several different entries have, such as one `guid` for every item of a feed."""
    different: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        different[entry.name].add(entry.url or entry.title or "")
    return {name for name, known in different.items() if name and len(known) > 1}


def _apart(entry: FeedEntry, shared: set[str]) -> FeedEntry:
    """The entry under a name of its own, by its link or else its title, where its id is also that of others."""
    return replace(entry, name=entry.url or entry.title or "") if entry.name in shared else entry


def _entry_item(entry: FeedEntry, http: WebClient) -> Item:
    fields: dict[str, Any] = {
        "external_id": entry.name,
        "category": Category.ARTICLE,
        "url": entry.url,
        "title": entry.title,
        "published_at": entry.published_at,
        "updated_at": entry.updated_at,
        "metadata": {"tags": list(entry.tags)},
        "notes": entry.notes,
    }
    if len(entry.html) < MIN_FULL_TEXT and not entry.is_whole and entry.url:
        page = _page(http.get(entry.url))
        return Item(**fields | {"content": page.text, "language": page.language})
    if not entry.html.strip():
        raise BadItem("has no text and no link to a page")
    return Item(**fields | {"content": entry.html, "content_type": "text/html"})


def _page(response: Response) -> Any:
    refuse_access_wall(response)
    page = extract_page(response.text, response.url)
    if page is None:
        raise BadItem(f"{response.url} has no main text (got {response.described()})")
    return page


def _single_page(response: Response) -> Iterator[Event]:
    try:
        yield Found(_page_item(response))
    except BadItem as error:
        raise BadSource(f"{error}: give the page of an article, a feed or a sitemap") from error


def _page_item(response: Response, url: str | None = None) -> Item:
    page = _page(response)
    return Item(
        external_id=url or response.url,
        content=page.text,
        category=Category.ARTICLE,
        url=response.url,
        title=page.title,
        language=page.language,
        published_at=page.published_at,
    )


def _sitemap(response: Response, http: WebClient, state: dict[str, Any], listing: dict[str, Any]) -> Iterator[Event]:
    pages: dict[str, str | None] = dict(state.get("pages", {}))
    urls: dict[str, str | None] = {}
    complete = True
    for event in sitemap_urls(response, http):
        if isinstance(event, Failed):
            complete = False
            yield event
        elif len(urls) < MAX_PAGES:
            urls[event[0]] = event[1]
        else:
            complete = False
            yield Skipped(event[0], f"beyond the first {MAX_PAGES} pages of the sitemap: split the source")
    for number, (url, modified) in enumerate(urls.items(), 1):
        yield _visit(url, modified, pages, http)
        if number % PAGES_PER_CHECKPOINT == 0:
            yield Checkpoint(listing | {"pages": dict(pages)})
    yield Checkpoint(listing | {"pages": {url: about for url, about in pages.items() if url in urls}})
    if complete and urls:
        yield ListingComplete()


def _visit(url: str, modified: str | None, pages: dict[str, str | None], http: WebClient) -> Event:
    """Visit a page of a sitemap, fetching it only if it may have changed. pages: `lastmod` of the pages read."""
    if modified and pages.get(url) == modified:
        return Unchanged((url,))
    try:
        response = http.get(url)
        if response.unchanged and url in pages:
            pages[url] = modified
            return Unchanged((url,))
        item = _page_item(response, url)
    except BadItem as error:
        return Failed(url, str(error))
    pages[url] = modified
    return Found(item)


def sitemap_urls(response: Response, http: WebClient, depth: int = 0) -> Iterator[tuple[str, str | None] | Failed]:
    """(url, lastmod) of a sitemap's pages and of those of the sitemaps that it lists.

    See: https://www.sitemaps.org/protocol.html
    """
    root = _xml_root(response)
    if root is None:
        yield Failed(response.url, f"is not a sitemap (got {response.described()})")
        return
    host = host_of(response.url)
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
