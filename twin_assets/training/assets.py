"""The training pipeline's assets: pairs of drafts and their edits, and an adapter for each author and recipe.

`adapter` asks the registry first, so that a recipe is never trained twice on the same dataset. The training process
works in a folder beside the registry. Only a finished training is uploaded, with the manifest written last; then the
folder is deleted, so that the weights are stored once.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from filelock import FileLock

from twin_assets.documents import DatasetRef, ModelManifest
from twin_assets.language.base_models import BaseSpec, resolve_base
from twin_assets.orchestration.partitions import author_of, authors_recipes, authors_to_recipes, recipe_of
from twin_assets.orchestration.subprocesses import run_child
from twin_assets.schemas import PREFERENCE_PAIRS
from twin_assets.stores import Stores, open_stores
from twin_assets.stores.features import Publication, Snapshot, snapshot_data_version
from twin_assets.stores.features_io import column_schema
from twin_assets.stores.models import Identity, sha256_of_files
from twin_assets.stores.trees import remove_tree
from twin_assets.training import report
from twin_assets.training.checks import adapter_check_specs, adapter_verdicts
from twin_assets.training.identity import (
    TRAINING_VERSION,
    identity_of,
    known_revision,
    resolved_recipe,
    trained_version,
)
from twin_assets.training.preferences import PREFERENCES_VERSION, preference_rows
from twin_assets.training.recipe import Recipe
from twin_assets.training.result import ADAPTER, CURVE, FILE, TrainingResult

OWNERS = ["team:twin"]


@dg.asset(
    partitions_def=authors_recipes,
    group_name="training",
    kinds={"python", "lancedb"},
    owners=OWNERS,
    code_version=PREFERENCES_VERSION,
    io_manager_key="features",
    metadata={"dagster/column_schema": column_schema(PREFERENCE_PAIRS)},
)
def preference_pairs(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Snapshot]]:
    """Drafts that the author edited and agreed to have learned from: the edit is chosen over the draft."""
    stores, author = open_stores(), author_of(context)
    name = f"preference_pairs-{recipe_of(context)}"
    with stores.features.writing(author, name):
        rows = preference_rows(stores.warehouse.interactions.for_author(author))
        data_version = snapshot_data_version(rows, "pair_id")
        yield dg.MaterializeResult(
            value=Snapshot(rows, data_version=data_version),
            metadata={
                "dagster/row_count": rows.num_rows,
                "bytes_written": rows.nbytes,
                "preview": dg.MetadataValue.md(report.preference_preview(rows)),
            },
            data_version=dg.DataVersion(data_version),
        )


@dg.asset(
    deps=[dg.AssetDep("instruction_dataset", partition_mapping=authors_to_recipes), preference_pairs],
    partitions_def=authors_recipes,
    group_name="training",
    kinds={"huggingface", "pytorch", "wandb"},
    owners=OWNERS,
    code_version=TRAINING_VERSION,
    pool="gpu",
    retry_policy=dg.RetryPolicy(max_retries=1, delay=15),
    check_specs=adapter_check_specs("adapter"),
)
def adapter(
    context: dg.AssetExecutionContext,
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """LoRA weights that teach a base model the author's style, in the registry with everything they were made from."""
    stores, author, name = open_stores(), author_of(context), recipe_of(context)
    recipe = resolved_recipe(stores, author, name)
    with stores.features.writing(author, f"adapter-{name}"):
        dataset = stores.features.table(author, "instruction_dataset").pinned
        identity = identity_of(recipe, dataset, known_revision(recipe.base, stores.settings))
        manifest = trained_version(stores, author, recipe, identity)
        is_already_trained = manifest is not None
        if manifest is None:
            with stores.features.pinning(author, dataset.table):
                base = _local_base(context, stores, recipe.base)
                identity = identity_of(recipe, dataset, base.revision)
                folder = _train(context, stores, author, recipe.model_copy(update={"base": base}), dataset, identity)
                yield from adapter_verdicts("adapter", folder)
                manifest = _publish(stores, author, recipe, dataset, identity, folder)
        else:
            context.log.info(f"{manifest.version} was trained with this recipe on this dataset: nothing to do")
            yield from adapter_verdicts("adapter", stores.models.local_folder(manifest, stores.settings.cache_dir))
        _clear_trainings(stores, author, name)
        yield _result(stores, manifest, is_already_trained)


