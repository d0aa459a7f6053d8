"""Model registry: weights under `<root>/<author>/<recipe>/<version>/`, manifests in the warehouse.

A version exists once its manifest, which is written last, is in the warehouse. A folder without one is an orphan of a
killed run: the next run completes or deletes it. `production` is an alias, one document moved by one write, and its
history says of every version that was ever promoted what became of it.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from twin_assets.documents import DatasetRef, Gate, ModelManifest, Stage, digest
from twin_assets.errors import NotThere, TwinError
from twin_assets.stores.trees import remove_tree
from twin_assets.stores.warehouse import Warehouse

if TYPE_CHECKING:
    from upath import UPath


WEIGHTS = "*/*.safetensors"
"""The pattern that finds the weights in a version's folder."""

AUTOMATIC = "promote_automatically"
"""The name in the alias's history for a promotion that no person made."""


@dataclass(frozen=True)
class Identity:
    """Everything that a version's weights depend on; the same identity always names the same version.

    recipe_hash: the hash of the training part of the resolved recipe. base_revision: a hub commit or the sha256 of
    local weights; None while it is unknown because the base model is not on this machine. dataset, preference_pairs:
    data versions. prompt_version, code_version: versions of the code that renders prompts and of the code that trains.
    """

    recipe_hash: str
    base_revision: str | None
    dataset: str
    prompt_version: str
    code_version: str
    preference_pairs: str | None = None

    @classmethod
    def of(cls, manifest: ModelManifest, recipe_hash: str | None = None) -> "Identity":
        """The identity of a version. recipe_hash: the hash of its recipe by today's code, if that differs."""
        return cls(
            recipe_hash=recipe_hash or manifest.recipe_hash,
            base_revision=manifest.base.revision,
            dataset=manifest.dataset.data_version,
            prompt_version=manifest.prompt_version,
            code_version=manifest.code_version,
            preference_pairs=manifest.preference_pairs.data_version if manifest.preference_pairs else None,
        )

    def covers(self, other: "Identity") -> bool:
        """True if the other identity is the same, or could be: an unknown base revision may be any."""
        return self == (other if self.base_revision else replace(other, base_revision=None))

    def version(self, recipe_name: str) -> str:
        """The name of the version that this training makes. Raises ValueError while the base revision is unknown."""
        if self.base_revision is None:
            raise ValueError(f"the revision of the base model of {recipe_name} is not known yet")
        return f"{recipe_name}-{digest(asdict(self), 10)}"


def stored_recipe_hash(manifest: ModelManifest) -> str:
    """The hash that a version's recipe had when it was trained."""
    return manifest.recipe_hash


def sha256_of_files(folder: Path, pattern: str = "*.safetensors") -> str:
    """The sha256 of the names and bytes of the matching files in `folder`, in name order."""
    total = hashlib.sha256()
    for path in sorted(folder.glob(pattern)):
        total.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()


