"""The report on a training that people read: a summary and the loss curve."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from twin_assets.documents import ModelManifest
from twin_assets.orchestration.metadata_markdown import picture, table

if TYPE_CHECKING:
    import pyarrow as pa

PAIRS_SHOWN = 5


def markdown(manifest: ModelManifest) -> str:
    """A markdown summary of a version's training: counts, losses, time and memory."""
    m = manifest.metrics
    template = "the tokenizer's own" if manifest.prompt_template == "tokenizer" else "our"
    rows = [
        ["training examples", f"{m['rows']:.0f} in {m['windows']:.0f} windows, {m['rows_too_long']:.0f} too long"],
        ["steps", f"{m['steps']:.0f} of {m['steps_planned']:.0f} planned"],
        ["trained parameters", f"{m['trained_parameters']:,.0f}"],
        ["training loss, nats per token", f"{m['loss_first']:.3f} → {m['loss_last']:.3f}"],
        ["time, memory", f"{m['seconds']:.0f} s, {m['peak_memory_mib']:.0f} MiB at most"],
    ]
    if "validation_before" in m and "validation_after" in m:
        rows.insert(4, ["validation loss", f"{m['validation_before']:.3f} → {m['validation_after']:.3f}"])
    about = (
        f"**{manifest.version}**: `{manifest.base.name}` ({manifest.base.precision}), prompts in {template} template."
    )
    return f"{about}\n\n{table(['', ''], rows)}"


def preference_preview(rows: "pa.Table") -> str:
    """A markdown table of the first pairs, shortened as previews have to be."""
    names = ["instruction", "chosen", "rejected"]
    shown = rows.slice(0, PAIRS_SHOWN).select(names).to_pylist()
    return table(names, [[row[name] for name in names] for row in shown]) if shown else "No consented edit yet."


def loss_plot(curve: Sequence[Mapping[str, float]], metrics: Mapping[str, float]) -> str | None:
    """A markdown image of the training and validation loss by step; None if the curve is empty.

    curve: entries with a `step` and a `loss` or an `eval_loss`. metrics: give the validation losses before and after
    training if the curve has none.
    """
    lines = [(point["step"], point["loss"]) for point in curve if "loss" in point]
    if not lines:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*lines, strict=True), color="#2f6f8f", label="training")
    scored = [(point["step"], point["eval_loss"]) for point in curve if "eval_loss" in point]
    if not scored and "validation_before" in metrics and "validation_after" in metrics:
        scored = [(0, metrics["validation_before"]), (lines[-1][0], metrics["validation_after"])]
    if scored:
        axes.plot(*zip(*scored, strict=True), "o-", color="#c2571a", label="validation")
    axes.set_xlabel("step")
    axes.set_ylabel("nats per token")
    axes.legend(fontsize=8)
    return picture(figure, "loss")
