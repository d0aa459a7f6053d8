from pathlib import Path

import pytest
import yaml

from twin_assets.errors import BadRecipe
from twin_assets.evaluation.gates import limits_of
from twin_assets.language.base_models import recipe_files, untrained_base
from twin_assets.language.prompts import token_limits
from twin_assets.settings import Settings
from twin_assets.training.recipe import load_recipe, recipe_hash

PACKAGED = {
    "tiny-cpu", "smollm2-cpu", "smollm2-135m", "qwen3-0.6b", "qwen3-4b", "qwen3-14b", "mistral-7b", "llama3-8b",
    "llama3-70b",
}  # fmt: skip


@pytest.fixture
def own(tmp_path: Path):
    """own(stem, **keys) -> settings under which that recipe exists."""

    def write(stem: str, text: str | None = None, **keys: object) -> Settings:
        content = {"description": "d", "base": {"name": "org/model"}, "context_tokens": 512, "answer_tokens": 128}
        (tmp_path / f"{stem}.yaml").write_text(text if text is not None else yaml.safe_dump(content | keys))
        return Settings(_env_file=None, recipes_dir=tmp_path)

    return write


def test_the_packaged_recipes_are_the_promised_ones(settings):
    assert set(recipe_files(settings)) == PACKAGED


@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_a_packaged_recipe_resolves_and_its_base_drafts_untrained(name, settings):
    recipe = load_recipe(name, settings, {})
    assert token_limits(recipe.context_tokens, recipe.answer_tokens, 1_000_000)[1] >= recipe.context_tokens // 4
    assert limits_of(recipe.gates)
    assert untrained_base(name, settings).spec == recipe.base


def test_tiny_cpu_has_a_budget_in_steps_and_none_in_minutes(settings):
    training = load_recipe("tiny-cpu", settings, {}).training
    assert training.max_steps
    assert training.max_minutes is None


def test_an_unknown_recipe_names_the_known(settings):
    with pytest.raises(BadRecipe, match=r"no recipe 'big'.*tiny-cpu.*TWIN_RECIPES_DIR"):
        load_recipe("big", settings, {})


def test_an_unknown_key_is_named_with_those_that_exist(own):
    settings = own("mine", training={"learning_rat": 0.1})
    with pytest.raises(BadRecipe, match=r"recipe mine: unknown key training.learning_rat \(known: .*learning_rate"):
        load_recipe("mine", settings, {})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"context_tokens": "many"}, "context_tokens: .*valid integer"),
        ({"answer_tokens": 500}, "leave no room for a prompt"),
        ({"lora": {"r": 0}}, "lora.r: .*greater than 0"),
        ({"name": "other"}, "its file says name: other"),
    ],
)
def test_a_wrong_value_is_named(own, keys, said):
    with pytest.raises(BadRecipe, match=said):
        load_recipe("mine", own("mine", **keys), {})


def test_a_file_that_is_no_yaml_is_named(own):
    with pytest.raises(BadRecipe, match="is not valid YAML"):
        load_recipe("mine", own("mine", text="a: [b"), {})


def test_the_operators_recipe_wins_over_the_packaged_one(own):
    assert load_recipe("tiny-cpu", own("tiny-cpu"), {}).base.name == "org/model"


def test_an_override_changes_only_what_it_names_and_so_the_hash(settings):
    plain = load_recipe("tiny-cpu", settings, {})
    changed = load_recipe("tiny-cpu", settings, {"training": {"learning_rate": 0.001}})
    assert changed.training.learning_rate == 0.001
    assert changed.training.max_steps == plain.training.max_steps
    assert recipe_hash(changed) != recipe_hash(plain)
