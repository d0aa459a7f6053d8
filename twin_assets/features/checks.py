"""Checks of what is about to be written, run before the commit.

When a blocking check fails, nothing is written and the previous version stays in use. Every result is reported, passed
or not, so that the history shows when a number began to move.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg

from twin_assets.documents import Category
from twin_assets.features.instructions.overlap import is_mostly_in, overlaps, paragraphs_of
from twin_assets.orchestration.partitions import authors
from twin_assets.schemas import Schema
from twin_assets.stores.features import TableHandle

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check: what was measured, in words and numbers."""

    name: str
    passed: bool
    text: str
    numbers: dict[str, float]

    @property
    def blocking(self) -> bool:
        """True if nothing may be written when the check fails."""
        return self.name not in WARNINGS


ENOUGH_ROWS = 20
"""A category with fewer rows than this, before or now, is not compared: a shift could be chance."""
MAX_SHIFT = 0.3
"""The languages or lengths of new rows may be this far from those of the old ones; the distance is 0 to 1."""
CHANCE = 0.01
"""A distance between lengths counts only if its p-value is below this."""

SPECS = {
    "schema": "Columns and types are those of schemas.py, keys are unique, and no required value is missing.",
    "no_drift": "New rows have about the languages and lengths of the rows before (a warning).",
    "not_empty": "The table still has rows after the write, unless the author deleted or left out everything.",
    "no_sudden_drop": "Beyond deletions, edits and left-out documents, at most TWIN_MAX_DROP of the rows vanish.",
    "chunks_have_documents": "Every chunk belongs to a cleaned document, and every cleaned document has a chunk.",
    "languages_known": "The embedding model knows the languages of all prose (a warning).",
    "vectors_unit_and_finite": "Every vector is finite and of length 1.",
    "no_leak": "No cluster is in two splits, and no held-out answer occurs in the train split or in its own context.",
    "answers_are_the_authors": "Every answer is a piece of the author's own cleaned text.",
}
WARNINGS = ("no_drift", "languages_known")


def check_specs(asset: str, names: Sequence[str]) -> list[dg.AssetCheckSpec]:
    """The specs of an asset's checks, partitioned so that one author's failure does not show as another's."""
    return [
        dg.AssetCheckSpec(
            name, asset=asset, description=SPECS[name], blocking=name not in WARNINGS, partitions_def=authors
        )
        for name in names
    ]


def report(asset: str, verdicts: Iterable[Verdict]) -> Iterator[dg.AssetCheckResult]:
    """Yield each verdict as a check result, then raise dagster.Failure, without retries, if a blocking check failed."""
    failed = []
    for verdict in verdicts:
        yield dg.AssetCheckResult(
            asset_key=dg.AssetKey(asset),
            check_name=verdict.name,
            passed=verdict.passed,
            severity=dg.AssetCheckSeverity.ERROR if verdict.blocking else dg.AssetCheckSeverity.WARN,
            metadata={"result": verdict.text, **verdict.numbers},
        )
        if not verdict.passed and verdict.blocking:
            failed.append(verdict)
    if failed:
        what = "; ".join(f"{verdict.name}: {verdict.text}" for verdict in failed)
        text = f"{asset}: nothing was written, the previous version stays in use. {what}"
        raise dg.Failure(text, allow_retries=False)


def schema(rows: "pa.Table", expected: Schema, key: str) -> Verdict:
    """Check the columns, types, required values and unique keys of the new rows."""
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
            problems.append(f"{doubled} keys occur more than once")
    text = "; ".join(problems) or f"{rows.num_rows} rows match the schema"
    return Verdict("schema", not problems, text, {"rows": rows.num_rows, "problems": len(problems)})


def not_empty(before: int, after: int, explained: int) -> Verdict:
    """Check that the table still has rows, unless every row that goes is explained."""
    passed = after > 0 or before <= explained
    return Verdict("not_empty", passed, f"{after} rows after {before}", {"before": before, "after": after})


def no_sudden_drop(before: int, after: int, explained: int, max_drop: float) -> Verdict:
    """Check that at most a share of `max_drop` of the rows vanishes without an explanation."""
    unexplained = max(0, before - after - explained)
    share = unexplained / before if before else 0.0
    passed = share <= max_drop
    text = f"{before} rows before, {after} after, {explained} of the missing explained; unexplained {share:.0%}"
    if not passed:
        text += (
            f", more than {max_drop:.0%}: see what happened, or allow it with TWIN_MAX_DROP={min(1, share + 0.01):.2f}"
        )
    return Verdict("no_sudden_drop", passed, text, {"before": before, "after": after, "share": share})


