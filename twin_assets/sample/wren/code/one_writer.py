"""The readings collector. One pen, many readers, and mind the loose pages.

Each gauge keeps its own SQLite file on a card the size of a thumbnail, in a
box that loses power when it feels like it. One program opens that file to
write: this one. Anything else that wants something written asks it.
"""

import fcntl
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # the screen may read while the pen writes
    "PRAGMA synchronous = FULL",  # wait until the card says that it has landed
    "PRAGMA busy_timeout = 5000",
)

TABLE = """
CREATE TABLE IF NOT EXISTS readings (
  gauge              TEXT NOT NULL,
  interval_start_utc TEXT NOT NULL,
  interval_s         INTEGER NOT NULL DEFAULT 360,
  level_cd_mm        INTEGER,             -- empty is a gap. Nought is chart datum.
  tries              INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (gauge, interval_start_utc)
)"""


class PenTaken(Exception):
    """Somebody else is writing in the book."""


@contextmanager
def the_pen(path):
    """The right to write. It is let go when the program ends, however it ends."""
    with open(f"{path}.pen", "w") as pen:
        try:
            fcntl.flock(pen, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PenTaken(f"{path}: wanted the pen, another program has it, ask that one to write") from None
        with closing(sqlite3.connect(path)) as book:
            for pragma in PRAGMAS:
                book.execute(pragma)
            book.execute(TABLE)
            book.commit()
            yield book


def enter(book, gauge, interval_start_utc, level_cd_mm, tries=1):
    """One row every six minutes. Told twice, it is still one row. True if it was news."""
    if not interval_start_utc.endswith("Z"):
        raise ValueError(f"gauge {gauge}: time {interval_start_utc!r} has no Z, say which clock")
    with book:
        done = book.execute(
            "INSERT INTO readings (gauge, interval_start_utc, level_cd_mm, tries) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (gauge, interval_start_utc) DO NOTHING",
            (gauge, interval_start_utc, level_cd_mm, tries),
        )
    return done.rowcount == 1


@contextmanager
def reader(path):
    """Eyes only. The database itself refuses a pencil here."""
    with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as book:
        yield book


def copy_book(book, to):
    """A copy made by the database, which knows where its loose pages are.

    In August 2024 I used the ordinary copy command and lost two days: they
    were in the file with -wal on the end of its name.
    """
    if Path(to).exists():
        raise FileExistsError(f"{to}: there is a copy of that name, and names are not used twice")
    book.execute("VACUUM INTO ?", (str(to),))
    return look_over(to)


def look_over(path):
    """Three answers, taken on the copy: it is sound, it is the right length, it comes up to today."""
    with reader(path) as copy:
        (sound,) = copy.execute("PRAGMA integrity_check").fetchone()
        rows, latest = copy.execute("SELECT COUNT(*), MAX(interval_start_utc) FROM readings").fetchone()
    return {"sound": sound == "ok", "rows": rows, "latest_utc": latest}
