"""Which of an author's feature assets are out of date, and why.

Dagster records with each materialization its code version and the last event of each input at that time. An asset is
out of date when its code version has changed since then, or the data version of an input. The comparison is made here,
since Dagster's own, the `CachingStaleStatusResolver` of 1.13, cannot be used: it never sees the first materialization
of an input, so that an author's first source on a platform would be skipped, and it calls
`cleaned_documents` out of date when a platform is added to the graph.
"""

import dagster as dg

# Dagster exports no name for the tag that holds a data version.
from dagster._core.definitions.data_version import DATA_VERSION_TAG as DATA_VERSION_TAG

FEATURES_JOB = "features"


def job_assets(job: str) -> list[str]:
    """The names of a job's assets, each after those that it is made from."""
    from twin_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    selected = defs.resolve_job_def(job).asset_layer.executable_asset_keys
    return [key.to_user_string() for key in graph.toposorted_asset_keys if key in selected]


def out_of_date(instance: dg.DagsterInstance, author: str) -> dict[str, str]:
    """The author's feature assets that a run would change, each with the reason, in the order they are made."""
    from twin_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    stale: dict[str, str] = {}
    for asset in job_assets(FEATURES_JOB):
        node = graph.get(dg.AssetKey(asset))
        parents = sorted(node.parent_keys)
        reason = _reason(instance, author, node.key, node.code_version, parents)
        followed = next((parent.to_user_string() for parent in parents if parent.to_user_string() in stale), None)
        if reason or followed:
            stale[asset] = reason or f"follows {followed}"
    return stale


def _reason(
    instance: dg.DagsterInstance,
    author: str,
    key: dg.AssetKey,
    code_version: str | None,
    parents: list[dg.AssetKey],
) -> str | None:
    tags = _latest_tags(instance, key, author)
    if tags is None:
        return "never made"
    made_from = dg.DataProvenance.from_tags(tags)
    if made_from is None or made_from.code_version != code_version:
        return "made by other code or settings"
    for parent in parents:
        last_known = made_from.input_storage_ids.get(parent)
        used = data_version(instance, parent, author, last_known) if last_known is not None else None
        if data_version(instance, parent, author) != used:
            return f"{parent.to_user_string()} changed"
    return None


def data_version(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str, last_event: int | None = None
) -> str | None:
    """The data version of a partition's latest materialization, or of the latest that is no newer than an event.

    last_event: the event's storage id. Returns None if there is no such materialization.
    """
    return (_latest_tags(instance, key, partition, last_event) or {}).get(DATA_VERSION_TAG)


def _latest_tags(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str, last_event: int | None = None
) -> dict[str, str] | None:
    wanted = dg.AssetRecordsFilter(
        key, asset_partitions=[partition], before_storage_id=None if last_event is None else last_event + 1
    )
    found = instance.fetch_materializations(wanted, limit=1).records
    materialization = found[0].asset_materialization if found else None
    return dict(materialization.tags or {}) if materialization else None
