"""What is known of model versions: their manifests, which one is in production, and what training need not repeat.

The weights lie in the model registry, `twin_assets/stores/models.py`, which reads and writes these collections.
"""

from collections.abc import Sequence
from typing import Any

from twin_assets.documents import Gate, ModelManifest, Stage, utcnow
from twin_assets.errors import TwinError
from twin_assets.stores.warehouse.connection import ATTEMPTS, Repository, without_id


class ModelManifests(Repository):
    """The manifest of every model version, on `author@version`."""

    collection = "model_manifests"
    indexes = ("author",)

    def save(self, manifest: ModelManifest) -> None:
        """Write a manifest: from then on, the version exists."""
        self._replace(manifest.id, manifest.model_dump(exclude={"path"}))

    def for_author(self, author: str) -> list[ModelManifest]:
        """The manifests of the author's versions, oldest first."""
        found = [ModelManifest.model_validate(without_id(row)) for row in self._rows.find({"author": author})]
        return sorted(found, key=lambda manifest: (manifest.created_at, manifest.version))

    def set_stage(self, manifest: ModelManifest, stage: Stage, who: str, reason: str) -> None:
        """Move a version to another stage; a manifest that has been deleted is not written again."""
        moved = {"stage": stage, "promoted_by": who, "promoted_at": utcnow(), "reason": reason or None}
        self._change(manifest.author, manifest.id, moved)

    def save_evaluation(self, manifest: ModelManifest, evaluation: dict[str, object], gates: Sequence[Gate]) -> None:
        """Write an evaluation and its verdict into a manifest; one that has been deleted is not written again."""
        verdict = {"evaluation": evaluation, "gates": [gate.model_dump() for gate in gates]}
        self._change(manifest.author, manifest.id, verdict)


class ModelAliases(Repository):
    """Each author's `production` alias with its history: one document, moved by one write."""

    collection = "model_aliases"

    def find(self, author: str) -> dict[str, Any] | None:
        """The `version, who, reason, at, history` of the author's production alias, or None before any promotion."""
        row = self._rows.find_one({"_id": author})
        return without_id(row) if row else None

    def move(self, author: str, version: str, who: str, reason: str) -> None:
        """Point `production` at a version, in one write, so that a reader sees either the old or the new one.

        Raises TwinError when other writers come first every time.
        """
        entry = {"version": version, "who": who, "reason": reason, "at": utcnow()}
        for _ in range(ATTEMPTS):
            with self._writing() as rows:
                before = self.find(author)
                # `$push` would do, but NeoSQLite 1.17 pushes the entry as text.
                history = [*before["history"], entry] if before else [entry]
                moved = {"_id": author, **entry, "history": history}
                if before is None:
                    new = rows.update_one({"_id": author}, {"$setOnInsert": moved}, upsert=True)
                    done = not new.matched_count
                else:
                    as_read = {"_id": author, "history": {"$size": len(before["history"])}}
                    done = bool(rows.replace_one(as_read, moved).matched_count)
            if done:
                return
        raise TwinError(f"others keep moving the production alias of {author}: nothing was changed, try again")


class JudgedDatasets(Repository):
    """For each author and recipe, the last question whose answer was that no training is needed.

    The training sensor, `training/sensors.py`, keeps it so that it does not judge the same dataset at every tick.
    """

    collection = "judged_datasets"
    indexes = ("author",)

    def for_author(self, author: str) -> dict[str, str]:
        """What was last found to need no training, by recipe."""
        return {row["recipe"]: row["judged"] for row in self._rows.find({"author": author})}

    def save(self, author: str, recipe: str, judged: str) -> None:
        """Keep that `judged` needs no training of the recipe."""
        self._replace(f"{author}:{recipe}", {"author": author, "recipe": recipe, "judged": judged})
