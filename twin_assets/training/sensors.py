"""What starts training by itself: enough new writing for a recipe that the author subscribes to.

A tick is cheap while nothing changes: what a dataset was judged to be is kept in the warehouse, so that tables are read
once for each new dataset and recipe. It follows the writing, not the code: the number of new examples decides, and a
base model whose `main` moved, or a new version of the prompts, starts nothing by itself.
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
BY_HAND = "__ASSET_JOB"
"""What Dagster calls a run of assets that somebody chose in its UI."""


def trainings_under_way(instance: dg.DagsterInstance) -> set[tuple[str, str]]:
    """(author, recipe) of every training that is queued or running, whoever started it."""
    jobs = (train_job.name, "recipe", BY_HAND)
    filters = [dg.RunsFilter(job_name=job, statuses=NOT_FINISHED_STATUSES) for job in jobs]
    runs = [run for one in filters for run in instance.get_runs(one)]
    return {(_tag(run, "author"), _tag(run, "recipe")) for run in runs if _trains(run)}


def _trains(run: dg.DagsterRun) -> bool:
    """Whether the adapter is among the run's assets; a run of a whole job names none."""
    return run.job_name != BY_HAND if run.asset_selection is None else ADAPTER in run.asset_selection


def _tag(run: dg.DagsterRun, name: str) -> str:
    return run.tags.get(f"twin/{name}") or run.tags.get(f"{MULTIDIMENSIONAL_PARTITION_PREFIX}{name}") or ""


def _was_asked_for(instance: dg.DagsterInstance, key: str) -> bool:
    """Whether there is a run with this key: Dagster would not start another, whatever became of it."""
    return instance.get_runs_count(dg.RunsFilter(tags={RUN_KEY_TAG: key})) > 0


def new_examples(stores: Stores, author: str, dataset: Publication, recipe: str) -> int:
    """Training rows that the recipe's newest version has not seen; all of them when there is none yet."""
    rows = stores.features.snapshot(author, dataset.table).rows(ROW, "split = 'train'")
    now = {(row["example_id"], row["input_hash"]) for row in rows}
    trained_on = stores.models.newest_dataset(author, recipe)
    if trained_on is None:
        return len(now)
    before = stores.features.snapshot(author, trained_on.table).rows(ROW, "split = 'train'")
    return len(now - {(row["example_id"], row["input_hash"]) for row in before})


def is_due(stores: Stores, author: str, recipe: Recipe, dataset: Publication) -> bool:
    """Whether enough of the dataset is new to this recipe.

    The base model is not looked up: a version that was trained on any revision of it counts.
    """
    wanted = stores.settings.min_new_examples
    if dataset.about.get("splits", {}).get("train", wanted) < wanted:
        return False
    identity = identity_of(recipe, dataset, pinned_revision(recipe.base))
    if trained_version(stores, author, recipe, identity):
        return False
    return not wanted or new_examples(stores, author, dataset, recipe.name) >= wanted


def run_key(author: str, recipe: Recipe, dataset: Publication) -> str:
    """What a training is asked for by: Dagster takes a key once."""
    return f"{author}|{recipe.name}|{recipe_hash(recipe)}|{dataset.data_version}"


def trainings_due(
    context: dg.SensorEvaluationContext, stores: Stores, profile: AuthorProfile, under_way: set[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """(recipe, run key) of the trainings that the author's current dataset asks for.

    A dataset that is not enough for a recipe is remembered as judged, and its tables are not read again. A recipe that
    is being trained now is judged when that has ended, by what it has learned from then.
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
                # With none wanted, a change of the recipe alone is enough.
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
    """One run per author and recipe; the run key names recipe and dataset, so that nothing is trained twice."""
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
