"""The evaluation pipeline's assets: how good a version is, and which version is in production.

`evaluation_report` starts the evaluation process, unless the registry already holds the evaluation. `production_model`
is the only place that moves the alias `production`: the app, `twin` and the UI all execute it. It only promotes a
version that has just been loaded successfully, in a separate process.
"""

from collections.abc import Iterator, Mapping

import dagster as dg
from pydantic import Field, ValidationError

from twin_assets.documents import ModelManifest
from twin_assets.errors import BadRecipe, NotThere
from twin_assets.evaluation import report
from twin_assets.evaluation.checks import check_results, check_specs
from twin_assets.evaluation.gates import gates, limits_of, verdict
from twin_assets.evaluation.result import EVALUATION_VERSION, FILE, Evaluation, Options, stored_evaluation
from twin_assets.language.base_models import read_recipe
from twin_assets.language.prompts import PROMPT_VERSION
from twin_assets.orchestration.partitions import (
    CHANGED,
    author_of,
    authors,
    authors_recipes,
    authors_to_recipes,
    recipe_of,
)
from twin_assets.orchestration.subprocesses import run_child
from twin_assets.stores import Stores, open_stores

OWNERS = ["team:twin"]
ADAPTER = dg.AssetKey("adapter")


class EvaluationConfig(dg.Config):
    """How much is scored and drafted. What is not given comes from the recipe, or else from the defaults."""

    max_clusters: int | None = Field(default=None, description="The most held-out clusters to score.")
    max_rows_per_cluster: int | None = Field(default=None, description="The most rows to score in a cluster.")
    n_drafts: int | None = Field(default=None, description="How many held-out prompts to draft for.")
    draft_tokens: int | None = Field(default=None, description="The longest draft, in tokens.")

    def options(self, recipe: Mapping[str, object]) -> Options:
        """The options for the evaluation process. Raises BadRecipe for an invalid key or value in the recipe."""
        try:
            return Options.model_validate({**options_of(recipe), **self.model_dump(exclude_none=True)})
        except ValidationError as error:
            problem = error.errors()[0]
            known = ", ".join(Options.model_fields)
            raise BadRecipe(
                f"evaluation.{'.'.join(map(str, problem['loc']))}: {problem['msg']} (known: {known})"
            ) from error


def current_recipe(stores: Stores, manifest: ModelManifest) -> Mapping[str, object]:
    """The version's recipe as it is today, whose options and limits the version is judged by.

    If the recipe or the author's profile no longer exists, this is the recipe that the version was trained with.
    """
    try:
        overrides = stores.warehouse.profiles.get(manifest.author).overrides(manifest.recipe_name)
        return read_recipe(manifest.recipe_name, stores.settings, overrides)
    except (BadRecipe, NotThere):
        return manifest.recipe


def is_evaluated(stores: Stores, manifest: ModelManifest) -> bool:
    """True if the version's evaluation and gates were made with today's code, options and limits.

    Raises BadRecipe if the recipe's options or limits are invalid.
    """
    recipe = current_recipe(stores, manifest)
    evaluation = _stored(manifest, EvaluationConfig().options(recipe))
    return evaluation is not None and gates(evaluation, limits_of(recipe)) == manifest.gates


def options_of(recipe: Mapping[str, object]) -> dict[str, object]:
    """The recipe's `evaluation` section."""
    section = recipe.get("evaluation") or {}
    return dict(section) if isinstance(section, Mapping) else {}


@dg.asset(
    deps=[ADAPTER],
    partitions_def=authors_recipes,
    group_name="evaluation",
    kinds={"huggingface", "python"},
    owners=OWNERS,
    code_version=EVALUATION_VERSION,
    automation_condition=CHANGED,
    pool="gpu",
    check_specs=check_specs("evaluation_report"),
)
def evaluation_report(
    context: dg.AssetExecutionContext, config: EvaluationConfig
) -> Iterator[dg.MaterializeResult[None]]:
    """Compares adapter and base on held-out writing (bits per byte, copying, style), and gives a verdict."""
    stores, author = open_stores(), author_of(context)
    manifest = _version(stores, author, recipe_of(context), _data_version(context))
    recipe = current_recipe(stores, manifest)
    options = config.options(recipe)
    evaluation = _stored(manifest, options)
    is_already_evaluated = evaluation is not None
    if evaluation is None:
        evaluation = _measure(context, stores, manifest, options)
    found = gates(evaluation, limits_of(recipe))
    evaluation = evaluation.model_copy(update={"verdict": verdict(found)})
    stores.models.save_evaluation(manifest, evaluation.for_manifest(), found)
    context.log.info(f"{manifest.version}: {evaluation.verdict}")
    if warning := manifest.prompt_warning(PROMPT_VERSION):
        context.log.warning(warning)
    yield dg.MaterializeResult(
        metadata=_metadata(manifest, evaluation, report.markdown(evaluation, found), is_already_evaluated),
        check_results=check_results("evaluation_report", found),
    )


