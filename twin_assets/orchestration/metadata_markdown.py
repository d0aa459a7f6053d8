"""Markdown that the Dagster UI shows: tables and pictures. Text in a cell is data: it breaks no table, is no markup."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHARACTERS = 200
"""The most of anybody's text that metadata carries."""


def cell(text: object, limit: int = CHARACTERS) -> str:
    """One line of at most `limit` characters."""
    line = " ".join(str(text if text is not None else "").split())
    line = line if len(line) <= limit else line[:limit] + "…"
    return line.replace("|", "\\|").replace("`", "'").replace("<", "&lt;").replace("![", "! [")


def table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A table; the header's cells may be empty."""
    lines: list[Sequence[object]] = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell(value) for value in line) + " |" for line in lines)


def picture(figure: "Figure", name: str) -> str:
    """A matplotlib figure as an image that needs no file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return f"![{name}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
