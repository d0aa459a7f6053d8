"""X's account archive. There is no free API, so the archive is the only way in.

A thread, a chain of replies to oneself, is one document under its first tweet's id: a later archive with a longer
thread updates it. Where a thread branches, the earliest reply continues it and each other reply begins a document of
its own, since the earliest stays the earliest however many follow. Reposts are never taken; replies to others are
optional.

See: data/README.txt of any archive; https://help.x.com/en/managing-your-account/how-to-download-your-x-archive
"""

import io
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from json import JSONDecoder
from pathlib import PurePosixPath
from typing import Any, ClassVar, Literal, cast, get_args

from twin_assets.collection.events import Event, Failed, Found, Item, ListingComplete, Skipped
from twin_assets.collection.registry import register, wants
from twin_assets.content.archives import Archive
from twin_assets.content.metadata.dates import parse_date
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, Source, Visibility
from twin_assets.errors import BadItem, BadSource
from twin_assets.language.detection import language_code

MAX_FILE_BYTES = 1_000_000_000
"""The largest file that is read: X keeps years of tweets in one, so TWIN_MAX_DOCUMENT_BYTES does not apply."""
MAX_ENTRY_CHARS = 1_000_000
"""The longest entry of a file, in characters; a tweet with all its data takes a few thousand."""
READ_CHARS = 8_000_000
"""This many characters are decoded at a time, so that a file of tweets is never in memory as JSON."""
NOTE_PREFIX = 20
"""A tweet must share this many characters with a note to count as its beginning."""
NOTE_APART = timedelta(seconds=60)
"""A note and its tweet were created at most this far apart."""

_TWEETS = re.compile(r"(?P<data>data/)?(tweets?|community-tweet|(?P<circle>twitter-circle-tweet))(-part\d+)?\.js")
_MONTH = re.compile(r"(?P<data>data/)?js/tweets/\d{4}_\d{2}\.js")
_NOTES = re.compile(r"(data/)?note-tweet(-part\d+)?\.js")
_ARTICLES = re.compile(r"(data/)?(twitter-)?article\.js")
_BESIDE = frozenset(
    {"account", "account-creation-ip", "ageinfo", "direct-message", "direct-messages", "ip-audit", "manifest"}
    | {"ni-devices", "note-tweet", "personalization", "tweet-headers"}
    | {"payload_details", "tweet_index", "user_details"}
)
"""Files that an archive contains beside its tweets."""

_NEXT = re.compile(r"[\s,]*")
_SHORT_LINK = re.compile(r"https?://t\.co/\w+")
_ANY_LINK = re.compile(r"https?://\S*")
_ESCAPED = {"&amp;": "&", "&lt;": "<", "&gt;": ">"}
_ADDRESSED = re.compile(r"\A(?:@\w{1,20}[\s,:]+)*@\w{1,20}(?:[\s,:]+|\Z)", re.ASCII)
_REPOST = re.compile(r"(?:^|(?<=\s))(?:RT|MT)\s+@\w{1,20}.*", re.DOTALL)
_CITED = re.compile(r"[“\"]@\w{1,20}:\s[^”\"]*[”\"]")
_STATUS = re.compile(r"https?://(?:www\.|mobile\.)?(?:twitter|x)\.com/(\w+)(?:/web)?/status(?:es)?/(\d+)\S*", re.ASCII)
_NAME = re.compile(r"\w{1,20}", re.ASCII)

_Row = dict[str, Any]  # Any: JSON from outside; every value is checked where it is read
_Kind = Literal["own", "reply"]


@dataclass(frozen=True, slots=True)
class _Account:
    user_id: str = ""
    name: str = ""

    def url(self, tweet_id: int) -> str:
        return f"https://x.com/{self.name or 'i'}/status/{tweet_id}"


@dataclass(frozen=True, slots=True)
class _Tweet:
    """What is kept of a tweet. id: that of its newest version. first_id: that of its first version."""

    id: int
    first_id: int
    text: str
    created_at: str
    private: bool
    parent: int | None
    to_user: str
    to_name: str
    language: str | None
    tags: tuple[str, ...]
    quoted: str | None


@dataclass(frozen=True, slots=True)
class _Note:
    """The full text of a long tweet, which has an id of its own."""

    id: str
    tweet_id: int | None
    text: str
    created_at: datetime | None


