"""The sensor that starts a training when there is enough new writing for a recipe that the author subscribes to.

A tick is cheap while nothing changes: the decision about each dataset is kept in the warehouse, so that tables are read
only once for each new dataset and recipe. Only the number of new examples decides; a base model whose `main` has moved,
or a new version of the prompts, does not start a training.
"""

from collections.abc import Iterator

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import MULTIDIMENSIONAL_PARTITION_PREFIX, RUN_KEY_TAG

from twin_assets.documents import AuthorProfile, digest
from twin_assets.errors import TwinError
from twin_assets.orchestration.partitions import add_partitions, author_recipe
from twin_assets.orchestration.turns import profiles_in_turn
from twin_assets.stores import Stores, open_stores
from twin_assets.stores.features import Publication
from twin_assets.training.assets import train_job
from twin_assets.training.identity import identity_of, pinned_revision, trained_version
from twin_assets.training.recipe import Recipe, load_recipe, recipe_hash

ROW = ["example_id", "input_hash"]
ADAPTER = dg.AssetKey("adapter")
UI_JOB = "__ASSET_JOB"
"""Dagster's job name for a run of assets that somebody selected in its UI."""


def trainings_under_way(instance: dg.DagsterInstance) -> set[tuple[str, str]]:
    """(author, recipe) of every training that is queued or running, whoever started it."""
    jobs = (train_job.name, "recipe", UI_JOB)
    filters = [dg.RunsFilter(job_name=job, statuses=NOT_FINISHED_STATUSES) for job in jobs]
    runs = [run for one in filters for run in instance.get_runs(one)]
    return {(_tag(run, "author"), _tag(run, "recipe")) for run in runs if _trains(run)}


def _trains(run: dg.DagsterRun) -> bool:
    """True if the adapter is among the run's assets. A run of a whole job names no assets."""
    return run.job_name != UI_JOB if run.asset_selection is None else ADAPTER in run.asset_selection


def _tag(run: dg.DagsterRun, name: str) -> str:
    return run.tags.get(f"twin/{name}") or run.tags.get(f"{MULTIDIMENSIONAL_PARTITION_PREFIX}{name}") or ""


def _was_asked_for(instance: dg.DagsterInstance, key: str) -> bool:
    """True if there is a run with this key; Dagster never starts a second one, however the first ended."""
    return instance.get_runs_count(dg.RunsFilter(tags={RUN_KEY_TAG: key})) > 0


def new_examples(stores: Stores, author: str, dataset: Publication, recipe: str) -> int:
    """The number of training rows that the recipe's newest version has not seen; all rows if there is no version."""
    rows = stores.features.snapshot(author, dataset.table).rows(ROW, "split = 'train'")
    now = {(row["example_id"], row["input_hash"]) for row in rows}
    trained_on = stores.models.newest_dataset(author, recipe)
    if trained_on is None:
        return len(now)
    before = stores.features.snapshot(author, trained_on.table).rows(ROW, "split = 'train'")
    return len(now - {(row["example_id"], row["input_hash"]) for row in before})


def is_due(stores: Stores, author: str, recipe: Recipe, dataset: Publication) -> bool:
    """True if enough of the dataset is new to this recipe.

    The base model is not looked up, so a version that was trained on any revision of it counts.
    """
    wanted = stores.settings.min_new_examples
    if dataset.about.get("splits", {}).get("train", wanted) < wanted:
        return False
    identity = identity_of(recipe, dataset, pinned_revision(recipe.base))
    if trained_version(stores, author, recipe, identity):
        return False
    return not wanted or new_examples(stores, author, dataset, recipe.name) >= wanted


def run_key(author: str, recipe: Recipe, dataset: Publication) -> str:
    """The run key of a training; Dagster starts only one run for each key."""
    return f"{author}|{recipe.name}|{recipe_hash(recipe)}|{dataset.data_version}"


def trainings_due(
    context: dg.SensorEvaluationContext, stores: Stores, profile: AuthorProfile, under_way: set[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """(recipe, run key) of each training that is due with the author's current dataset.

    If a dataset has too little new for a recipe, that decision is stored and its tables are not read again. A recipe
    that is being trained is looked at once that training has ended.
    """
    dataset = stores.features.published(profile.id, "instruction_dataset") if profile.recipes else None
    if dataset is None:
        return
    wanted, judged = stores.settings.min_new_examples, stores.warehouse.judged_datasets.for_author(profile.id)
    for choice in profile.recipes:
        question = digest([dataset.data_version, choice.overrides, wanted], 16)
        if judged.get(choice.name) == question or (profile.id, choice.name) in under_way:
            continue
        try:
            recipe = load_recipe(choice.name, stores.settings, choice.overrides)
            key = run_key(profile.id, recipe, dataset)
            if is_due(stores, profile.id, recipe, dataset) and not _was_asked_for(context.instance, key):
                yield choice.name, key
            elif wanted:
                # If no new examples are required, a change of the recipe alone is enough.
                stores.warehouse.judged_datasets.save(profile.id, choice.name, question)
        except TwinError as error:
            context.log.warning(f"{profile.id}, recipe {choice.name}: {error}")


@dg.sensor(
    job=train_job,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Trains a recipe that an author subscribes to once enough of its examples are new.",
)
def training_due(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    """Request one run per author and recipe; the run key keeps a recipe from being trained twice on one dataset."""
    stores = open_stores()
    under_way = trainings_under_way(context.instance)
    for profile in profiles_in_turn(context, stores.warehouse):
        for recipe, key in trainings_due(context, stores, profile, under_way):
            add_partitions(context.instance, [profile.id], [recipe])
            yield dg.RunRequest(
                run_key=key,
                partition_key=author_recipe(profile.id, recipe),
                tags={"twin/author": profile.id, "twin/recipe": recipe},
            )


sensors = [training_due]
