"""Model registry: weights under `<root>/<author>/<recipe>/<version>/`, manifests in the warehouse.

A version exists once its manifest, written last, is in the warehouse; a folder without one is an orphan of a killed
run, to be taken up by the next or collected. `production` is an alias: one document, moved by one write.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from twin_assets.documents import DatasetRef, Gate, ModelManifest, digest
from twin_assets.errors import NotThere, TwinError
from twin_assets.stores.trees import remove_tree
from twin_assets.stores.warehouse import Warehouse

if TYPE_CHECKING:
    from upath import UPath


def version_name(recipe_name: str, recipe_hash: str, dataset_data_version: str) -> str:
    """The version that training this recipe on this dataset makes: the same inputs always name the same version."""
    return f"{recipe_name}-{digest([recipe_hash, dataset_data_version], 10)}"


def sha256_of_files(folder: Path, pattern: str = "*.safetensors") -> str:
    """sha256 over the names and bytes of the files of `folder` that match, in name order."""
    total = hashlib.sha256()
    for path in sorted(folder.glob(pattern)):
        total.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()


class ModelRegistry:
    """Versions of all authors. `root` is a path or a URI."""

    def __init__(self, root: str, warehouse: Warehouse) -> None:
        self.root = root
        self._warehouse = warehouse

    def folder(self, author: str, recipe: str, version: str) -> "UPath":
        """Where a version's files lie."""
        from upath import UPath

        return UPath(self.root) / author / recipe / version

    def upload(self, author: str, recipe: str, version: str, folder: Path, names: Sequence[str]) -> str:
        """Copy files and folders of a local folder to a version's place, replacing what is there; returns the place."""
        target = self.folder(author, recipe, version)
        if target.exists():
            target.fs.rm(target.path, recursive=True)
        target.mkdir(parents=True)
        for name in names:
            source, place = folder / name, target / name
            target.fs.put(str(source), place.path, recursive=source.is_dir())
        return str(target)

    def publish(self, manifest: ModelManifest) -> None:
        """Make a version exist: its files are in place. Publishing it again changes nothing."""
        if self.get(manifest.author, manifest.version) is None:
            self._warehouse.save_manifest(manifest)

    def get(self, author: str, version: str) -> ModelManifest | None:
        """A version, or None."""
        return next((found for found in self.versions(author) if found.version == version), None)

    def version(self, author: str, version: str) -> ModelManifest:
        """A version. Raises NotThere, naming those that exist."""
        found = self.get(author, version)
        if found is None:
            known = ", ".join(manifest.version for manifest in self.versions(author)) or "none yet"
            raise NotThere(f"{author} has no model version {version!r} (versions: {known})")
        return found

    def versions(self, author: str, recipe: str | None = None) -> list[ModelManifest]:
        """Versions, oldest first; the alias alone says which one is in production."""
        alias = self._warehouse.alias(author)
        current = alias["version"] if alias else None
        return [
            _staged(manifest, current)
            for manifest in self._warehouse.manifests(author)
            if recipe in (None, manifest.recipe_name)
        ]

    def trained(self, author: str, recipe_hash: str, dataset_data_version: str) -> ModelManifest | None:
        """The version that came of this resolved recipe and this dataset, if it was ever trained."""
        return next(
            (
                manifest
                for manifest in self.versions(author)
                if manifest.recipe_hash == recipe_hash and manifest.dataset.data_version == dataset_data_version
            ),
            None,
        )

    def latest(self, author: str, recipe: str) -> ModelManifest | None:
        """The recipe's newest version."""
        versions = self.versions(author, recipe)
        return versions[-1] if versions else None

    def production(self, author: str) -> ModelManifest | None:
        """What `model=<author>` means now."""
        return next((manifest for manifest in self.versions(author) if manifest.stage == "production"), None)

    def newest_passing(self, author: str) -> ModelManifest:
        """The newest candidate that passed every gate. Raises NotThere, saying what each one failed."""
        candidates = [manifest for manifest in self.versions(author) if manifest.stage in ("candidate", "production")]
        for manifest in reversed(candidates):
            if manifest.passed:
                return manifest
        failed = "; ".join(
            f"{manifest.version}: {', '.join(g.name for g in manifest.gates if not g.passed) or 'not evaluated'}"
            for manifest in candidates
        )
        raise NotThere(
            f"{author} has no candidate that passed every gate ({failed or 'nothing trained yet'}): train again with "
            "more writing or another recipe, or name a version to promote it all the same"
        )

    def evaluated(self, manifest: ModelManifest, evaluation: dict[str, object], gates: list[Gate]) -> ModelManifest:
        """Write an evaluation and its verdict beside a version."""
        stored = self.version(manifest.author, manifest.version)
        updated = stored.model_copy(update={"evaluation": evaluation, "gates": gates})
        self._warehouse.save_manifest(updated)
        return updated

    def promote(self, author: str, version: str, who: str, reason: str) -> ModelManifest:
        """Move the production alias. Raises NotThere, and TwinError for a rejected version."""
        manifest = self.version(author, version)
        if manifest.stage == "rejected":
            raise TwinError(f"{author}@{version} was rejected ({manifest.reason}): promote another version")
        before = self.production(author)
        if before is not None and before.version == version:
            return before
        self._warehouse.move_alias(author, version, who, reason)
        if before is not None:
            self._warehouse.set_stage(before, "archived", who, f"replaced by {version}")
        self._warehouse.set_stage(manifest, "production", who, reason)
        return self.version(author, version)

    def reject(self, author: str, version: str, who: str, reason: str) -> ModelManifest:
        """Never promote this version. Raises TwinError when it is in production."""
        manifest = self.version(author, version)
        if manifest.stage == "production":
            raise TwinError(f"{author}@{version} is in production: roll back to another version first")
        self._warehouse.set_stage(manifest, "rejected", who, reason)
        return self.version(author, version)

    def newest_dataset(self, author: str, recipe: str) -> DatasetRef | None:
        """The dataset that the recipe's newest version was trained on."""
        latest = self.latest(author, recipe)
        return latest.dataset if latest else None

    def local_folder(self, manifest: ModelManifest, cache: Path) -> Path:
        """Where the version's files lie as a local folder: a copy under `cache` when the registry is remote."""
        from upath import UPath

        remote = UPath(manifest.path)
        if not getattr(remote, "protocol", ""):
            return Path(str(remote))
        local = cache / manifest.author / manifest.version
        if not (local / ".complete").exists():
            local.mkdir(parents=True, exist_ok=True)
            remote.fs.get(f"{remote.path}/", f"{local}/", recursive=True)
            (local / ".complete").touch()
        return local

    def collect_orphans(self, author: str) -> list[str]:
        """Delete version folders that no manifest names; a run may be filling one, so call it when none is training."""
        from upath import UPath

        home = UPath(self.root) / author
        known = {manifest.path for manifest in self.versions(author)}
        removed: list[str] = []
        if home.exists():
            for recipe in home.iterdir():
                for folder in recipe.iterdir():
                    if str(folder) not in known:
                        folder.fs.rm(folder.path, recursive=True)
                        removed.append(str(folder))
        return removed

    def erase(self, author: str) -> dict[str, int]:
        """Delete the author's versions: alias and manifests, so that none is found, then the files. Returns counts."""
        from upath import UPath

        counts = self._warehouse.erase(author, ["model_aliases", "model_manifests"])
        return {**counts, "model_files": remove_tree(UPath(self.root) / author)}


def _staged(manifest: ModelManifest, current: str | None) -> ModelManifest:
    """The stage as the alias has it: a run killed between its two writes leaves no second production model."""
    if manifest.version == current:
        return manifest.model_copy(update={"stage": "production"})
    if manifest.stage == "production":
        return manifest.model_copy(update={"stage": "archived"})
    return manifest