@dataclass
class _Contents:
    """What the files of one archive contain, by the first id of each tweet."""

    tweets: dict[int, _Tweet] = field(default_factory=dict)
    first_ids: dict[int, int] = field(default_factory=dict)
    """The id of any version of a tweet -> the id of its first version."""
    reposts: int = 0
    complete: bool = True

    def add(self, tweet: _Tweet) -> None:
        """Add a tweet; its newest version stays, and it is private if any version is."""
        self.first_ids |= {tweet.id: tweet.first_id, tweet.first_id: tweet.first_id}
        known = self.tweets.get(tweet.first_id)
        if known is not None:
            newer = tweet if tweet.id >= known.id else known
            tweet = replace(newer, private=known.private or tweet.private)
        self.tweets[tweet.first_id] = tweet


@register
class XCrawler:
    """Reads archives of any age: `tweets.js`, `tweet.js`, their parts, and one file per month."""

    platform: ClassVar[str] = "x"
    accepted: ClassVar[str] = "X's account archive, a .zip or its folder (there is no free API)"
    options: ClassVar[Mapping[str, str]] = {
        "replies": "yes takes replies to others too",
        "visibility": "public or private, for every post",
    }
    archive_steps: ClassVar[str] = (
        "On x.com: More, Settings and privacy, Your account, Download an archive of your data; confirm your password "
        "and the code you are sent, then Request archive. After a day or more X tells you that it is ready: download "
        "the .zip from the same page."
    )

    def accepts(self, where: str) -> bool:
        """False for everything: X has no free API."""
        return False

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """Always raises BadSource: there is no free API."""
        raise BadSource(
            f"{source.where}: X has no free API, so posts come by archive only; give the archive's path. "
            f"{self.archive_steps}"
        )

    def recognises(self, names: Collection[str]) -> bool:
        """Recognise it by files of tweets, alone or with other files of X's beside them."""
        files = [match for name in names if (match := _TWEETS.fullmatch(name) or _MONTH.fullmatch(name))]
        if not files:
            return False
        if all(_TWEETS.fullmatch(name) or _MONTH.fullmatch(name) or _NOTES.fullmatch(name) for name in names):
            return True
        beside = {PurePosixPath(name).stem for name in names if _lies_beside(name)} & _BESIDE
        return len(beside) >= (1 if files[0]["data"] else 2)

    def needs_archives(self, source: Source) -> bool:
        """Always True: nothing can be read live."""
        return True

    def import_archive(self, source: Source, archive: Archive) -> Iterator[Event]:
        """Read the archive's own posts, with threads joined."""
        with_replies, visibility = _options(source)
        contents = _Contents()
        yield from _read_tweets(archive, contents)
        if not contents.tweets and not contents.reposts:
            raise BadSource(
                f"{archive.path.name} holds no readable tweet: nothing is taken as deleted; ask X for a new one"
            )
        yield from _read_notes(archive, contents)
        yield from _check_promised(archive, contents)
        yield from _left_articles(archive)
        account = _account(archive)
        visibility = visibility or ("private" if _is_protected(archive) else None)
        yield from _posts(contents, account, with_replies, visibility)
        if contents.complete:
            yield ListingComplete()


def _options(source: Source) -> tuple[bool, Visibility | None]:
    visibility = source.options.get("visibility")
    if visibility not in (None, *get_args(Visibility)):
        raise BadSource(f"{source.id}: option visibility={visibility!r} is neither 'public' nor 'private'")
    return wants(source, "replies"), cast(Visibility | None, visibility)


def _lies_beside(name: str) -> bool:
    return str(PurePosixPath(name).parent) in (".", "data", "js", "data/js") and name.endswith(".js")


def _entries(archive: Archive, name: str) -> Iterator[_Row]:
    """The entries of a file `window.YTD.… = [ {"tweet": {…}}, … ]` without their wrapper, or its only object.

    The file is JSON after the first `=`; it is parsed and never executed. Raises BadItem where it is damaged.
    """
    if (size := archive.entries[name].size) > MAX_FILE_BYTES:
        raise BadItem(f"is {size / 1e9:.1f} GB, more than {MAX_FILE_BYTES / 1e9:.0f} GB: split it into parts")
    file = io.TextIOWrapper(io.BytesIO(archive.read(name, MAX_FILE_BYTES)), "utf-8-sig")
    number = 0
    try:
        for value in _values(file):
            number += 1  # also for the error below, which needs it when there is no entry
            yield _unwrapped(value)
    except (ValueError, RecursionError) as error:
        raise BadItem(f"is damaged after entry {number} ({error}): ask X for a new archive") from error


