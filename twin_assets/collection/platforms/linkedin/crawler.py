"""LinkedIn: a member's own posts, articles and comments, from the Member Data Portability API or the member's archive.

Nothing is scraped. The change log is read each time; the snapshots, which LinkedIn rarely refreshes, once a week. They
lag by weeks, so the change log takes precedence over them, and they are never a complete listing of today: an item is
gone when the change log calls it deleted, or when an earlier snapshot contained it and a later one does not.

A post without a visibility, as in old archives, counts as public, as posts are unless their author chooses otherwise.
"""

import re
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

from twin_assets.collection.events import Checkpoint, Event, Failed, Found, Gone, Item, ListingComplete, Skipped
from twin_assets.collection.platforms.linkedin import api as linkedin_api
from twin_assets.collection.platforms.linkedin import export
from twin_assets.collection.platforms.linkedin.api import MemberApi
from twin_assets.collection.platforms.linkedin.change_log import ChangeLog, Logged
from twin_assets.collection.platforms.linkedin.export import Row, moment, post_urn, unwrapped
from twin_assets.collection.registry import register, wants
from twin_assets.content.archives import Archive
from twin_assets.content.web import WebClient, host_of
from twin_assets.documents import Category, Source, digest, utcnow
from twin_assets.errors import BadInput, BadItem, BadSource
from twin_assets.settings import Settings, secret

SNAPSHOT_EVERY = timedelta(days=7)
CHANGES_KEPT = timedelta(days=28)
GENERATED_WITHIN = timedelta(days=2)
"""LinkedIn takes up to a day to make a new member's data; what is missing after two does not exist."""
MAX_REMEMBERED = 1_000
"""The state keeps at most this many names of deleted items, and as many of comments."""

SHARES, ARTICLES, COMMENTS = "MEMBER_SHARE_INFO", "ARTICLES", "ALL_COMMENTS"
PUBLIC = frozenset({"", "PUBLIC", "MEMBER_NETWORK"})

_ONLY_LINKS = re.compile(r"(?:(?:https?://|www\.|lnkd\.in/)\S+(?:\s+|$))+")
_CSV = re.compile(r"([A-Za-z][A-Za-z_ ]*?)(_\d+)?\.csv")
_ARTICLE = re.compile(r"Articles/.+\.html?", re.IGNORECASE)
_OF_A_MEMBER = frozenset(
    {"Shares", "Comments", "Reactions", "Profile", "Positions", "Connections", "Registration", "Rich_Media",
     "Rich Media", "Invitations", "Email Addresses", "InstantReposts", "Ad_Targeting", "Logins", "messages"}
)  # fmt: skip
_OF_THE_WHOLE_ACCOUNT = frozenset({"Profile", "Registration", "Logins"})
"""Files that only the larger archive has together: what it lacks, the account lacks."""


