"""Folders of one author, wherever a store keeps them."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upath import UPath


def remove_tree(path: "UPath | Path") -> int:
    """Delete a folder with all that is in it, or a file, locally or in a bucket; returns how many files there were."""
    from upath import UPath

    place = UPath(path)
    if not place.exists():
        return 0
    files = place.fs.find(place.path)
    place.fs.rm(place.path, recursive=True)
    return len(files)
