"""Blocking checks: functions over what is about to be written, run before the commit.

A failed one raises, nothing is written, and the previous version stays in use. Each result is reported whether or not
it passed, so that the history shows when a number began to move.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from twin_assets.partitions import authors
from twin_assets.schemas import Schema

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check: what was measured, in words and numbers."""

    name: str
    passed: bool
    text: str
    numbers: dict[str, float]


SPECS = {
    "schema": "Columns and types are those of schemas.py, keys are unique, nothing required is missing.",
    "not_empty": "The table has rows once this is written.",
    "no_sudden_drop": "No more rows vanish than deletions and left-out documents explain.",
    "chunks_have_documents": "Every chunk belongs to a cleaned document, and every cleaned document has a chunk.",
    "vectors_unit_and_finite": "Every vector is finite and of length 1.",
    "no_leak": "No cluster of equal text stands in two splits.",
    "answers_are_the_authors": "Every answer is a piece of the author's own cleaned text.",
}


def check_specs(asset: str, names: Sequence[str]) -> list[dg.AssetCheckSpec]:
    """The specs of an asset's checks; partitioned, so that one author's failure is nobody else's status."""
    return [
        dg.AssetCheckSpec(name, asset=asset, description=SPECS[name], blocking=True, partitions_def=authors)
        for name in names
    ]


def report(asset: str, verdicts: Iterable[Verdict]) -> Iterator[dg.AssetCheckResult]:
    """Yield each verdict as a check result, then raise dagster.Failure, without retries, when one did not pass."""
    failed = []
    for verdict in verdicts:
        yield dg.AssetCheckResult(
            asset_key=dg.AssetKey(asset),
            check_name=verdict.name,
            passed=verdict.passed,
            metadata={"result": verdict.text, **verdict.numbers},
        )
        if not verdict.passed:
            failed.append(verdict)
    if failed:
        what = "; ".join(f"{verdict.name}: {verdict.text}" for verdict in failed)
        text = f"{asset}: nothing was written, the previous version stays in use. {what}"
        raise dg.Failure(text, allow_retries=False)


def schema(rows: "pa.Table", expected: Schema, key: str) -> Verdict:
    """Columns, types, required values and unique keys of the rows to be written."""
    problems = []
    if not rows.schema.equals(expected.arrow, check_metadata=False):
        problems.append(f"columns are {rows.schema.names}, expected {expected.names}, or types differ")
    else:
        problems += [
            f"{field.name} is empty in {rows.column(field.name).null_count} rows"
            for field in expected.columns
            if not field.nullable and rows.column(field.name).null_count
        ]
        doubled = rows.num_rows - len(rows.column(key).unique())
        if doubled:
            problems.append(f"{doubled} keys stand twice")
    text = "; ".join(problems) or f"{rows.num_rows} rows are as the schema says"
    return Verdict("schema", not problems, text, {"rows": rows.num_rows, "problems": len(problems)})


def not_empty(before: int, after: int, explained: int) -> Verdict:
    """Rows are left, unless every one that went was explained."""
    passed = after > 0 or before <= explained
    return Verdict("not_empty", passed, f"{after} rows after {before}", {"before": before, "after": after})


def no_sudden_drop(before: int, after: int, explained: int, max_drop: float) -> Verdict:
    """The share of rows that vanish beyond the explained ones is at most `max_drop`."""
    unexplained = max(0, before - after - explained)
    share = unexplained / before if before else 0.0
    passed = share <= max_drop
    text = f"{before} rows before, {after} after, {explained} of the missing explained; unexplained {share:.0%}"
    if not passed:
        text += (
            f", more than {max_drop:.0%}: see what happened, or allow it with TWIN_MAX_DROP={min(1, share + 0.01):.2f}"
        )
    return Verdict("no_sudden_drop", passed, text, {"before": before, "after": after, "share": share})


def chunks_have_documents(chunked: Iterable[str], cleaned: Iterable[str]) -> Verdict:
    """The documents of all chunks after the write are exactly the cleaned ones."""
    with_chunks, documents = set(chunked), set(cleaned)
    orphans, missing = len(with_chunks - documents), len(documents - with_chunks)
    text = f"{len(with_chunks)} documents have chunks; {orphans} unknown, {missing} without a chunk"
    return Verdict("chunks_have_documents", not orphans and not missing, text, {"orphans": orphans, "missing": missing})


def vectors_unit_and_finite(rows: "pa.Table") -> Verdict:
    """Every vector to be written is finite and its length is 1 to within 1e-3."""
    import numpy as np

    if not rows.num_rows:
        return Verdict("vectors_unit_and_finite", True, "no new vectors", {"vectors": 0})
    column: Any = rows.column("vector").combine_chunks()
    vectors = np.asarray(column.values, dtype=np.float32).reshape(rows.num_rows, -1)
    lengths = np.linalg.norm(vectors, axis=1)
    bad = int((~np.isfinite(vectors).all(axis=1) | (np.abs(lengths - 1) > 1e-3)).sum())
    text = f"{bad} of {rows.num_rows} vectors are not finite or not of length 1"
    return Verdict("vectors_unit_and_finite", bad == 0, text, {"vectors": rows.num_rows, "bad": bad})


def no_leak(rows: "pa.Table") -> Verdict:
    """No cluster stands in two splits, and no answer of one split stands in another."""
    leaks = 0
    for column in ("cluster_id", "answer"):
        splits: dict[str, set[str]] = {}
        for value, split in zip(rows.column(column).to_pylist(), rows.column("split").to_pylist(), strict=True):
            splits.setdefault(value, set()).add(split)
        # A line like a lone closing brace may end two files; an answer of a sentence or more may not.
        leaks += sum(
            len(found) > 1 and len(value) >= (1 if column == "cluster_id" else 80) for value, found in splits.items()
        )
    return Verdict("no_leak", leaks == 0, f"{leaks} clusters or answers stand in two splits", {"leaks": leaks})


def answers_are_the_authors(answers: Iterable[tuple[str, str]], texts: dict[str, str]) -> Verdict:
    """Every (document_id, answer) is a piece of that document's cleaned text."""
    total = strange = 0
    for document_id, answer in answers:
        total += 1
        strange += answer not in texts.get(document_id, "")
    text = f"{total - strange} of {total} answers are the author's own text"
    return Verdict("answers_are_the_authors", strange == 0, text, {"answers": total, "strange": strange})