@register
class LinkedInCrawler:
    """Reads the API if there is a token, and archives."""

    platform: ClassVar[str] = "linkedin"
    accepted: ClassVar[str] = (
        "`api` or https://www.linkedin.com/in/… with a token of the Member Data Portability API, or the archive of "
        "your data"
    )
    options: ClassVar[Mapping[str, str]] = {
        "comments": "yes takes what you wrote under other people's posts too",
        "version": f"LinkedIn-Version, {linkedin_api.VERSION} without it",
        "api": "base URL of the API",
    }
    archive_steps: ClassVar[str] = (
        "On linkedin.com: Me, Settings & Privacy, Data privacy, Get a copy of your data, choose the larger data "
        "archive, Request archive. LinkedIn mails a link to it within about 24 hours (the part that comes within "
        "minutes has no posts); drop the zip as it is into the inbox"
    )

    def accepts(self, where: str) -> bool:
        """True for `api`, or the URL of a member's profile."""
        host = host_of(where) or ""
        is_linkedin = host == "linkedin.com" or host.endswith(".linkedin.com")
        return where == "api" or (is_linkedin and urlsplit(where).path.startswith("/in/"))

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """Read the change log, then the snapshots that are due."""
        api = MemberApi(
            http,
            _token(source),
            source.options.get("api", linkedin_api.BASE),
            source.options.get("version", linkedin_api.VERSION),
        )
        due = [domain for domain in _domains(source) if _is_due(state, domain)]
        # A lagging snapshot must not undo later edits, so the whole log is read before one.
        is_refreshed = bool(set(due) - {ARTICLES})
        last = {} if is_refreshed else state
        log = ChangeLog(last.get("after_ms", 0), tuple(last.get("seen", ())))
        for change in api.changes(max(log.after_ms, _epoch_ms(utcnow() - CHANGES_KEPT))):
            log.take(change)
        names = dict(state.get("comments", {}))
        events = _logged_events(log, names, with_comments=wants(source, "comments"))
        if is_refreshed:  # the snapshot has in full what the log has only in part
            events = {name: event for name, event in events.items() if not isinstance(event, Failed)}
        yield from events.values()
        deleted = [*state.get("deleted", []), *(name for name, event in events.items() if isinstance(event, Gone))]
        state = state | {
            "after_ms": log.after_ms,
            "seen": list(log.seen),
            "comments": dict(list(names.items())[-MAX_REMEMBERED:]),
            "deleted": list(dict.fromkeys(deleted))[-MAX_REMEMBERED:],
        }
        yield Checkpoint(state)
        for domain in due:
            state = yield from _snapshot(api, domain, state, events)

    def recognises(self, names: Collection[str]) -> bool:
        """Recognise it by two of LinkedIn's files, or by the posts beside nothing but tables and articles."""
        kinds = {kind for name in names if (kind := _kind(name)) in _OF_A_MEMBER}
        return len(kinds) >= 2 or ("Shares" in kinds and all(_kind(name) for name in names))

    def needs_archives(self, source: Source) -> bool:
        """True without a token: the API is closed outside the EEA and Switzerland."""
        return source.token_env is None

    def import_archive(self, source: Source, archive: Archive) -> Iterator[Event]:
        """Read posts, articles and, if wanted, comments; files with other people's data are not opened."""
        kinds = {_kind(name) for name in archive.names}
        if not kinds & {"Shares", "Articles"}:
            raise BadSource(
                f"{archive.path.name} is the first part of LinkedIn's archive, which has no posts: wait for the "
                f"mail with the complete one. {self.archive_steps}"
            )
        is_whole = "Shares" in kinds and ("Articles" in kinds or kinds >= _OF_THE_WHOLE_ACCOUNT)
        if wants(source, "comments"):
            is_whole = is_whole and ("Comments" in kinds or kinds >= _OF_THE_WHOLE_ACCOUNT)
        found = 0
        for event in _archived(archive, with_comments=wants(source, "comments")):
            found += isinstance(event, Found)
            is_whole = is_whole and not (isinstance(event, Failed) and event.item in archive.names)
            yield event
        if is_whole and found:
            yield ListingComplete()


def _token(source: Source) -> str:
    if source.token_env is None:
        raise BadSource(f"{source.where} needs a token, in an environment variable that the source names: "
                        f"{linkedin_api.ACCESS_STEPS}")  # fmt: skip
    try:
        return secret(source.token_env)
    except BadInput as error:
        raise BadSource(f"{error}; {linkedin_api.ACCESS_STEPS}") from error


def _domains(source: Source) -> list[str]:
    return [SHARES, ARTICLES, *([COMMENTS] if wants(source, "comments") else [])]


def _is_due(state: dict[str, Any], domain: str) -> bool:
    taken = state.get("snapshots", {}).get(domain)
    return taken is None or utcnow() - datetime.fromisoformat(taken["at"]) >= SNAPSHOT_EVERY


