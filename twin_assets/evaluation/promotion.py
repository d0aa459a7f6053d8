"""Which version may replace the one in production without a person: the better one, never merely the newer one.

Two versions are compared in bits per byte, and only where the same held-out writing was scored for both: on the test
split of one dataset, which neither of them was trained on. Where that is not so, a person decides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twin_assets.documents import ModelManifest

SAME_ROWS = ("n_clusters", "n_rows", "n_bytes")
"""What agrees when two evaluations of one dataset scored the same rows: they are chosen by hashes."""


@dataclass(frozen=True)
class Comparison:
    """better: whether the first is better than the second; None when they cannot be compared, for the reason given."""

    better: bool | None
    text: str


@dataclass(frozen=True)
class Choice:
    """What to promote, and why nothing is where something waits."""

    manifest: ModelManifest | None = None
    reason: str = ""


def compare(one: ModelManifest, other: ModelManifest) -> Comparison:
    """Bits per byte of one version against another's, on held-out writing that both were measured on."""
    if one.dataset.data_version != other.dataset.data_version:
        return Comparison(
            None, f"trained on another dataset ({one.dataset.table}) than {other.version} ({other.dataset.table})"
        )
    mine, theirs = (_bits(manifest) for manifest in (one, other))
    if mine is None or theirs is None:
        return Comparison(None, f"{one.version if mine is None else other.version} has no bits per byte measured")
    if any(mine[name] != theirs[name] for name in SAME_ROWS):
        return Comparison(None, f"{one.version} and {other.version} were measured on other held-out rows")
    text = f"{mine['adapter']:.4f} bits per byte, {other.version} has {theirs['adapter']:.4f}"
    return Comparison(mine["adapter"] < theirs["adapter"], text)


def _bits(manifest: ModelManifest) -> dict[str, float] | None:
    """The evaluation's `bits_per_byte`, when it holds all that a comparison needs."""
    found = (manifest.evaluation or {}).get("bits_per_byte") or {}
    return found if {"adapter", *SAME_ROWS} <= found.keys() else None


def choose(candidates: Sequence[ModelManifest], production: ModelManifest | None) -> Choice:
    """The candidate to promote: the best of those that passed every gate and are better than what is in production.

    candidates: oldest first. With nothing in production the newest is taken, unless another one is known to be better.
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
        way_out = f"twin approve {newest.author} {newest.version}"
        return Choice(None, f"{newest.id} passed every gate and cannot be compared with production: {text}. {way_out}")
    return Choice(None, f"{newest.id} passed every gate and is no better than production: {text}")


def _best(manifests: Iterable[ModelManifest]) -> ModelManifest:
    """The newest, unless an older one is known to be better. manifests: oldest first, at least one."""
    best, *older = reversed(list(manifests))
    for manifest in older:
        if compare(manifest, best).better:
            best = manifest
    return best
