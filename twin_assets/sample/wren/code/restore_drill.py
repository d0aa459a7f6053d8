"""A backup is a restore. This is the part of the drill that a program can do.

First Tuesday of the quarter, before the ferry: wipe the spare machine, use only
what is kept off the island and the envelope in Mrs Penhallow's safe, and start
the clock at the first keystroke. When the database is open, run this on it.

It reads the restored copy and never the original: comparing the island with
itself would pass every time, and I have made that mistake with a plot.

    python restore_drill.py restored.db greybook.json 2025
"""

import json
import random
import sqlite3
import sys
import time
from contextlib import closing

ROWS_PER_DAY = 240  # six-minute means. There are 240 in a day. There always have been.


def rows_expected(year):
    """87,600, or 87,840 with a leap day in it."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return ROWS_PER_DAY * (366 if leap else 365)


def count_rows(db, year):
    """Rows for each gauge for the year, by name."""
    found = db.execute(
        "SELECT gauge, COUNT(*) FROM readings WHERE interval_start_utc >= ? AND interval_start_utc < ?"
        " GROUP BY gauge ORDER BY gauge",
        (f"{year:04d}", f"{year + 1:04d}"),
    )
    return dict(found.fetchall())


def one_by_dice(db, gauge, year, dice):
    """A reading nobody chose, to hold against the photograph of the page."""
    rows = db.execute(
        "SELECT interval_start_utc, level_cd_mm FROM readings WHERE gauge = ? AND interval_start_utc LIKE ?"
        " AND level_cd_mm IS NOT NULL ORDER BY interval_start_utc",
        (gauge, f"{year:04d}-%"),
    ).fetchall()
    return dice.choice(rows) if rows else None


def drill(path, grey_book, year, dice=None):
    """What went wrong, one line each, and what to check by eye. No lines is a restore.

    grey_book holds the rows that I wrote down for each gauge at the year's end.
    """
    dice = dice or random.Random()
    wrong, by_eye = [], []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        (sound,) = db.execute("PRAGMA integrity_check").fetchone()
        if sound != "ok":
            wrong.append(f"file: wanted ok, got {sound}, fetch the night before")
        counted = count_rows(db, year)
        for gauge, written in sorted(grey_book.items()):
            rows = counted.get(gauge, 0)
            if written > rows_expected(year):
                wrong.append(f"{gauge}: grey book says {written}, a year holds {rows_expected(year)}, read p. 1 again")
            if rows != written:
                wrong.append(f"{gauge}: wanted {written} rows, got {rows}, look at the last day first")
            if drawn := one_by_dice(db, gauge, year, dice):
                by_eye.append(f"{gauge}: {drawn[0]} says {drawn[1]} mm, look at the photograph")
        for stranger in sorted(counted.keys() - grey_book.keys()):
            wrong.append(f"{stranger}: {counted[stranger]} rows from a gauge the grey book does not know")
    return wrong, by_eye


def main(path, book_path, year):
    began = time.monotonic()
    with open(book_path, encoding="utf-8") as book:
        wrong, by_eye = drill(path, json.load(book), int(year))
    print("\n".join([*wrong, *by_eye]))
    print(f"{'hopes' if wrong else 'restores'}: {len(wrong)} wrong, {time.monotonic() - began:.1f} s of reading")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
