"""The identity of a model version: everything that changes its weights, and nothing else.

A base model's revision is what its name resolves to on this machine. Nothing here downloads, makes or loads a model:
while the base is not on this machine, its revision is None, and a version trained on any revision counts.
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
"""Raise it when the same recipe and dataset would give different weights; each version is then trained again when it is
next needed. A new recipe key whose default changes nothing does not need it."""

PINNED = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A revision that can never change: a hub commit, or the sha256 of local weights."""


class _BaseNotHere(Exception):
    """The base model would have to be downloaded or made first."""


def resolved_recipe(stores: Stores, author: str, name: str) -> Recipe:
    """A recipe with the author's overrides. Raises BadRecipe."""
    return load_recipe(name, stores.settings, stores.warehouse.profiles.get(author).overrides(name))


def pinned_revision(spec: BaseSpec) -> str | None:
    """The revision, if the recipe pins one; None for a branch or tag, which may move."""
    return spec.revision if PINNED.fullmatch(spec.revision) else None


def known_revision(spec: BaseSpec, settings: Settings) -> str | None:
    """The revision that a training on this machine would start from; None if the base model is not here yet."""
    try:
        return pinned_revision(spec) or resolve_base(spec, settings, _refuse).revision
    except (_BaseNotHere, BadRecipe):
        return None


def _refuse(text: str) -> None:
    """Stop `resolve_base`, which calls this before it downloads or makes a base model."""
    raise _BaseNotHere(text)


def identity_of(recipe: Recipe, dataset: Publication, base_revision: str | None, pairs: str | None = None) -> Identity:
    """The identity of a recipe trained on a dataset. pairs: the data version of its preference pairs, if any."""
    return Identity(
        recipe_hash=recipe_hash(recipe),
        base_revision=base_revision,
        dataset=dataset.data_version,
        prompt_version=PROMPT_VERSION,
        code_version=TRAINING_VERSION,
        preference_pairs=pairs,
    )


def trained_version(stores: Stores, author: str, recipe: Recipe, identity: Identity) -> ModelManifest | None:
    """The registry's version with this identity, if any; it may have been made when recipes had fewer keys."""
    return stores.models.find_trained(author, recipe.name, identity, recipe_hash_of)


def recipe_hash_of(manifest: ModelManifest) -> str:
    """The hash of a version's recipe by today's code; keys that the recipe lacks count with their defaults."""
    try:
        return recipe_hash(Recipe.model_validate({"name": manifest.recipe_name} | manifest.recipe))
    except ValidationError:
        return manifest.recipe_hash
