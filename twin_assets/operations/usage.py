"""What an author's documents may be used for: exclusion from training or quoting, and training on private ones.

A change is reported to Dagster as a change of the raw asset: automation follows it, and `twin run` finds the features
out of date.
"""

from collections.abc import Collection, Sequence

import dagster as dg

from twin_assets.documents import AuthorProfile, RawDocument, Use
from twin_assets.errors import NotThere
from twin_assets.operations.staleness import DATA_VERSION_TAG, data_version
from twin_assets.stores import Stores


def document_of(stores: Stores, author: str, document_id: str) -> RawDocument:
    """The author's document with this id. Raises NotThere, also for another author's document."""
    document = next(stores.warehouse.documents_by_id([document_id]), None)
    if document is None or document.author != author:
        raise NotThere(f"{author} has no document {document_id!r}: see `twin documents {author}`")
    return document


def exclude(instance: dg.DagsterInstance, stores: Stores, author: str, document_id: str, uses: Collection[Use]) -> bool:
    """Exclude a document from exactly these uses, and ask for the features run that this needs.

    Returns True if anything changed. Raises NotThere.
    """
    document = document_of(stores, author, document_id)
    changed = set(uses) != set(document.left_out)
    if changed:
        stores.warehouse.leave_out(document_id, sorted(uses))
    return _report_use_changed(instance, stores, author, [document.platform]) or changed


def train_private(instance: dg.DagsterInstance, stores: Stores, author: str, allowed: bool) -> bool:
    """Allow or forbid training on the author's private writing, and ask for the features run that this needs.

    Returns True if anything changed. Raises NotThere.
    """

    def allow(profile: AuthorProfile) -> None:
        profile.train_private = allowed

    changed = stores.warehouse.profile(author).train_private != allowed
    if changed:
        stores.warehouse.change_profile(author, allow)
    platforms = sorted({row["platform"] for row in stores.warehouse.count_documents(author)})
    return _report_use_changed(instance, stores, author, platforms) or changed


def _report_use_changed(instance: dg.DagsterInstance, stores: Stores, author: str, platforms: Sequence[str]) -> bool:
    """Report to Dagster each of these platforms whose raw data version it does not know; True if there was one.

    This does not depend on what the caller has just written: an earlier process may have died before its report.
    """
    reported = False
    for platform in platforms:
        key = dg.AssetKey(["raw", platform])
        version = stores.warehouse.raw_data_version(author, platform)
        if data_version(instance, key, author) == version:
            continue
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                key,
                partition=author,
                description="The author changed what documents may be used for.",
                tags={DATA_VERSION_TAG: version},
            )
        )
        reported = True
    return reported