class ModelRegistry:
    """The model versions of all authors. `root` is a path or a URI."""

    def __init__(self, root: str, warehouse: Warehouse) -> None:
        self.root = root
        self._warehouse = warehouse

    def folder(self, author: str, recipe: str, version: str) -> "UPath":
        """Where a version's files lie."""
        from upath import UPath

        return UPath(self.root) / author / recipe / version

    def upload(self, author: str, recipe: str, version: str, folder: Path, names: Sequence[str]) -> str:
        """Copy the named files and folders from a local folder to a version's folder. Returns where that is.

        What a killed run left there is replaced. Raises TwinError, and touches nothing, when the version exists, since
        a version never changes.
        """
        if self.find(author, version) is not None:
            raise TwinError(f"{author}@{version} is in the registry, and a version never changes: upload another one")
        target = self.folder(author, recipe, version)
        if target.exists():
            target.fs.rm(target.path, recursive=True)
        target.mkdir(parents=True)
        for name in names:
            source, place = folder / name, target / name
            target.fs.put(str(source), place.path, recursive=source.is_dir())
        return str(target)

    def publish(self, manifest: ModelManifest) -> None:
        """Make a version exist whose files are in place. Publishing it again changes nothing."""
        if self.find(manifest.author, manifest.version) is None:
            self._warehouse.manifests.save(manifest)

    def find(self, author: str, version: str) -> ModelManifest | None:
        """The version, or None when there is no such version."""
        return next((found for found in self.versions(author) if found.version == version), None)

    def version(self, author: str, version: str) -> ModelManifest:
        """The version. Raises NotThere, naming those that exist, when there is no such version."""
        found = self.find(author, version)
        if found is None:
            known = ", ".join(manifest.version for manifest in self.versions(author)) or "none yet"
            raise NotThere(f"{author} has no model version {version!r} (versions: {known})")
        return found

    def versions(self, author: str, recipe: str | None = None) -> list[ModelManifest]:
        """The author's versions, oldest first; the alias alone decides which one is in production."""
        alias = self._warehouse.aliases.find(author)
        moves = alias["history"] if alias else []
        return [
            _staged(manifest, moves).model_copy(update={"path": str(self._place(manifest))})
            for manifest in self._warehouse.manifests.for_author(author)
            if recipe in (None, manifest.recipe_name)
        ]

    def find_trained(
        self,
        author: str,
        recipe: str,
        identity: Identity,
        hash_of: Callable[[ModelManifest], str] = stored_recipe_hash,
    ) -> ModelManifest | None:
        """The recipe's version with this identity, the newest if several could be it; None when it was never trained.

        hash_of: gives the recipe hash of a stored version, in case today's code computes another.
        """
        found = (
            manifest
            for manifest in reversed(self.versions(author, recipe))
            if identity.covers(Identity.of(manifest, hash_of(manifest)))
        )
        return next(found, None)

    def latest(self, author: str, recipe: str) -> ModelManifest | None:
        """The recipe's newest version, or None."""
        versions = self.versions(author, recipe)
        return versions[-1] if versions else None

    def production(self, author: str) -> ModelManifest | None:
        """The version in production, which is what `model=<author>` means; None when there is none."""
        return next((manifest for manifest in self.versions(author) if manifest.stage == "production"), None)

    def production_history(self, author: str) -> list[ModelManifest]:
        """Every version that is or was in production, once each, the latest first, without rejected versions."""
        alias = self._warehouse.aliases.find(author)
        known = {manifest.version: manifest for manifest in self.versions(author)}
        moved = dict.fromkeys(move["version"] for move in reversed(alias["history"] if alias else []))
        found = [known[version] for version in moved if version in known]
        return [manifest for manifest in found if manifest.stage != "rejected"]

    def previous_production(self, manifest: ModelManifest) -> ModelManifest | None:
        """The version in production before this one, or None; it drafts when the files of this one are broken."""
        versions = self.production_history(manifest.author)
        names = [one.version for one in versions]
        after = names.index(manifest.version) + 1 if manifest.version in names else 0
        return versions[after] if after < len(versions) else None

    def candidates(self, author: str) -> list[ModelManifest]:
        """The versions that wait for promotion, oldest first, whether or not they passed their gates.

        A version that was ever in production is not a candidate, because it was replaced for a reason. Nor is one that
        existed when a person last promoted a version or when production was last rolled back: it was passed over.
        """
        decided = self._decided_at(author)
        return [
            manifest
            for manifest in self.versions(author)
            if manifest.stage == "candidate" and (decided is None or manifest.created_at > decided)
        ]

    def _decided_at(self, author: str) -> datetime | None:
        """When a person last moved the alias, or when it was last moved back to an earlier version."""
        alias = self._warehouse.aliases.find(author)
        moves = alias["history"] if alias else []
        for n, move in reversed(list(enumerate(moves))):
            if move["who"] != AUTOMATIC or any(earlier["version"] == move["version"] for earlier in moves[:n]):
                return _aware(move["at"])
        return None

    def newest_passing(self, author: str) -> ModelManifest:
        """The newest candidate that passed every gate, else the version in production if that did.

        This is the default for a person who promotes by hand and names no version. It goes by age, because that person
        judges the quality; automatic promotion compares quality itself, see `evaluation/promotion.py`. Raises NotThere,
        saying which gates each version failed.
        """
        candidates, production = self.candidates(author), self.production(author)
        wanted = [*reversed(candidates), *([production] if production else [])]
        for manifest in wanted:
            if manifest.passed:
                return manifest
        failed = "; ".join(
            f"{manifest.version}: {', '.join(g.name for g in manifest.gates if not g.passed) or 'not evaluated'}"
            for manifest in reversed(wanted)
        )
        raise NotThere(
            f"{author} has no candidate that passed every gate ({failed or 'no new version was trained'}): train again "
            "with more writing or another recipe, or name a version to promote it anyway"
        )

    def save_evaluation(
        self, manifest: ModelManifest, evaluation: dict[str, object], gates: list[Gate]
    ) -> ModelManifest:
        """Write an evaluation and its verdict into a version's manifest. Raises NotThere when the version is gone."""
        self._warehouse.manifests.save_evaluation(manifest, evaluation, gates)
        return self.version(manifest.author, manifest.version)

    def promote(self, author: str, version: str, who: str, reason: str) -> ModelManifest:
        """Put a version into production. Raises NotThere for an unknown version, and TwinError for a rejected one."""
        manifest = self.version(author, version)
        if manifest.stage == "rejected":
            raise TwinError(f"{author}@{version} was rejected ({manifest.reason}): promote another version")
        if manifest.stage == "production":
            return manifest
        self._warehouse.aliases.move(author, version, who, reason)
        return self.version(author, version)

    def reject(self, author: str, version: str, who: str, reason: str) -> ModelManifest:
        """Mark a version as one never to promote. Raises TwinError when it is in production."""
        manifest = self.version(author, version)
        if manifest.stage == "production":
            raise TwinError(f"{author}@{version} is in production: roll back to another version first")
        self._warehouse.manifests.set_stage(manifest, "rejected", who, reason)
        return self.version(author, version)

    def newest_dataset(self, author: str, recipe: str) -> DatasetRef | None:
        """The dataset that the recipe's newest version was trained on, or None."""
        latest = self.latest(author, recipe)
        return latest.dataset if latest else None

    def local_folder(self, manifest: ModelManifest, cache: Path) -> Path:
        """A local folder with the version's files, which is a copy under `cache` when the registry is remote.

        The copy is complete or absent, however many processes ask for it at once. Raises TwinError when its weights
        are not those that were published.
        """
        remote = self._place(manifest)
        if not getattr(remote, "protocol", ""):
            return Path(str(remote))
        local = cache / "models" / manifest.author / manifest.version
        local.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{local}.lock"):
            if not local.exists():
                _fetch(remote, local, manifest)
        return local

    def verified_folder(self, manifest: ModelManifest, cache: Path) -> Path:
        """Like `local_folder`, but checks the weights of a local registry as well, for which it reads all of them.

        Raises TwinError, saying what is wrong, when weights are missing or are not those that were published.
        """
        folder = self.local_folder(manifest, cache)
        if not any(folder.glob(WEIGHTS)):
            raise TwinError(
                f"{manifest.id} has no weights in {folder}: bring the folder back, or put another version into "
                f"production: `twin models {manifest.author}`"
            )
        _check_weights(folder, folder, manifest)
        return folder

    def dataset_tables(self, author: str) -> set[str]:
        """The immutable tables that the author's versions were trained on, to be kept as long as those versions."""
        manifests = self._warehouse.manifests.for_author(author)
        pairs = {manifest.preference_pairs.table for manifest in manifests if manifest.preference_pairs}
        return {manifest.dataset.table for manifest in manifests} | pairs

    def delete_orphans(self, author: str) -> list[str]:
        """Delete version folders without a manifest, and return them.

        Call it only while nothing trains: a training run fills such a folder before it writes the manifest.
        """
        from upath import UPath

        home = UPath(self.root) / author
        known = {(manifest.recipe_name, manifest.version) for manifest in self.versions(author)}
        removed: list[str] = []
        if home.exists():
            for recipe in home.iterdir():
                for folder in recipe.iterdir():
                    if (recipe.name, folder.name) not in known:
                        folder.fs.rm(folder.path, recursive=True)
                        removed.append(str(folder))
        return removed

    def erase(self, author: str) -> dict[str, int]:
        """Delete the author's alias and manifests, so that no version is found, and then the files. Returns counts."""
        from upath import UPath

        counts = self._warehouse.erase(author, ["model_aliases", "model_manifests"])
        return {**counts, "model_files": remove_tree(UPath(self.root) / author)}

    def _place(self, manifest: ModelManifest) -> "UPath":
        return self.folder(manifest.author, manifest.recipe_name, manifest.version)


