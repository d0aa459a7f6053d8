"""Which of an author's feature assets are out of date, and why.

A materialization carries the data versions of what it was made from, and the code version that made it.
"""

from collections.abc import Sequence
from hashlib import sha256

import dagster as dg

FEATURES = ("cleaned_documents", "chunks", "embeddings", "instruction_dataset")
UPSTREAM = {
    "chunks": ("cleaned_documents",),
    "embeddings": ("chunks",),
    "instruction_dataset": ("embeddings", "cleaned_documents"),
}


def out_of_date(instance: dg.DagsterInstance, author: str) -> dict[str, str]:
    """The author's feature assets that a run would change, each with the reason."""
    from twin_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    raw = [key for key in graph.get_all_asset_keys() if key.path[0] == "raw"]
    upstream = {"cleaned_documents": raw} | {
        asset: [dg.AssetKey(parent) for parent in parents] for asset, parents in UPSTREAM.items()
    }
    stale: dict[str, str] = {}
    for asset in FEATURES:
        key = dg.AssetKey(asset)
        reason = _reason(instance, key, author, upstream[asset], graph.get(key).code_version)
        followed = next((parent.path[-1] for parent in upstream[asset] if parent.path[-1] in stale), None)
        if reason or followed:
            stale[asset] = reason or f"follows {followed}"
    return stale


def _reason(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    author: str,
    parents: Sequence[dg.AssetKey],
    code_version: str | None,
) -> str | None:
    own = latest_tags(instance, key, author)
    if own is None:
        return "never made"
    if own.get("dagster/code_version") != code_version:
        return "made by other code or settings"
    for parent in parents:
        now = latest_tags(instance, parent, author)
        used = own.get(f"dagster/input_data_version/{parent.to_user_string()}")
        if now is not None and used != _as_input(now.get("dagster/data_version", "")):
            return f"{parent.to_user_string()} changed"
    return None


def _as_input(data_version: str) -> str:
    """How Dagster notes the data version of an input: as a hash over the versions of its partitions, here one."""
    return sha256(data_version.encode()).hexdigest()


def latest_tags(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> dict[str, str] | None:
    """The tags of a partition's latest materialization, its data versions among them; None if there is none."""
    found = instance.fetch_materializations(dg.AssetRecordsFilter(key, asset_partitions=[partition]), limit=1).records
    materialization = found[0].asset_materialization if found else None
    return dict(materialization.tags or {}) if materialization else None
