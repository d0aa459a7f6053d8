"""Partition definitions and automation conditions, each named once.

A run is always for one author. An author's slug is a partition of `author`, a recipe's name one of `recipe`.
"""

import warnings
from collections.abc import Sequence

import dagster as dg
from dagster import AutomationCondition as On

# Partition mappings and partitioned checks are beta and preview in Dagster 1.13; constraints.txt pins what was tried.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

authors = dg.DynamicPartitionsDefinition(name="author")
recipes = dg.DynamicPartitionsDefinition(name="recipe")
authors_recipes = dg.MultiPartitionsDefinition({"author": authors, "recipe": recipes})

authors_to_recipes = dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name="author")
"""Maps each author x recipe partition to its author: one dataset feeds all of the author's recipes."""

CHANGED = (
    On.in_latest_time_window()
    & (On.newly_missing() | On.any_deps_match(On.data_version_changed())).since(
        On.newly_requested() | On.initial_evaluation()
    )
    & ~On.all_deps_match(On.missing())
    & ~On.any_deps_in_progress()
    & ~On.in_progress()
)
"""The condition of `cleaned_documents` and `evaluation_report`. It remembers a change that arrives during a run, which
`since_last_handled()` would forget; an author or recipe without data starts nothing."""

FOLLOWS = On.eager().replace("newly_updated", On.data_version_changed())
"""The condition of the assets that follow in the same run: chunks, embeddings, instruction_dataset."""


def author_of(context: dg.AssetExecutionContext) -> str:
    """The author that a run is for, whether or not the asset is also partitioned by recipe."""
    key = context.partition_key
    return key.keys_by_dimension["author"] if isinstance(key, dg.MultiPartitionKey) else key


def recipe_of(context: dg.AssetExecutionContext) -> str:
    """The recipe that a run of an author x recipe asset is for."""
    key = context.partition_key
    if not isinstance(key, dg.MultiPartitionKey):
        raise TypeError(f"{key!r} is not an author x recipe partition")
    return key.keys_by_dimension["recipe"]


def author_recipe(author: str, recipe: str) -> dg.MultiPartitionKey:
    """The partition key of an author x recipe asset."""
    return dg.MultiPartitionKey({"author": author, "recipe": recipe})


def add_partitions(instance: dg.DagsterInstance, authors_to_add: Sequence[str], recipes_to_add: Sequence[str]) -> None:
    """Add authors and recipes to Dagster as partitions; existing ones stay as they are."""
    for definition, keys in ((authors, authors_to_add), (recipes, recipes_to_add)):
        if definition.name and keys:
            instance.add_dynamic_partitions(definition.name, list(keys))