def no_drift(current: TableHandle, rows: "pa.Table", length: str) -> Verdict:
    """Compare the languages and lengths of new rows with those of the table, within each category.

    Languages are compared by total variation distance, lengths by the Kolmogorov-Smirnov statistic; both are between 0
    (alike) and 1. This only warns, since authors may change how they write. After a change of code or settings, when
    all rows are made again, it shows what the change did.
    """
    columns = ["category", "language", length]
    shifts: dict[str, float] = {}
    new = rows.select(columns).to_pylist()
    old = list(current.rows(columns)) if len(new) >= ENOUGH_ROWS else []
    for category in sorted({row["category"] for row in new}):
        was, now = ([row for row in table if row["category"] == category] for table in (old, new))
        if min(len(was), len(now)) < ENOUGH_ROWS:
            continue
        if category != Category.CODE:
            shifts[f"{category} language"] = _shares_apart(*([row["language"] for row in some] for some in (was, now)))
        shifts[f"{category} {length}"] = _lengths_apart(*([row[length] for row in some] for some in (was, now)))
    large = [name for name, shift in shifts.items() if shift > MAX_SHIFT]
    listed = ", ".join(f"{name} {shift:.2f}" for name, shift in shifts.items())
    text = f"shifts of at most {MAX_SHIFT}: {listed}" if listed else f"under {ENOUGH_ROWS} rows to compare"
    if large:
        text = f"look at a few rows: {', '.join(large)} moved more than {MAX_SHIFT} ({listed})"
    return Verdict("no_drift", not large, text, {"largest": max(shifts.values(), default=0.0)})


def _shares_apart(was: Sequence[str | None], now: Sequence[str | None]) -> float:
    before, after = Counter(was), Counter(now)
    return sum(abs(before[name] / len(was) - after[name] / len(now)) for name in before | after) / 2


def _lengths_apart(was: Sequence[int], now: Sequence[int]) -> float:
    from scipy.stats import ks_2samp

    found = ks_2samp(was, now)
    return float(found.statistic) if found.pvalue < CHANCE else 0.0


def chunks_have_documents(chunked: Iterable[str], cleaned: Iterable[str]) -> Verdict:
    """Check that, after the write, the documents with chunks are exactly the cleaned documents."""
    with_chunks, documents = set(chunked), set(cleaned)
    orphans, missing = len(with_chunks - documents), len(documents - with_chunks)
    text = f"{len(with_chunks)} documents have chunks; {orphans} unknown, {missing} without a chunk"
    return Verdict("chunks_have_documents", not orphans and not missing, text, {"orphans": orphans, "missing": missing})


def vectors_unit_and_finite(rows: "pa.Table") -> Verdict:
    """Check that every new vector is finite and has length 1 to within 1e-3."""
    import numpy as np

    if not rows.num_rows:
        return Verdict("vectors_unit_and_finite", True, "no new vectors", {"vectors": 0})
    column: Any = rows.column("vector").combine_chunks()
    vectors = np.asarray(column.values, dtype=np.float32).reshape(rows.num_rows, -1)
    lengths = np.linalg.norm(vectors, axis=1)
    bad = int((~np.isfinite(vectors).all(axis=1) | (np.abs(lengths - 1) > 1e-3)).sum())
    text = f"{bad} of {rows.num_rows} vectors are not finite or not of length 1"
    return Verdict("vectors_unit_and_finite", bad == 0, text, {"vectors": rows.num_rows, "bad": bad})


def languages_known(languages: Iterable[str | None], known: Collection[str] | None) -> Verdict:
    """Check that the embedding model knows the language of each chunk of prose. known: None if it does not say."""
    foreign = Counter(language for language in languages if known and language and language not in known)
    listed = ", ".join(f"{count} in {language}" for language, count in foreign.most_common())
    text = (
        f"the embedding model knows {', '.join(known or ())} only, so these chunks are found by their words more than "
    )
    text += f"by their meaning: {listed}. Name a multilingual model in TWIN_EMBEDDING_MODEL"
    numbers: dict[str, float] = {"chunks": foreign.total(), "languages": len(foreign)}
    return Verdict(
        "languages_known", not foreign, text if foreign else "the embedding model knows all languages", numbers
    )


def no_leak(rows: "pa.Table") -> Verdict:
    """Check that no cluster is in two splits, and no held-out answer occurs in train or in its own context."""
    columns = (rows.column(name).to_pylist() for name in ("cluster_id", "split", "answer", "passages"))
    splits: dict[str, set[str]] = {}
    trained: set[str] = set()
    held_out: list[tuple[str, list[str]]] = []
    for cluster, split, answer, passages in zip(*columns, strict=True):
        splits.setdefault(cluster, set()).add(split)
        if split == "train":
            trained |= paragraphs_of(answer)
        else:
            held_out.append((answer, [passage["text"] for passage in passages]))
    leaks = {
        "clusters": sum(len(found) > 1 for found in splits.values()),
        "answers": sum(is_mostly_in(paragraphs_of(answer), trained) for answer, _ in held_out),
        "contexts": sum(any(overlaps(answer, text) for text in context) for answer, context in held_out),
    }
    text = "{clusters} clusters are in two splits, {answers} held-out answers in train, {contexts} in their own context"
    return Verdict("no_leak", not any(leaks.values()), text.format(**leaks), dict(leaks))


def answers_are_the_authors(answers: Iterable[tuple[str, str]], texts: dict[str, str]) -> Verdict:
    """Check that every answer is a piece of its document's cleaned text. answers: (document_id, answer) pairs."""
    total = foreign = 0
    for document_id, answer in answers:
        total += 1
        foreign += answer not in texts.get(document_id, "")
    text = f"{total - foreign} of {total} answers are the author's own text"
    return Verdict("answers_are_the_authors", foreign == 0, text, {"answers": total, "strange": foreign})