def _local_base(context: dg.AssetExecutionContext, stores: Stores, spec: BaseSpec) -> BaseSpec:
    """The recipe's base model with its revision on this machine; it is downloaded or made first if need be."""
    if known_revision(spec, stores.settings) is None:
        run_child(
            context, stores.settings, "twin_assets.training.process.fetch_base", {"base": spec.model_dump(mode="json")}
        )
    revision = known_revision(spec, stores.settings) or resolve_base(spec, stores.settings, context.log.info).revision
    return spec.model_copy(update={"revision": revision})


def _training_folders(stores: Stores, author: str) -> Path:
    return stores.settings.data_dir / "training" / author


def _train(
    context: dg.AssetExecutionContext,
    stores: Stores,
    author: str,
    recipe: Recipe,
    dataset: Publication,
    identity: Identity,
) -> Path:
    """Train, unless a killed run has already finished this training, and return the training's folder."""
    version = identity.version(recipe.name)
    folder = _training_folders(stores, author) / version
    if TrainingResult.read(folder) is None:
        lineage = {
            "author": author,
            "version": version,
            "dataset": dataset.table,
            "dataset_data_version": dataset.data_version,
            "recipe_hash": identity.recipe_hash,
            "prompt_version": identity.prompt_version,
            "code_version": identity.code_version,
        }
        request = {"recipe": recipe.model_dump(mode="json"), "folder": str(folder), "lineage": lineage}
        run_child(context, stores.settings, "twin_assets.training.process.train", request)
    return folder


def _publish(
    stores: Stores, author: str, recipe: Recipe, dataset: Publication, identity: Identity, folder: Path
) -> ModelManifest:
    """Put a finished training into the registry, files first, and delete files that killed runs left there."""
    version = identity.version(recipe.name)
    result = TrainingResult.read(folder)
    if result is None:
        raise dg.Failure(f"the training of {author}@{version} ended without a result: see the run's stderr")
    lock = stores.settings.data_dir / "locks" / author / "registry.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        path = stores.models.upload(author, recipe.name, version, folder, [ADAPTER, CURVE, FILE])
        manifest = ModelManifest(
            author=author,
            version=version,
            recipe_name=recipe.name,
            recipe=recipe.model_dump(mode="json"),
            recipe_hash=identity.recipe_hash,
            base=result.base,
            path=path,
            weights_sha256=sha256_of_files(folder / ADAPTER),
            dataset=DatasetRef(
                table=dataset.table, version=dataset.table.rsplit("-", 1)[1], data_version=dataset.data_version
            ),
            prompt_version=identity.prompt_version,
            prompt_template="tokenizer" if result.prompt_template == "tokenizer" else "ours",
            code_version=identity.code_version,
            tracking_run=result.tracking_run,
            metrics=result.metrics(),
        )
        stores.models.publish(manifest)
        stores.models.delete_orphans(author)
    return manifest


def _clear_trainings(stores: Stores, author: str, recipe: str) -> None:
    """Delete all training folders of a recipe. Its version must be in the registry, and its lock held.

    Besides the finished training these are killed ones whose dataset or recipe has changed since, so that nothing will
    continue from them.
    """
    for folder in sorted(_training_folders(stores, author).glob("*")):
        if re.fullmatch(rf"{re.escape(recipe)}-[0-9a-f]{{10}}", folder.name):
            # The result goes first, so that a kill in between leaves no folder that looks finished.
            (folder / FILE).unlink(missing_ok=True)
            remove_tree(folder)


def _result(stores: Stores, manifest: ModelManifest, is_already_trained: bool) -> dg.MaterializeResult[None]:
    folder = stores.models.local_folder(manifest, stores.settings.cache_dir)
    lines = (folder / CURVE).read_text().splitlines()
    plot = report.loss_plot([json.loads(line) for line in lines], manifest.metrics)
    return dg.MaterializeResult(
        metadata={
            "version": manifest.version,
            "summary": dg.MetadataValue.md(report.markdown(manifest)),
            **({"plot": dg.MetadataValue.md(plot)} if plot else {}),
            "base_model": f"{manifest.base.name}@{manifest.base.revision}",
            "dataset": f"{manifest.dataset.table} (data version {manifest.dataset.data_version})",
            "recipe": dg.MetadataValue.json(manifest.recipe),
            "tracking_run": manifest.tracking_run or "disabled",
            "path": dg.MetadataValue.path(manifest.path),
            "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
            "already_trained": is_already_trained,
            **manifest.metrics,
        },
        data_version=dg.DataVersion(manifest.weights_sha256),
    )


assets = [preference_pairs, adapter]

train_job = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.assets(preference_pairs, adapter),
    description="Train one recipe for one author.",
)
jobs = [train_job]
