"""Substack: a publication's archive through the endpoint that its own pages use, its feed, or its owner's export.

The endpoints are undocumented and may change any day; then the feed of the newest posts is read instead, and the report
says so. A post is always identified by its slug, the only name that the feed has too; a draft, which gets its slug when
it is published, by its number. A post is gone when the archive once listed it and no longer does: the archive never
listed the drafts that come by export. See: https://support.substack.com/hc/en-us/articles/360037466012 (export).
"""

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from twin_assets.collection.events import (
    Checkpoint,
    Event,
    Failed,
    Found,
    Gone,
    Item,
    ListingComplete,
    Skipped,
    Unchanged,
)
from twin_assets.collection.locations import INBOX
from twin_assets.collection.registry import register
from twin_assets.content.access_walls import refuse_access_wall
from twin_assets.content.archives import Archive
from twin_assets.content.feeds import (
    FeedEntry,
    by_author,
    inner_html,
    parse_html,
    plain_text,
    read_feed,
    remove,
    unwrap_code_figures,
    xml_text,
)
from twin_assets.content.metadata.dates import parse_date
from twin_assets.content.web import Response, StatusError, WebClient, host_of
from twin_assets.documents import Category, Source, digest
from twin_assets.errors import BadItem, BadSource
from twin_assets.settings import Settings

if TYPE_CHECKING:
    from lxml.html import HtmlElement

HOST = ".substack.com"
OWN_DOMAIN = "substack:"
"""The prefix for the URL of a publication on its own domain, which does not show that it is on Substack."""
RESERVED = frozenset({"api", "email", "on", "open", "reader", "support", "www"})
PAGES = frozenset({"", "/", "/archive", "/feed", "/about", "/api/v1/archive"})
"""Paths that mean the whole publication."""

PAGE = 50
MAX_POSTS = 20_000
POSTS_PER_CHECKPOINT = 20
FAILURES_IN_A_ROW = 5
"""When this many posts in a row, or all, cannot be read, the endpoint has changed rather than the posts."""
WHOLE = 0.9
"""A paid post must show this share of its announced words to count as whole."""

KINDS = {"newsletter": Category.ARTICLE, "thread": Category.POST}
"""The category of each type of post; a podcast's text is notes about a recording, and a page is not a post."""
TEASER = "is for paying subscribers and shows only its beginning: import your export, which has the whole text"
TEXTLESS = "has no text of its own"

FURNITURE_TAGS = (
    "figure",
    "figcaption",
    "form",
    "button",
    "input",
    "iframe",
    "script",
    "style",
    "img",
    "audio",
    "video",
)
FURNITURE_CLASSES = (
    "subscription-widget-wrap", "subscription-widget-wrap-editor", "subscription-widget", "subscribe-widget",
    "button-wrapper", "captioned-button-wrap", "cta-caption", "button", "directMessage", "community-chat", "poll-embed",
    "footnote-anchor", "footnote-number", "captioned-image-container", "image-caption", "image-gallery-embed",
    "embedded-post-wrap", "digest-post-embed", "embedded-publication-wrap", "embedded-publication", "comment",
    "install-substack-app-embed", "tweet", "twitter-embed", "instagram", "tiktok-wrap", "bluesky-wrap", "youtube-wrap",
    "vimeo-wrap", "spotify-wrap", "soundcloud-wrap", "apple-podcast-container", "github-gist", "datawrapper-wrap",
    "native-audio-embed", "native-video-embed", "file-embed-wrapper", "paywall", "paywall-jump", "hide-text",
)  # fmt: skip

_POST_FILE = re.compile(r"posts/\d+(\.[^/]*)?\.html")
_SUBSCRIBERS = re.compile(r"email_list\.([\w-]+)\.csv")
_NUMBER = re.compile(r"[0-9]{1,18}")
_SLUG = re.compile(r"/p/([^/?#]+)")

Text = Annotated[str, BeforeValidator(lambda value: xml_text(value) if isinstance(value, str) else value)]
Number = Annotated[int, Field(ge=0, lt=2**63)]


class Byline(BaseModel):
    """One of a post's writers."""

    id: Number | None = None
    name: Text = ""
    handle: Text | None = None

    @property
    def key(self) -> str:
        """What stays the same when the writer changes name."""
        return str(self.id or self.name.casefold())

    def is_called(self, name: str) -> bool:
        """True if this is the writer's name or handle."""
        return bool(name) and name.casefold().removeprefix("@") in (
            self.name.casefold(),
            (self.handle or "").casefold(),
        )


