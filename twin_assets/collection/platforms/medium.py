"""Medium: the feed of a member or a publication, one story's page, or the archive that Medium gives its members.

A feed has only the last ten stories, so it never says what is gone, and only a teaser of members-only stories, which is
refused: the history comes from the archive. Feed, archive and URLs all identify a story by the same hex digits.
See: https://help.medium.com/hc/en-us/articles/214874118 (feeds) and /115004745787 (the archive).
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit, urlunsplit

from twin_assets.collection.events import Event, Failed, Found, Item, ListingComplete, Skipped
from twin_assets.collection.registry import register, wants
from twin_assets.content.access_walls import refuse_access_wall
from twin_assets.content.archives import Archive
from twin_assets.content.extraction import extract_page
from twin_assets.content.feeds import (
    FeedEntry,
    by_author,
    inner_html,
    parse_html,
    plain_text,
    read_feed,
    remove,
    unwrap_code_figures,
)
from twin_assets.content.metadata.dates import parse_date
from twin_assets.content.web import Response, WebClient, host_of
from twin_assets.documents import Category, Source
from twin_assets.errors import BadItem, BadSource
from twin_assets.settings import Settings

if TYPE_CHECKING:
    from lxml.html import HtmlElement

HOME = "https://medium.com"
OWN_DOMAIN = "medium:"
"""The prefix for the URL of a publication on its own domain, which does not show that it is on Medium."""
RESERVED = frozenset({"", "feed", "m", "me", "p", "plans", "search", "tag", "topic", "topics", "new-story"})
"""First parts of paths on medium.com that are not publications."""
LONG_RESPONSE_WORDS = 500
"""A piece without a title that has more words than this is a story, not a response."""
USE_THE_ARCHIVE = "use the archive that Medium gives you, which has the whole text"

_HANDLE = re.compile(r"@[\w.-]+")
_ID = re.compile(r"(?:^|[-_/])([0-9a-f]{10,12})/?(?:[?#].*)?$")
_STORY_FILE = re.compile(r"(?:posts/)?(?P<kind>draft|\d{4}-\d\d-\d\d)_[^/]*?[-_]?(?P<id>[0-9a-f]{10,12})\.html")
_SYNDICATED = re.compile(r"was originally published in .* on Medium, where people are continuing the conversation")
_TITLE_TAIL = re.compile(r"\s+\|\s+by\s.*$|\s+[|–—-]\s+Medium$")

FURNITURE_TAGS = ("figure", "figcaption", "iframe", "script", "style", "img", "button", "form")
FURNITURE_CLASSES = ("graf--mixtapeEmbed", "mixtapeEmbed", "mixtapeImage", "imageCaption", "graf--title")
HEADINGS = ("h1", "h2", "h3", "h4")


@dataclass(frozen=True)
class _Location:
    """The URL of a feed or, with a story_id, of a story's page."""

    url: str
    story_id: str | None = None


@register
class MediumCrawler:
    """Reads the last ten stories live, and all of them from the export."""

    platform: ClassVar[str] = "medium"
    accepted: ClassVar[str] = (
        "@user, the URL of a profile, a publication, a feed or a story on medium.com, "
        "or medium:URL for a publication on a domain of its own"
    )
    options: ClassVar[Mapping[str, str]] = {
        "responses": "yes takes answers to other people's stories as posts",
        "author": "whose stories to take from a publication of several writers, by name",
        "api": "base URL of a mirror",
    }
    archive_steps: ClassVar[str] = (
        "On medium.com: your picture, Settings, Security and apps, Download your information, Export; "
        "Medium mails a link to a .zip, which goes into the inbox as it is."
    )

    def accepts(self, where: str) -> bool:
        """True for a handle, or a URL on medium.com that leads to a feed or a story."""
        return _location(where) is not None

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """Crawl the feed's stories, or the one story."""
        location = _location(source.where)
        if location is None:
            raise BadSource(f"{source.where} is not on Medium: give {self.accepted}")
        url = _moved(location.url, source.options.get("api"))
        if location.story_id:
            yield Found(_story(url, location.story_id, http))
        else:
            yield from _feed(url, source, http)

    def recognises(self, names: Collection[str]) -> bool:
        """Recognise it by the names of the stories' files: date or `draft`, title and id."""
        return "posts.csv" not in names and any(_STORY_FILE.fullmatch(name) for name in names)

    def needs_archives(self, source: Source) -> bool:
        """True except for a single story: a feed has only ten."""
        location = _location(source.where)
        return location is None or location.story_id is None

    def import_archive(self, source: Source, archive: Archive) -> Iterator[Event]:
        """Read every story and draft of the member."""
        stories = {name: match for name in archive.names if (match := _STORY_FILE.fullmatch(name))}
        if not stories:
            raise BadSource(
                f"{archive.path.name} holds no story (posts/YYYY-MM-DD_Title-ID.html): drop Medium's archive"
            )
        limit = Settings().max_document_bytes
        for name, match in stories.items():
            try:
                item = _archived(archive.text(name, limit), match["id"], match["kind"] == "draft")
            except BadItem as error:
                yield Failed(match["id"], f"{name} {error}")
            else:
                yield _event(item, source)
        # A few files picked out of an archive are not a complete listing; a refused member may be a story.
        if not archive.refused and any(name == "README.html" or name.startswith("profile/") for name in archive.names):
            yield ListingComplete()


