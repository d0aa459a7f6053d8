"""Promotion without a person, for the authors whose profile asks for it; manual is the default."""

from collections.abc import Iterator

import dagster as dg

from twin_assets.documents import AuthorProfile, ModelManifest
from twin_assets.errors import NotThere
from twin_assets.stores import open_stores
from twin_assets.stores.models import ModelRegistry

WHO = "promote_automatically"


def to_promote(models: ModelRegistry, profile: AuthorProfile) -> ModelManifest | None:
    """The author's newest candidate that passed every gate, when it is newer than what is in production.

    One that was rolled back is no candidate any more, so it does not come again.
    """
    if profile.promotion != "automatic":
        return None
    try:
        newest = models.newest_passing(profile.id)
    except NotThere:
        return None
    current = models.production(profile.id)
    return newest if current is None or newest.created_at > current.created_at else None


@dg.sensor(
    job_name="promote",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Promotes a newer version that passed every gate, where the author's profile says `automatic`.",
)
def promote_automatically() -> Iterator[dg.RunRequest]:
    """One run for each author with a version to promote; the run key keeps a tick from asking twice."""
    stores = open_stores()
    for profile in stores.warehouse.profiles():
        if manifest := to_promote(stores.models, profile):
            config = {"version": manifest.version, "who": WHO, "reason": "passed every gate"}
            yield dg.RunRequest(
                run_key=f"{profile.id}|{manifest.version}",
                partition_key=profile.id,
                run_config={"ops": {"production_model": {"config": config}}},
            )


sensors = [promote_automatically]
