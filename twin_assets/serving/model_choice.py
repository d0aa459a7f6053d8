"""Which model drafts: `<author>` is production, `<author>@<version>` that version, nothing trained yet the bare base.

Looked up anew for every request, so that a version promoted a moment ago answers the next one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from twin_assets.documents import DEFAULT_RECIPE, AuthorProfile, ModelManifest, RecipeChoice
from twin_assets.language.base_models import DOCSTRINGS, BaseSpec, untrained_base
from twin_assets.language.prompts import AS_RETRIEVED, PROMPT_VERSION, PassageLimits, passage_limits
from twin_assets.stores import Stores

HOSTED_CONTEXT_TOKENS = 8_192
HOSTED_ANSWER_TOKENS = 2_048
"""Of a chat provider's model, by the estimate of another model's tokenizer."""

UNTRAINED = "untrained"
"""What a draft of a bare base model is labelled with, and the version that asks for one."""


@dataclass(frozen=True)
class Voice:
    """What drafts for an author. context_tokens holds prompt and draft; answer_tokens is kept free for the draft."""

    author: str
    version: str
    base: BaseSpec
    context_tokens: int
    answer_tokens: int
    passages: PassageLimits = AS_RETRIEVED
    manifest: ModelManifest | None = None
    warnings: tuple[str, ...] = ()

    @property
    def dataset_version(self) -> str | None:
        """What it was trained on."""
        return self.manifest.dataset.version if self.manifest else None


def parse_model(model: str) -> tuple[str, str | None]:
    """`<author>` or `<author>@<version>` as its two parts."""
    author, _, version = model.partition("@")
    return author, version or None


def choose_voice(stores: Stores, profile: AuthorProfile, version: str | None = None) -> Voice:
    """What drafts for `profile` now. Raises NotThere for an unknown version, BadRecipe for a broken recipe."""
    if version == UNTRAINED:
        return _hosted(stores, profile) if stores.settings.generation == "chat" else _untrained(stores, profile)
    if version is not None:
        return _trained(stores.models.version(profile.id, version))
    if stores.settings.generation == "chat":
        return _hosted(stores, profile)
    production = stores.models.production(profile.id)
    return _trained(production) if production else _untrained(stores, profile)


def earlier_voices(stores: Stores, voice: Voice, error: Exception) -> Iterator[Voice]:
    """What drafted for the author before `voice`, the latest first, each with a warning that says so.

    error: why `voice` cannot be loaded.
    """
    manifest = voice.manifest
    while manifest is not None and (manifest := stores.models.previous_production(manifest)) is not None:
        earlier = _trained(manifest)
        said = (
            f"version {voice.version} is in production and cannot be loaded ({error}): {manifest.version}, which was "
            f"in production before, drafts instead; train {voice.version} again, or put another version into production"
        )
        yield replace(earlier, warnings=(said, *earlier.warnings))


def _trained(manifest: ModelManifest) -> Voice:
    base = manifest.base
    return Voice(
        author=manifest.author,
        version=manifest.version,
        base=BaseSpec(name=base.name, revision=base.revision, precision=base.precision),
        context_tokens=manifest.recipe["context_tokens"],
        answer_tokens=manifest.recipe["answer_tokens"],
        passages=passage_limits(manifest.recipe),
        manifest=manifest,
        warnings=tuple(_doubts(manifest)),
    )


def _doubts(manifest: ModelManifest) -> list[str]:
    doubts = list(_plumbing(manifest.base.name))
    if manifest.stage == "rejected":
        doubts.append(f"version {manifest.version} was rejected: {manifest.reason}")
    if manifest.evaluation is None:
        doubts.append(f"version {manifest.version} has not been evaluated")
    if failed := [f"{gate.name} ({gate.text})" for gate in manifest.gates if not gate.passed]:
        doubts.append(f"version {manifest.version} failed: {'; '.join(failed)}")
    if other_prompts := manifest.prompt_warning(PROMPT_VERSION):
        doubts.append(other_prompts)
    return doubts


def _plumbing(base: str) -> list[str]:
    """What a person must know of a base model that was made on this machine."""
    if not base.startswith(DOCSTRINGS):
        return []
    return [f"plumbing: the base model {base} was made from documentation on this machine, and writes nonsense"]


def _untrained(stores: Stores, profile: AuthorProfile) -> Voice:
    first = profile.recipes[0] if profile.recipes else RecipeChoice(name=DEFAULT_RECIPE)
    base = untrained_base(first.name, stores.settings, first.overrides)
    versions = stores.models.versions(profile.id)
    way_out = (
        f"approve one of its {len(versions)} versions: `twin models {profile.id}`"
        if versions
        else f"train one: `twin run {profile.id}`"
    )
    return Voice(
        author=profile.id,
        version=UNTRAINED,
        base=base.spec,
        context_tokens=base.context_tokens,
        answer_tokens=base.answer_tokens,
        passages=base.passages,
        warnings=(
            *_plumbing(base.spec.name),
            f"untrained: {base.spec.name} has learned nothing from {profile.name} and imitates what it is shown; "
            f"{way_out}",
        ),
    )


def _hosted(stores: Stores, profile: AuthorProfile) -> Voice:
    """A chat provider's model, which no adapter can be put on."""
    name = stores.settings.chat_model
    return replace(
        _untrained(stores, profile),
        context_tokens=HOSTED_CONTEXT_TOKENS,
        answer_tokens=HOSTED_ANSWER_TOKENS,
        warnings=(
            f"written by {name}, in the provider's own chat template: it has learned nothing from {profile.name} and "
            "imitates what it is shown",
        ),
    )
