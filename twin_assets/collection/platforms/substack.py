"""Substack: a publication's archive by the endpoint that its own pages use, its feed, or the export of its owner.

The endpoints are undocumented and may change any day; the feed of the newest posts is then read instead, and that is
said. A post goes by its slug in every way in, the one name that the feed has too; a draft, whose slug comes with its
publication, by its number. What the archive listed once and lists no more is gone, and nothing else: it never listed
the drafts that come by export. See: https://support.substack.com/hc/en-us/articles/360037466012 (export).
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
    LeftOut,
    ListingComplete,
    Unchanged,
)
from twin_assets.collection.places import INBOX
from twin_assets.collection.registry import register
from twin_assets.content.access_walls import refuse_walls
from twin_assets.content.archives import Archive
from twin_assets.content.extraction import parse_date
from twin_assets.content.feeds import (
    FeedEntry,
    by_author,
    inner_html,
    parse_html,
    plain_text,
    read_feed,
    remove,
    xml_text,
)
from twin_assets.content.web import Answer, StatusError, WebClient, host_of
from twin_assets.documents import Category, Source, digest
from twin_assets.errors import BadItem, BadSource
from twin_assets.settings import Settings

if TYPE_CHECKING:
    from lxml.html import HtmlElement

HOST = ".substack.com"
OWN_DOMAIN = "substack:"
"""Written before the URL of a publication on a domain of its own, which does not show that it is Substack's."""
RESERVED = frozenset({"api", "email", "on", "open", "reader", "support", "www"})
PAGES = frozenset({"", "/", "/archive", "/feed", "/about", "/api/v1/archive"})
"""Paths that stand for the whole publication."""

PAGE = 50
MAX_POSTS = 20_000
POSTS_PER_CHECKPOINT = 20
FAILURES_IN_A_ROW = 5
"""As many posts that cannot be read, or all, mean that the endpoint has changed, and not the posts."""
WHOLE = 0.9
"""Share of its announced words that a paid post must show to be taken for whole."""

KINDS = {"newsletter": Category.ARTICLE, "thread": Category.POST}
"""What a type of post is here; a podcast's text is notes about a recording, a page is no post."""
TEASER = "is for paying subscribers and shows its beginning only: import your export, which has the whole text"
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
    """One who signs a post."""

    id: Number | None = None
    name: Text = ""
    handle: Text | None = None

    @property
    def key(self) -> str:
        """What stays when the writer takes another name."""
        return str(self.id or self.name.casefold())

    def is_called(self, name: str) -> bool:
        """Whether this is the writer's name or handle."""
        return bool(name) and name.casefold().removeprefix("@") in (
            self.name.casefold(),
            (self.handle or "").casefold(),
        )


class Tag(BaseModel):
    """A post's tag."""

    name: Text = ""


class Post(BaseModel):
    """A post as the archive lists it, and with `body_html` as it is given alone."""

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
        """Of all that the listing says about the post's content."""
        return digest(self.model_dump(exclude={"bylines", "body_html"}), 16)

    @property
    def writers(self) -> str:
        """The names under the post."""
        return " and ".join(byline.name for byline in self.bylines or ())


_LISTING = TypeAdapter(list[Post])


class _Changed(Exception):
    """An endpoint that is gone, or answers something else than it did."""


class _Skipped(Exception):
    """A post that is there and of which there is nothing to take."""