def _data_version(context: dg.AssetExecutionContext) -> str | None:
    """The data version of this partition's newest adapter."""
    wanted = dg.AssetRecordsFilter(ADAPTER, asset_partitions=[context.partition_key])
    records = context.instance.fetch_materializations(wanted, limit=1).records
    materialization = records[0].asset_materialization if records else None
    tags = (materialization.tags if materialization else None) or {}
    return tags.get("dagster/data_version")


def _version(stores: Stores, author: str, recipe: str, data_version: str | None) -> ModelManifest:
    """The version whose weights have this data version, or else the recipe's newest version."""
    versions = stores.models.versions(author, recipe)
    if not versions:
        raise NotThere(f"{author} has no version of recipe {recipe}: materialize `adapter` for it first")
    followed = (one for one in versions if data_version and one.weights_sha256.startswith(data_version))
    return next(followed, versions[-1])


def _stored(manifest: ModelManifest, options: Options) -> Evaluation | None:
    """The evaluation in the registry, if it was made by this code with these options."""
    if manifest.evaluation is None or manifest.evaluation.get("made_by") != options.made_by:
        return None
    return stored_evaluation(manifest, options)


def _measure(
    context: dg.AssetExecutionContext, stores: Stores, manifest: ModelManifest, options: Options
) -> Evaluation:
    request = {"author": manifest.author, "version": manifest.version, "options": options.model_dump()}
    run_child(context, stores.settings, "twin_assets.evaluation.evaluate", request)
    found = stored_evaluation(manifest, options)
    if found is None:
        raise NotThere(f"the evaluation of {manifest.id} ended without {FILE} in {manifest.path}: see the run's stderr")
    return found


def _metadata(
    manifest: ModelManifest, evaluation: Evaluation, text: str, is_already_evaluated: bool
) -> dict[str, dg.MetadataValue | str | float | bool]:
    plot = report.plot(evaluation)
    return {
        "report": dg.MetadataValue.md(text),
        **({"plot": dg.MetadataValue.md(plot)} if plot else {}),
        "verdict": evaluation.verdict,
        "version": manifest.version,
        "dataset": f"{manifest.dataset.table} (data version {manifest.dataset.data_version})",
        "held_out_clusters": evaluation.n_clusters,
        "held_out_rows": evaluation.n_rows,
        "rows_left_out": evaluation.n_left_out,
        "already_evaluated": is_already_evaluated,
        "path": dg.MetadataValue.path(f"{manifest.path}/{FILE}"),
        **evaluation.metrics(),
    }


class PromotionConfig(dg.Config):
    """Which version goes into production, and who decided it."""

    version: str | None = Field(
        default=None,
        description="Default: the newest candidate that passed every gate, but none that was rolled back.",
    )
    who: str = Field(description="Who decided it; kept in the registry.")
    reason: str = Field(default="", description="Why; kept in the registry.")


@dg.asset(
    deps=[dg.AssetDep("evaluation_report", partition_mapping=authors_to_recipes)],
    partitions_def=authors,
    group_name="evaluation",
    kinds={"python"},
    owners=OWNERS,
    code_version="1",
)
def production_model(
    context: dg.AssetExecutionContext, config: PromotionConfig
) -> Iterator[dg.MaterializeResult[None]]:
    """The version that drafts when a request names only the author: the registry's alias `production`."""
    stores, author = open_stores(), author_of(context)
    models = stores.models
    version = config.version or models.newest_passing(author).version
    wanted, before = models.version(author, version), models.production(author)
    if wanted.stage != "rejected":  # `promote` refuses a rejected version and says why
        run_child(context, stores.settings, "twin_assets.evaluation.loading", {"author": author, "version": version})
    manifest = models.promote(author, version, config.who, config.reason)
    previous = before.version if before else "none"
    context.log.info(f"production of {author}: {previous} -> {manifest.version}, by {config.who}")
    yield dg.MaterializeResult(
        metadata={
            "version": manifest.version,
            "previous": previous,
            "who": config.who,
            "reason": config.reason or "none given",
            "recipe": manifest.recipe_name,
            "passed_every_gate": manifest.passed,
            "gates": dg.MetadataValue.json([gate.model_dump() for gate in manifest.gates]),
        },
        data_version=dg.DataVersion(manifest.version),
    )


assets = [evaluation_report, production_model]

jobs = [
    dg.define_asset_job(
        "evaluate",
        selection=dg.AssetSelection.assets(evaluation_report),
        description="Evaluate a recipe's newest version for one author.",
    ),
    dg.define_asset_job(
        "promote",
        selection=dg.AssetSelection.assets(production_model),
        description="Put a version into production, or roll back to one.",
    ),
]
