"""What the Dagster UI shows of a table: counts, and a few rows with at most a title and 200 characters each."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from twin_assets.features.instructions.splits import ORDER
from twin_assets.orchestration.metadata_markdown import picture, table

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

ROWS = 5


def preview(rows: "pa.Table", name: str) -> str:
    """The first new rows: the title or instruction, the category, and the start of the text."""
    if not rows.num_rows:
        return "Nothing new to write."
    first, text = ("instruction", "answer") if name == "instruction_dataset" else ("title", "text")
    shown = rows.slice(0, ROWS).select([first, "category", text]).to_pylist()
    body = table([first, "category", text], [[row[first], row["category"], row[text]] for row in shown])
    return f"{body}\n\n{rows.num_rows} rows written."


def dataset_card(rows: "pa.Table", rejected: Mapping[str, int], about: Mapping[str, Any] | None = None) -> str:
    """The dataset in tables and a picture: counts, splits, sources, wordings, how it was made, what was rejected."""
    parts = [card_tables(rows, rejected, about or {})]
    if rows.num_rows:
        parts.append(picture(card_figure(rows), "lengths, tasks and time"))
    return "\n\n".join(parts)


def card_tables(rows: "pa.Table", rejected: Mapping[str, int], about: Mapping[str, Any]) -> str:
    """The card without its picture. about: facts from the dataset version's record, shown as they are."""
    columns = {name: rows.column(name).to_pylist() for name in rows.column_names}
    counts = Counter(zip(columns["split"], columns["task"], columns["category"], strict=True))
    by_split = [
        [split, len(set(_of_split(columns, "cluster_id", split))), _words(_of_split(columns, "answer", split))]
        for split in ORDER
    ]
    sources = Counter(document_id.split(":")[1] for document_id in columns["document_id"])
    facts = {
        "examples": rows.num_rows,
        "with retrieved context": sum(bool(passages) for passages in columns["passages"]),
        "median answer": f"{statistics.median(map(_n_bytes, columns['answer'])) if rows.num_rows else 0:.0f} bytes",
        "rows made by": ", ".join(sorted(set(columns["made_by"]))),
        **about,
    }
    parts = [
        table(["about", ""], [[name, value] for name, value in facts.items()]),
        table(["split", "task", "category", "examples"], [[*key, count] for key, count in sorted(counts.items())]),
        table(["split", "clusters", "words of answers"], by_split),
        _count_table("source", sources),
        _count_table("language", Counter(language or "unknown" for language in columns["language"])),
        _wordings(columns["template"]),
    ]
    if rejected:
        parts.append(
            table(["rejected because", "count"], [[reason, count] for reason, count in sorted(rejected.items())])
        )
    return "\n\n".join(parts)


def card_figure(rows: "pa.Table") -> "Figure":
    """A figure of the answers' lengths, and of how many examples there are by task and by the document's date."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3), layout="constrained")
    lengths, tasks, time = figure.subplots(1, 3)
    lengths.hist([_n_bytes(answer) for answer in rows.column("answer").to_pylist()], bins=30)
    lengths.set(xlabel="bytes of an answer", ylabel="examples")
    kinds = Counter(zip(rows.column("task").to_pylist(), rows.column("category").to_pylist(), strict=True))
    names = sorted(kinds)
    tasks.barh([" ".join(name) for name in names], [kinds[name] for name in names])
    tasks.set(xlabel="examples")
    years = [moment.year + (moment.month - 0.5) / 12 for moment in rows.column("published_at").to_pylist() if moment]
    time.hist(years, bins=30)
    time.set(xlabel="year of the document")
    return figure


def _of_split(columns: Mapping[str, list[Any]], name: str, split: str) -> Iterable[Any]:
    return (value for value, where in zip(columns[name], columns["split"], strict=True) if where == split)


def _words(answers: Iterable[str]) -> int:
    return sum(len(answer.split()) for answer in answers)


def _n_bytes(answer: str) -> int:
    return len(answer.encode())


def _count_table(name: str, counts: Counter[str]) -> str:
    return table([name, "examples"], [[key, count] for key, count in counts.most_common()])


def _wordings(templates: Iterable[str | None]) -> str:
    """A table of the kinds of request: how many examples each has, and the share of its most used wording."""
    kinds: dict[str, Counter[str]] = {}
    for template in templates:
        kind, _, variant = (template or "unknown/").rpartition("/")
        kinds.setdefault(kind, Counter())[variant] += 1
    rows = [
        [kind, variants.total(), len(variants), f"{max(variants.values()) / variants.total():.0%}"]
        for kind, variants in sorted(kinds.items())
    ]
    return table(["request", "examples", "wordings", "most used wording"], rows)