def _epoch_ms(time: datetime) -> int:
    return int(time.timestamp() * 1_000)


def _snapshot(
    api: MemberApi, domain: str, state: dict[str, Any], logged: dict[str, Event]
) -> Generator[Event, None, dict[str, Any]]:
    """One domain's items that are not in the change log, and those that are gone; returns the new state."""
    snapshots, deleted = state.get("snapshots", {}), set(state["deleted"])
    names: dict[str, None] = {}
    is_empty = True
    for row in api.snapshot(domain):
        is_empty = False
        event = _EVENT_OF_ROW[domain](row)
        name = event.item.external_id if isinstance(event, Found) else event.item
        if name in deleted and not isinstance(logged.get(name), Found):
            continue
        if not isinstance(event, Skipped):
            names[name] = None
        if name not in logged:
            yield event
    if is_empty:
        yield _nothing_there(api, domain)
        return state
    before = snapshots.get(domain, {}).get("ids", [])
    yield from (Gone(name) for name in before if name not in names and name not in logged)
    state = state | {"snapshots": snapshots | {domain: {"at": utcnow().isoformat(), "ids": list(names)}}}
    yield Checkpoint(state)
    return state


def _nothing_there(api: MemberApi, domain: str) -> Failed | Skipped:
    since = api.generated_since
    if since and utcnow() - since > GENERATED_WITHIN:
        return Skipped(domain, "LinkedIn has no data of yours here, at least today: nothing is taken as deleted")
    begun = f"since {since:%Y-%m-%d %H:%M} UTC" if since else "now that it was asked to"
    return Failed(
        domain,
        f"LinkedIn is making this listing {begun}, which takes up to a day: collect again then; nothing is taken as "
        "deleted",
    )


def _logged_events(log: ChangeLog, comment_names: dict[str, str], *, with_comments: bool) -> dict[str, Event]:
    """Events by external id. comment_names: LinkedIn's number of a comment -> its external id; new ones are added.

    Only the log contains a comment's number; snapshots and archives contain its time, to the second.
    """
    events: dict[str, Event] = {}
    for logged in log.logged.values():
        name = logged.number
        if logged.kind == "comment":
            if not with_comments:
                continue
            if logged.is_new:
                comment_names[name] = _name("comment", logged.published_at, name)
            name = comment_names.get(name, name)
        events[name] = _logged_event(name, logged, is_known=logged.kind == "post" or logged.number in comment_names)
    return events


def _logged_event(name: str, logged: Logged, *, is_known: bool) -> Event:
    if not is_known:
        return Skipped(name, "is an older comment that was edited or deleted: the next snapshot will show it")
    if logged.is_deleted:
        return Gone(name)
    url = logged.urn.url if logged.urn else None
    if logged.kind == "comment":
        return _comment(name, url, logged.text, logged.published_at, logged.edited_at)
    if logged.is_companys:
        return Skipped(name, "was posted in a company's name")
    if logged.visibility is None and not logged.is_new:
        return Failed(
            name, "was edited, and the change log has only a part of it: the next snapshot will have all of it"
        )
    about = {"reshared": logged.reshared} if logged.reshared else {}
    return _post(name, url, logged.text, logged.visibility or "", logged.published_at, about, logged.edited_at)


def _share_row(row: Row) -> Found | Failed | Skipped:
    link, text = row.get("sharelink", ""), unwrapped(row.get("sharecommentary", ""))
    urn, published_at = post_urn(link), moment(row.get("date", ""))
    name = urn.number if urn else link or _name("post", published_at, text)
    if export.SURPLUS in row:
        return _broken(name)
    return _post(
        name,
        urn.url if urn else link or None,
        text,
        row.get("visibility", ""),
        published_at,
        {"shared": row["sharedurl"]} if row.get("sharedurl") else {},
    )