def _location(where: str) -> _Location | None:
    text = where.strip()
    own_domain = text.startswith(OWN_DOMAIN)
    text = text.removeprefix(OWN_DOMAIN)
    if _HANDLE.fullmatch(text):
        return _Location(f"{HOME}/feed/{text}")
    host = host_of(text)
    if host is None or not (own_domain or host == "medium.com" or host.endswith(".medium.com")):
        return None
    if story_id := _story_id(text):
        return _Location(_without_query(text), story_id)
    parts = urlsplit(text)
    if host in ("medium.com", "www.medium.com"):
        name = parts.path.strip("/").removeprefix("feed/").partition("/")[0]
        return None if name in RESERVED else _Location(f"{HOME}/feed/{name}")
    return _Location(f"{parts.scheme}://{parts.netloc}/feed")


def _story_id(url: str | None) -> str | None:
    """The hex digits at the end of a story's URL."""
    found = _ID.search(url or "")
    return found[1] if found else None


def _without_query(url: str) -> str:
    return urlunsplit(urlsplit(url)._replace(query="", fragment=""))


def _moved(url: str, home: str | None) -> str:
    """The same path on another host, such as a mirror."""
    parts = urlsplit(url)
    return f"{home.rstrip('/')}{parts.path}" if home else url


def _story(url: str, story_id: str, http: WebClient) -> Item:
    try:
        response = http.get(url)
        refuse_access_wall(response)
        page = extract_page(response.text, response.url)
        if page is None:
            raise BadItem(f"{url} has no main text (got {response.described()})")
    except BadItem as error:
        raise BadSource(f"{error}: nothing is taken as deleted; {USE_THE_ARCHIVE}") from error
    return Item(
        external_id=story_id,
        content=page.text,
        category=Category.ARTICLE,
        url=_without_query(page.url if page.url and host_of(page.url) else url),
        title=_TITLE_TAIL.sub("", page.title) if page.title else None,
        language=page.language,
        published_at=page.published_at,
    )


def _feed(url: str, source: Source, http: WebClient) -> Iterator[Event]:
    entries, others = by_author(_entries(url, http), source.options.get("author"), url)
    for entry in entries:
        story_id = _story_id(entry.name) or _story_id(entry.url)
        if story_id is None:
            yield Failed(entry.name or url, "has no story id at the end of its URL: Medium has changed its feeds")
            continue
        try:
            item = _entry_item(entry, story_id)
        except BadItem as error:
            yield Failed(story_id, f"{entry.title or entry.url} {error}")
        else:
            yield _event(item, source)
    for entry in others:
        yield Skipped(entry.url or entry.name, f"is by {entry.author or 'an unnamed author'}")


def _entries(url: str, http: WebClient) -> list[FeedEntry]:
    try:
        response = http.get(url)
        entries = read_feed(response)
        if not entries:
            raise BadItem(_why_empty(response))
    except BadItem as error:
        raise BadSource(f"{error}: nothing is taken as deleted; correct the name, or {USE_THE_ARCHIVE}") from error
    return entries


