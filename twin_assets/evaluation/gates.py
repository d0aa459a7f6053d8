"""The gates that decide about promotion: pure functions of an evaluation and the recipe's limits."""

from collections.abc import Mapping

from twin_assets.documents import Gate
from twin_assets.errors import BadRecipe
from twin_assets.evaluation.result import Evaluation, WholeDrafts

NOT_ENOUGH_WRITING = "not enough writing"
MIN_CLUSTERS = 8
"""With fewer held-out clusters than this nothing is decided, whatever a recipe says."""

MIN_DRAFTS = 3
"""One nearly empty draft is forgiven in a category that has at least this many drafts."""

LIMITS: Mapping[str, float] = {
    "enough_held_out": MIN_CLUSTERS,
    "bits_per_byte": 0.0,
    "ends_at_once": 0.1,
    "drafts_whole": 0.8,
    "recitation": 0.1,
    "copied_from_shown": 0.25,
    "worst_draft": 0.4,
    "longest_run": 40,
    "style": 1.05,
}
"""The default limit of each gate.

enough_held_out: the least number of clusters. bits_per_byte: adapter minus base has to be below it. ends_at_once: the
highest mean probability of ending before the first word, in the worst category. drafts_whole: the least share of whole
drafts, in the worst category. recitation: the highest share of words copied from training texts that the prompt did not
show; copied_from_shown: from passages that it showed; worst_draft: from both, in the draft that copies most.
longest_run: the most words in one copied run (Carlini et al. 2023 call 50 tokens memorized, about 40 words).
style: the adapter's style distance, as a multiple of the base's.
"""

DESCRIPTIONS: Mapping[str, str] = {
    "enough_held_out": "There are enough held-out documents to judge by.",
    "bits_per_byte": "The adapter predicts the author's held-out writing better than its base model.",
    "ends_at_once": "The adapter does not end its turn before the first word.",
    "drafts_whole": "Drafts are neither nearly empty nor an echo of the instruction, in any category.",
    "recitation": "Drafts do not recite training texts that they were not shown.",
    "copied_from_shown": "Drafts do not consist of the passages that they were shown.",
    "worst_draft": "No single draft is copied for the most part.",
    "longest_run": "No draft copies a long passage word for word.",
    "style": "Drafts are no further from the author's style than the base model's, and there are some in each kind.",
}


def limits_of(recipe: Mapping[str, object]) -> dict[str, float]:
    """The recipe's limits over the defaults. Raises BadRecipe for an unknown gate or a limit that is not a number."""
    own = recipe.get("gates") or {}
    if not isinstance(own, Mapping):
        raise BadRecipe(f"gates: {own!r} is not a mapping of gates to limits (gates: {', '.join(LIMITS)})")
    for name, limit in own.items():
        if name not in LIMITS:
            raise BadRecipe(f"gates: there is no gate {name!r} (gates: {', '.join(LIMITS)})")
        if isinstance(limit, bool) or not isinstance(limit, int | float):
            raise BadRecipe(f"gates: the limit of {name} is {limit!r}: give a number")
    limits = {**LIMITS, **{name: float(limit) for name, limit in own.items()}}
    return limits | {"enough_held_out": max(MIN_CLUSTERS, limits["enough_held_out"])}


def gates(evaluation: Evaluation, limits: Mapping[str, float]) -> list[Gate]:
    """One gate for each limit, in the order of LIMITS; a gate whose value was not measured has not passed."""
    return [
        _enough_held_out(evaluation, limits["enough_held_out"]),
        _bits_per_byte(evaluation, limits["bits_per_byte"]),
        _ends_at_once(evaluation, limits["ends_at_once"]),
        _drafts_whole(evaluation, limits["drafts_whole"]),
        *_copying(evaluation, limits),
        _style(evaluation, limits["style"]),
    ]


def verdict(found: list[Gate]) -> str:
    """`passed`, `not enough writing`, or the names of the gates that failed."""
    failed = [gate.name for gate in found if not gate.passed]
    if "enough_held_out" in failed:
        return NOT_ENOUGH_WRITING
    return f"failed: {', '.join(failed)}" if failed else "passed"


def _enough_held_out(evaluation: Evaluation, limit: float) -> Gate:
    n = evaluation.n_clusters
    text = f"{n} held-out clusters, at least {limit:.0f} wanted"
    return Gate(name="enough_held_out", value=n, limit=limit, passed=n >= limit, text=text)


def _bits_per_byte(evaluation: Evaluation, limit: float) -> Gate:
    row = evaluation.overall
    if row is None:
        return _not_measured("bits_per_byte", limit, "nothing is held out")
    text = (
        f"adapter {row.adapter:.3f}, base {row.base:.3f} bits per byte: difference {row.difference:+.3f}, "
        f"95% interval {row.low:+.3f} to {row.high:+.3f}"
    )
    return Gate(name="bits_per_byte", value=row.difference, limit=limit, passed=row.difference < limit, text=text)


