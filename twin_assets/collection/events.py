"""What a crawler yields: the seam between a platform and the loop that writes to the warehouse."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from twin_assets.documents import Category, Visibility


@dataclass(frozen=True)
class Item:
    """A document as a crawler finds it, before it is anybody's."""

    external_id: str
    content: str
    category: Category
    url: str | None = None
    title: str | None = None
    content_type: str = "text/markdown"
    language: str | None = None
    visibility: Visibility = "public"
    published_at: datetime | None = None
    updated_at: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """An item with its content, new or not."""

    item: Item


@dataclass(frozen=True)
class Unchanged:
    """Items that the source says are as they were, without sending them."""

    external_ids: tuple[str, ...]


@dataclass(frozen=True)
class Gone:
    """The source itself says that this item was deleted."""

    external_id: str


@dataclass(frozen=True)
class Failed:
    """An item that could not be read this time, and why; it is not gone."""

    item: str
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """Something that is no document of this source, such as an image, and why."""

    item: str
    reason: str


@dataclass(frozen=True)
class Checkpoint:
    """Everything before this may be written down, and the crawl can go on from `state`."""

    state: dict[str, Any]


@dataclass(frozen=True)
class ListingComplete:
    """Every item of the source was named: what was not named is gone. Of an archive: gone by the archive's date."""


Event = Found | Unchanged | Gone | Failed | LeftOut | Checkpoint | ListingComplete
