"""Decides which version may go into production without a person: a better one, never just a newer one.

Two versions are compared by bits per byte, and only if both were scored on the same held-out writing: the test split of
the same dataset, which neither was trained on. Otherwise a person decides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twin_assets.documents import ModelManifest

SAME_ROWS = ("n_clusters", "n_rows", "n_bytes")
"""If these counts agree, two evaluations of a dataset scored the same rows, because hashes choose them."""


@dataclass(frozen=True)
class Comparison:
    """better: whether the first version is better; None if they cannot be compared, for the reason in `text`."""

    better: bool | None
    text: str


@dataclass(frozen=True)
class Choice:
    """The version to promote and the reason, or the reason why a waiting version is not promoted."""

    manifest: ModelManifest | None = None
    reason: str = ""


def compare(one: ModelManifest, other: ModelManifest) -> Comparison:
    """Compare two versions by bits per byte on held-out writing that both were measured on."""
    if one.dataset.data_version != other.dataset.data_version:
        return Comparison(
            None, f"trained on another dataset ({one.dataset.table}) than {other.version} ({other.dataset.table})"
        )
    own, others = (_bits(manifest) for manifest in (one, other))
    if own is None or others is None:
        return Comparison(None, f"{one.version if own is None else other.version} has no bits per byte measured")
    if any(own[name] != others[name] for name in SAME_ROWS):
        return Comparison(None, f"{one.version} and {other.version} were measured on different held-out rows")
    text = f"{own['adapter']:.4f} bits per byte, {other.version} has {others['adapter']:.4f}"
    return Comparison(own["adapter"] < others["adapter"], text)


def _bits(manifest: ModelManifest) -> dict[str, float] | None:
    """The evaluation's `bits_per_byte`; None if a value that the comparison needs is missing."""
    found = (manifest.evaluation or {}).get("bits_per_byte") or {}
    return found if {"adapter", *SAME_ROWS} <= found.keys() else None


def choose(candidates: Sequence[ModelManifest], production: ModelManifest | None) -> Choice:
    """Choose the best candidate that passed every gate and is better than the version in production.

    candidates: oldest first. If nothing is in production, the newest is chosen unless an older one is better.
    """
    passed = [manifest for manifest in candidates if manifest.passed]
    if not passed:
        return Choice()
    if production is None:
        return Choice(_best(passed), "passed every gate, and nothing is in production yet")
    found = {manifest.version: compare(manifest, production) for manifest in passed}
    better = [manifest for manifest in passed if found[manifest.version].better]
    if better:
        best = _best(better)
        return Choice(best, f"passed every gate, and is better than production: {found[best.version].text}")
    newest = passed[-1]
    text = found[newest.version].text
    if found[newest.version].better is None:
        command = f"twin approve {newest.author} {newest.version}"
        return Choice(None, f"{newest.id} passed every gate and cannot be compared with production: {text}. {command}")
    return Choice(None, f"{newest.id} passed every gate and is no better than production: {text}")


def _best(manifests: Iterable[ModelManifest]) -> ModelManifest:
    """The newest version, unless an older one is known to be better. manifests: oldest first, at least one."""
    best, *older = reversed(list(manifests))
    for manifest in older:
        if compare(manifest, best).better:
            best = manifest
    return best
