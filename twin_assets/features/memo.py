"""What was made of each document the last time, so that one document more costs one document.

A cache and no input: an entry is found by a hash over everything that it was made from, so that the same comes out with
it and without. What a run did not ask for, an earlier text say, is overwritten with zeros after it.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

WAIT_S = 60.0
"""For another process that has the file."""


class Memo:
    """Entries of plain JSON by key. Only those that a run used stand in the file afterwards. None: nothing is kept."""

    def __init__(self, database: sqlite3.Connection | None = None) -> None:
        self._database = database
        if database:
            database.execute("PRAGMA secure_delete = ON")
            database.execute(
                "CREATE TABLE IF NOT EXISTS made (key TEXT PRIMARY KEY, entry TEXT NOT NULL) WITHOUT ROWID"
            )
        # All at once: a query for each of an author's ten thousand documents takes four times as long.
        self._kept: dict[str, str] = dict(database.execute("SELECT key, entry FROM made")) if database else {}
        self._used: set[str] = set()
        self._new: dict[str, str] = {}

    def get(self, key: str) -> Mapping[str, Any] | None:
        """The entry, or None."""
        entry = self._kept.get(key)
        if entry is None:
            return None
        self._used.add(key)
        return json.loads(entry)  # type: ignore[no-any-return]

    def put(self, key: str, entry: Mapping[str, Any]) -> None:
        """Keep an entry."""
        self._new[key] = json.dumps(entry, ensure_ascii=False)

    def save(self) -> None:
        """Write what is new, and forget what was not asked for."""
        if self._database is None:
            return
        with self._database:
            unused = self._kept.keys() - self._used
            self._database.executemany("DELETE FROM made WHERE key = ?", [[key] for key in unused])
            self._database.executemany("INSERT OR REPLACE INTO made VALUES (?, ?)", self._new.items())


@contextmanager
def memo(path: Path) -> Iterator[Memo]:
    """The entries of one author and table, saved when the run is done; a file that is damaged is begun anew.

    One run at a time: the table's lock is held. Erasing another author vacuums the file, and is waited for.
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
        except sqlite3.OperationalError:  # locked, say: that is no damage
            raise
        except sqlite3.DatabaseError:
            return False
