"""What drafting leaves behind: the interactions themselves, and the monitoring reports that watch them."""

from typing import Any

from twin_assets.documents import Interaction
from twin_assets.errors import NotThere
from twin_assets.stores.warehouse.connection import Repository, without_id


class Interactions(Repository):
    """Every draft that was asked for, with the rating and the edit it got."""

    collection = "interactions"
    indexes = ("author",)

    def save(self, interaction: Interaction) -> None:
        """Write an interaction on its id."""
        self._replace(interaction.id, interaction.model_dump())

    def change(self, author: str, interaction_id: str, changes: dict[str, Any]) -> None:
        """Set these fields of an interaction. Raises NotThere, and writes nothing, when the author has no such one."""
        if not self._change(author, interaction_id, changes):
            raise NotThere(f"{author} has no draft {interaction_id}")

    def for_author(self, author: str) -> list[Interaction]:
        """The author's interactions, oldest first."""
        rows = [Interaction.model_validate(without_id(row)) for row in self._rows.find({"author": author})]
        return sorted(rows, key=lambda interaction: interaction.created_at)


class MonitoringReports(Repository):
    """One monitoring report for each author and day."""

    collection = "monitoring_reports"
    indexes = ("author",)

    def save(self, author: str, day: str, report: dict[str, Any]) -> None:
        """Write the report of one day, in place of an earlier one of that day."""
        self._replace(f"{author}:{day}", {"author": author, "day": day, **report})