def _ends_at_once(evaluation: Evaluation, limit: float) -> Gate:
    worst = max(evaluation.endings, key=lambda row: row.adapter_at_once, default=None)
    if worst is None:
        return _not_measured("ends_at_once", limit, "nothing is held out")
    value = worst.adapter_at_once
    text = (
        f"{worst.category}: the adapter ends before the first word with probability {value:.1%}, the base "
        f"{worst.base_at_once:.1%}; at most {limit:.0%}"
    )
    return Gate(name="ends_at_once", value=value, limit=limit, passed=value <= limit, text=text)


def _enough_are_whole(row: WholeDrafts, limit: float) -> bool:
    """True if enough of a category's drafts are whole. One failure out of MIN_DRAFTS or more proves nothing."""
    n_failed = round((1 - row.adapter) * row.n_drafts)
    return row.adapter >= limit or (n_failed == 1 and row.n_drafts >= MIN_DRAFTS)


def _drafts_whole(evaluation: Evaluation, limit: float) -> Gate:
    worst = min(evaluation.whole_drafts, key=lambda row: row.adapter, default=None)
    if worst is None:
        return _not_measured("drafts_whole", limit, "there are no drafts")
    text = (
        f"{worst.category}: {worst.adapter:.0%} of {worst.n_drafts} drafts are whole, the base's {worst.base:.0%}; the "
        f"others are nearly empty or repeat the instruction; at least {limit:.0%}, or all but one"
    )
    passed = all(_enough_are_whole(row, limit) for row in evaluation.whole_drafts)
    return Gate(name="drafts_whole", value=worst.adapter, limit=limit, passed=passed, text=text)


def _copying(evaluation: Evaluation, limits: Mapping[str, float]) -> list[Gate]:
    """The four gates on what the adapter's drafts copy word for word."""
    names = ("recitation", "copied_from_shown", "worst_draft", "longest_run")
    copying = evaluation.recitation.get("adapter")
    if copying is None:
        return [_not_measured(name, limits[name], "there are no drafts") for name in names]
    longest = max(copying.longest_run, copying.shown_longest_run)
    values = (copying.copied, copying.shown, copying.worst, longest)
    texts = (
        f"{copying.copied:.1%} of the drafts' words are copied from training texts that the prompt did not show, "
        f"longest run {copying.longest_run} words; at most {limits['recitation']:.0%}",
        f"{copying.shown:.1%} of the drafts' words are copied from the passages that the prompt showed, longest run "
        f"{copying.shown_longest_run} words; at most {limits['copied_from_shown']:.0%}",
        f"{copying.worst:.1%} of the draft that copies most is copied, from training or shown; "
        f"at most {limits['worst_draft']:.0%}",
        f"the longest run copied word for word is {longest} words; at most {limits['longest_run']:.0f}",
    )
    return [
        Gate(name=name, value=value, limit=limits[name], passed=value <= limits[name], text=text)
        for name, value, text in zip(names, values, texts, strict=True)
    ]


def _style(evaluation: Evaluation, ratio: float) -> Gate:
    base, adapter, author = (evaluation.style(whose) for whose in ("base", "adapter", "author"))
    if base is None or adapter is None:
        return _not_measured("style", None, _why_no_style(evaluation))
    limit = round(base * ratio, 4)
    if mute := _mute_kinds(evaluation):
        text = f"the adapter wrote nothing in {mute}: only {_kinds(evaluation)} was measured"
        return Gate(name="style", value=round(adapter, 4), limit=limit, passed=False, text=text)
    text = f"adapter {adapter:.3f}, base {base:.3f}, the author held out {author:.3f}; limit {ratio:g} x base"
    return Gate(name="style", value=round(adapter, 4), limit=limit, passed=adapter <= limit, text=text)


def _mute_kinds(evaluation: Evaluation) -> str:
    return ", ".join(gap.kind for gap in evaluation.style_gaps if gap.reason == "adapter wrote nothing")


def _kinds(evaluation: Evaluation) -> str:
    return ", ".join(dict.fromkeys(row.kind for row in evaluation.styles))


def _why_no_style(evaluation: Evaluation) -> str:
    reasons = [f"{gap.kind}: {gap.reason}" for gap in evaluation.style_gaps]
    return "; ".join(reasons) or "too little text for rates: more writing, or longer drafts"


def _not_measured(name: str, limit: float | None, why: str) -> Gate:
    return Gate(name=name, value=None, limit=limit, passed=False, text=f"not measured: {why}")
