"""A training as a person reads it: a summary and the loss curve."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from twin_assets.documents import ModelManifest
from twin_assets.markdown import picture, table

if TYPE_CHECKING:
    import pyarrow as pa

PAIRS_SHOWN = 5


def markdown(manifest: ModelManifest) -> str:
    """Counts, losses and times."""
    m = manifest.metrics
    template = "the tokenizer's own" if manifest.prompt_template == "tokenizer" else "our"
    rows = [
        ["training examples", f"{m['rows']:.0f} in {m['windows']:.0f} windows, {m['rows_too_long']:.0f} too long"],
        ["steps", f"{m['steps']:.0f} of {m['steps_planned']:.0f} planned"],
        ["trained parameters", f"{m['trained_parameters']:,.0f}"],
        ["training loss, nats a token", f"{m['loss_first']:.3f} → {m['loss_last']:.3f}"],
        ["time, memory", f"{m['seconds']:.0f} s, {m['peak_memory_mib']:.0f} MiB at most"],
    ]
    if "validation_before" in m and "validation_after" in m:
        rows.insert(4, ["validation loss", f"{m['validation_before']:.3f} → {m['validation_after']:.3f}"])
    about = (
        f"**{manifest.version}**: `{manifest.base.name}` ({manifest.base.precision}), prompts in {template} template."
    )
    return f"{about}\n\n{table(['', ''], rows)}"


def preference_preview(rows: "pa.Table") -> str:
    """The first pairs, as far as a preview may show them."""
    names = ["instruction", "chosen", "rejected"]
    shown = rows.slice(0, PAIRS_SHOWN).select(names).to_pylist()
    return table(names, [[row[name] for name in names] for row in shown]) if shown else "No consented edit yet."


def loss_plot(curve: Sequence[Mapping[str, float]], metrics: Mapping[str, float]) -> str | None:
    """The loss by step, with the validation loss before and after; a markdown image, None without a curve."""
    if not curve:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.subplots()
    steps = [point["step"] for point in curve]
    axes.plot(steps, [point["loss"] for point in curve], color="#2f6f8f", label="training")
    if "validation_before" in metrics and "validation_after" in metrics:
        ends = [metrics["validation_before"], metrics["validation_after"]]
        axes.plot([0, steps[-1]], ends, "o", color="#c2571a", label="validation, before and after")
    axes.set_xlabel("step")
    axes.set_ylabel("nats a token")
    axes.legend(fontsize=8)
    return picture(figure, "loss")