class Tag(BaseModel):
    """A post's tag."""

    name: Text = ""


class Post(BaseModel):
    """A post as the archive lists it, or, with `body_html`, as the endpoint for a single post gives it."""

    id: Number
    slug: Text
    type: Text | None = None
    audience: Text | None = None
    title: Text | None = None
    subtitle: Text | None = None
    post_date: Text | None = None
    updated_at: Text | None = None
    canonical_url: Text | None = None
    wordcount: float | None = None
    tags: list[Tag] | None = Field(None, alias="postTags")
    bylines: list[Byline] | None = Field(None, alias="publishedBylines")
    body_html: Text | None = None

    @property
    def fingerprint(self) -> str:
        """A digest of all that the listing says about the post's content."""
        return digest(self.model_dump(exclude={"bylines", "body_html"}), 16)

    @property
    def writers(self) -> str:
        """The names under the post."""
        return " and ".join(byline.name for byline in self.bylines or ())


_LISTING = TypeAdapter(list[Post])


class _Changed(Exception):
    """An endpoint is gone, or answers differently than it used to."""


class _NothingToTake(Exception):
    """A post exists, but has no text to take."""


@dataclass
class _Progress:
    """The crawls so far. read: slug -> fingerprint. skipped: slug -> fingerprint and reason."""

    author: dict[str, str] | None
    read: dict[str, str]
    skipped: dict[str, list[str]]

    @classmethod
    def of(cls, state: dict[str, Any]) -> "_Progress":
        return cls(state.get("author"), dict(state.get("read", {})), dict(state.get("skipped", {})))

    def checkpoint(self) -> Checkpoint:
        return Checkpoint({"author": self.author, "read": dict(self.read), "skipped": dict(self.skipped)})

    def forget(self, slug: str) -> None:
        self.read.pop(slug, None)
        self.skipped.pop(slug, None)


@register
class SubstackCrawler:
    """Reads the archive that the publication shows to everybody, the feed if there is none, and the export."""

    platform: ClassVar[str] = "substack"
    accepted: ClassVar[str] = (
        "https://NAME.substack.com, or substack:https://DOMAIN for a publication on its own domain"
    )
    options: ClassVar[Mapping[str, str]] = {
        "author": "whose posts to take where several people write, by name or handle",
        "api": "base URL of a mirror",
    }
    archive_steps: ClassVar[str] = (
        "On your publication's Substack: Dashboard, Settings, Exports (under Import / Export), Create new export; "
        "when it is ready, Download; the .zip goes into the inbox as it is."
    )

    def accepts(self, where: str) -> bool:
        """True for a publication's URL on substack.com, or one with the prefix `substack:`."""
        return _publication(where) is not None

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """Crawl the archive, or the feed when the archive can no longer be read."""
        home = source.options.get("api") or _publication(source.where)
        if home is None:
            raise BadSource(f"{source.where} is not a publication on Substack: give {self.accepted}")
        progress = _Progress.of(state)
        try:
            posts, is_complete = _list_posts(home, http)
            yield from _archive(home, posts, is_complete, source, progress, http)
        except _Changed as error:
            yield Failed(
                f"{home}/archive", f"{error}: the feed's newest posts are read instead, which do not show what is gone"
            )
            yield from _feed(home, source, progress, http)

    def recognises(self, names: Collection[str]) -> bool:
        """Recognise it by posts.csv and a post's file, named by number and slug."""
        return "posts.csv" in names and any(_POST_FILE.fullmatch(name) for name in names)

    def needs_archives(self, source: Source) -> bool:
        """False when the publication is read live: its public archive is complete."""
        return not self.accepts(source.where)

    def import_archive(self, source: Source, archive: Archive) -> Iterator[Event]:
        """Read every post of the publication, also drafts and paid posts."""
        home = _exported_publication(source, archive)
        if author := source.options.get("author"):
            raise BadSource(
                f"{archive.path.name} does not say who wrote which post, and the source takes only {author}'s: "
                "if all are theirs, add the source again without --option author"
            )
        for row in _rows(archive):
            yield from _exported(row, archive, home)
        if _is_complete(source, archive):
            yield ListingComplete()


def _publication(where: str) -> str | None:
    """The publication's home; None when it is not certain to be on Substack."""
    url = where.strip().removeprefix(OWN_DOMAIN)
    host = host_of(url)
    if host is None:
        return None
    parts = urlsplit(url)
    if not where.strip().startswith(OWN_DOMAIN):
        name = host.removesuffix(HOST)
        if name == host or not name or name in RESERVED or parts.path.removesuffix("/") not in PAGES:
            return None
    return f"{parts.scheme}://{parts.netloc}"