def _values(file: io.TextIOBase) -> Iterator[object]:
    """The values of a JSON array, one at a time, or the single value if it is not an array. Raises ValueError."""
    decoder, buffer = JSONDecoder(), file.read(READ_CHARS).lstrip()
    if not buffer.startswith("["):
        buffer = buffer.partition("=")[2].lstrip()
    if not buffer.startswith("["):
        yield decoder.raw_decode(buffer)[0]
        return
    position = 1
    while True:
        if len(buffer) - position < MAX_ENTRY_CHARS and (more := file.read(READ_CHARS)):
            buffer, position = buffer[position:] + more, 0
        position = _NEXT.match(buffer, position).end()  # type: ignore[union-attr]  # it always matches, if only the empty string
        if buffer.startswith("]", position):
            return
        value, position = decoder.raw_decode(buffer, position)
        yield value


def _unwrapped(value: object) -> _Row:
    if not isinstance(value, dict):
        return {}
    only = next(iter(value.values())) if len(value) == 1 else None
    return only if isinstance(only, dict) else value


def _read_tweets(archive: Archive, contents: _Contents) -> Iterator[Event]:
    for name in archive.names:
        match = _TWEETS.fullmatch(name)
        if not match and not _MONTH.fullmatch(name):
            continue
        is_circle = bool(match and match["circle"])
        try:
            for number, row in enumerate(_entries(archive, name), 1):
                yield from _read_tweet(row, f"{name} entry {number}", is_circle, contents)
        except BadItem as error:
            contents.complete = False
            yield Failed(name, str(error))


def _read_tweet(row: _Row, place: str, is_circle: bool, contents: _Contents) -> Iterator[Failed]:
    tweet_id = _number(row.get("id_str") or row.get("id"))
    text = row.get("full_text", row.get("text"))
    if tweet_id is None or not isinstance(text, str):
        contents.complete = False
        yield Failed(place if tweet_id is None else str(tweet_id), "has no id or no text: ask X for a new archive")
    elif text.startswith("RT @") or isinstance(row.get("retweeted_status"), dict):
        contents.reposts += 1
    else:
        contents.add(_tweet(tweet_id, text, row, is_circle))


def _tweet(tweet_id: int, text: str, row: _Row, is_circle: bool) -> _Tweet:
    entities = _mapping(row.get("entities"))
    pictures = _rows(entities.get("media")) + _rows(_mapping(row.get("extended_entities")).get("media"))
    links = _links(_rows(entities.get("urls")), "url", "expanded_url")
    parent = _number(row.get("in_reply_to_status_id_str") or row.get("in_reply_to_status_id"))
    to_user = _word(row.get("in_reply_to_user_id_str") or row.get("in_reply_to_user_id"))
    written = _written(text, links | {_word(picture.get("url")): "" for picture in pictures})
    written, quoted = _without_quoted(written, tweet_id)
    edit = _mapping(_mapping(row.get("edit_info")).get("edit"))
    return _Tweet(
        id=tweet_id,
        first_id=_number(edit.get("initialTweetId")) or tweet_id,
        text=written,
        created_at=_word(row.get("created_at")),
        private=is_circle or _mapping(row.get("user")).get("protected") is True,
        parent=parent,
        to_user=to_user,
        to_name=_name(row.get("in_reply_to_screen_name")),
        language=_language(row.get("lang")),
        tags=tuple(tag for row in _rows(entities.get("hashtags")) if (tag := _word(row.get("text"))).isprintable()),
        quoted=quoted,
    )


def _written(text: str, links: dict[str, str]) -> str:
    """A tweet's text as it was typed: unescaped, with full links, and without links to its pictures.

    links: t.co link -> the full link; empty for a picture.
    """
    text = re.sub("&(?:amp|lt|gt);", lambda found: _ESCAPED[found[0]], text)
    return _SHORT_LINK.sub(lambda found: links.get(found[0], found[0]), text).strip()


def _links(rows: list[_Row], short: str, whole: str) -> dict[str, str]:
    return {_word(row.get(short)): url for row in rows if (url := _word(row.get(whole)))}


def _own_words(text: str) -> str:
    """The text without what others wrote, as people cited it before quote tweets: RT @name …, “@name: …”."""
    return _CITED.sub("", _REPOST.sub("", text)).strip()


def _without_quoted(text: str, tweet_id: int) -> tuple[str, str | None]:
    """The text without the link to a quoted tweet at its end, and that link; a link to the tweet itself is dropped."""
    last = text.rsplit(None, 1)[-1] if text else ""
    match = _STATUS.fullmatch(last)
    if not match:
        return text, None
    quoted = None if match[2] == str(tweet_id) else f"https://x.com/{match[1]}/status/{match[2]}"
    return text.removesuffix(last).rstrip(), quoted


