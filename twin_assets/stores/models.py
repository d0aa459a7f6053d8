"""Model registry: weights under `<root>/<author>/<recipe>/<version>/`, manifests in the warehouse.

A version exists once its manifest, written last, is in the warehouse; a folder without one is an orphan of a killed
run, to be taken up by the next or collected. `production` is an alias: one document, moved by one write, which says of
every version that was promoted what became of it.
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
"""Where weights lie in a version's folder."""

AUTOMATIC = "promote_automatically"
"""Who moved the alias, when no person did."""


@dataclass(frozen=True)
class Identity:
    """All that changes a version's weights; the same identity always names the same version.

    recipe_hash: of the training part of the resolved recipe. base_revision: a hub commit or the sha256 of local
    weights; None while nobody knows it because the base model is not on this machine: then any revision is the same.
    dataset, preference_pairs: data versions. prompt_version, code_version: of the code that renders and trains.
    """

    recipe_hash: str
    base_revision: str | None
    dataset: str
    prompt_version: str
    code_version: str
    preference_pairs: str | None = None

    @classmethod
    def of(cls, manifest: ModelManifest, recipe_hash: str | None = None) -> "Identity":
        """What a version was made from. recipe_hash: the hash of its recipe by today's code, if that is another."""
        return cls(
            recipe_hash=recipe_hash or manifest.recipe_hash,
            base_revision=manifest.base.revision,
            dataset=manifest.dataset.data_version,
            prompt_version=manifest.prompt_version,
            code_version=manifest.code_version,
            preference_pairs=manifest.preference_pairs.data_version if manifest.preference_pairs else None,
        )

    def covers(self, other: "Identity") -> bool:
        """True if the other is the same, or could be: an unknown base revision is like any."""
        return self == (other if self.base_revision else replace(other, base_revision=None))

    def version(self, recipe_name: str) -> str:
        """The name of the version that training this makes. Raises ValueError while the base revision is unknown."""
        if self.base_revision is None:
            raise ValueError(f"the revision of the base model of {recipe_name} is not known yet")
        return f"{recipe_name}-{digest(asdict(self), 10)}"


