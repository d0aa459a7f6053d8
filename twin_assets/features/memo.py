"""A cache of what was made of each document in the last run, so that a run costs as much as what has changed.

An entry is found by a hash over everything it was made from, so a run gives the same result with the cache and without.
Entries that a run did not use, such as those of an earlier text, are overwritten with zeros when it ends.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

WAIT_S = 60.0
"""How long to wait for another process that uses the file."""


class Memo:
    """Entries of plain JSON by key; the file keeps only those that the run used. database: None to keep nothing."""

    def __init__(self, database: sqlite3.Connection | None = None) -> None:
        self._database = database
        if database:
            database.execute("PRAGMA secure_delete = ON")
            database.execute(
                "CREATE TABLE IF NOT EXISTS made (key TEXT PRIMARY KEY, entry TEXT NOT NULL) WITHOUT ROWID"
            )
        # Read all at once: one query for each of an author's ten thousand documents would take four times as long.
        self._kept: dict[str, str] = dict(database.execute("SELECT key, entry FROM made")) if database else {}
        self._used: set[str] = set()
        self._new: dict[str, str] = {}

    def get(self, key: str) -> Mapping[str, Any] | None:
        """The entry under this key; None if there is none."""
        entry = self._kept.get(key)
        if entry is None:
            return None
        self._used.add(key)
        return json.loads(entry)  # type: ignore[no-any-return]

    def put(self, key: str, entry: Mapping[str, Any]) -> None:
        """Add an entry."""
        self._new[key] = json.dumps(entry, ensure_ascii=False)

    def save(self) -> None:
        """Write the new entries, and delete those that were not used."""
        if self._database is None:
            return
        with self._database:
            unused = self._kept.keys() - self._used
            self._database.executemany("DELETE FROM made WHERE key = ?", [[key] for key in unused])
            self._database.executemany("INSERT OR REPLACE INTO made VALUES (?, ?)", self._new.items())


@contextmanager
def open_memo(path: Path) -> Iterator[Memo]:
    """Open the memo of one author and table, and save it at the end; a damaged file is replaced by an empty one.

    The caller holds the table's lock, so there is one run at a time. Erasing an author vacuums the file, so opening it
    may have to wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _is_sound(path):
        path.unlink()
    with closing(sqlite3.connect(path, timeout=WAIT_S)) as database:
        entries = Memo(database)
        yield entries
        entries.save()


def _is_sound(path: Path) -> bool:
    with closing(sqlite3.connect(path, timeout=WAIT_S)) as database:
        try:
            return bool(database.execute("PRAGMA quick_check").fetchone()[0] == "ok")
        except sqlite3.OperationalError:  # such as a lock, which is no damage
            raise
        except sqlite3.DatabaseError:
            return False
