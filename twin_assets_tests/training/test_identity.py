"""Which version a training makes."""

import pytest

from twin_assets.language.base_models import BaseSpec
from twin_assets.language.prompts import PROMPT_VERSION
from twin_assets.stores.models import sha256_of_files
from twin_assets.training.identity import (
    TRAINING_VERSION,
    identity_of,
    known_revision,
    resolved_recipe,
    trained_version,
)
from twin_assets.training.recipe import Recipe, recipe_hash
from twin_assets_tests.evaluation.conftest import publish_version
from twin_assets_tests.training.conftest import RECIPE, publish_dataset, rows

PLAIN = {"name": "mine", "description": "d", "base": {"name": "org/model"}, "context_tokens": 512, "answer_tokens": 128}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "a copy"},
        {"description": "another"},
        {"gates": {"recitation": 0.12}},
        {"evaluation": {"n_drafts": 3}},
        {"base": {"name": "org/model", "revision": COMMIT}},
        {"training": {"save_steps": 7}},
        {"training": {"validation_windows": 7}},
        {"training": {"gradient_checkpointing": True}},
    ],
)
def test_how_a_recipe_is_judged_saved_and_watched_is_no_part_of_what_it_makes(changed):
    assert recipe_hash(Recipe.model_validate(PLAIN | changed)) == recipe_hash(Recipe.model_validate(PLAIN))


@pytest.mark.parametrize(
    "changed",
    [
        {"base": {"name": "org/another"}},
        {"base": {"name": "org/model", "precision": "nf4"}},
        {"context_tokens": 768},
        {"answer_tokens": 256},
        {"lora": {"r": 8}},
        {"training": {"learning_rate": 0.1}},
        {"training": {"seed": 8}},
        {"training": {"max_minutes": 4}},
        {"training": {"batch_size": 2}},
    ],
)
def test_what_changes_the_weights_changes_the_hash(changed):
    assert recipe_hash(Recipe.model_validate(PLAIN | changed)) != recipe_hash(Recipe.model_validate(PLAIN))


def test_a_base_model_is_known_by_its_weights_and_nothing_is_downloaded_or_made_for_it(settings, tiny_model):
    assert known_revision(BaseSpec(name=str(tiny_model)), settings) == sha256_of_files(tiny_model)
    assert known_revision(BaseSpec(name="org/model", revision=COMMIT), settings) == COMMIT
    assert known_revision(BaseSpec(name="org/model-that-is-not-here"), settings) is None
    assert known_revision(BaseSpec(name="docstrings"), settings) is None
    assert known_revision(BaseSpec(name="/no/such/model"), settings) is None
    assert not list(settings.data_dir.rglob("*.safetensors"))


def test_a_version_is_found_whose_recipe_was_written_when_there_were_fewer_keys(own_stores, write_recipe, tiny_model):
    recipe = resolved_recipe(own_stores, "ada", RECIPE)
    made = publish_version(own_stores, rows(), tiny_model)
    stored = recipe.model_dump(mode="json")
    for key in ("gates", "evaluation"):
        del stored[key]
    del stored["training"]["optimizer"]
    about = {"recipe": stored, "recipe_name": RECIPE, "recipe_hash": "of everything, as it was taken then"}
    today = {"prompt_version": PROMPT_VERSION, "code_version": TRAINING_VERSION}
    own_stores.warehouse.manifests.save(made.model_copy(update=about | today))
    dataset = publish_dataset(own_stores)
    for revision in (made.base.revision, None):
        found = trained_version(own_stores, "ada", recipe, identity_of(recipe, dataset, revision))
        assert found is not None
        assert found.version == made.version
    for other in (identity_of(recipe, dataset, "another"), identity_of(recipe, dataset, None, pairs="p")):
        assert trained_version(own_stores, "ada", recipe, other) is None
