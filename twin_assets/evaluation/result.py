"""What an evaluation found: the shape of `evaluation.json` beside an adapter, and, without its drafts, of the
`evaluation` in the version's manifest. It holds no times and no machine, so that the same evaluation is the same bytes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from twin_assets.documents import ModelManifest, Stored, digest

if TYPE_CHECKING:
    from upath import UPath

FILE = "evaluation.json"

EVALUATION_VERSION = "2"
"""Raise it when a figure would come out differently; every version is then evaluated anew when its turn comes."""


class Options(Stored):
    """How much is scored and drafted. More is slower and steadier."""

    max_clusters: int = Field(default=200, ge=1, description="Held-out clusters scored, chosen by a hash of their id.")
    max_rows_per_cluster: int = Field(default=4, ge=1, description="Rows scored of one cluster, its first ones.")
    n_drafts: int = Field(default=6, ge=0, description="Held-out prompts drafted for, by base and adapter each.")
    draft_tokens: int = Field(default=160, ge=1, description="Longest draft.")

    @property
    def made_by(self) -> str:
        """Names this code and these options."""
        return digest(["evaluation", EVALUATION_VERSION, self.model_dump()], 16)


class Draft(Stored):
    """One held-out prompt, what base and adapter made of it, and what the author wrote."""

    example_id: str
    category: str
    language: str | None
    instruction: str
    base: str
    adapter: str
    author: str


class Likelihood(Stored):
    """Bits per byte of one group of clusters. low, high: 95% bootstrap interval of the difference."""

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

    copied, longest_run: from training texts that the prompts did not show, mean over the drafts; longest run in words.
    shown, shown_longest_run: from the passages that the prompts showed. worst: of the draft that copies most, both.
    """

    longest_run: int
    copied: float
    shown: float = 0.0
    shown_longest_run: int = 0
    worst: float = 0.0


class WholeDrafts(Stored):
    """Share of one category's drafts that are neither nearly empty nor an echo of the instruction, 0 to 1."""

    category: str
    n_drafts: int
    base: float
    adapter: float


class StyleDistance(Stored):
    """Distance from the author's style in one kind of text, each set of `n_blocks` blocks."""

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
    """Mean probabilities that a turn ends, over `n_rows` held-out rows of one category.

    at_once: right behind the prompt, which is how often a draft would be empty. when_due: behind the author's answer.
    """

    category: str
    n_rows: int
    base_at_once: float
    adapter_at_once: float
    base_when_due: float
    adapter_when_due: float


class Evaluation(Stored):
    """Everything measured of one version. Empty lists where there was nothing held out to measure on."""

    made_by: str
    version: str
    dataset: str
    base_model: str
    engine: str = Field(default="", description="what computed, in words")
    verdict: str = ""
    n_clusters: int
    n_rows: int
    n_left_out: int = Field(description="held-out rows beyond the options' caps")
    n_too_long: int = Field(description="rows whose prompt does not fit the context")
    likelihoods: list[Likelihood] = Field(default_factory=list)
    endings: list[Ending] = Field(default_factory=list)
    whole_drafts: list[WholeDrafts] = Field(default_factory=list)
    recitation: dict[str, Copying] = Field(
        default_factory=dict, description="of drafts by `base` and `adapter`, and of the `author`'s own held-out texts"
    )
    styles: list[StyleDistance] = Field(default_factory=list)
    style_gaps: list[StyleGap] = Field(default_factory=list)
    drafts: list[Draft] = Field(default_factory=list)

    @property
    def overall(self) -> Likelihood | None:
        """Bits per byte over all held-out clusters."""
        return next((row for row in self.likelihoods if row.name == "all"), None)

    def style(self, whose: str) -> float | None:
        """Distance of `base`, `adapter` or `author` over all kinds of text, weighted by blocks."""
        blocks = sum(row.n_blocks for row in self.styles)
        return sum(getattr(row, whose) * row.n_blocks for row in self.styles) / blocks if blocks else None

    def for_manifest(self) -> dict[str, Any]:
        """The figures without the drafts: no text of the author leaves the registry's folder."""
        overall = self.overall
        bits = overall.model_dump(exclude={"name"}) if overall else None
        return self.model_dump(exclude={"drafts"}) | {"bits_per_byte": bits}

    def metrics(self) -> dict[str, float]:
        """The headline figures by name, those that were measured."""
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
    """What stands beside the adapter already, when it was made by this code with these options."""
    path = _file(manifest)
    if not path.exists():
        return None
    found = Evaluation.model_validate_json(path.read_text())
    return found if (found.made_by, found.version) == (options.made_by, manifest.version) else None


def store_evaluation(manifest: ModelManifest, evaluation: Evaluation) -> None:
    """Write an evaluation beside the adapter, whole or not at all."""
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
