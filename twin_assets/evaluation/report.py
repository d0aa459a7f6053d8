"""The evaluation report that people read: markdown and a plot. Only the first 200 characters of a draft are shown."""

from collections.abc import Sequence

from twin_assets.documents import Gate
from twin_assets.evaluation.result import Evaluation
from twin_assets.orchestration.metadata_markdown import picture, table

DRAFTS_SHOWN = 2


def markdown(evaluation: Evaluation, gates: Sequence[Gate]) -> str:
    """The report: verdict and gates, bits per byte, copying, style, and the beginnings of a few drafts."""
    parts = [
        f"**{evaluation.verdict}**: `{evaluation.version}` on `{evaluation.dataset}`, base `{evaluation.base_model}`"
        + (f", computed by {evaluation.engine}." if evaluation.engine else "."),
        table(
            ["gate", "value", "limit", "", "what it says"],
            [[g.name, _number(g.value), _number(g.limit), "passed" if g.passed else "FAILED", g.text] for g in gates],
        ),
    ]
    if evaluation.likelihoods:
        parts += [
            "### Bits per byte of held-out answers (lower is better)",
            _likelihoods(evaluation),
            _row_counts(evaluation),
        ]
    if evaluation.endings:
        parts += ["### Where a turn ends: probability before the first word, and after the last", _endings(evaluation)]
    if evaluation.whole_drafts:
        parts += ["### Whole drafts: neither nearly empty nor an echo of the instruction", _whole_drafts(evaluation)]
    if evaluation.recitation:
        parts += ["### Copied word for word, as shares of the words in runs of 8 or more", _recitation(evaluation)]
    if evaluation.styles or evaluation.style_gaps:
        parts += ["### Distance from the author's style (lower is closer)", _styles(evaluation)]
    if evaluation.drafts:
        parts += ["### How drafts begin", _drafts(evaluation)]
    return "\n\n".join(parts)


def _likelihoods(evaluation: Evaluation) -> str:
    rows = [
        [
            row.name,
            row.n_clusters,
            row.n_bytes,
            f"{row.base:.3f}",
            f"{row.adapter:.3f}",
            f"{row.difference:+.3f}",
            f"{row.low:+.3f} to {row.high:+.3f}",
        ]
        for row in evaluation.likelihoods
    ]
    return table(["", "clusters", "bytes", "base", "adapter", "difference", "95% interval"], rows)


def _row_counts(evaluation: Evaluation) -> str:
    text = f"{evaluation.n_rows - evaluation.n_too_long} rows scored"
    if evaluation.n_left_out:
        text += f", {evaluation.n_left_out} more held-out rows were skipped to limit the time"
    if evaluation.n_too_long:
        text += f", {evaluation.n_too_long} prompts do not fit the context"
    return f"{text}. Intervals: bootstrap over clusters. `newest`: the latest quarter by date."


def _endings(evaluation: Evaluation) -> str:
    rows = [
        [
            row.category,
            row.n_rows,
            f"{row.base_at_once:.1%}",
            f"{row.adapter_at_once:.1%}",
            f"{row.base_when_due:.1%}",
            f"{row.adapter_when_due:.1%}",
        ]
        for row in evaluation.endings
    ]
    return table(["", "rows", "base at once", "adapter at once", "base when due", "adapter when due"], rows)


def _whole_drafts(evaluation: Evaluation) -> str:
    rows = [[row.category, row.n_drafts, f"{row.base:.0%}", f"{row.adapter:.0%}"] for row in evaluation.whole_drafts]
    return table(["", "drafts", "base", "adapter"], rows)


def _recitation(evaluation: Evaluation) -> str:
    rows = [
        [
            name,
            f"{copying.copied:.1%}",
            copying.longest_run,
            f"{copying.shown:.1%}",
            copying.shown_longest_run,
            f"{copying.worst:.1%}",
        ]
        for name, copying in sorted(evaluation.recitation.items())
    ]
    return table(
        [
            "texts by",
            "from training texts not shown",
            "longest run, words",
            "from shown passages",
            "longest run, words",
            "worst text, both",
        ],
        rows,
    )


def _styles(evaluation: Evaluation) -> str:
    rows = [
        [
            row.kind,
            "with function words" if row.english else "punctuation and statistics only",
            row.n_blocks,
            f"{row.base:.3f}",
            f"{row.adapter:.3f}",
            f"{row.author:.3f}",
        ]
        for row in evaluation.styles
    ]
    rows += [[gap.kind, f"not measured: {gap.reason}", "", "", "", ""] for gap in evaluation.style_gaps]
    return table(["", "measured", "blocks", "base", "adapter", "author, held out"], rows)


def _drafts(evaluation: Evaluation) -> str:
    rows = [
        [draft.instruction, whose, getattr(draft, whose)]
        for draft in evaluation.drafts[:DRAFTS_SHOWN]
        for whose in ("base", "adapter", "author")
    ]
    return table(["asked for", "by", "beginning"], rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def plot(evaluation: Evaluation) -> str | None:
    """A markdown image with bars for bits per byte and style distance; None if nothing was measured."""
    if not evaluation.likelihoods:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    at = range(len(evaluation.likelihoods))
    for offset, whose, colour in ((-0.2, "base", "#9aa5b1"), (0.2, "adapter", "#2f6f8f")):
        heights = [getattr(row, whose) for row in evaluation.likelihoods]
        left.bar([x + offset for x in at], heights, width=0.4, label=whose, color=colour)
    left.set_xticks(list(at), [f"{row.name}\n{row.n_clusters} clusters" for row in evaluation.likelihoods])
    left.set_title("bits per byte, held out", fontsize=10)
    left.legend(fontsize=8)
    whose_styles = [(whose, evaluation.style(whose)) for whose in ("base", "adapter", "author")]
    measured = [(whose, value) for whose, value in whose_styles if value is not None]
    right.bar([whose for whose, _ in measured], [value for _, value in measured], color="#2f6f8f")
    right.set_title("distance from the author's style", fontsize=10)
    return picture(figure, "evaluation")