def _post(
    name: str,
    url: str | None,
    text: str,
    visibility: str,
    published_at: datetime | None,
    about: dict[str, str],
    updated_at: datetime | None = None,
) -> Found | Skipped:
    if not text.strip():
        return Skipped(name, "is a bare repost or picture: it has no words of yours")
    if _ONLY_LINKS.fullmatch(text.strip()):
        return Skipped(name, "is a link alone: it has no words of yours")
    return Found(
        Item(
            external_id=name,
            content=text.strip(),
            category=Category.POST,
            url=url,
            content_type="text/plain",
            visibility="public" if visibility.upper() in PUBLIC else "private",
            published_at=published_at,
            updated_at=updated_at,
            metadata={"kind": "post", "visibility": visibility} | about,
        )
    )


def _comment_row(row: Row) -> Found | Failed | Skipped:
    link, text, published_at = row.get("link", ""), row.get("message", ""), moment(row.get("date", ""))
    name = _name("comment", published_at, f"{link} {text}")
    if export.SURPLUS in row:
        return _broken(name)
    urn = post_urn(link)
    return _comment(name, urn.url if urn else link or None, text, published_at)


def _comment(
    name: str, url: str | None, text: str, published_at: datetime | None, updated_at: datetime | None = None
) -> Found | Skipped:
    if not text.strip():
        return Skipped(name, "is a comment without words")
    return Found(
        Item(
            external_id=name,
            content=text.strip(),
            category=Category.POST,
            url=url,
            content_type="text/plain",
            published_at=published_at,
            updated_at=updated_at,
            metadata={"kind": "comment", "reply_to": url},
        )
    )


def _name(kind: str, published_at: datetime | None, text: str) -> str:
    """An external id for an item that has none in LinkedIn's data: nobody writes two in one second."""
    return f"{kind}-{published_at:%Y%m%dT%H%M%S}" if published_at else f"{kind}-{digest(text, 16)}"


def _broken(name: str) -> Failed:
    return Failed(
        name, "has more cells than its table has columns, since its quotes are broken: ask LinkedIn for a new archive"
    )


def _article_row(row: Row) -> Found | Failed | Skipped:
    name = row.get("title") or row.get("articletitle") or "an article"
    try:
        article = export.article_of_row(row)
    except BadItem as error:
        return Failed(name, str(error))
    if article is None:
        return Skipped(name, "comes without its text from the API: import the archive, which has it")
    return Found(_article(article))


def _article(article: export.Article) -> Item:
    return Item(
        external_id=article.slug or f"article-{digest(article.content, 16)}",
        content=article.content,
        category=Category.ARTICLE,
        url=article.url,
        title=article.title,
        content_type=article.content_type,
        visibility="private" if article.is_draft else "public",
        published_at=article.published_at,
        metadata={"kind": "article"},
    )


_EVENT_OF_ROW: dict[str, Callable[[Row], Found | Failed | Skipped]] = {
    SHARES: _share_row,
    ARTICLES: _article_row,
    COMMENTS: _comment_row,
}


def _kind(name: str) -> str | None:
    """Which of LinkedIn's files this is, without the member's number that some exports append."""
    if _ARTICLE.fullmatch(name):
        return "Articles"
    found = _CSV.fullmatch(name)
    return found[1] if found else None


def _archived(archive: Archive, *, with_comments: bool) -> Iterator[Found | Failed | Skipped]:
    limit = Settings().max_document_bytes
    for name in archive.names:
        kind = _kind(name)
        try:
            if kind == "Shares":
                yield from map(_share_row, export.rows(archive.text(name, limit), "sharecommentary"))
            elif kind == "Comments" and with_comments:
                comments = export.rows(archive.text(name, limit), "message", backslashes=True)
                yield from map(_comment_row, comments)
            elif kind == "Articles":
                yield Found(_article(export.read_article(archive.text(name, limit), name)))
        except BadItem as error:
            yield Failed(export.slug_of_file(name) if kind == "Articles" else name, str(error))