def _staged(manifest: ModelManifest, moves: Sequence[dict[str, Any]]) -> ModelManifest:
    """The version in the stage that the alias's moves give it; one that was never promoted keeps its own stage.

    moves: oldest first. Because stages are derived when read, no kill can leave them at odds with the alias.
    """
    n = max((n for n, move in enumerate(moves) if move["version"] == manifest.version), default=None)
    if n is None:
        return manifest
    if n == len(moves) - 1:
        return _moved(manifest, "production", moves[n], moves[n]["reason"])
    if manifest.stage == "rejected":
        return manifest
    return _moved(manifest, "archived", moves[n + 1], f"replaced by {moves[n + 1]['version']}")


def _moved(manifest: ModelManifest, stage: Stage, move: dict[str, Any], reason: str) -> ModelManifest:
    about = {"promoted_by": move["who"], "promoted_at": move["at"], "reason": reason or None}
    return manifest.model_copy(update={"stage": stage, **about})


def _fetch(remote: "UPath", local: Path, manifest: ModelManifest) -> None:
    """Copy a version's files to `local`, which does not exist yet, and delete what a killed fetch left beside it."""
    new = local.with_name(f"{local.name}.new")
    remove_tree(new)
    new.mkdir()
    remote.fs.get(f"{remote.path}/", f"{new}/", recursive=True)
    _check_weights(new, remote, manifest)
    new.rename(local)


def _check_weights(folder: Path, place: object, manifest: ModelManifest) -> None:
    """Raise TwinError if the weights in `folder`, which came from `place`, are not those that were published."""
    if (found := sha256_of_files(folder, WEIGHTS)) != manifest.weights_sha256:
        raise TwinError(
            f"the weights of {manifest.id} in {place} are not those that were published (sha256 {found[:12]}… instead "
            f"of {manifest.weights_sha256[:12]}…): try again; if it happens again, put another version into production"
        )


def _aware(at: datetime) -> datetime:
    """A time from the warehouse with its zone, which is UTC if none is given."""
    return at if at.tzinfo else at.replace(tzinfo=UTC)
