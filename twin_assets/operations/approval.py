"""Decide which version of a model drafts: what `twin approve`, `twin rollback`, `twin reject` and the app do."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import dagster as dg

from twin_assets.errors import TwinError
from twin_assets.operations import runs
from twin_assets.stores import Stores


def approve(
    stores: Stores,
    author: str,
    version: str,
    who: str,
    reason: str,
    open_instance: Callable[[], AbstractContextManager[dg.DagsterInstance]] = runs.dagster_instance,
) -> None:
    """Put a version into production, an earlier one too, by a run of the asset `production_model`.

    who, reason: stored with the version. Raises NotThere for an unknown version, and TwinError when the run fails.
    """
    stores.models.version(author, version)
    with open_instance() as instance:
        runs.register(instance, stores)
        outcome = runs.promote(instance, author, version, who, reason)
    if outcome.status == "failed":
        raise TwinError(f"{author}@{version} was not put into production: {outcome.text}")


def reject(stores: Stores, author: str, version: str, who: str, reason: str) -> None:
    """Mark a version so that it is never promoted. Raises NotThere, and TwinError while it is in production."""
    stores.models.reject(author, version, who, reason)
