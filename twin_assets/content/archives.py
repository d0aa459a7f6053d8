"""Archives as people get them: a zip, or the folder that it was unpacked to. They are untrusted data.

Nothing is unpacked to disk: members are read one at a time, within a limit, and a member with a dangerous name, link or
compression ratio is refused by name. An export often wraps everything in one folder; names are given without it.
"""

import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from twin_assets.content.metadata.dates import parse_date
from twin_assets.errors import BadItem, BadSource

MAX_RATIO = 200
"""The highest ratio of uncompressed to compressed size of a member; text reaches 20, a zip bomb thousands."""
MAX_MEMBERS = 200_000
SIGNATURE = b"PK"
FINDER = ("__MACOSX/", ".DS_Store")
"""Names that macOS adds to a zip; they belong to no export."""


@dataclass(frozen=True)
class Entry:
    """A file in a folder or an archive that has not been read yet. name: relative, with '/'."""

    name: str
    size: int
    modified_at: datetime | None
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Refused:
    """A member that is refused, and why."""

    name: str
    reason: str


class Archive:
    """A platform's export: its members by name, without the one folder that may wrap everything."""

    def __init__(self, path: Path, members: list[Entry | Refused]) -> None:
        self.path = path
        self.refused = [member for member in members if isinstance(member, Refused)]
        entries = [member for member in members if isinstance(member, Entry) and not _is_finders(member.name)]
        tops = {entry.name.partition("/")[0] if "/" in entry.name else "" for entry in entries}
        prefix = f"{tops.pop()}/" if len(tops) == 1 and "" not in tops else ""
        self.entries = {entry.name.removeprefix(prefix): entry for entry in entries}

    @property
    def names(self) -> list[str]:
        """The members' names, in the archive's order."""
        return list(self.entries)

    @cached_property
    def made_at(self) -> datetime:
        """When the export was made: the time of its newest member, or else of the file. Never in the future."""
        times = [entry.modified_at for entry in self.entries.values() if entry.modified_at]
        newest = max(times, default=None) or datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
        return min(newest, datetime.now(UTC))

    def read(self, name: str, max_bytes: int) -> bytes:
        """A member's bytes. Raises BadItem when it is damaged or larger than `max_bytes`."""
        entry = self.entries[name]
        if entry.size > max_bytes:
            raise BadItem(
                f"is {entry.size / 1e6:.0f} MB, more than {max_bytes / 1e6:.0f} MB (TWIN_MAX_DOCUMENT_BYTES): split it"
            )
        try:
            return entry.read()
        except OSError as error:
            raise BadItem(f"cannot be read: {error.strerror}") from error

    def text(self, name: str, max_bytes: int) -> str:
        """A member's text, whatever its encoding. Raises BadItem as `read` does, and when it is not text."""
        return decode(self.read(name, max_bytes))


def is_archive(path: Path) -> bool:
    """True if the path is a folder, or a file that begins like a zip, whatever its name."""
    if path.is_dir():
        return True
    try:
        with path.open("rb") as file:
            return file.read(2) == SIGNATURE
    except OSError:
        return False


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open the export at `path` for the length of a `with` block. Raises BadSource when it cannot be read at all."""
    if path.is_dir():
        home = path.resolve()
        files = sorted(file for file in path.rglob("*") if file.is_file() and file.resolve().is_relative_to(home))
        yield Archive(path, [file_entry(file, path) for file in files])
        return
    with open_zip(path) as archive:
        yield Archive(path, list(zip_members(archive)))


def file_entry(file: Path, root: Path) -> Entry:
    """The entry of a file below `root`."""
    status = file.stat()
    modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
    return Entry(file.relative_to(root).as_posix(), status.st_size, modified_at, file.read_bytes)


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip. Raises BadSource when it is not one, or has more members than any person's writing."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BadSource(f"{path} is not a readable zip archive ({error}): make it again, or give a folder") from error
    if len(archive.infolist()) > MAX_MEMBERS:
        archive.close()
        raise BadSource(f"{path} holds more than {MAX_MEMBERS:,} files: give only the folder with the writing")
    return archive


def zip_members(archive: zipfile.ZipFile) -> Iterator[Entry | Refused]:
    """Every file of a zip in the order of names; a dangerous one is refused by name."""
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        if info.is_dir():
            continue
        if reason := _dangerous(info):
            yield Refused(info.filename, reason)
        else:
            yield Entry(info.filename, info.file_size, _zip_time(info), lambda info=info: _member(archive, info))  # type: ignore[misc]


def decode(data: bytes) -> str:
    """Decode a text file: UTF-8, UTF-16 by its byte order mark, else as charset-normalizer detects. Raises BadItem."""
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    if b"\0" in data[:100_000] and not marked:
        raise BadItem("is binary, whatever its name says: give text")
    if marked:
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        from charset_normalizer import from_bytes

        best = from_bytes(data).best()
        if best is None:
            raise BadItem("is in no known text encoding: save it as UTF-8") from None
        return str(best)


def _is_finders(name: str) -> bool:
    return name.startswith(FINDER[0]) or name.rsplit("/", 1)[-1] == FINDER[1]


def _dangerous(info: zipfile.ZipInfo) -> str | None:
    parts = PurePosixPath(info.filename.replace("\\", "/")).parts
    if ".." in parts or info.filename.startswith(("/", "\\")) or (parts and ":" in parts[0]):
        return "has a name that leads out of the archive: rename it"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a symbolic link: put the file itself into the archive"
    if info.flag_bits & 1:
        return "is encrypted: make the archive without a password"
    if info.file_size > 1_000_000 and info.file_size > MAX_RATIO * max(1, info.compress_size):
        return (
            f"grows {info.file_size // max(1, info.compress_size)} times when unpacked: looks like a zip bomb, skipped"
        )
    return None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as member:
            return member.read(info.file_size + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, zlib.error, LZMAError) as error:
        raise BadItem(f"is damaged in the archive ({error}): make the archive again") from error


def _zip_time(info: zipfile.ZipInfo) -> datetime | None:
    try:
        return parse_date(datetime(*info.date_time))
    except ValueError:
        return None
