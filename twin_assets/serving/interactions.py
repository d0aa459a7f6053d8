"""The record of one draft: opened when it is asked for, closed whatever happens, so that failures can be counted.

A process that is killed leaves its record `open`. An author who is erased meanwhile has none any more: closing it then
writes nothing, and so nothing of theirs comes back.
"""

from collections.abc import Mapping
from typing import Any, Literal

from twin_assets.documents import Interaction, utcnow
from twin_assets.errors import NotThere, TwinError
from twin_assets.stores.warehouse import Warehouse


class Record:
    """An interaction that is being made."""

    def __init__(self, warehouse: Warehouse, opened: Interaction) -> None:
        """Write it down, as `open`."""
        self._warehouse = warehouse
        self.id = opened.id
        self._author = opened.author
        warehouse.interactions.save(opened)

    def saw(self, fields: Mapping[str, Any]) -> None:
        """Add what the model is shown. Raises NotThere when the author was erased meanwhile."""
        self._warehouse.interactions.change(self._author, self.id, dict(fields))

    def done(self, fields: Mapping[str, Any]) -> None:
        """Close it with a whole draft. Raises NotThere when the author was erased meanwhile."""
        self._warehouse.profiles.get(self._author)
        self._close("done", fields)

    def cancelled(self, fields: Mapping[str, Any]) -> None:
        """Close it: nobody waits any more."""
        self._close_if_there("cancelled", fields)

    def failed(self, error: Exception, fields: Mapping[str, Any]) -> None:
        """Close it with what went wrong."""
        said = str(error) if isinstance(error, TwinError) else f"{type(error).__name__}: {error}"
        self._close_if_there("failed", {**fields, "error": said})

    def _close_if_there(self, outcome: Literal["cancelled", "failed"], fields: Mapping[str, Any]) -> None:
        try:
            self._close(outcome, fields)
        except NotThere:
            return

    def _close(self, outcome: Literal["done", "cancelled", "failed"], fields: Mapping[str, Any]) -> None:
        closed = {"outcome": outcome, "closed_at": utcnow(), **fields}
        self._warehouse.interactions.change(self._author, self.id, closed)