def _language(value: object) -> str | None:
    code = _word(value)
    return language_code(code) if re.fullmatch("[a-z]{2}", code) else None


def _read_notes(archive: Archive, contents: _Contents) -> Iterator[Event]:
    """Replace the cut-off text of long tweets in tweets.js by the full text."""
    notes = []
    for name in filter(_NOTES.fullmatch, archive.names):
        try:
            notes += [_note(row) for row in _entries(archive, name)]
        except BadItem as error:
            contents.complete = False
            yield Failed(name, str(error))
    if not notes:
        return
    beginnings: dict[str, list[_Tweet]] = {}
    for tweet in contents.tweets.values():
        beginnings.setdefault(_comparable(tweet.text)[:NOTE_PREFIX], []).append(tweet)
    for note in notes:
        cut = _tweet_of(note, contents, beginnings.get(_comparable(note.text)[:NOTE_PREFIX], ()))
        if cut is None:
            yield Skipped(f"note {note.id}", "is the long text of no tweet in this archive")
        else:
            contents.tweets[cut.first_id] = replace(cut, text=_without_quoted(note.text, cut.id)[0])


def _note(row: _Row) -> _Note:
    core = _mapping(row.get("core") or row.get("noteTweetResults"))
    links = _rows(core.get("urls")) + _rows(_mapping(core.get("entitySet")).get("urls"))
    text = core.get("text")
    return _Note(
        id=_word(row.get("noteTweetId")),
        tweet_id=_number(row.get("tweetId")),
        text=_written(text if isinstance(text, str) else "", _links(links, "shortUrl", "expandedUrl")),
        created_at=parse_date(_word(row.get("createdAt"))),
    )


def _comparable(text: str) -> str:
    """The text without what a cut-off tweet and its note may differ in: links, leading names, the mark of the cut."""
    return " ".join(_ANY_LINK.sub(" ", _ADDRESSED.sub("", text, count=1)).split()).rstrip("… ")


def _tweet_of(note: _Note, contents: _Contents, candidates: Iterable[_Tweet]) -> _Tweet | None:
    """The tweet that was cut off: its text begins the note's, and both were created at the same time."""
    if note.tweet_id in contents.first_ids:
        return contents.tweets[contents.first_ids[note.tweet_id]]
    whole = _comparable(note.text)
    if not whole:
        return None
    fits = [tweet for tweet in candidates if whole.startswith(_comparable(tweet.text)) and _at_once(note, tweet)]
    return max(fits, key=lambda tweet: len(tweet.text), default=None)


def _at_once(note: _Note, tweet: _Tweet) -> bool:
    created_at = parse_date(tweet.created_at)
    if note.created_at is None or created_at is None:
        return False
    return abs(note.created_at - created_at) <= NOTE_APART


def _posts(
    contents: _Contents, account: _Account, with_replies: bool, visibility: Visibility | None
) -> Iterator[Found | Skipped]:
    left: Counter[str] = Counter(reposts=contents.reposts)
    for kind, chain in _chains(contents, account):
        if kind == "reply" and not with_replies:
            left["replies to others"] += len(chain)
        elif item := _item(chain, account, visibility):
            yield Found(item)
        else:
            left["posts without words"] += len(chain)
    reasons = {
        "reposts": "what others wrote",
        "replies to others": "skipped unless the source has the option replies=yes",
        "posts without words": "only a picture, a link, or what others wrote",
    }
    yield from (Skipped(what, f"{left[what]:,} in this archive: {why}") for what, why in reasons.items() if left[what])


def _chains(contents: _Contents, account: _Account) -> Iterator[tuple[_Kind, list[_Tweet]]]:
    """Every thread and every single tweet, oldest first; a reply to a reply to somebody is a reply too."""
    tweets = dict(sorted(contents.tweets.items()))
    followers: dict[int, int] = {}
    kinds: dict[int, _Kind] = {}
    heads = []
    for first_id, tweet in tweets.items():
        parent = contents.first_ids.get(tweet.parent) if tweet.parent is not None else None
        # A reply is newer than what it answers: whatever an archive says, no chain is circular.
        if parent is None or parent >= first_id:
            kinds[first_id] = "reply" if _answers_another(tweet, account) else "own"
            heads.append(first_id)
            continue
        kinds[first_id] = kinds[parent]
        if followers.setdefault(parent, first_id) != first_id:
            heads.append(first_id)
    for head in heads:
        chain = [head]
        while (after := followers.get(chain[-1])) is not None:
            chain.append(after)
        yield kinds[head], [tweets[first_id] for first_id in chain]


