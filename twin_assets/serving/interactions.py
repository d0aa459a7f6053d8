"""The record of one draft: opened when a draft is requested and closed whatever happens, so that failures are counted.

A process that is killed leaves its record `open`. When the author is erased in the meantime, the record is gone and
closing it writes nothing, so that nothing of theirs comes back.
"""

from collections.abc import Mapping
from typing import Any, Literal

from twin_assets.documents import Interaction, utcnow
from twin_assets.errors import NotThere, TwinError
from twin_assets.stores.warehouse import Warehouse


class InteractionRecord:
    """The stored interaction of a draft that is being written."""

    def __init__(self, warehouse: Warehouse, opened: Interaction) -> None:
        """Store the interaction, as `open`."""
        self._warehouse = warehouse
        self.id = opened.id
        self._author = opened.author
        warehouse.interactions.save(opened)

    def add_context(self, fields: Mapping[str, Any]) -> None:
        """Add what the model is shown. Raises NotThere if the author has been erased."""
        self._warehouse.interactions.change(self._author, self.id, dict(fields))

    def done(self, fields: Mapping[str, Any]) -> None:
        """Close it with a finished draft. Raises NotThere if the author has been erased."""
        self._warehouse.profiles.get(self._author)
        self._close("done", fields)

    def cancelled(self, fields: Mapping[str, Any]) -> None:
        """Close it because nobody is waiting for the draft."""
        self._close_if_there("cancelled", fields)

    def failed(self, error: Exception, fields: Mapping[str, Any]) -> None:
        """Close it with the error."""
        text = str(error) if isinstance(error, TwinError) else f"{type(error).__name__}: {error}"
        self._close_if_there("failed", {**fields, "error": text})

    def _close_if_there(self, outcome: Literal["cancelled", "failed"], fields: Mapping[str, Any]) -> None:
        try:
            self._close(outcome, fields)
        except NotThere:
            return

    def _close(self, outcome: Literal["done", "cancelled", "failed"], fields: Mapping[str, Any]) -> None:
        closed = {"outcome": outcome, "closed_at": utcnow(), **fields}
        self._warehouse.interactions.change(self._author, self.id, closed)
