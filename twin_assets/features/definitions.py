"""Functions and classes in a source file, each with what a person would say to have it written: signature and purpose.

The chunker's structure says where they are, so a language needs no table of its own here either. A file in a language
without a grammar has none.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from twin_assets.content.code import code_language
from twin_assets.content.syntax import Enclosure, Lines, structure

MIN_LINES = 3
"""A shorter definition is a detail of its surroundings."""
MAX_SIGNATURE_LINES = 8
MAX_PURPOSE = 300

_COMMENT = re.compile(r"\s*(#(?!include|define|if|endif|else|pragma)|//+[/!]?|/?\*+/?|--+|;+|@|\[\[)")
_COMMENT_MARKS = re.compile(r"^\s*(#+!?|//+[/!]?|/\*+!?|\*+/|\*+|--+|;+)\s?|\s*\*+/\s*$")
_OPENS_BODY = re.compile(r"(:|\{|=>|\bdo|\bthen|=)\s*(#.*|//.*|/\*.*)?$|\{")
_CALLABLE = re.compile(r"\(\)$|^(def|fn|func|function) ")
_NO_PURPOSE = re.compile(
    r"\s*([$>%|]|(Ref|See|TODO|FIXME|Usage|Copyright|Build|Note)\b|https?://|@|-{3}|={3})", re.IGNORECASE
)
_DOCSTRING = re.compile(r"\s*[rRbBuU]*(\"\"\"|''')(.*?)\1", re.DOTALL)


@dataclass(frozen=True)
class Definition:
    """Characters start to end of a file, with the comments above; its enclosing names, signature and purpose.

    purpose: the first paragraph of its docstring or of the comment above it, "" when there is neither.
    """

    start: int
    end: int
    label: str
    signature: str
    purpose: str

    @property
    def name_beside_signature(self) -> str:
        """What the signature does not say: the enclosing names, or the name itself, as of C's `typedef struct`."""
        within, _, name = self.label.rpartition(" > ")
        is_named = name.removesuffix("()").rpartition(" ")[2] in self.signature
        return f"Within {within}:" if within and is_named else "" if is_named else f"{self.label}:"


def definitions(text: str, name: str, max_bytes: int) -> list[Definition]:
    """The outermost definitions of at most `max_bytes` and at least MIN_LINES, in order, none within another.

    name: the file's name or path, which tells its language.
    """
    lines = Lines(text, [], 1)
    found: list[Definition] = []
    labels: list[Enclosure] = []
    last_taken = -1
    for one in structure(text, lines, code_language(name, text)).enclosures:
        labels = [*(outer for outer in labels if outer.last >= one.last and outer.first <= one.first), one]
        rows = lines.rows[one.first : one.last + 1]
        fits = len("\n".join(rows).encode()) <= max_bytes
        if one.first <= last_taken:
            continue
        if fits and len(rows) >= MIN_LINES:
            found.append(_definition(lines, one, " > ".join(dict.fromkeys(label.label for label in labels))))
        # What a function too long for an answer defines inside itself is no part that anybody would ask for.
        if fits or _CALLABLE.search(one.label):
            last_taken = one.last
    return found


def purpose_of_file(text: str) -> str:
    """The first paragraph of a file's docstring or of the comment at its top; "" when there is none."""
    body = text.split("\n")
    if body[0].startswith("#!"):
        body = body[1:]
    if docstring := _DOCSTRING.match("\n".join(body)):
        return _first_paragraph(docstring[2])
    return _first_paragraph("\n".join(_comments_above(body)))


def names_defined(text: str, name: str) -> list[str]:
    """The labels of a file's outermost definitions, in order."""
    lines = Lines(text, [], 1)
    names: list[str] = []
    last = -1
    for one in structure(text, lines, code_language(name, text)).enclosures:
        if one.first > last:
            names.append(one.label)
            last = one.last
    return list(dict.fromkeys(names))


def _definition(lines: Lines, enclosure: Enclosure, label: str) -> Definition:
    rows = lines.rows[enclosure.first : enclosure.last + 1]
    end = lines.starts[enclosure.last] + len(rows[-1])
    comments = list(_comments_above(rows))
    body = rows[_rows_above(rows) :]
    signature = _signature(body)
    docstring = _DOCSTRING.match("\n".join(body[len(signature) :]))
    purpose = docstring[2] if docstring else "\n".join(comments)
    shown = "\n".join(signature).rstrip("{ \n")
    return Definition(lines.starts[enclosure.first], end, label, shown, _first_paragraph(purpose))


def _rows_above(rows: Sequence[str]) -> int:
    """How many rows of comments and decorators stand above the code itself."""
    in_block = False
    for number, row in enumerate(rows):
        in_block = (in_block or row.lstrip().startswith("/*")) and "*/" not in row
        if not (in_block or not row.strip() or _COMMENT.match(row)):
            return number
    return 0


def _comments_above(rows: Sequence[str]) -> Iterator[str]:
    """Their text, without what marks them as comments; decorators and attributes are none."""
    in_block = False
    for row in rows:
        was_in_block = in_block
        in_block = (in_block or row.lstrip().startswith("/*")) and "*/" not in row
        if not (was_in_block or in_block or not row.strip() or _COMMENT.match(row)):
            return
        if not row.lstrip().startswith(("@", "#[", "[[")):
            yield _COMMENT_MARKS.sub("", row).rstrip()


def _signature(body: Sequence[str]) -> list[str]:
    """The rows up to the one that opens the body."""
    for number, row in enumerate(body[:MAX_SIGNATURE_LINES]):
        if _OPENS_BODY.search(row.rstrip()):
            return list(body[: number + 1])
    return list(body[:1])


def _first_paragraph(text: str) -> str:
    """In one line, up to a row that says how to build it, where it is from or what is left to do."""
    rows = [row.strip() for row in text.strip().splitlines()]
    ends = (number for number, row in enumerate(rows) if not row or _NO_PURPOSE.match(row))
    line = " ".join(" ".join(rows[: next(ends, len(rows))]).split())
    return line if len(line) <= MAX_PURPOSE else line[:MAX_PURPOSE].rsplit(" ", 1)[0] + " …"
