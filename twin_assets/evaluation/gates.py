"""The verdict that promotion reads: pure functions from an evaluation and the recipe's limits to gates."""

from collections.abc import Mapping

from twin_assets.documents import Gate
from twin_assets.errors import BadRecipe
from twin_assets.evaluation.result import Evaluation

NOT_ENOUGH_WRITING = "not enough writing"
MIN_CLUSTERS = 8
"""Fewer held-out clusters decide nothing, whatever a recipe says."""

LIMITS: Mapping[str, float] = {"enough_held_out": MIN_CLUSTERS, "bits_per_byte": 0.0, "recitation": 0.1, "style": 1.05}
"""Defaults, and what they bound: clusters, at least; adapter minus base, below; share of copied 8-word sequences of the
adapter's drafts, at most; the adapter's style distance as a multiple of the base's, at most."""

DESCRIPTIONS: Mapping[str, str] = {
    "enough_held_out": "There are enough held-out documents to judge by.",
    "bits_per_byte": "The adapter predicts the author's held-out writing better than its base model.",
    "recitation": "Drafts do not copy the training texts word for word.",
    "style": "Drafts are no further from the author's style than the base model's.",
}


def limits_of(recipe: Mapping[str, object]) -> dict[str, float]:
    """The recipe's limits over the defaults. Raises BadRecipe for an unknown gate or a limit that is no number."""
    own = recipe.get("gates") or {}
    if not isinstance(own, Mapping):
        raise BadRecipe(f"gates: {own!r} is no mapping of gate to limit (gates: {', '.join(LIMITS)})")
    for name, limit in own.items():
        if name not in LIMITS:
            raise BadRecipe(f"gates: there is no gate {name!r} (gates: {', '.join(LIMITS)})")
        if isinstance(limit, bool) or not isinstance(limit, int | float):
            raise BadRecipe(f"gates: the limit of {name} is {limit!r}: give a number")
    limits = {**LIMITS, **{name: float(limit) for name, limit in own.items()}}
    return limits | {"enough_held_out": max(MIN_CLUSTERS, limits["enough_held_out"])}


def gates(evaluation: Evaluation, limits: Mapping[str, float]) -> list[Gate]:
    """One gate each, in the order of LIMITS; what was not measured has not passed."""
    return [
        _enough_held_out(evaluation, limits["enough_held_out"]),
        _bits_per_byte(evaluation, limits["bits_per_byte"]),
        _recitation(evaluation, limits["recitation"]),
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


def _recitation(evaluation: Evaluation, limit: float) -> Gate:
    copying = evaluation.recitation.get("adapter")
    if copying is None:
        return _not_measured("recitation", limit, "there are no drafts")
    text = (
        f"{copying.copied:.1%} of the drafts' 8-word sequences stand in the training texts, "
        f"longest run {copying.longest_run} words"
    )
    return Gate(name="recitation", value=copying.copied, limit=limit, passed=copying.copied <= limit, text=text)


def _style(evaluation: Evaluation, ratio: float) -> Gate:
    base, adapter, author = (evaluation.style(whose) for whose in ("base", "adapter", "author"))
    if base is None or adapter is None:
        return _not_measured("style", None, "too little text for rates: more writing, or longer drafts")
    limit = round(base * ratio, 4)
    text = f"adapter {adapter:.3f}, base {base:.3f}, the author held out {author:.3f}; limit {ratio:g} x base"
    return Gate(name="style", value=round(adapter, 4), limit=limit, passed=adapter <= limit, text=text)


def _not_measured(name: str, limit: float | None, why: str) -> Gate:
    return Gate(name=name, value=None, limit=limit, passed=False, text=f"not measured: {why}")
