"""What a person sees of a table in the Dagster UI: counts and a few rows, at most a title and 200 characters each."""

from collections import Counter
from collections.abc import Mapping, Sequence

import dagster as dg
import pyarrow as pa

ROWS = 5
CHARACTERS = 200


def cell(text: object, limit: int = CHARACTERS) -> str:
    """One line of text that cannot break a markdown table."""
    line = " ".join(str(text if text is not None else "").split()).replace("|", "\\|").replace("`", "'")
    return line if len(line) <= limit else line[:limit] + "…"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A markdown table."""
    lines: list[Sequence[object]] = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def preview(rows: pa.Table, name: str) -> str:
    """The first rows written: title or instruction, category, and the start of the text."""
    if not rows.num_rows:
        return "Nothing new to write."
    first, text = ("instruction", "answer") if name == "instruction_dataset" else ("title", "text")
    shown = rows.slice(0, ROWS).select([first, "category", text]).to_pylist()
    body = table([first, "category", text], [[row[first], row["category"], row[text]] for row in shown])
    return f"{body}\n\n{rows.num_rows} rows written."


def dataset_card(rows: pa.Table, left_out: Mapping[str, int]) -> str:
    """Counts by split, task and category, and what was left out and why."""
    columns = [rows.column(name).to_pylist() for name in ("split", "task", "category")]
    counts = Counter(zip(*columns, strict=True))
    clusters = {
        split: len({c for c, s in zip(rows.column("cluster_id").to_pylist(), columns[0], strict=True) if s == split})
        for split in ("train", "validation", "test")
    }
    parts = [
        table(["split", "task", "category", "examples"], [[*key, count] for key, count in sorted(counts.items())]),
        table(["split", "clusters"], [[split, count] for split, count in clusters.items()]),
    ]
    if left_out:
        parts.append(
            table(["left out because", "count"], [[reason, count] for reason, count in sorted(left_out.items())])
        )
    return "\n\n".join(parts)


def column_schema(schema: pa.Schema) -> dg.TableSchema:
    """A pyarrow schema as Dagster shows it."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(field.name, str(field.type), constraints=dg.TableColumnConstraints(nullable=field.nullable))
            for field in schema
        ]
    )
