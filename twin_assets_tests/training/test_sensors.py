"""What starts training by itself."""

import dagster as dg
import pytest

from twin_assets.documents import RecipeChoice
from twin_assets.partitions import recipes
from twin_assets.training.assets import resolved_recipe
from twin_assets.training.recipe import recipe_hash
from twin_assets.training.sensors import new_examples, run_key, training_due
from twin_assets_tests.conftest import setting
from twin_assets_tests.evaluation.conftest import publish_version
from twin_assets_tests.training.conftest import RECIPE, publish_dataset, row, rows


def requests(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    with dg.build_sensor_context(instance=instance) as context:
        return list(training_due(context))


def trained(stores, tiny_model, given, version):
    manifest = publish_version(stores, given, tiny_model, version=version)
    resolved = recipe_hash(resolved_recipe(stores, "ada", RECIPE))
    stores.warehouse.save_manifest(manifest.model_copy(update={"recipe_name": RECIPE, "recipe_hash": resolved}))


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
    dataset = publish_dataset(own_stores, [*rows(), *(row(900 + n, "train") for n in range(3))])
    assert new_examples(own_stores, "ada", dataset, RECIPE) == 3
    assert requests(instance) == []
    publish_dataset(own_stores, [*rows(), *(row(900 + n, "train") for n in range(25))])
    assert len(requests(instance)) == 1


def test_a_broken_recipe_stops_no_other(own_stores, write_recipe, instance):
    publish_dataset(own_stores)
    recipes = [RecipeChoice(name="no-such-recipe"), RecipeChoice(name=RECIPE)]
    own_stores.warehouse.change_profile("ada", setting(recipes=recipes))
    assert len(requests(instance)) == 1


@pytest.mark.parametrize("subscribed", [True, False])
def test_only_subscribed_recipes_are_due(own_stores, write_recipe, instance, subscribed):
    publish_dataset(own_stores)
    profile = own_stores.warehouse.profile("ada")
    if not subscribed:
        profile = own_stores.warehouse.change_profile("ada", setting(recipes=[]))
    assert bool(requests(instance)) is subscribed
    assert run_key(own_stores, profile, RECIPE)
