"""A folder or zip of one's own writing: markdown with front matter, HTML and code.

Front matter: title, date, url, category (article, post, code), tags, language, private or draft (true keeps it from
being quoted). Without a category a file is code by its extension, else an article. Archives are data: nothing is
unpacked to disk, and a name or size that could harm is refused by name.
"""

from collections.abc import Iterator
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from twin_assets.collection.crawler import (
    BATCH,
    Checkpoint,
    Event,
    Failed,
    Found,
    Item,
    LeftOut,
    ListingComplete,
    register,
)
from twin_assets.content.archives import Entry, Refused, decode, file_entry, open_zip, zip_members
from twin_assets.content.extraction import parse_date
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, Source, Visibility
from twin_assets.errors import BadItem, BadSource
from twin_assets.settings import Settings

MARKDOWN = frozenset({".md", ".markdown", ".mdx", ".txt", ".text", ".rst"})
HTML = frozenset({".html", ".htm", ".xhtml"})
CODE: dict[str, str] = {
    ".py": "python", ".pyi": "python", ".sh": "shell", ".bash": "shell", ".c": "c", ".h": "c", ".cc": "c++",
    ".cpp": "c++", ".hpp": "c++", ".rs": "rust", ".go": "go", ".java": "java", ".kt": "kotlin", ".js": "javascript",
    ".mjs": "javascript", ".jsx": "javascript", ".ts": "typescript", ".tsx": "typescript", ".rb": "ruby", ".pl": "perl",
    ".php": "php", ".swift": "swift", ".scala": "scala", ".clj": "clojure", ".ex": "elixir", ".erl": "erlang",
    ".hs": "haskell", ".ml": "ocaml", ".lisp": "lisp", ".el": "emacs lisp", ".scm": "scheme", ".lua": "lua", ".r": "r",
    ".jl": "julia", ".sql": "sql", ".css": "css", ".scss": "css", ".vim": "vim script", ".asm": "assembly",
    ".s": "assembly", ".awk": "awk", ".bat": "batch", ".ps1": "powershell", ".tf": "terraform", ".zig": "zig",
    ".d": "d", ".nim": "nim", ".dart": "dart", ".m": "objective-c", ".f90": "fortran", ".pas": "pascal",
    ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".mk": "make", ".cmake": "cmake",
}  # fmt: skip
CODE_NAMES = {"makefile": "make", "dockerfile": "docker", "gnumakefile": "make", "rakefile": "ruby"}
SHEBANGS = {
    "python": "python", "bash": "shell", "sh": "shell", "perl": "perl", "ruby": "ruby", "awk": "awk",
    "node": "javascript",
}  # fmt: skip
SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "__MACOSX", "venv", "dist", "build", "vendor"})


@register
class FilesCrawler:
    """Reads everything each time: a disk is quick, and the content hash decides what is new."""

    platform: ClassVar[str] = "files"
    accepted: ClassVar[str] = "a folder or a .zip of markdown, HTML and code"

    def accepts(self, where: str) -> bool:
        """A folder, or a file that ends with .zip."""
        path = Path(where).expanduser()
        return (bool(where.strip()) and path.is_dir()) or (path.suffix.lower() == ".zip" and path.is_file())

    def collect(self, source: Source, state: dict[str, Any], http: WebClient) -> Iterator[Event]:
        """Every file as a document; what is no text is left out by name, what cannot be read failed by name."""
        path = Path(source.where).expanduser()
        if not path.exists():
            raise BadSource(
                f"{source.where} is not there: nothing is taken as deleted; mend the path, or remove the source"
            )
        limit = Settings().max_document_bytes
        found, complete = 0, True
        for entry in _entries(path):
            if not isinstance(entry, Entry):
                complete = complete and not (isinstance(entry, Failed) and entry.item.endswith("/"))
                yield entry
                continue
            try:
                yield Found(_item(entry, limit))
                found += 1
            except BadItem as error:
                yield Failed(entry.name, str(error))
            if found and found % BATCH == 0:
                yield Checkpoint({})
        if not found:
            raise BadSource(f"{source.where} holds no usable file: give {self.accepted}. Nothing is taken as deleted")
        if complete:
            yield ListingComplete()


def _entries(path: Path) -> Iterator[Entry | Failed | LeftOut]:
    yield from _folder_entries(path) if path.is_dir() else _zip_entries(path)


def _folder_entries(root: Path) -> Iterator[Entry | Failed | LeftOut]:
    home = root.resolve()
    for path in sorted(_walk(root)):
        name = path.relative_to(root).as_posix()
        if reason := _left_out(name):
            yield LeftOut(name, reason)
            continue
        try:
            if path.is_dir():
                yield _folder_event(path, name)
            elif not path.resolve().is_relative_to(home):
                yield LeftOut(name, "is a link to outside the folder")
            elif not path.is_file():
                yield LeftOut(name, "is no regular file")
            else:
                yield file_entry(path, root)
        except OSError as error:
            yield Failed(name, f"cannot be read: {error.strerror}")


