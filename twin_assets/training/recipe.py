"""Recipes: a base model and how it is tuned, as YAML files in the package or in TWIN_RECIPES_DIR.

Changing the base model takes another recipe, never other code. A resolved recipe (file, defaults and the author's
overrides) has a hash, which together with the dataset's data version identifies the model version.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twin_assets.documents import digest
from twin_assets.errors import BadRecipe
from twin_assets.language.base_models import BaseSpec, read_recipe
from twin_assets.language.prompts import ContextLimits
from twin_assets.settings import Settings


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(_Section):
    """Low-rank adaptation. See: Hu et al. 2021, LoRA, section 4."""

    r: int = Field(default=16, gt=0, description="Rank of the update.")
    alpha: int = Field(default=32, gt=0, description="The update is scaled by alpha / r.")
    dropout: float = Field(default=0.0, ge=0, lt=1)
    target_modules: str | list[str] = Field(default="all-linear", description="`all-linear`, or module names.")
    upper_layers: float = Field(
        default=1.0, gt=0, le=1, description="Share of the layers, from the top, that get an adapter; fewer are faster."
    )


class Training(_Section):
    """How supervised fine-tuning runs. One step sees batch_size x gradient_accumulation windows."""

    epochs: float = Field(default=2.0, gt=0, description="Passes over the training rows, up to max_steps.")
    max_steps: int | None = Field(default=None, gt=0, description="The most steps; a budget in steps is deterministic.")
    max_minutes: float | None = Field(default=None, gt=0, description="Wall-clock budget of all attempts together.")
    learning_rate: float = Field(default=2e-4, gt=0)
    scheduler: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup: float = Field(default=0.05, ge=0, lt=1, description="Share of the budget, in steps or in minutes.")
    batch_size: int = Field(default=4, gt=0)
    gradient_accumulation: int = Field(default=1, gt=0)
    tokens_at_once: int | None = Field(
        default=None,
        gt=0,
        description="The most tokens in one pass through the model, padding included. Memory grows with it; the loss "
        "does not change. Default: batch_size full windows on a GPU; 512 on a CPU, where more gains nothing.",
    )
    compute: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="The precision on a CPU; `auto` is bf16 where CPU and model gain from it."
    )
    gradient_checkpointing: bool = Field(default=False, description="Saves memory and takes a third more time.")
    weight_decay: float = Field(default=0.0, ge=0)
    optimizer: Literal["adamw_torch", "paged_adamw_8bit"] = "adamw_torch"
    save_steps: int = Field(default=100, gt=0, description="Steps between checkpoints, where a killed run continues.")
    validation_windows: int = Field(
        default=64, ge=0, description="Validation windows, spread over the documents, that are scored before and after."
    )
    validation_steps: int | None = Field(
        default=None, gt=0, description="Steps between further scorings, whose time counts as training time."
    )
    seed: int = 7


class Recipe(_Section):
    """A resolved recipe: the file, the defaults and the author's overrides."""

    name: str
    description: str
    base: BaseSpec
    context_tokens: int = Field(ge=64, description="Longest sequence trained on and drafted in.")
    answer_tokens: int = Field(ge=16, description="The part of it that a draft may take; the rest is for the prompt.")
    context: ContextLimits = ContextLimits()
    lora: Lora = Lora()
    training: Training = Training()
    evaluation: dict[str, int] = Field(
        default_factory=dict, description="How much the evaluation scores and drafts; see `evaluation/result.py`."
    )
    gates: dict[str, float] = Field(default_factory=dict, description="Limits of the evaluation's gates.")

    @model_validator(mode="after")
    def _prompt_has_room(self) -> "Recipe":
        if self.answer_tokens > self.context_tokens * 3 // 4:
            raise ValueError(
                f"answer_tokens {self.answer_tokens} leave no room for a prompt in {self.context_tokens} context_tokens"
            )
        return self


def load_recipe(name: str, settings: Settings, overrides: Mapping[str, Any]) -> Recipe:
    """A recipe with an author's overrides. Raises BadRecipe naming the recipe, the key and the problem."""
    content = {"name": name} | read_recipe(name, settings, overrides)
    if content["name"] != name:
        raise BadRecipe(
            f"recipe {name}: its file says name: {content['name']}; remove that key, the recipe is named after its file"
        )
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(_problem(problem) for problem in error.errors())
        raise BadRecipe(f"recipe {name}: {problems}") from error


def _problem(problem: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in problem["loc"]) or "as a whole"
    if problem["type"] == "extra_forbidden":
        section: Any = Recipe
        for part in problem["loc"][:-1]:
            section = section.model_fields[part].annotation
        return f"unknown key {where} (known: {', '.join(section.model_fields)})"
    return f"{where}: {str(problem['msg']).removeprefix('Value error, ')}"


KEYS_WITHOUT_EFFECT_ON_WEIGHTS: dict[str, Any] = {
    "name": True,
    "description": True,
    "evaluation": True,
    "gates": True,
    "base": {"revision"},
    "training": {
        "save_steps",
        "validation_windows",
        "validation_steps",
        "gradient_checkpointing",
        "tokens_at_once",
    },
}
"""Keys that change no weight, except for the rounding of sums: how a training is evaluated, saved, watched and fitted
into memory. The base's revision is left out because it is a part of the version's identity by itself."""


def recipe_hash(recipe: Recipe) -> str:
    """A hash of all keys of a resolved recipe that change the weights."""
    return digest(recipe.model_dump(mode="json", exclude=KEYS_WITHOUT_EFFECT_ON_WEIGHTS), 16)
