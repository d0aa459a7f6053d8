"""A folder or zip of the author's own writing: markdown with front matter, HTML and code.

Front matter is YAML, TOML or JSON, as Jekyll, Hugo, Zola, Eleventy and Middleman write it: title, date, url, category
(article, post, code), tags, language; what says that it is not for everybody, such as `draft: true` or a `_drafts`
folder, is private. Without a category a file is code by its extension, or else an article. Archives are untrusted:
nothing is unpacked to disk, and a dangerous name or size is refused by name.

See: https://jekyllrb.com/docs/front-matter/, https://gohugo.io/content-management/front-matter/
"""

import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from twin_assets.collection.crawl import BATCH, is_storable
from twin_assets.collection.events import Checkpoint, Event, Failed, Found, Item, ListingComplete, Skipped, Unchanged
from twin_assets.collection.registry import register
from twin_assets.content.archives import Entry, Refused, decode, file_entry, open_zip, zip_members
from twin_assets.content.code import CODE, CODE_NAMES, HTML, MARKDOWN, code_language
from twin_assets.content.headings import first_heading
from twin_assets.content.metadata.dates import is_ambiguous, parse_date, undated_note
from twin_assets.content.metadata.front_matter import read_front_matter, scalar, visibility
from twin_assets.content.web import WebClient, host_of
from twin_assets.documents import Category, Source
from twin_assets.errors import BadItem, BadSource
from twin_assets.language.detection import detect_language, language_code
from twin_assets.settings import Settings

READ_VERSION = "2"
"""Raise it when files would be read differently: then all of them are read again."""
SETTLED_S = 2.0
MAX_STAMPS = 100_000

SKIPPED_FOLDERS = frozenset(
    {"node_modules", "__pycache__", "__MACOSX", "venv", "dist", "build", "vendor"}
    | {"_site", "_layouts", "_includes", "_sass"}  # Jekyll's; _posts and _drafts hold writing
)

_DATED_NAME = re.compile(r"(\d{4}-\d{1,2}-\d{1,2})-(.+)")
_TEMPLATE = re.compile(r"\{%-?\s*for\b")
_DATES = ("date", "pubdate", "publishdate", "published_at", "published", "created")
_UPDATES = ("lastmod", "last_modified_at", "updated", "modified")
_ADDRESSES = ("canonical_url", "canonicalurl", "canonical", "url", "permalink", "slug", "aliases")
_LABELS = ("tags", "categories", "keywords")


@register
class FilesCrawler:
    """Reads each file whose size or time has changed since the last crawl; the content hash decides what is new."""

    platform: ClassVar[str] = "files"
    accepted: ClassVar[str] = "a folder or a .zip of markdown, HTML and code"
    options: ClassVar[Mapping[str, str]] = {}

    def accepts(self, where: str) -> bool:
        """True for a folder, or a file that ends with .zip."""
        path = Path(where).expanduser()
        return (bool(where.strip()) and path.is_dir()) or (path.suffix.lower() == ".zip" and path.is_file())

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """Every file as a document, skipped if it is not writing, or failed if it cannot be read."""
        path = Path(source.where).expanduser()
        if not path.exists():
            raise BadSource(
                f"{source.where} does not exist: nothing is taken as deleted; correct the path, or remove the source"
            )
        limit = Settings().max_document_bytes
        stamps = _Stamps(state, source.where)
        found, unchanged, complete = 0, 0, True
        for entry in _folder_entries(path, stamps) if path.is_dir() else _zip_entries(path):
            if not isinstance(entry, Entry):
                complete = complete and not (isinstance(entry, Failed) and entry.item.endswith("/"))
                unchanged += isinstance(entry, Unchanged)
                yield entry
                continue
            event = _event(entry, limit)
            yield event
            if isinstance(event, Found):
                found += 1
                if is_storable(event.item):
                    stamps.keep(entry.name)
                if found % BATCH == 0:
                    yield Checkpoint(state)
        if not (found or unchanged):
            raise BadSource(f"{source.where} holds no usable file: give {self.accepted}. Nothing is taken as deleted")
        if complete:
            yield ListingComplete()
        yield Checkpoint(stamps.state)


