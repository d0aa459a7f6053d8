"""Automatic promotion for authors whose profile asks for it; the default is manual."""

from collections.abc import Iterator

import dagster as dg

from twin_assets.documents import AuthorProfile
from twin_assets.evaluation.promotion import Choice, choose
from twin_assets.orchestration.turns import profiles_in_turn
from twin_assets.stores import open_stores
from twin_assets.stores.models import AUTOMATIC, ModelRegistry

WHO = AUTOMATIC


def to_promote(models: ModelRegistry, profile: AuthorProfile) -> Choice:
    """The candidate to promote, if the profile asks for automatic promotion; see `promotion.py`.

    A version that was rolled back, or that a person passed over for another, is not a candidate, so that a rollback is
    never undone.
    """
    if profile.promotion != "automatic":
        return Choice()
    return choose(models.candidates(profile.id), models.production(profile.id))


@dg.sensor(
    job_name="promote",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Promotes a version that passed every gate and is better, if the author's profile says `automatic`.",
)
def promote_automatically(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    """Request one run for each author with a version to promote; the run key prevents a second request.

    The tick's log names the versions that wait for a person.
    """
    stores = open_stores()
    for profile in profiles_in_turn(context, stores.warehouse):
        choice = to_promote(stores.models, profile)
        if choice.manifest:
            version = choice.manifest.version
            config = {"version": version, "who": WHO, "reason": choice.reason}
            yield dg.RunRequest(
                run_key=f"{profile.id}|{version}",
                partition_key=profile.id,
                run_config={"ops": {"production_model": {"config": config}}},
                tags={"twin/author": profile.id},
            )
        elif choice.reason:
            context.log.info(choice.reason)


sensors = [promote_automatically]