@dataclass
class _Progress:
    """What the crawls so far came to: slug -> fingerprint of posts that were read, or of those skipped and why."""

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
    """Reads the archive that the publication shows to everybody, the feed where that is gone, and the export."""

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
        """A publication's URL on substack.com, or one that is said to be Substack's."""
        return _publication(where) is not None

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """The archive's posts; the feed's when the archive cannot be read any more."""
        home = source.options.get("api") or _publication(source.where)
        if home is None:
            raise BadSource(f"{source.where} is no publication on Substack: give {self.accepted}")
        progress = _Progress.of(state)
        try:
            posts, is_complete = _list_posts(home, http)
            yield from _archive(home, posts, is_complete, source, progress, http)
        except _Changed as error:
            yield Failed(f"{home}/archive", f"{error}: its feed's newest posts are read instead, without what is gone")
            yield from _feed(home, source, progress, http)

    def recognises(self, names: Collection[str]) -> bool:
        """By posts.csv and a post's file, a number and a slug."""
        return "posts.csv" in names and any(_POST_FILE.fullmatch(name) for name in names)

    def needs_archives(self, source: Source) -> bool:
        """Not when the publication is read live: what it gives to everyone has no end in the past."""
        return not self.accepts(source.where)

    def import_archive(self, source: Source, archive: Archive) -> Iterator[Event]:
        """Every post of the publication, drafts and paid ones too."""
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
    """The publication's home; None for what is not surely on Substack."""
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
    """What the archive lists, and whether that is all. Each page begins with the last post of the one before it.

    Without that, a post that is deleted between two requests moves another one across the border between their pages,
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
        raise BadSource(f"{home} lists no posts: nothing is taken as deleted; mend the URL if the publication moved")
    return list(posts.values()), is_complete


def _page(home: str, offset: int, http: WebClient) -> list[Post]:
    url = f"{home}/api/v1/archive?sort=new&search=&offset={offset}&limit={PAGE}"
    try:
        return _LISTING.validate_python(_json(http.api(url)))
    except ValidationError as error:
        raise _Changed(f"{url} answered something else than posts") from error
    except StatusError as error:
        if error.status >= 500 or error.status == 429:
            raise BadSource(f"{error}: nothing is taken as deleted") from error
        raise _Changed(str(error)) from error
    except BadItem as error:
        raise BadSource(f"{error}: nothing is taken as deleted; mend the URL if the publication moved") from error


def _json(answer: Answer) -> Any:
    """An answer's JSON; None, which no model takes, for anything else."""
    try:
        return json.loads(answer.text)
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
            # An export does not say who wrote what, and may have brought it.
            yield Gone(post.slug)
            progress.forget(post.slug)
            yield LeftOut(post.canonical_url or post.slug, reason)
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
    """Whose posts to take: whom the option names, else who signed all of them when they were first listed."""
    bylines = {byline.key: byline for post in posts for byline in post.bylines or ()}
    names = ", ".join(sorted(byline.name for byline in bylines.values())[:10]) or "nobody"
    named, known = source.options.get("author"), progress.author
    if named:
        found = [byline for byline in bylines.values() if byline.is_called(named)]
    elif known:
        found = [byline for byline in bylines.values() if byline.key == known["key"] or byline.is_called(known["name"])]
    else:
        if len(bylines) > 1:
            raise BadSource(f"{source.where} is written by {names}: say whose posts to take, --option author=NAME")
        found = list(bylines.values())
    if not found and (named or (known and bylines)):
        missing = named or (known or {}).get("name")
        raise BadSource(f"{source.where} has no post by {missing} (it names {names}): mend --option author=NAME")
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
        except _Skipped as error:
            progress.forget(post.slug)
            progress.skipped[post.slug] = [post.fingerprint, str(error)]
            yield from _skipped(post, str(error))
        except BadItem as error:
            if isinstance(error, StatusError) and error.status == 429:
                yield progress.checkpoint()
                raise BadSource(f"{error}: collect again later, and it goes on with this post") from error
            failures.append(Failed(post.slug, str(error)))
            if len(failures) == min(FAILURES_IN_A_ROW, len(posts)):
                yield progress.checkpoint()
                raise _Changed(f"no post can be read any more, as {error}") from error
            continue
        else:
            progress.forget(post.slug)
            progress.read[post.slug] = post.fingerprint
            # As a draft, an export named it so.
            yield Gone(str(post.id))
            yield Found(item)
        yield from failures
        failures = []
        if number % POSTS_PER_CHECKPOINT == 0:
            yield progress.checkpoint()
    yield from failures
    yield progress.checkpoint()


def _skipped(post: Post, reason: str) -> Iterator[Event]:
    """Left out, but there: what an export brought of it is not gone."""
    yield Unchanged((post.slug,))
    yield LeftOut(post.canonical_url or post.slug, reason)


def _read(home: str, listed: Post, http: WebClient) -> Item:
    """The whole post. Raises _Skipped for a teaser and what has no text, BadItem for what cannot be read."""
    url = f"{home}/api/v1/posts/{quote(listed.slug, safe='')}"
    try:
        post = Post.model_validate(_json(http.api(url)))
    except ValidationError as error:
        raise BadItem(f"{url} answered something else than a post") from error
    body = parse_html(post.body_html or "")
    audience = post.audience or listed.audience or "everyone"
    announced = post.wordcount or listed.wordcount
    if audience != "everyone" and not (announced and len(plain_text(body).split()) >= WHOLE * announced):
        raise _Skipped(TEASER)
    if not (content := _prose(body)):
        raise _Skipped(TEXTLESS)
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
        except _Skipped as error:
            yield Unchanged((slug[1],))
            yield LeftOut(entry.url or slug[1], str(error))
    for entry in others:
        yield LeftOut(entry.url or entry.name, f"is by {entry.author or 'nobody who is named'}")


