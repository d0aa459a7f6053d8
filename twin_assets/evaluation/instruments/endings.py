"""How likely a model is to end its turn before the first word, where it never should, and after the author's last word.

Bits per byte hardly show this, because a model that always ends at once loses on only one token of a whole answer. So
the token that ends a turn is scored separately, as a probability, on one row of each cluster.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from twin_assets.errors import BadInput
from twin_assets.evaluation.models import NAMES, Models
from twin_assets.evaluation.result import Ending
from twin_assets.language.prompts import ContextLimits, DraftRequest, Window, encode_example

MAX_ROWS = 12
"""The most rows to score. Each takes two forward passes by each model: over its prompt and over its whole text."""


@dataclass(frozen=True)
class _Row:
    category: str
    base_at_once: float
    adapter_at_once: float
    base_when_due: float
    adapter_when_due: float


def endings(
    models: Models, rows: Sequence[dict[str, Any]], context: int, prompt_tokens: int, limits: ContextLimits
) -> list[Ending]:
    """Score base and adapter on the first row of each cluster, and summarize by category."""
    scored = list(_score(models, rows, context, prompt_tokens, limits))
    return [
        Ending(
            category=category,
            n_rows=len(own),
            base_at_once=_mean(row.base_at_once for row in own),
            adapter_at_once=_mean(row.adapter_at_once for row in own),
            base_when_due=_mean(row.base_when_due for row in own),
            adapter_when_due=_mean(row.adapter_when_due for row in own),
        )
        for category in sorted({row.category for row in scored})
        for own in [[row for row in scored if row.category == category]]
    ]


def _score(
    models: Models, rows: Sequence[dict[str, Any]], context: int, prompt_tokens: int, limits: ContextLimits
) -> Iterator[_Row]:
    first = {row["cluster_id"]: row for row in reversed(rows)}
    for row in list(reversed(first.values()))[:MAX_ROWS]:
        try:
            example = encode_example(models.tokenizer, DraftRequest.from_row(row, limits), row["answer"], prompt_tokens)
        except BadInput:
            continue
        end = example.answer_ids[-example.n_closing]
        at_once = _window([*example.prompt.ids, end], context)
        when_due = _window(example.ids[: len(example.ids) - example.n_closing + 1], context)
        values = [math.exp(-models.nats(name, [window])) for window in (at_once, when_due) for name in NAMES]
        yield _Row(row["category"], *values)


def _window(ids: list[int], context: int) -> Window:
    """A window of the last `context` ids in which only the very last id is scored."""
    kept = ids[-context:]
    return Window(kept, [0] * (len(kept) - 1) + [1])


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return round(math.fsum(found) / len(found), 4)