def _list_posts(home: str, http: WebClient) -> tuple[list[Post], bool]:
    """The posts that the archive lists, and if they are all. Each page begins with the last post of the one before.

    Otherwise a post that is deleted between two requests would move another one across the border between their pages,
    and that one would be taken as deleted too.
    """
    posts: dict[str, Post] = {}
    offset, is_complete = 0, True
    while len(posts) < MAX_POSTS:
        page = _page(home, offset, http)
        if offset and (not page or page[0].slug not in posts):
            is_complete = False
        fresh = [post for post in page if post.slug not in posts]
        if not fresh:
            break
        posts |= {post.slug: post for post in fresh}
        offset += len(page) - 1
    else:
        is_complete = False
    if not posts:
        raise BadSource(f"{home} lists no posts: nothing is taken as deleted; correct the URL if the publication moved")
    return list(posts.values()), is_complete


def _page(home: str, offset: int, http: WebClient) -> list[Post]:
    url = f"{home}/api/v1/archive?sort=new&search=&offset={offset}&limit={PAGE}"
    try:
        return _LISTING.validate_python(_json(http.api(url)))
    except ValidationError as error:
        raise _Changed(f"{url} answered with something other than posts") from error
    except StatusError as error:
        if error.status >= 500 or error.status == 429:
            raise BadSource(f"{error}: nothing is taken as deleted") from error
        raise _Changed(str(error)) from error
    except BadItem as error:
        raise BadSource(f"{error}: nothing is taken as deleted; correct the URL if the publication moved") from error


def _json(response: Response) -> Any:
    """A response's JSON; None, which no model accepts, for anything else."""
    try:
        return json.loads(response.text)
    except (ValueError, RecursionError):
        return None


def _archive(
    home: str, posts: list[Post], is_complete: bool, source: Source, progress: _Progress, http: WebClient
) -> Iterator[Event]:
    author = _author(posts, source, progress)
    progress.author = {"key": author.key, "name": author.name} if author else None
    own = {}
    for post in posts:
        if reason := _not_own(post, author):
            # An earlier export, which does not say who wrote what, may have included it.
            yield Gone(post.slug)
            progress.forget(post.slug)
            yield Skipped(post.canonical_url or post.slug, reason)
        else:
            own[post.slug] = post
    if is_complete:
        for slug in sorted((progress.read.keys() | progress.skipped.keys()) - own.keys()):
            progress.forget(slug)
            yield Gone(slug)
    unread = []
    for post in own.values():
        if progress.read.get(post.slug) == post.fingerprint:
            yield Unchanged((post.slug,))
        elif (known := progress.skipped.get(post.slug)) and known[0] == post.fingerprint:
            yield from _skipped(post, known[1])
        else:
            unread.append(post)
    yield progress.checkpoint()
    yield from _read_all(home, unread, progress, http)


def _author(posts: list[Post], source: Source, progress: _Progress) -> Byline | None:
    """Whose posts to take: the writer that the option names, or else the one who wrote all of them at first."""
    bylines = {byline.key: byline for post in posts for byline in post.bylines or ()}
    names = ", ".join(sorted(byline.name for byline in bylines.values())[:10]) or "nobody"
    named, known = source.options.get("author"), progress.author
    if named:
        found = [byline for byline in bylines.values() if byline.is_called(named)]
    elif known:
        found = [byline for byline in bylines.values() if byline.key == known["key"] or byline.is_called(known["name"])]
    else:
        if len(bylines) > 1:
            raise BadSource(f"{source.where} is written by {names}: choose one, --option author=NAME")
        found = list(bylines.values())
    if not found and (named or (known and bylines)):
        missing = named or (known or {}).get("name")
        raise BadSource(f"{source.where} has no post by {missing} (its writers are {names}): set --option author=NAME")
    return next(iter(found), None)


def _not_own(post: Post, author: Byline | None) -> str | None:
    if (post.type or "newsletter") not in KINDS:
        return f"is a {post.type}, no text to read"
    if author and any(byline.key != author.key for byline in post.bylines or ()):
        return f"is by {post.writers}"
    return None