def _entries(url: str, http: WebClient) -> list[FeedEntry]:
    try:
        answer = http.get(url)
        entries = read_feed(answer)
        if not entries:
            refuse_walls(answer)
            raise BadItem(f"feed {url} has no posts (got {answer.described()})")
    except BadItem as error:
        raise BadSource(f"{error}: nothing is taken as deleted; import your export instead") from error
    return entries


def _entry_item(entry: FeedEntry, slug: str) -> Item:
    if any(media.startswith(("audio/", "video/")) for media in entry.media_types):
        raise _Skipped("is a podcast, no text to read")
    body = parse_html(entry.html)
    content = _prose(body)
    if not entry.is_whole or _ends_with_read_more(body, slug):
        raise _Skipped(TEASER)
    if not content:
        raise _Skipped(TEXTLESS)
    return Item(
        external_id=slug,
        content=content,
        category=Category.ARTICLE,
        url=urlunsplit(urlsplit(entry.url)._replace(query="", fragment="")) if entry.url else None,
        title=entry.title,
        content_type="text/html",
        published_at=entry.published_at,
        metadata={"tags": list(entry.tags)},
    )


def _ends_with_read_more(body: "HtmlElement", slug: str) -> bool:
    """Whether the last thing is a link to the post itself, as the feed puts it under a teaser and nowhere else."""
    last = next((element for element in reversed(list(body.iter("p"))) if plain_text(element)), None)
    links = [link for link in last.iter("a") if plain_text(link) == plain_text(last)] if last is not None else []
    return any((found := _SLUG.search(link.get("href") or "")) and found[1] == slug for link in links)


def _exported_publication(source: Source, archive: Archive) -> str | None:
    """The home of the publication that the export is of, as far as it can be told. Raises BadSource for another one."""
    home, name = _publication(source.where), _exported_name(archive)
    if home and name and (host_of(home) or "").endswith(HOST) and host_of(home) != f"{name}{HOST}":
        raise BadSource(
            f"{archive.path.name} is the export of {name}{HOST}, and the source is {source.where}: "
            f"add https://{name}{HOST} as a source of its own, or give the export's path as one"
        )
    return home or (f"https://{name}{HOST}" if name else None)


def _exported_name(archive: Archive) -> str | None:
    """The publication's name, which an export with its list of subscribers holds and one without does not."""
    return next((found[1] for name in archive.names if (found := _SUBSCRIBERS.fullmatch(name))), None)


def _is_complete(source: Source, archive: Archive) -> bool:
    """Whether the source can hold nothing that this export lacks: it is the export, or surely of the same publication.

    The inbox takes the exports of several publications, and none of them lists the others' posts.
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
        yield Failed(row["post_id"], "is no post's number and slug: Substack has changed its exports")
        return
    if kind not in KINDS:
        yield LeftOut(row["post_id"], f"is a {kind}, no text to read")
        return
    file = f"posts/{row['post_id']}.html"
    if file not in archive.names:
        missing = f"has no {file} in the export"
        yield LeftOut(row["post_id"], f"is a draft and {missing}") if is_draft else Failed(name, missing)
        return
    try:
        content = _prose(parse_html(archive.text(file, Settings().max_document_bytes)))
    except BadItem as error:
        yield Failed(name, f"{file} {error}")
        return
    if not content:
        yield LeftOut(row["post_id"], TEXTLESS)
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
    """The body's HTML without what Substack adds to the author's words; empty when nothing is left."""
    for mention in body.find_class("mention-wrap"):
        mention.text = mention.text or _mentioned(mention.attrib.pop("data-attrs", None))
    remove(body, tags=FURNITURE_TAGS, classes=FURNITURE_CLASSES)
    return inner_html(body) if plain_text(body) else ""


def _mentioned(attributes: str | None) -> str:
    """The name that a mention shows, which stands in its attributes only: without it the sentence has a hole."""
    try:
        return Byline.model_validate_json(attributes or "{}").name
    except ValidationError:
        return ""
