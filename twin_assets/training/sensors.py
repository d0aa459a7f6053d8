"""What starts training by itself: enough new writing for a recipe that the author subscribes to."""

from collections.abc import Iterator

import dagster as dg

from twin_assets.documents import AuthorProfile
from twin_assets.errors import TwinError
from twin_assets.partitions import add_partitions, author_recipe
from twin_assets.stores import Stores, open_stores
from twin_assets.stores.features import Publication
from twin_assets.training.assets import resolved_recipe, train_job
from twin_assets.training.recipe import recipe_hash

ROW = ["example_id", "input_hash"]


def new_examples(stores: Stores, author: str, dataset: Publication, recipe: str) -> int:
    """Training rows that the recipe's newest version has not seen; all of them when there is none yet."""
    rows = stores.features.snapshot(author, dataset.table).rows(ROW, "split = 'train'")
    now = {(row["example_id"], row["input_hash"]) for row in rows}
    trained_on = stores.models.newest_dataset(author, recipe)
    if trained_on is None:
        return len(now)
    before = stores.features.snapshot(author, trained_on.table).rows(ROW, "split = 'train'")
    return len(now - {(row["example_id"], row["input_hash"]) for row in before})


def run_key(stores: Stores, profile: AuthorProfile, recipe: str) -> str | None:
    """The key of the training that is due, or None. Raises TwinError for a recipe that is none."""
    dataset = stores.features.published(profile.id, "instruction_dataset")
    if dataset is None:
        return None
    resolved = recipe_hash(resolved_recipe(stores, profile.id, recipe))
    if stores.models.trained(profile.id, resolved, dataset.data_version):
        return None
    if new_examples(stores, profile.id, dataset, recipe) < stores.settings.min_new_examples:
        return None
    return f"{profile.id}|{recipe}|{resolved}|{dataset.data_version}"


@dg.sensor(
    job=train_job,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Trains a recipe that an author subscribes to once enough of its examples are new.",
)
def training_due(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
    """One run per author and recipe; the run key names recipe and dataset, so that nothing is trained twice."""
    stores = open_stores()
    for profile in stores.warehouse.profiles():
        for choice in profile.recipes:
            try:
                key = run_key(stores, profile, choice.name)
            except TwinError as error:
                context.log.warning(f"{profile.id}, recipe {choice.name}: {error}")
                continue
            if key:
                add_partitions(context.instance, [profile.id], [choice.name])
                yield dg.RunRequest(
                    run_key=key,
                    partition_key=author_recipe(profile.id, choice.name),
                    tags={"twin/author": profile.id, "twin/recipe": choice.name},
                )


sensors = [training_due]