def _read_all(home: str, posts: list[Post], progress: _Progress, http: WebClient) -> Iterator[Event]:
    failures: list[Failed] = []
    for number, post in enumerate(posts, 1):
        try:
            item = _read(home, post, http)
        except _NothingToTake as error:
            progress.forget(post.slug)
            progress.skipped[post.slug] = [post.fingerprint, str(error)]
            yield from _skipped(post, str(error))
        except BadItem as error:
            if isinstance(error, StatusError) and error.status == 429:
                yield progress.checkpoint()
                raise BadSource(f"{error}: collect again later, and the crawl continues with this post") from error
            failures.append(Failed(post.slug, str(error)))
            if len(failures) == min(FAILURES_IN_A_ROW, len(posts)):
                yield progress.checkpoint()
                raise _Changed(f"posts can no longer be read, such as: {error}") from error
            continue
        else:
            progress.forget(post.slug)
            progress.read[post.slug] = post.fingerprint
            # As a draft, an export identified it by its number.
            yield Gone(str(post.id))
            yield Found(item)
        yield from failures
        failures = []
        if number % POSTS_PER_CHECKPOINT == 0:
            yield progress.checkpoint()
    yield from failures
    yield progress.checkpoint()


def _skipped(post: Post, reason: str) -> Iterator[Event]:
    """Skip a post that exists: what an export brought of it is not gone."""
    yield Unchanged((post.slug,))
    yield Skipped(post.canonical_url or post.slug, reason)


def _read(home: str, listed: Post, http: WebClient) -> Item:
    """Read the whole post. Raises _NothingToTake for a teaser or a post without text, BadItem if it cannot be read."""
    url = f"{home}/api/v1/posts/{quote(listed.slug, safe='')}"
    try:
        post = Post.model_validate(_json(http.api(url)))
    except ValidationError as error:
        raise BadItem(f"{url} answered with something other than a post") from error
    body = parse_html(post.body_html or "")
    audience = post.audience or listed.audience or "everyone"
    announced = post.wordcount or listed.wordcount
    if audience != "everyone" and not (announced and len(plain_text(body).split()) >= WHOLE * announced):
        raise _NothingToTake(TEASER)
    if not (content := _prose(body)):
        raise _NothingToTake(TEXTLESS)
    return Item(
        external_id=listed.slug,
        content=content,
        category=KINDS[listed.type or "newsletter"],
        url=listed.canonical_url if host_of(listed.canonical_url or "") else f"{home}/p/{listed.slug}",
        title=listed.title,
        content_type="text/html",
        published_at=parse_date(listed.post_date),
        updated_at=parse_date(post.updated_at),
        metadata={
            "post_id": listed.id,
            "type": listed.type,
            "audience": audience,
            "subtitle": listed.subtitle,
            "tags": [tag.name for tag in listed.tags or () if tag.name],
        },
    )


def _feed(home: str, source: Source, progress: _Progress, http: WebClient) -> Iterator[Event]:
    author = progress.author["name"] if progress.author else source.options.get("author")
    entries, others = by_author(_entries(f"{home}/feed", http), author, f"{home}/feed")
    for entry in entries:
        slug = _SLUG.search(entry.url or entry.name)
        if slug is None:
            yield Failed(entry.name or home, "has no /p/ in its link: Substack has changed its feeds")
            continue
        try:
            yield Found(_entry_item(entry, slug[1]))
        except _NothingToTake as error:
            yield Unchanged((slug[1],))
            yield Skipped(entry.url or slug[1], str(error))
    for entry in others:
        yield Skipped(entry.url or entry.name, f"is by {entry.author or 'an unnamed author'}")


def _entries(url: str, http: WebClient) -> list[FeedEntry]:
    try:
        response = http.get(url)
        entries = read_feed(response)
        if not entries:
            refuse_access_wall(response)
            raise BadItem(f"feed {url} has no posts (got {response.described()})")
    except BadItem as error:
        raise BadSource(f"{error}: nothing is taken as deleted; import your export instead") from error
    return entries


def _entry_item(entry: FeedEntry, slug: str) -> Item:
    if any(media.startswith(("audio/", "video/")) for media in entry.media_types):
        raise _NothingToTake("is a podcast, no text to read")
    body = parse_html(entry.html)
    content = _prose(body)
    if not entry.is_whole or _ends_with_read_more(body, slug):
        raise _NothingToTake(TEASER)
    if not content:
        raise _NothingToTake(TEXTLESS)
    return Item(
        external_id=slug,
        content=content,
        category=Category.ARTICLE,
        url=urlunsplit(urlsplit(entry.url)._replace(query="", fragment="")) if entry.url else None,
        title=entry.title,
        content_type="text/html",
        published_at=entry.published_at,
        metadata={"tags": list(entry.tags)},
        notes=entry.notes,
    )


