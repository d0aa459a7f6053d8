"""The events that a crawler yields to the loop that writes to the warehouse."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from twin_assets.documents import Category, Visibility


@dataclass(frozen=True)
class Item:
    """A document as a crawler finds it, before it is assigned to an author and a source.

    notes: what of it could not be taken, such as its date, for the crawl's report; they are no part of the document.
    """

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
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """An item with its content, new or not."""

    item: Item


@dataclass(frozen=True)
class Unchanged:
    """Items that the source reports as unchanged, without sending them."""

    external_ids: tuple[str, ...]


@dataclass(frozen=True)
class Gone:
    """An item that the source itself reports as deleted."""

    external_id: str


@dataclass(frozen=True)
class Failed:
    """An item that could not be read this time, and why; it is not gone."""

    item: str
    reason: str


@dataclass(frozen=True)
class Skipped:
    """Something that is not a document of this source, such as an image, and why it was skipped."""

    item: str
    reason: str


@dataclass(frozen=True)
class Checkpoint:
    """Everything before this can be written; an interrupted crawl can continue from `state`."""

    state: dict[str, Any]


@dataclass(frozen=True)
class ListingComplete:
    """The crawler has listed every item of the source: any other is gone, for an archive as of the archive's date."""


Event = Found | Unchanged | Gone | Failed | Skipped | Checkpoint | ListingComplete