def stored_recipe_hash(manifest: ModelManifest) -> str:
    """The hash that a version's recipe had when it was trained."""
    return manifest.recipe_hash


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
        """Copy files and folders of a local folder to a version's place; returns the place.

        What a killed run left there is replaced. Raises TwinError, and touches nothing, for a version that exists: it
        never changes.
        """
        if self.get(author, version) is not None:
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
        """Make a version exist: its files are in place. Publishing it again changes nothing."""
        if self.get(manifest.author, manifest.version) is None:
            self._warehouse.manifests.save(manifest)

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
        alias = self._warehouse.aliases.find(author)
        moves = alias["history"] if alias else []
        return [
            _staged(manifest, moves).model_copy(update={"path": str(self._place(manifest))})
            for manifest in self._warehouse.manifests.for_author(author)
            if recipe in (None, manifest.recipe_name)
        ]

    def trained(
        self,
        author: str,
        recipe: str,
        identity: Identity,
        hash_of: Callable[[ModelManifest], str] = stored_recipe_hash,
    ) -> ModelManifest | None:
        """The recipe's version with this identity, if it was ever trained; the newest where several could be it.

        hash_of: the recipe hash of a version, where earlier code took it of other things.
        """
        found = (
            manifest
            for manifest in reversed(self.versions(author, recipe))
            if identity.covers(Identity.of(manifest, hash_of(manifest)))
        )
        return next(found, None)

    def latest(self, author: str, recipe: str) -> ModelManifest | None:
        """The recipe's newest version."""
        versions = self.versions(author, recipe)
        return versions[-1] if versions else None

    def production(self, author: str) -> ModelManifest | None:
        """What `model=<author>` means now."""
        return next((manifest for manifest in self.versions(author) if manifest.stage == "production"), None)

    def productions(self, author: str) -> list[ModelManifest]:
        """What is in production and what was before it, each once, the latest first; rejected versions are left out."""
        alias = self._warehouse.aliases.find(author)
        known = {manifest.version: manifest for manifest in self.versions(author)}
        moved = dict.fromkeys(move["version"] for move in reversed(alias["history"] if alias else []))
        found = [known[version] for version in moved if version in known]
        return [manifest for manifest in found if manifest.stage != "rejected"]

    def production_before(self, manifest: ModelManifest) -> ModelManifest | None:
        """What was in production before this version: what drafts when its files are broken. None: nothing was."""
        versions = self.productions(manifest.author)
        names = [one.version for one in versions]
        after = names.index(manifest.version) + 1 if manifest.version in names else 0
        return versions[after] if after < len(versions) else None

    def candidates(self, author: str) -> list[ModelManifest]:
        """Versions that wait for promotion, oldest first, whatever their gates said.

        One that was ever in production is none: it was replaced for a reason. Nor is one that was there when a person
        last promoted a version, or when one was last rolled back: it was passed over.
        """
        decided = self._decided_at(author)
        return [
            manifest
            for manifest in self.versions(author)
            if manifest.stage == "candidate" and (decided is None or manifest.created_at > decided)
        ]

    def _decided_at(self, author: str) -> datetime | None:
        """When a person last moved the alias, or anybody moved it back to a version that had been there before."""
        alias = self._warehouse.aliases.find(author)
        moves = alias["history"] if alias else []
        for n, move in reversed(list(enumerate(moves))):
            if move["who"] != AUTOMATIC or any(earlier["version"] == move["version"] for earlier in moves[:n]):
                return _aware(move["at"])
        return None

    def newest_passing(self, author: str) -> ModelManifest:
        """The newest candidate that passed every gate, else the version in production if that did.

        The default of whoever promotes by hand and names no version: it goes by age, because the person who asks
        judges. What promotes automatically compares by quality instead, see `evaluation/promotion.py`. Raises
        NotThere, saying what each one failed.
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
            f"{author} has no candidate that passed every gate ({failed or 'nothing new is trained'}): train again "
            "with more writing or another recipe, or name a version to promote it all the same"
        )

    def evaluated(self, manifest: ModelManifest, evaluation: dict[str, object], gates: list[Gate]) -> ModelManifest:
        """Write an evaluation and its verdict beside a version. Raises NotThere."""
        self._warehouse.manifests.save_evaluation(manifest, evaluation, gates)
        return self.version(manifest.author, manifest.version)

    def promote(self, author: str, version: str, who: str, reason: str) -> ModelManifest:
        """Move the production alias. Raises NotThere, and TwinError for a rejected version."""
        manifest = self.version(author, version)
        if manifest.stage == "rejected":
            raise TwinError(f"{author}@{version} was rejected ({manifest.reason}): promote another version")
        if manifest.stage == "production":
            return manifest
        self._warehouse.aliases.move(author, version, who, reason)
        return self.version(author, version)

    def reject(self, author: str, version: str, who: str, reason: str) -> ModelManifest:
        """Never promote this version. Raises TwinError when it is in production."""
        manifest = self.version(author, version)
        if manifest.stage == "production":
            raise TwinError(f"{author}@{version} is in production: roll back to another version first")
        self._warehouse.manifests.set_stage(manifest, "rejected", who, reason)
        return self.version(author, version)

    def newest_dataset(self, author: str, recipe: str) -> DatasetRef | None:
        """The dataset that the recipe's newest version was trained on."""
        latest = self.latest(author, recipe)
        return latest.dataset if latest else None

    def local_folder(self, manifest: ModelManifest, cache: Path) -> Path:
        """Where the version's files lie as a local folder: a copy under `cache` when the registry is remote.

        The copy is there whole or not at all, however many processes ask for it at once. Raises TwinError when its
        weights are not those that were published.
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
        """Like `local_folder`, of a local registry too only when the weights are there and are those published.

        Reads all weights. Raises TwinError, saying what is wrong.
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
        """The immutable tables that any version names: what it was trained on is kept as long as it is."""
        manifests = self._warehouse.manifests.for_author(author)
        pairs = {manifest.preference_pairs.table for manifest in manifests if manifest.preference_pairs}
        return {manifest.dataset.table for manifest in manifests} | pairs

    def collect_orphans(self, author: str) -> list[str]:
        """Delete version folders that no manifest names; a run may be filling one, so call it when none is training."""
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
        """Delete the author's versions: alias and manifests, so that none is found, then the files. Returns counts."""
        from upath import UPath

        counts = self._warehouse.erase(author, ["model_aliases", "model_manifests"])
        return {**counts, "model_files": remove_tree(UPath(self.root) / author)}

    def _place(self, manifest: ModelManifest) -> "UPath":
        return self.folder(manifest.author, manifest.recipe_name, manifest.version)


def _staged(manifest: ModelManifest, moves: Sequence[dict[str, Any]]) -> ModelManifest:
    """The version with the stage that the alias's moves, oldest first, give it; one that is in none keeps its own.

    So no kill and no other process comes between the alias and what it means for the versions.
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
    """Copy a version's files to `local`, which is not there yet; what a killed fetch left beside it goes."""
    new = local.with_name(f"{local.name}.new")
    remove_tree(new)
    new.mkdir()
    remote.fs.get(f"{remote.path}/", f"{new}/", recursive=True)
    _check_weights(new, remote, manifest)
    new.rename(local)


def _check_weights(folder: Path, place: object, manifest: ModelManifest) -> None:
    """Raises TwinError when the weights in `folder`, which came from `place`, are not those that were published."""
    if (found := sha256_of_files(folder, WEIGHTS)) != manifest.weights_sha256:
        raise TwinError(
            f"the weights of {manifest.id} in {place} are not those that were published (sha256 {found[:12]}… instead "
            f"of {manifest.weights_sha256[:12]}…): try again; if they stay so, put another version into production"
        )


def _aware(at: datetime) -> datetime:
    """A time as the warehouse gives it; one without a zone is in UTC."""
    return at if at.tzinfo else at.replace(tzinfo=UTC)