def _ends_with_read_more(body: "HtmlElement", slug: str) -> bool:
    """True if the body ends with a link to the post itself, which the feed puts only under a teaser."""
    last = next((element for element in reversed(list(body.iter("p"))) if plain_text(element)), None)
    links = [link for link in last.iter("a") if plain_text(link) == plain_text(last)] if last is not None else []
    return any((found := _SLUG.search(link.get("href") or "")) and found[1] == slug for link in links)


def _exported_publication(source: Source, archive: Archive) -> str | None:
    """The home of the export's publication, if it is known. Raises BadSource if it is not the source's."""
    home, name = _publication(source.where), _exported_name(archive)
    if home and name and (host_of(home) or "").endswith(HOST) and host_of(home) != f"{name}{HOST}":
        raise BadSource(
            f"{archive.path.name} is the export of {name}{HOST}, and the source is {source.where}: "
            f"add https://{name}{HOST} as a source of its own, or give the export's path as one"
        )
    return home or (f"https://{name}{HOST}" if name else None)


def _exported_name(archive: Archive) -> str | None:
    """The publication's name, which only an export with the list of subscribers contains."""
    return next((found[1] for name in archive.names if (found := _SUBSCRIBERS.fullmatch(name))), None)


def _is_complete(source: Source, archive: Archive) -> bool:
    """True if the source can hold nothing that this export lacks: it is the export, or of the same publication.

    The inbox takes exports of several publications, and none of them lists the others' posts.
    """
    if archive.refused or source.where == INBOX:
        return False
    home = _publication(source.where)
    return home is None or host_of(home) == f"{_exported_name(archive)}{HOST}"


def _rows(archive: Archive) -> list[dict[str, str]]:
    try:
        text = archive.text("posts.csv", Settings().max_response_bytes)
        rows = [
            {key: value or "" for key, value in row.items() if isinstance(key, str) and not isinstance(value, list)}
            for row in csv.DictReader(io.StringIO(text, newline=""))
        ]
    except (KeyError, BadItem, csv.Error) as error:
        raise BadSource(f"{archive.path.name}: posts.csv cannot be read ({error}): make the export again") from error
    if not rows or "post_id" not in rows[0]:
        raise BadSource(
            f"{archive.path.name}: posts.csv lists no posts (column post_id): Substack has changed its exports"
        )
    return rows


def _exported(row: dict[str, str], archive: Archive, home: str | None) -> Iterator[Event]:
    number, _, slug = row["post_id"].partition(".")
    is_draft = row.get("is_published", "").strip().lower() not in ("true", "1")
    name = number if is_draft or not slug else slug
    kind = row.get("type") or "newsletter"
    if not _NUMBER.fullmatch(number):
        yield Failed(row["post_id"], "is not a post's number and slug: Substack has changed its exports")
        return
    if kind not in KINDS:
        yield Skipped(row["post_id"], f"is a {kind}, no text to read")
        return
    file = f"posts/{row['post_id']}.html"
    if file not in archive.names:
        missing = f"has no {file} in the export"
        yield Skipped(row["post_id"], f"is a draft and {missing}") if is_draft else Failed(name, missing)
        return
    try:
        content = _prose(parse_html(archive.text(file, Settings().max_document_bytes)))
    except BadItem as error:
        yield Failed(name, f"{file} {error}")
        return
    if not content:
        yield Skipped(row["post_id"], TEXTLESS)
        return
    if name != number:
        yield Gone(number)
    yield Found(
        Item(
            external_id=name,
            content=content,
            category=KINDS[kind],
            url=f"{home}/p/{slug}" if home and not is_draft else None,
            title=row.get("title") or None,
            content_type="text/html",
            visibility="private" if is_draft else "public",
            published_at=None if is_draft else parse_date(row.get("post_date")),
            metadata={
                "post_id": int(number),
                "type": kind,
                "audience": row.get("audience") or "everyone",
                "subtitle": row.get("subtitle") or None,
                "draft": is_draft,
            },
        )
    )


def _prose(body: "HtmlElement") -> str:
    """The body's HTML without what Substack adds to the author's words; empty when nothing remains."""
    for mention in body.find_class("mention-wrap"):
        mention.text = mention.text or _mentioned(mention.attrib.pop("data-attrs", None))
    unwrap_code_figures(body)
    remove(body, tags=FURNITURE_TAGS, classes=FURNITURE_CLASSES)
    return inner_html(body) if plain_text(body) else ""


def _mentioned(attributes: str | None) -> str:
    """The name that a mention shows, which is only in its attributes and without which its sentence has a gap."""
    try:
        return Byline.model_validate_json(attributes or "{}").name
    except ValidationError:
        return ""
