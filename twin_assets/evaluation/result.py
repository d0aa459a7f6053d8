"""The result of an evaluation: the content of `evaluation.json` beside an adapter.

Without its drafts it is also the `evaluation` in the version's manifest. It holds no times and no machine names, so
that the same evaluation always gives the same bytes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from twin_assets.documents import ModelManifest, Stored, digest

if TYPE_CHECKING:
    from upath import UPath

FILE = "evaluation.json"

EVALUATION_VERSION = "2"
"""Raise it when a figure would come out differently; every version is then evaluated again when it is next due."""


class Options(Stored):
    """How much is scored and drafted. More takes longer and gives steadier figures."""

    max_clusters: int = Field(default=200, ge=1, description="The most held-out clusters to score, chosen by hash.")
    max_rows_per_cluster: int = Field(default=4, ge=1, description="The most rows to score in a cluster.")
    n_drafts: int = Field(default=6, ge=0, description="Held-out prompts that base and adapter draft for.")
    draft_tokens: int = Field(default=160, ge=1, description="The longest draft, in tokens.")

    @property
    def made_by(self) -> str:
        """A hash of the evaluation code's version and these options."""
        return digest(["evaluation", EVALUATION_VERSION, self.model_dump()], 16)


class Draft(Stored):
    """One held-out prompt, the drafts by base and adapter, and what the author wrote."""

    example_id: str
    category: str
    language: str | None
    instruction: str
    base: str
    adapter: str
    author: str


class Likelihood(Stored):
    """Bits per byte over a group of clusters. low, high: the 95% bootstrap interval of the difference."""

    name: str
    n_clusters: int
    n_rows: int
    n_bytes: int
    base: float
    adapter: float
    difference: float
    low: float
    high: float


class Copying(Stored):
    """What a set of drafts copies word for word: shares of their words, 0 to 1, in runs of at least 8 words.

    copied: the mean share from training texts that the prompts did not show; longest_run: their longest run in words.
    shown, shown_longest_run: the same for passages that the prompts showed. worst: the share of both in the draft that
    copies most.
    """

    longest_run: int
    copied: float
    shown: float = 0.0
    shown_longest_run: int = 0
    worst: float = 0.0


class WholeDrafts(Stored):
    """The share of a category's drafts that are neither nearly empty nor an echo of the instruction, 0 to 1."""

    category: str
    n_drafts: int
    base: float
    adapter: float


class StyleDistance(Stored):
    """Distances from the author's style in one kind of text, each measured on `n_blocks` blocks."""

    kind: str
    english: bool
    n_blocks: int
    base: float
    adapter: float
    author: float


class StyleGap(Stored):
    """A kind of text whose style was not measured, and why."""

    kind: str
    english: bool
    reason: Literal["too little training text", "nothing held out", "base wrote nothing", "adapter wrote nothing"]


class Ending(Stored):
    """The mean probability that a turn ends, over `n_rows` held-out rows of one category.

    at_once: right after the prompt, which is how often a draft would be empty. when_due: after the author's answer.
    """

    category: str
    n_rows: int
    base_at_once: float
    adapter_at_once: float
    base_when_due: float
    adapter_when_due: float


class Evaluation(Stored):
    """Everything that was measured for one version. Lists are empty if nothing was held out to measure on."""

    made_by: str
    version: str
    dataset: str
    base_model: str
    engine: str = Field(default="", description="the engine that computed, in words")
    verdict: str = ""
    n_clusters: int
    n_rows: int
    n_left_out: int = Field(description="held-out rows beyond the limits in the options")
    n_too_long: int = Field(description="rows whose prompt does not fit into the context")
    likelihoods: list[Likelihood] = Field(default_factory=list)
    endings: list[Ending] = Field(default_factory=list)
    whole_drafts: list[WholeDrafts] = Field(default_factory=list)
    recitation: dict[str, Copying] = Field(
        default_factory=dict, description="copying by `base` and `adapter`, and in the `author`'s own held-out texts"
    )
    styles: list[StyleDistance] = Field(default_factory=list)
    style_gaps: list[StyleGap] = Field(default_factory=list)
    drafts: list[Draft] = Field(default_factory=list)

    @property
    def overall(self) -> Likelihood | None:
        """Bits per byte over all held-out clusters."""
        return next((row for row in self.likelihoods if row.name == "all"), None)

    def style(self, whose: str) -> float | None:
        """The style distance of `base`, `adapter` or `author` over all kinds of text, weighted by blocks."""
        blocks = sum(row.n_blocks for row in self.styles)
        return sum(getattr(row, whose) * row.n_blocks for row in self.styles) / blocks if blocks else None

    def for_manifest(self) -> dict[str, Any]:
        """The figures without the drafts, so that none of the author's text leaves the registry's folder."""
        overall = self.overall
        bits = overall.model_dump(exclude={"name"}) if overall else None
        return self.model_dump(exclude={"drafts"}) | {"bits_per_byte": bits}

    def metrics(self) -> dict[str, float]:
        """The headline figures by name, as far as they were measured."""
        overall = self.overall
        copying = self.recitation.get("adapter")
        found = {
            "base_bits_per_byte": overall.base if overall else None,
            "adapter_bits_per_byte": overall.adapter if overall else None,
            "copied_share": copying.copied if copying else None,
            "copied_from_shown_share": copying.shown if copying else None,
            "worst_copied_share": copying.worst if copying else None,
            "longest_copied_run": max(copying.longest_run, copying.shown_longest_run) if copying else None,
            "whole_drafts_share": min((row.adapter for row in self.whole_drafts), default=None),
            "ends_at_once": max((row.adapter_at_once for row in self.endings), default=None),
            "base_style_distance": self.style("base"),
            "adapter_style_distance": self.style("adapter"),
            "author_style_distance": self.style("author"),
        }
        return {name: round(float(value), 4) for name, value in found.items() if value is not None}


def stored_evaluation(manifest: ModelManifest, options: Options) -> Evaluation | None:
    """The evaluation stored beside the adapter, if it was made by this code with these options."""
    path = _file(manifest)
    if not path.exists():
        return None
    found = Evaluation.model_validate_json(path.read_text())
    return found if (found.made_by, found.version) == (options.made_by, manifest.version) else None


def store_evaluation(manifest: ModelManifest, evaluation: Evaluation) -> None:
    """Write an evaluation beside the adapter, either completely or not at all."""
    path = _file(manifest)
    text = evaluation.model_dump_json(indent=1)
    if getattr(path, "protocol", ""):
        path.write_text(text)
        return
    new = Path(f"{path}.new")
    new.write_text(text)
    new.replace(str(path))


def _file(manifest: ModelManifest) -> "UPath":
    from upath import UPath

    return UPath(manifest.path) / FILE
