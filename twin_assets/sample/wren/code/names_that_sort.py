"""File names that put themselves on the right shelf.

    2022-11-04T0000Z_g1_level_mm_raw.csv

When it starts, which instrument, what was measured, in what unit, and how
much it has been touched. Always five, always in that order. Mrs Penhallow does
her jam the same way: fruit, year, batch.

I wrote this to rename the 9,412 files that came to me from Thrale, among them
one called tides_final_new2_USE_THIS. It was not the one to use.
"""

import re
from datetime import datetime, timezone
from typing import NamedTuple

OPINIONS = {"final", "new", "good", "latest", "old", "best", "use", "this", "copy"}  # they go off like milk
TOUCHED = ("raw", "qc")

NAME = re.compile(
    r"(?P<start>\d{4}-\d{2}-\d{2}T\d{4}Z)"
    r"_(?P<instrument>[a-z0-9]+)_(?P<quantity>[a-z0-9]+)_(?P<unit>[a-z0-9]+)"
    r"_(?P<touched>raw|qc)(?:-v(?P<version>\d{2}))?\.(?P<kind>[a-z0-9]+)"
)


class Name(NamedTuple):
    start_utc: datetime
    instrument: str
    quantity: str
    unit: str
    touched: str = "raw"
    version: int = 0  # nought is none. A number is never used again.
    kind: str = "csv"

    def __str__(self):
        """The name as written on the file."""
        if self.start_utc.utcoffset() is None:
            raise ValueError("name: the start has no zone. No file of mine has a summer, so say UTC")
        start = self.start_utc.astimezone(timezone.utc).strftime("%Y-%m-%dT%H%MZ")
        version = f"-v{self.version:02d}" if self.version else ""
        text = f"{start}_{self.instrument}_{self.quantity}_{self.unit}_{self.touched}{version}.{self.kind}"
        if faults := what_is_wrong(text):
            raise ValueError(f"name: {text}: {'; '.join(faults)}")
        return text


def what_is_wrong(text):
    """Every fault in a name, said plainly. An empty list is a good name."""
    faults = []
    if " " in text:
        faults.append("has a space, which is a trap on every system")
    if ":" in text:
        faults.append("has a colon, which is forbidden on some")
    if re.search(r"[A-SU-Y]", text):
        faults.append("has a capital that is neither T nor Z")
    if opinions := sorted(OPINIONS & set(re.findall(r"[a-z]+", text.lower()))):
        faults.append(f"has opinions: {', '.join(opinions)}")
    if not faults and not NAME.fullmatch(text):
        faults.append("is not start, instrument, quantity, unit, touched")
    return faults


def read(text):
    """A name taken apart again."""
    if faults := what_is_wrong(text):
        raise ValueError(f"name: {text}: {'; '.join(faults)}")
    found = NAME.fullmatch(text)
    start_utc = datetime.strptime(found["start"], "%Y-%m-%dT%H%MZ").replace(tzinfo=timezone.utc)
    return Name(
        start_utc, found["instrument"], found["quantity"], found["unit"], found["touched"],
        int(found["version"] or 0), found["kind"],
    )


def most_touched(names):
    """Of each day's file, the one that has been looked over most. raw comes first, then qc, then its versions."""
    best = {}
    for name in map(read, names):
        what = name[:4]
        if what not in best or _rank(name) > _rank(best[what]):
            best[what] = name
    return sorted(map(str, best.values()))


def _rank(name):
    return TOUCHED.index(name.touched), name.version