def _why_empty(response: Response) -> str:
    refuse_access_wall(response)
    return f"feed {response.url} has no stories (got {response.described()})"


def _entry_item(entry: FeedEntry, story_id: str) -> Item:
    if not entry.is_whole or "medium-feed-snippet" in entry.html:
        raise BadItem(f"is for members only, and the feed has only its beginning: {USE_THE_ARCHIVE}")
    body = parse_html(entry.html)
    is_response = not entry.tags and _is_response(body, entry.title or "")
    return Item(
        external_id=story_id,
        content=_prose(body, entry.title or ""),
        category=Category.POST if is_response else Category.ARTICLE,
        url=_without_query(entry.url) if entry.url else f"{HOME}/p/{story_id}",
        title=None if is_response else entry.title,
        content_type="text/html",
        published_at=entry.published_at,
        updated_at=entry.updated_at,
        metadata={"author": entry.author, "tags": list(entry.tags), "response": is_response},
    )


def _archived(html: str, story_id: str, is_draft: bool) -> Item:
    page = parse_html(html)
    # The body has a nested section per divider: stopping at the first end of a section would lose the rest.
    body = next(iter(page.find_class("e-content")), None)
    if body is None:
        raise BadItem("has no section e-content: Medium has changed its archives")
    title = _first(page, "p-name")
    is_response = not is_draft and not _first(page, "p-summary") and _is_response(body, title)
    canonical = next((link.get("href") for link in page.find_class("p-canonical")), None)
    time = next((time.get("datetime") for time in page.find_class("dt-published")), None)
    return Item(
        external_id=story_id,
        content=_prose(body, title),
        category=Category.POST if is_response else Category.ARTICLE,
        url=_without_query(canonical) if canonical and host_of(canonical) else f"{HOME}/p/{story_id}",
        title=None if is_response else title or None,
        content_type="text/html",
        visibility="private" if is_draft else "public",
        published_at=None if is_draft else parse_date(time),
        metadata={"author": _first(page, "p-author"), "response": is_response, "draft": is_draft},
    )


def _event(item: Item, source: Source) -> Event:
    if not item.content:
        return Skipped(item.url or item.external_id, "has no text of its own")
    if item.metadata["response"] and not wants(source, "responses"):
        return Skipped(
            item.url or item.external_id, "answers somebody's story; --option responses=yes takes it as a post"
        )
    return Found(item)


def _first(page: "HtmlElement", name: str) -> str:
    return next((plain_text(element) for element in page.find_class(name)), "")


def _is_response(body: "HtmlElement", title: str) -> bool:
    """True if a piece answers somebody: it is short, has no heading, and its title is how its text begins."""
    first = next(
        (element for element in body.iter("p", "blockquote", "pre", "li", *HEADINGS) if plain_text(element)), None
    )
    if first is None or first.tag in HEADINGS or body.find_class("graf--title"):
        return False
    text = plain_text(body)
    return len(text.split()) <= LONG_RESPONSE_WORDS and _letters(text).startswith(_letters(title.rstrip("…. ")))


def _letters(text: str) -> str:
    return "".join(text.split()).casefold()


def _prose(body: "HtmlElement", title: str) -> str:
    """The body's HTML without what Medium adds to the author's words; empty when nothing is left."""
    unwrap_code_figures(body)
    remove(body, tags=FURNITURE_TAGS, classes=FURNITURE_CLASSES)
    remove(body, elements=[*_repeated_title(body, title), *_syndication_note(body)])
    return inner_html(body) if plain_text(body) else ""


def _repeated_title(body: "HtmlElement", title: str) -> "list[HtmlElement]":
    first = next((element for element in body.iter("p", *HEADINGS) if plain_text(element)), None)
    is_title = first is not None and first.tag in HEADINGS and _letters(plain_text(first)) == _letters(title)
    return [first] if first is not None and is_title else []


def _syndication_note(body: "HtmlElement") -> "list[HtmlElement]":
    """The final "TITLE was originally published in PUBLICATION on Medium, where people …" and the rule above it."""
    notes = [element for element in body.iter("p") if _SYNDICATED.search(plain_text(element))][-1:]
    lines = [line for note in notes if (line := note.getprevious()) is not None and line.tag == "hr"]
    return notes + lines
