"""What starts training by itself."""

import shutil

import dagster as dg
import pytest
from dagster._core.storage.tags import RUN_KEY_TAG

from twin_assets.documents import AuthorProfile, Consent, RecipeChoice
from twin_assets.language.prompts import PROMPT_VERSION
from twin_assets.operations.runs import run_tags
from twin_assets.orchestration import turns
from twin_assets.orchestration.partitions import author_recipe, recipes
from twin_assets.stores.features_io import FeaturesIOManager
from twin_assets.training.assets import adapter, preference_pairs, train_job
from twin_assets.training.identity import TRAINING_VERSION, resolved_recipe
from twin_assets.training.recipe import recipe_hash
from twin_assets.training.sensors import new_examples, training_due
from twin_assets_tests.conftest import setting
from twin_assets_tests.evaluation.conftest import publish_version
from twin_assets_tests.training.conftest import RECIPE, publish_dataset, row, rows


def requests(instance: dg.DagsterInstance, cursor: str = "") -> list[dg.RunRequest]:
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        return list(training_due(context))


def trained(stores, tiny_model, given, version):
    manifest = publish_version(stores, given, tiny_model, version=version)
    recipe = resolved_recipe(stores, "ada", RECIPE)
    about = {"recipe_name": RECIPE, "recipe": recipe.model_dump(mode="json"), "recipe_hash": recipe_hash(recipe)}
    today = {"prompt_version": PROMPT_VERSION, "code_version": TRAINING_VERSION}
    stores.warehouse.save_manifest(manifest.model_copy(update=about | today))


def more_rows(n: int) -> list[dict]:
    return [*rows(), *(row(900 + number, "train") for number in range(n))]


JOB = dg.Definitions(
    assets=[preference_pairs, adapter], jobs=[train_job], resources={"features": FeaturesIOManager()}
).resolve_job_def(train_job.name)


def ask_for(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
    """A run of the job that the sensor asks for."""
    mine = run_tags(author_recipe("ada", RECIPE)) | tags
    return instance.create_run_for_job(JOB, tags=mine, status=status)


def test_nothing_starts_before_there_is_a_dataset(own_stores, write_recipe, instance):
    assert requests(instance) == []


def test_a_subscribed_recipe_starts_once_its_examples_are_enough(own_stores, write_recipe, instance):
    published = publish_dataset(own_stores)
    [request] = requests(instance)
    resolved = recipe_hash(resolved_recipe(own_stores, "ada", RECIPE))
    assert request.run_key == f"ada|{RECIPE}|{resolved}|{published.data_version}"
    assert request.partition_key.keys_by_dimension == {"author": "ada", "recipe": RECIPE}
    assert RECIPE in instance.get_dynamic_partitions(recipes.name)
    assert [again.run_key for again in requests(instance)] == [request.run_key]


def test_too_few_examples_start_nothing(own_stores, write_recipe, instance):
    publish_dataset(own_stores, [row(n, "train") for n in range(5)])
    assert requests(instance) == []


def test_what_was_trained_starts_nothing_and_a_few_new_examples_do_not_either(
    own_stores, write_recipe, instance, tiny_model
):
    trained(own_stores, tiny_model, rows(), "v1")
    assert requests(instance) == []
    dataset = publish_dataset(own_stores, more_rows(3))
    assert new_examples(own_stores, "ada", dataset, RECIPE) == 3
    assert requests(instance) == []
    publish_dataset(own_stores, more_rows(25))
    assert len(requests(instance)) == 1


def test_a_broken_recipe_stops_no_other(own_stores, write_recipe, instance):
    publish_dataset(own_stores)
    recipes = [RecipeChoice(name="no-such-recipe"), RecipeChoice(name=RECIPE)]
    own_stores.warehouse.change_profile("ada", setting(recipes=recipes))
    assert len(requests(instance)) == 1


@pytest.mark.parametrize("subscribed", [True, False])
def test_only_subscribed_recipes_are_due(own_stores, write_recipe, instance, subscribed):
    publish_dataset(own_stores)
    if not subscribed:
        own_stores.warehouse.change_profile("ada", setting(recipes=[]))
    assert bool(requests(instance)) is subscribed


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_datasets_that_come_during_a_training_start_one_training_after_it(
    own_stores, write_recipe, instance, tiny_model, status
):
    publish_dataset(own_stores)
    [request] = requests(instance)
    run = ask_for(instance, status, **{RUN_KEY_TAG: request.run_key})
    for n in (25, 50, 75):
        publish_dataset(own_stores, more_rows(n))
        assert requests(instance) == []
    trained(own_stores, tiny_model, rows(), "v1")
    publish_dataset(own_stores, more_rows(75))
    instance.report_run_canceled(run)
    assert len(requests(instance)) == 1


def test_another_authors_or_recipes_training_holds_nobody_up(own_stores, write_recipe, instance):
    publish_dataset(own_stores)
    for tags in ({"twin/author": "ben"}, {"twin/recipe": "another"}):
        ask_for(instance, dg.DagsterRunStatus.STARTED, **tags)
    assert len(requests(instance)) == 1


def test_a_report_that_is_being_made_is_no_training(own_stores, write_recipe, instance):
    publish_dataset(own_stores)
    instance.create_run_for_job(
        JOB.get_subset(asset_selection={preference_pairs.key}),
        tags=run_tags(author_recipe("ada", RECIPE)),
        status=dg.DagsterRunStatus.STARTED,
        asset_selection=frozenset([preference_pairs.key]),
    )
    assert len(requests(instance)) == 1


def test_a_dataset_that_was_not_enough_is_read_once_and_the_next_one_again(
    own_stores, write_recipe, instance, tiny_model, capfd
):
    trained(own_stores, tiny_model, rows(), "v1")
    dataset = publish_dataset(own_stores, more_rows(3))
    assert requests(instance) == []
    table = own_stores.features.connect("ada").open_table(dataset.table)
    shutil.move(table.uri, f"{table.uri}.away")
    assert requests(instance) == []
    assert capfd.readouterr().err == "", "its tables were not read"
    shutil.move(f"{table.uri}.away", table.uri)
    publish_dataset(own_stores, more_rows(25))
    assert len(requests(instance)) == 1


def test_a_training_that_was_asked_for_is_asked_for_until_there_is_a_run(own_stores, write_recipe, instance):
    """A daemon that dies between the two starts it when it is there again."""
    publish_dataset(own_stores)
    [first], [second] = requests(instance), requests(instance)
    assert first.run_key == second.run_key
    ask_for(instance, dg.DagsterRunStatus.FAILURE, **{RUN_KEY_TAG: first.run_key})
    assert requests(instance) == [], "what has failed waits for a person"


def test_authors_are_served_in_turn_when_one_tick_has_no_time_for_all(own_stores, write_recipe, instance, monkeypatch):
    monkeypatch.setattr(turns, "TICK_S", 0)
    for author in ("ben", "cid"):
        profile = AuthorProfile(
            id=author, name=author, consent=Consent(who=author), recipes=[RecipeChoice(name=RECIPE)]
        )
        own_stores.warehouse.add_profile(profile)
    publish_dataset(own_stores)
    for author in ("ben", "cid"):
        shutil.copytree(f"{own_stores.features.root}/ada", f"{own_stores.features.root}/{author}")
    served, cursor = [], ""
    for _ in range(4):
        with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
            served += [request.tags["twin/author"] for request in training_due(context)]
            cursor = context.cursor
    assert served == ["ada", "ben", "cid", "ada"]
