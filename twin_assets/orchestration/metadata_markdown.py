"""Markdown for the Dagster UI: tables and pictures. Text in a cell is escaped, so that it breaks no table."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHARACTERS = 200
"""Metadata shows at most this many characters of a text."""


def cell(text: object, limit: int = CHARACTERS) -> str:
    """The text of a cell: one line of at most `limit` characters, escaped."""
    line = " ".join(str(text if text is not None else "").split())
    line = line if len(line) <= limit else line[:limit] + "…"
    return line.replace("|", "\\|").replace("`", "'").replace("<", "&lt;").replace("![", "! [")


def table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A markdown table; the header's cells may be empty."""
    lines: list[Sequence[object]] = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def picture(figure: "Figure", name: str) -> str:
    """A matplotlib figure as an embedded image, without a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return f"![{name}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
