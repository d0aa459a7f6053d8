"""Which version a training makes: everything that changes its weights, and nothing else.

A base model's revision is what its name was resolved to on this machine. Nothing here downloads, makes or loads a
model: while the base is not on this machine its revision is None, and a version trained on any revision counts.
"""

import re

from pydantic import ValidationError

from twin_assets.documents import ModelManifest
from twin_assets.errors import BadRecipe
from twin_assets.language.base_models import BaseSpec, resolve_base
from twin_assets.language.prompts import PROMPT_VERSION
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets.stores.features import Publication
from twin_assets.stores.models import Identity
from twin_assets.training.recipe import Recipe, load_recipe, recipe_hash

TRAINING_VERSION = "2"
"""Raise it when the same recipe on the same dataset would come out as other weights: every version is then made anew
when it is asked for. A new key of a recipe does not need it when its default does what was done before."""

PINNED = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A hub commit, or the sha256 of local weights: what no later download changes."""


class _NotHere(Exception):
    """The base model would have to be made or downloaded."""


def resolved_recipe(stores: Stores, author: str, name: str) -> Recipe:
    """A recipe with the author's overrides. Raises BadRecipe."""
    return load_recipe(name, stores.settings, stores.warehouse.profiles.get(author).overrides(name))


def pinned_revision(spec: BaseSpec) -> str | None:
    """The revision that the recipe itself fixes; None for a branch or tag, which may move."""
    return spec.revision if PINNED.fullmatch(spec.revision) else None


def known_revision(spec: BaseSpec, settings: Settings) -> str | None:
    """The revision that a training on this machine would start from; None when the base model is not here yet."""
    try:
        return pinned_revision(spec) or resolve_base(spec, settings, _refuse).revision
    except (_NotHere, BadRecipe):
        return None


def _refuse(text: str) -> None:
    """Told of work on the base model, which `resolve_base` does before it begins."""
    raise _NotHere(text)


def identity_of(recipe: Recipe, dataset: Publication, base_revision: str | None, pairs: str | None = None) -> Identity:
    """What training this recipe on this dataset makes. pairs: data version of the preference pairs it learns from."""
    return Identity(
        recipe_hash=recipe_hash(recipe),
        base_revision=base_revision,
        dataset=dataset.data_version,
        prompt_version=PROMPT_VERSION,
        code_version=TRAINING_VERSION,
        preference_pairs=pairs,
    )


def trained_version(stores: Stores, author: str, recipe: Recipe, identity: Identity) -> ModelManifest | None:
    """The version of the registry with this identity, also one that was made when recipes had fewer keys."""
    return stores.models.find_trained(author, recipe.name, identity, recipe_hash_of)


def recipe_hash_of(manifest: ModelManifest) -> str:
    """The hash of a version's recipe by today's code: keys that came since have the values they do by default."""
    try:
        return recipe_hash(Recipe.model_validate({"name": manifest.recipe_name} | manifest.recipe))
    except ValidationError:
        return manifest.recipe_hash