class _Stamps:
    """The size and times of the files that were read, kept from one crawl to the next.

    A file that changed within SETTLED_S before a crawl may change again at the same time stamp, so it is not
    remembered. With more than MAX_STAMPS files none is: MongoDB limits a state to 16 MB.
    """

    def __init__(self, state: Mapping[str, Any], where: str) -> None:
        self._read = {"version": READ_VERSION, "where": where}
        known = state["files"] if self._read.items() <= state.items() else []
        self._before = {name: stamp for name, *stamp in known}
        self._listed: dict[str, list[int]] = {}
        self._kept: dict[str, list[int]] = {}
        self._settled = time.time_ns() - int(SETTLED_S * 1e9)

    def unchanged(self, name: str, status: os.stat_result) -> bool:
        """True if a file has not changed since it was read."""
        self._listed[name] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        if not stat.S_ISREG(status.st_mode) or self._before.get(name) != self._listed[name]:
            return False
        self.keep(name)
        return True

    def keep(self, name: str) -> None:
        """Remember a listed file that was made into a document."""
        if name in self._listed and max(self._listed[name][1:]) < self._settled:
            self._kept[name] = self._listed[name]

    @property
    def state(self) -> dict[str, Any]:
        """The state for the next crawl; a list, since MongoDB does not take keys with dots."""
        kept = self._kept if len(self._kept) <= MAX_STAMPS else {}
        return {**self._read, "files": [[name, *stamp] for name, stamp in kept.items()]}


def _folder_entries(root: Path, stamps: _Stamps) -> Iterator[Entry | Failed | Skipped | Unchanged]:
    home = root.resolve()
    for path in sorted(_walk(root)):
        name = path.relative_to(root).as_posix()
        if reason := _reason_to_skip(name):
            yield Skipped(name, reason)
            continue
        try:
            if stamps.unchanged(name, path.lstat()):
                yield Unchanged((name,))
            elif path.is_dir():
                yield _folder_event(path, name)
            elif not path.resolve().is_relative_to(home):
                yield Skipped(name, "is a link to outside the folder")
            elif not path.is_file():
                yield Skipped(name, "is not a regular file")
            else:
                yield file_entry(path, root)
        except OSError as error:
            yield Failed(name, f"cannot be read: {error.strerror}")


def _folder_event(path: Path, name: str) -> Failed | Skipped:
    if path.is_symlink():
        return Skipped(name, "is a link to a folder: links are not followed, give the folder itself as a source")
    return Failed(f"{name}/", "cannot be opened: allow reading it, or move it out; nothing is taken as deleted")


def _walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, and, without their contents, folders that are skipped, linked or cannot be opened."""
    try:
        paths = [(path, path.is_dir() and not path.is_symlink()) for path in folder.iterdir()]
    except OSError:
        yield folder
        return
    for path, is_folder in paths:
        if is_folder and not _is_skipped_folder(path.name):
            yield from _walk(path)
        else:
            yield path


def _zip_entries(path: Path) -> Iterator[Entry | Failed | Skipped]:
    with open_zip(path) as archive:
        for member in zip_members(archive):
            if isinstance(member, Refused):
                yield Failed(member.name, member.reason)
            elif reason := _reason_to_skip(member.name):
                yield Skipped(member.name, reason)
            else:
                yield member


def _is_skipped_folder(name: str) -> bool:
    return name.startswith(".") or name in SKIPPED_FOLDERS


def _reason_to_skip(name: str) -> str | None:
    path = PurePosixPath(name)
    if folder := next((part for part in path.parts[:-1] if _is_skipped_folder(part)), None):
        return f"is in {folder}/, which holds no writing"
    if path.name in SKIPPED_FOLDERS:
        return "is a folder that holds no writing"
    if path.name.startswith("."):
        return "is hidden"
    known = path.suffix.lower() in MARKDOWN | HTML | CODE.keys() or path.name.lower() in CODE_NAMES
    if not known and path.suffix:
        return f"{path.suffix} is neither markdown nor HTML nor code"
    return None


def _event(entry: Entry, limit: int) -> Found | Failed | Skipped:
    try:
        item = _item(entry, limit)
    except BadItem as error:
        return Failed(entry.name, str(error))
    return Found(item) if item else Skipped(entry.name, "is the page of a section or a list, without text of its own")


def _item(entry: Entry, limit: int) -> Item | None:
    if entry.size > limit:
        raise BadItem(
            f"is {entry.size / 1e6:.0f} MB, more than {limit / 1e6:.0f} MB (TWIN_MAX_DOCUMENT_BYTES): split it"
        )
    try:
        data = entry.read()
    except OSError as error:
        raise BadItem(f"cannot be read: {error.strerror}") from error
    if not data.strip():
        if _is_section(entry.name):
            return None
        raise BadItem("is empty: write something into it, or delete it")
    text = decode(data)
    is_html = PurePosixPath(entry.name).suffix.lower() in HTML
    language = None if is_html else code_language(entry.name, text)
    if language:
        return _code_item(entry, text, language)
    about, content = read_front_matter(text)
    if is_html and not about:
        return _html_item(entry, text)
    if not content and _is_section(entry.name):
        return None
    if is_html and _TEMPLATE.search(content):
        return None
    return _written_item(entry, about, content, "text/html" if is_html else "text/markdown")


def _code_item(entry: Entry, text: str, language: str) -> Item:
    return Item(
        external_id=entry.name,
        content=text,
        category=Category.CODE,
        title=entry.name,
        visibility=visibility({}, entry.name),
        content_type=f"text/x-{language.replace(' ', '-')}",
        updated_at=entry.modified_at,
        metadata={"path": entry.name, "language": language},
    )


def _html_item(entry: Entry, text: str) -> Item:
    from twin_assets.content.extraction import extract_page

    page = extract_page(text)
    if page is None:
        raise BadItem("has no main text: a menu or an empty page is not a document")
    return Item(
        external_id=entry.name,
        content=page.text,
        category=Category.ARTICLE,
        url=page.url,
        title=page.title or PurePosixPath(entry.name).stem,
        language=page.language,
        visibility=visibility({}, entry.name),
        published_at=page.published_at,
        updated_at=entry.modified_at,
    )


def _written_item(entry: Entry, about: dict[str, Any], content: str, content_type: str) -> Item:
    if not content:
        raise BadItem("has front matter and no text: write something below it, or delete it")
    day, name = _dated_name(entry.name)
    if isinstance(about.get("taxonomies"), dict):  # Zola's
        about = about["taxonomies"] | about
    metadata: dict[str, Any] = {"tags": _labels(about)}
    for field, said in {"description": ("description", "excerpt", "summary"), "layout": ("layout",)}.items():
        if value := next((text for key in said if (text := scalar(about.get(key)))), None):
            metadata[field] = value
    published_at, notes = _first_date(about, _DATES, content)
    return Item(
        external_id=entry.name,
        content=content,
        category=_category(about.get("category")),
        url=_absolute_url(about),
        title=scalar(about.get("title")) or first_heading(content) or name,
        content_type=content_type,
        language=_language(about),
        visibility=visibility(about, entry.name),
        published_at=published_at or parse_date(day),
        updated_at=_first_date(about, _UPDATES, content)[0] or entry.modified_at,
        metadata=metadata,
        notes=notes,
    )


def _is_section(name: str) -> bool:
    """True if a file stands for its folder, as Hugo's `_index.md` does."""
    return PurePosixPath(name).name.lower().partition(".")[0] in ("index", "_index")