def _folder_event(path: Path, name: str) -> Failed | LeftOut:
    if path.is_symlink():
        return LeftOut(name, "is a link to a folder: links are not followed, give the folder itself as a source")
    return Failed(f"{name}/", "cannot be opened: allow reading it, or move it out; nothing is taken as deleted")


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder; one that is left out, linked or cannot be opened stands for what it holds."""
    try:
        paths = [(path, path.is_dir() and not path.is_symlink()) for path in folder.iterdir()]
    except OSError:
        yield folder
        return
    for path, is_folder in paths:
        if is_folder and not _left_out_folder(path.name):
            yield from _walk(path)
        else:
            yield path


def _zip_entries(path: Path) -> Iterator[Entry | Failed | LeftOut]:
    with open_zip(path) as archive:
        for member in zip_members(archive):
            if isinstance(member, Refused):
                yield Failed(member.name, member.reason)
            elif reason := _left_out(member.name):
                yield LeftOut(member.name, reason)
            else:
                yield member


def _left_out_folder(name: str) -> bool:
    return name.startswith(".") or name in SKIPPED_FOLDERS


def _left_out(name: str) -> str | None:
    path = PurePosixPath(name)
    if folder := next((part for part in path.parts[:-1] if _left_out_folder(part)), None):
        return f"lies in {folder}/, which holds no writing"
    if path.name in SKIPPED_FOLDERS:
        return "is a folder that holds no writing"
    if path.name.startswith("."):
        return "is hidden"
    known = path.suffix.lower() in MARKDOWN | HTML | CODE.keys() or path.name.lower() in CODE_NAMES
    if not known and path.suffix:
        return f"{path.suffix} is neither markdown nor HTML nor code"
    return None


def _item(entry: Entry, limit: int) -> Item:
    if entry.size > limit:
        raise BadItem(
            f"is {entry.size / 1e6:.0f} MB, more than {limit / 1e6:.0f} MB (TWIN_MAX_DOCUMENT_BYTES): split it"
        )
    try:
        data = entry.read()
    except OSError as error:
        raise BadItem(f"cannot be read: {error.strerror}") from error
    if not data.strip():
        raise BadItem("is empty: write something into it, or delete it")
    text = decode(data)
    suffix = PurePosixPath(entry.name).suffix.lower()
    if suffix in HTML:
        return _html_item(entry, text)
    language = _code_language(entry.name, suffix, text)
    return _code_item(entry, text, language) if language else _markdown_item(entry, text)


def _code_language(name: str, suffix: str, text: str) -> str | None:
    if suffix in CODE:
        return CODE[suffix]
    base = PurePosixPath(name).name.lower()
    if base in CODE_NAMES:
        return CODE_NAMES[base]
    if not suffix and text.startswith("#!"):
        first = text.partition("\n")[0]
        return next((language for program, language in SHEBANGS.items() if program in first), "shell")
    return None


def _code_item(entry: Entry, text: str, language: str) -> Item:
    return Item(
        external_id=entry.name,
        content=text,
        category=Category.CODE,
        title=entry.name,
        content_type=f"text/x-{language.replace(' ', '-')}",
        updated_at=entry.modified_at,
        metadata={"path": entry.name, "language": language},
    )


def _html_item(entry: Entry, text: str) -> Item:
    from twin_assets.content.extraction import extract_page

    page = extract_page(text)
    if page is None:
        raise BadItem("has no main text: a menu or an empty page is no document")
    return Item(
        external_id=entry.name,
        content=page.text,
        category=Category.ARTICLE,
        url=page.url,
        title=page.title or PurePosixPath(entry.name).stem,
        language=page.language,
        published_at=page.published_at,
        updated_at=entry.modified_at,
    )


def _markdown_item(entry: Entry, text: str) -> Item:
    import frontmatter
    import yaml

    try:
        metadata, content = frontmatter.parse(text)
    except ValueError as error:
        raise BadItem(f"has front matter with a date that does not exist ({error}): mend it") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise BadItem(f"has front matter that is no YAML{line}: quote values that hold ': ' or '#'") from error
    about: dict[str, Any] = {str(name).lower(): value for name, value in metadata.items()}
    if not content.strip():
        raise BadItem("has front matter and no text: write something below it, or delete it")
    return Item(
        external_id=entry.name,
        content=content,
        category=_category(about.get("category")),
        url=_scalar(about.get("url")),
        title=_scalar(about.get("title")) or _first_heading(content, entry.name),
        language=_scalar(about.get("language")),
        visibility=_visibility(about),
        published_at=parse_date(about.get("date")),
        updated_at=entry.modified_at,
        metadata={"tags": _tags(about.get("tags"))},
    )


def _category(value: object) -> Category:
    if value is None:
        return Category.ARTICLE
    try:
        return Category(str(value).strip().lower().removesuffix("s"))
    except ValueError:
        known = ", ".join(Category)
        raise BadItem(f"has category {value!r}: use one of {known}, or none") from None


def _visibility(about: dict[str, Any]) -> Visibility:
    hidden = about.get("private") is True or about.get("draft") is True or about.get("visibility") == "private"
    return "private" if hidden else "public"


def _first_heading(text: str, name: str) -> str:
    first = next((line for line in text.splitlines() if line.startswith("# ")), "")
    return first.strip("# ").strip() or PurePosixPath(name).stem


def _tags(value: object) -> list[str]:
    if isinstance(value, str):
        return [tag.strip() for tag in value.split(",") if tag.strip()]
    return [tag for item in value if (tag := _scalar(item))] if isinstance(value, list) else []


def _scalar(value: object) -> str | None:
    """A value of front matter as text; None for a list or mapping, which YAML's aliases can make grow without end."""
    return str(value) if value and isinstance(value, str | int | float | date) else None