def _answers_another(tweet: _Tweet, account: _Account) -> bool:
    """True if a tweet that answers none in the archive is addressed to another; before 2010 only an @ shows it."""
    if tweet.to_user and tweet.to_user == account.user_id:
        return False
    match = _ADDRESSED.match(tweet.text)
    names = set(re.findall(r"\w+", match[0].lower())) if match else set()
    return bool(tweet.to_user or tweet.parent is not None or names) and names != {account.name.lower()}


def _item(chain: list[_Tweet], account: _Account, visibility: Visibility | None) -> Item | None:
    """The document for one tweet or a thread; None when it contains no words of the author's."""
    first = chain[0]
    parts = [words for tweet in chain if (words := _own_words(_unaddressed(tweet)))]
    text = "\n\n".join(parts)
    if not _ANY_LINK.sub("", text).strip():
        return None
    metadata: dict[str, Any] = {"tweets": len(chain), "tags": sorted({tag for tweet in chain for tag in tweet.tags})}
    if quoted := [tweet.quoted for tweet in chain if tweet.quoted]:
        metadata["quotes"] = quoted
    if first.parent is not None:
        metadata["in_reply_to"] = replace(account, name=first.to_name or account.name).url(first.parent)
    return Item(
        external_id=str(first.first_id),
        content=text,
        category=Category.POST,
        url=account.url(first.id),
        content_type="text/plain",
        language=next((tweet.language for tweet in chain if tweet.language), None),
        visibility=visibility or ("private" if any(tweet.private for tweet in chain) else "public"),
        published_at=parse_date(first.created_at),
        metadata=metadata,
    )


def _unaddressed(tweet: _Tweet) -> str:
    """The text without the names that X puts before a reply."""
    return tweet.text if tweet.parent is None else _ADDRESSED.sub("", tweet.text, count=1)


def _account(archive: Archive) -> _Account:
    """The owner of the archive, from account.js or the file that archives by month have."""
    row = _small(archive, "account.js") or _small(archive, "js/user_details.js")
    return _Account(
        user_id=_word(row.get("accountId") or row.get("id")),
        name=_name(row.get("username") or row.get("screen_name")),
    )


def _is_protected(archive: Archive) -> bool:
    """True if the account's posts were only for followers when the archive was made."""
    changes = [(parse_date(row.get("protectedAt")), row) for row in _facts(archive, "protected-history.js")]
    earliest = datetime.min.replace(tzinfo=UTC)
    _, last = max(changes, key=lambda change: change[0] or earliest, default=(None, {}))
    return _word(last.get("action")).lower().startswith("protect")


def _check_promised(archive: Archive, contents: _Contents) -> Iterator[Failed]:
    """Check for files that the archive lists and lacks; without them, or if it is partial, it is not complete."""
    manifest = _small(archive, "manifest.js")
    if _mapping(manifest.get("archiveInfo")).get("isPartialArchive") is True:
        contents.complete = False
    kinds = _mapping(manifest.get("dataTypes"))
    files = [row for kind in ("tweet", "tweets") for row in _rows(_mapping(kinds.get(kind)).get("files"))]
    promised = [_word(row.get("fileName")) for row in files]
    promised += [_word(row.get("file_name")) for row in _facts(archive, "js/tweet_index.js")]
    there = {name.removeprefix("data/") for name in archive.names}
    for name in promised:
        if name and name.removeprefix("data/") not in there:
            contents.complete = False
            yield Failed(
                name, "is listed in the archive and missing from it: nothing is taken as deleted; get a complete one"
            )


def _left_articles(archive: Archive) -> Iterator[Skipped]:
    for name in filter(_ARTICLES.fullmatch, archive.names):
        if number := len(_facts(archive, PurePosixPath(name).name)):
            yield Skipped(name, f"{number} of X's articles, in a form that is not documented: give them as files")


def _facts(archive: Archive, name: str) -> list[_Row]:
    """The entries of a file beside the tweets; none when it is missing or cannot be read."""
    path = next((path for path in (f"data/{name}", name) if path in archive.entries), None)
    try:
        return list(_entries(archive, path)) if path else []
    except BadItem:
        return []


def _small(archive: Archive, name: str) -> _Row:
    return next(iter(_facts(archive, name)), {})


def _mapping(value: object) -> _Row:
    return value if isinstance(value, dict) else {}


def _rows(value: object) -> list[_Row]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _word(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _name(value: object) -> str:
    """A valid user name, or an empty text."""
    return word if _NAME.fullmatch(word := _word(value)) else ""


def _number(value: object) -> int | None:
    word = _word(value)
    return int(word) if re.fullmatch("[0-9]{1,20}", word) else None