def _dated_name(name: str) -> tuple[str | None, str]:
    """The day and title in a file's name, as in `_posts/2024-01-31-a-title.md`; for an index file, in its folder's."""
    path = PurePosixPath(name)
    stem = path.parent.name if _is_section(name) and path.parent.name else path.stem
    match = _DATED_NAME.fullmatch(stem)
    return (match[1], " ".join(word.capitalize() for word in match[2].split("-"))) if match else (None, stem)


def _first_date(about: dict[str, Any], keys: tuple[str, ...], text: str) -> tuple[datetime | None, tuple[str, ...]]:
    """The first date that one of the keys gives, and a note when they give only what is no date."""
    given = [value for key in keys if (value := scalar(about.get(key))) and any(map(str.isdigit, value))]
    language = scalar(about.get("lang")) or scalar(about.get("language"))
    if not language and any(map(is_ambiguous, given)):
        language = detect_language(text)
    found = next((day for value in given if (day := parse_date(value, language))), None)
    return found, (undated_note(given[0]),) if given and found is None else ()


def _absolute_url(about: dict[str, Any]) -> str | None:
    """The text's own URL, if the front matter gives a full one; a path on an unknown site is not enough."""
    for key in _ADDRESSES:
        values = about.get(key)
        for value in values if isinstance(values, list) else [values]:
            if (url := scalar(value)) and host_of(url):
                return url
    return None


def _language(about: dict[str, Any]) -> str | None:
    return language_code(scalar(about.get("lang")) or scalar(about.get("language")))


def _category(value: object) -> Category:
    """A category of ours, if the name is one; a site's own category, such as `travel`, is a label of an article."""
    name = str(value).strip().lower().removesuffix("s")
    return Category(name) if name in set(Category) else Category.ARTICLE


def _labels(about: dict[str, Any]) -> list[str]:
    """Tags, categories and keywords, without repetition, and a category that is not one of ours."""
    own = scalar(about.get("category")) or ""
    labels = [own] if own and own.strip().lower().removesuffix("s") not in set(Category) else []
    return list(dict.fromkeys([*labels, *(label for key in _LABELS for label in _tags(about.get(key)))]))


def _tags(value: object) -> list[str]:
    """The tags of a list, or of a text separated by commas or, as Jekyll does, by spaces."""
    if isinstance(value, str):
        value = value.split(",") if "," in value else value.split()
    return [tag for item in value if (tag := scalar(item))] if isinstance(value, list) else []
