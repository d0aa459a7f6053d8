"""Deleting folders, on a local disk or in a bucket."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upath import UPath


def remove_tree(path: "UPath | Path") -> int:
    """Delete a file, or a folder with everything in it. Returns how many files there were."""
    from upath import UPath

    place = UPath(path)
    if not place.exists():
        return 0
    files = place.fs.find(place.path)
    place.fs.rm(place.path, recursive=True)
    return len(files)
