"""What a person sees of a table in the Dagster UI: counts and a few rows, at most a title and 200 characters each."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from twin_assets.markdown import table

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 5


def preview(rows: "pa.Table", name: str) -> str:
    """The first rows written: title or instruction, category, and the start of the text."""
    if not rows.num_rows:
        return "Nothing new to write."
    first, text = ("instruction", "answer") if name == "instruction_dataset" else ("title", "text")
    shown = rows.slice(0, ROWS).select([first, "category", text]).to_pylist()
    body = table([first, "category", text], [[row[first], row["category"], row[text]] for row in shown])
    return f"{body}\n\n{rows.num_rows} rows written."


def dataset_card(rows: "pa.Table", left_out: Mapping[str, int]) -> str:
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
