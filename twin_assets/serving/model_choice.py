"""Which model drafts: `<author>` means production, or the untrained base before there is any; `<author>@<version>`
means that version.

This is looked up for every request, so that a version promoted a moment ago writes the next draft.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from twin_assets.documents import DEFAULT_RECIPE, AuthorProfile, ModelManifest, RecipeChoice
from twin_assets.language.base_models import DOCSTRINGS, BaseSpec, untrained_base
from twin_assets.language.prompts import DEFAULT_CONTEXT_LIMITS, PROMPT_VERSION, ContextLimits, context_limits
from twin_assets.stores import Stores

HOSTED_CONTEXT_TOKENS = 8_192
HOSTED_ANSWER_TOKENS = 2_048
"""The limits for a chat provider's model, as counted by another model's tokenizer."""

UNTRAINED = "untrained"
"""The version by which the base model without an adapter is asked for, and the label of its drafts."""


@dataclass(frozen=True)
class DraftingModel:
    """A model that drafts for an author. context_tokens: prompt and draft; answer_tokens: the draft alone."""

    author: str
    version: str
    base: BaseSpec
    context_tokens: int
    answer_tokens: int
    context: ContextLimits = DEFAULT_CONTEXT_LIMITS
    manifest: ModelManifest | None = None
    warnings: tuple[str, ...] = ()

    @property
    def dataset_version(self) -> str | None:
        """The version of the dataset it was trained on; None if untrained."""
        return self.manifest.dataset.version if self.manifest else None


def parse_model(model: str) -> tuple[str, str | None]:
    """Split `<author>` or `<author>@<version>` into author and version."""
    author, _, version = model.partition("@")
    return author, version or None


def choose_model(stores: Stores, profile: AuthorProfile, version: str | None = None) -> DraftingModel:
    """The model that drafts for `profile`. Raises NotThere for an unknown version, BadRecipe for a broken recipe."""
    if version == UNTRAINED:
        return _hosted(stores, profile) if stores.settings.generation == "chat" else _untrained(stores, profile)
    if version is not None:
        return _trained(stores.models.version(profile.id, version))
    if stores.settings.generation == "chat":
        return _hosted(stores, profile)
    production = stores.models.production(profile.id)
    return _trained(production) if production else _untrained(stores, profile)


def earlier_models(stores: Stores, model: DraftingModel, error: Exception) -> Iterator[DraftingModel]:
    """The models that were in production before `model`, the latest first, each with a warning that says so.

    error: why `model` cannot be loaded.
    """
    manifest = model.manifest
    while manifest is not None and (manifest := stores.models.previous_production(manifest)) is not None:
        earlier = _trained(manifest)
        warning = (
            f"version {model.version} is in production and cannot be loaded ({error}): {manifest.version}, which was "
            f"in production before, drafts instead; train {model.version} again, or put another version into production"
        )
        yield replace(earlier, warnings=(warning, *earlier.warnings))


def _trained(manifest: ModelManifest) -> DraftingModel:
    base = manifest.base
    return DraftingModel(
        author=manifest.author,
        version=manifest.version,
        base=BaseSpec(name=base.name, revision=base.revision, precision=base.precision),
        context_tokens=manifest.recipe["context_tokens"],
        answer_tokens=manifest.recipe["answer_tokens"],
        context=context_limits(manifest.recipe),
        manifest=manifest,
        warnings=tuple(_version_warnings(manifest)),
    )


def _version_warnings(manifest: ModelManifest) -> list[str]:
    warnings = list(_base_warnings(manifest.base.name))
    if manifest.stage == "rejected":
        warnings.append(f"version {manifest.version} was rejected: {manifest.reason}")
    if manifest.evaluation is None:
        warnings.append(f"version {manifest.version} has not been evaluated")
    if failed := [f"{gate.name} ({gate.text})" for gate in manifest.gates if not gate.passed]:
        warnings.append(f"version {manifest.version} failed: {'; '.join(failed)}")
    if other_prompts := manifest.prompt_warning(PROMPT_VERSION):
        warnings.append(other_prompts)
    return warnings


def _base_warnings(base: str) -> list[str]:
    """The warning about a base model that was made on this machine."""
    if not base.startswith(DOCSTRINGS):
        return []
    return [f"plumbing: the base model {base} was made from documentation on this machine, and writes nonsense"]


def _untrained(stores: Stores, profile: AuthorProfile) -> DraftingModel:
    first = profile.recipes[0] if profile.recipes else RecipeChoice(name=DEFAULT_RECIPE)
    base = untrained_base(first.name, stores.settings, first.overrides)
    versions = stores.models.versions(profile.id)
    way_out = (
        f"approve one of its {len(versions)} versions: `twin models {profile.id}`"
        if versions
        else f"train one: `twin run {profile.id}`"
    )
    return DraftingModel(
        author=profile.id,
        version=UNTRAINED,
        base=base.spec,
        context_tokens=base.context_tokens,
        answer_tokens=base.answer_tokens,
        context=base.context,
        warnings=(
            *_base_warnings(base.spec.name),
            f"untrained: {base.spec.name} has learned nothing from {profile.name} and imitates what it is shown; "
            f"{way_out}",
        ),
    )


def _hosted(stores: Stores, profile: AuthorProfile) -> DraftingModel:
    """A chat provider's model, which can have no adapter."""
    name = stores.settings.chat_model
    return replace(
        _untrained(stores, profile),
        context_tokens=HOSTED_CONTEXT_TOKENS,
        answer_tokens=HOSTED_ANSWER_TOKENS,
        context=DEFAULT_CONTEXT_LIMITS,
        warnings=(
            f"written by {name}, in the provider's own chat template: it has learned nothing from {profile.name} and "
            "imitates what it is shown",
        ),
    )
