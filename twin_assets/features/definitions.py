"""Functions and classes in a source file, each with what a person would say to have it written: signature and purpose.

The chunker's structure says where they are, so a language needs no table of its own here either. A file in a language
without a grammar has none.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile

from twin_assets.content.code import code_language
from twin_assets.content.syntax import Enclosure, Lines, structure

MIN_LINES = 3
"""A shorter definition is a detail of its surroundings."""
MAX_SIGNATURE_LINES = 8
MAX_DECORATOR_LINES = 3
"""Of more, as above a parametrized test, how each begins is shown."""
MAX_PURPOSE = 300

_COMMENT = re.compile(r"\s*(#(?!include|define|if|endif|else|pragma|\[)|//+[/!]?|/?\*+/?|--+|;+)")
_BANNER = re.compile(r"\W*[-=*~]{2,}.*[-=*~]{2,}\W*|[-=*~#/]{4,}")
"""`# -- reading -----`: the head of a part of the file, and not of what comes next."""
_COMMENT_MARKS = re.compile(r"^\s*(#+!?|//+[/!]?|/\*+!?|\*+/|\*+|--+|;+)\s?|\s*\*+/\s*$")
_OPENS_BODY = re.compile(r"(:|\{|=>|\bdo|\bthen|=)\s*(#.*|//.*|/\*.*)?$|\{")
_CALLABLE = re.compile(r"\(\)$|^(def|fn|func|function) ")
_LINT = re.compile(
    r"flake8|noqa|type: ignore|pylint|mypy|isort|coding[:=]|-\*-|SPDX|Copyright|eslint|clang", re.IGNORECASE
)
_NO_PURPOSE = re.compile(
    r"\s*([$>%|]|(Ref|See|TODO|FIXME|Usage|Copyright|Build|Note)\b|https?://|@|-{3}|={3})", re.IGNORECASE
)
_CONDITION = re.compile(r"\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b")
_GUARD = re.compile(r"#\s*ifndef \w+_H_*\b")
_MAIN = re.compile(r"(def |func |fn |function )?main(\(\))?")
_DOCSTRING = re.compile(r"\s*[rRbBuU]*(\"\"\"|'''|\"|')(.*?)\1", re.DOTALL)
_TITLE = re.compile(r".{1,60}(?<![.!?:;,])\n(?=[A-Z])")
"""A first row that is no wrapped one: short, without a stop, above a sentence."""


@dataclass(frozen=True)
class Definition:
    """Characters start to end of a file, with the comments above; its enclosing names, signature and purpose.

    purpose: the first paragraph of its docstring or of the comment above it, of `main` else the file's, "" when there
    is neither; members: the names of what a class defines inside itself.
    """

    start: int
    end: int
    label: str
    signature: str
    purpose: str
    members: tuple[str, ...] = ()

    @property
    def says_what_it_is(self) -> bool:
        """Whether anybody could write it by what is known of it: a type by its name alone could be anything."""
        name = self.label.rpartition(" > ")[2]
        return bool(self.purpose or self.members or (_CALLABLE.search(name) and not is_main(name)))

    @property
    def name_beside_signature(self) -> str:
        """What the signature does not say: the enclosing names, or the name itself, as of C's `typedef struct`."""
        within, _, name = self.label.rpartition(" > ")
        is_named = name.removesuffix("()").rpartition(" ")[2] in self.signature
        return f"Within {within}:" if within and is_named else "" if is_named else f"{self.label}, which begins:"


def definitions(text: str, name: str, max_bytes: int) -> list[Definition]:
    """The outermost definitions of at most `max_bytes` and at least MIN_LINES, in order, none within another.

    One that does not say what it is is no definition here. name: the file's name or path, which tells its language.
    """
    lines = Lines(text, [], 1)
    found: list[Definition] = []
    labels: list[Enclosure] = []
    last_taken = -1
    enclosures = structure(text, lines, code_language(name, text)).enclosures
    for number, one in enumerate(enclosures):
        labels = [*(outer for outer in labels if outer.last >= one.last and outer.first <= one.first), one]
        rows = lines.rows[one.first : one.last + 1]
        fits = len("\n".join(rows).encode()) <= max_bytes
        if one.first <= last_taken:
            continue
        if fits and len(rows) >= MIN_LINES:
            inside = _outermost(inner for inner in enclosures[number + 1 :] if inner.last <= one.last)
            label = " > ".join(dict.fromkeys(label.label for label in labels))
            members = () if _CALLABLE.search(one.label) else tuple(inner.label for inner in inside)
            definition = _definition(text, name, lines, one, label, members)
            fits = definition.says_what_it_is
            found += [definition] if fits else []
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


def is_main(label: str) -> bool:
    """Whether a definition is a program's entry, whose name says nothing."""
    return bool(_MAIN.fullmatch(label))


def names_defined(text: str, name: str) -> list[str]:
    """The labels of a file's outermost definitions, in order."""
    enclosures = structure(text, Lines(text, [], 1), code_language(name, text)).enclosures
    return list(dict.fromkeys(one.label for one in _outermost(enclosures)))


def _outermost(enclosures: Iterable[Enclosure]) -> Iterator[Enclosure]:
    last = -1
    for one in enclosures:
        if one.first > last:
            yield one
            last = one.last


def _definition(
    text: str, name: str, lines: Lines, enclosure: Enclosure, label: str, members: tuple[str, ...]
) -> Definition:
    first = _first_row(lines, enclosure)
    rows = lines.rows[first : enclosure.last + 1]
    head = enclosure.head - first
    comments = list(_comments_above(rows[:head]))
    decorators = rows[len(comments) : head]
    if len(decorators) > MAX_DECORATOR_LINES:
        decorators = [f"{row} …" for row in decorators if row.lstrip().startswith("@")]
    signature = _signature(rows[head:])
    docstring = _DOCSTRING.match("\n".join(rows[head + len(signature) :]))
    purpose = _first_paragraph(docstring[2] if docstring else "\n".join(comments))
    if not purpose and is_main(enclosure.label):
        purpose = purpose_of_file(text)
    end = lines.starts[enclosure.last] + len(rows[-1])
    conditions = _conditions(lines.rows[:first]) if code_language(name, text) in ("c", "c++") else ()
    shown = "\n".join([*conditions, *decorators, *signature]).strip("\n").rstrip("{ \n")
    return Definition(lines.starts[first], end, label, shown, purpose, members)


def _first_row(lines: Lines, enclosure: Enclosure) -> int:
    """Of a definition with its own comment: no head of a part of the file, nothing that a blank row parts from it."""
    first, in_block = enclosure.first, False
    for number in range(enclosure.first, enclosure.head):
        row = lines.rows[number]
        in_block = (in_block or row.lstrip().startswith("/*")) and "*/" not in row
        if not in_block and (not row.strip() or _BANNER.fullmatch(row)):
            first = number + 1
    return first


def _conditions(rows: Sequence[str]) -> Iterator[str]:
    """The rows of the preprocessor that decide whether what comes below is compiled; include guards decide nothing."""
    branches: list[list[str]] = []
    for row in rows:
        if found := _CONDITION.match(row):
            if found[1].startswith("if"):
                branches.append([row.strip()])
            elif found[1] == "endif":
                branches = branches[:-1]
            elif branches:
                branches[-1] = [branches[-1][0], row.strip()]
    yield from (row for branch in branches for row in branch if not _GUARD.match(branch[0]))


def _comments_above(rows: Sequence[str]) -> Iterator[str]:
    """The text of the comments that rows begin with, without what marks them; decorators and attributes are none."""
    in_block = False
    for row in rows:
        was_in_block = in_block
        in_block = (in_block or row.lstrip().startswith("/*")) and "*/" not in row
        if not (was_in_block or in_block or not row.strip() or _COMMENT.match(row)):
            return
        yield _COMMENT_MARKS.sub("", row).rstrip()


def _signature(body: Sequence[str]) -> list[str]:
    """The rows up to the one that opens the body."""
    for number, row in enumerate(body[:MAX_SIGNATURE_LINES]):
        if _OPENS_BODY.search(row.rstrip()):
            return list(body[: number + 1])
    return list(body[:1])


def _is_no_text(row: str) -> bool:
    return not row or bool(_BANNER.fullmatch(row) or _LINT.match(row))


def _first_paragraph(text: str) -> str:
    """In one line, up to a row that says how to build it, where it is from or what is left to do."""
    rows = list(dropwhile(_is_no_text, map(str.strip, text.splitlines())))
    rows = rows[:1] if _TITLE.match("\n".join(rows)) else rows
    ends = (number for number, row in enumerate(rows) if not row or _NO_PURPOSE.match(row))
    line = " ".join(" ".join(rows[: next(ends, len(rows))]).split())
    return line if len(line) <= MAX_PURPOSE else line[:MAX_PURPOSE].rsplit(" ", 1)[0] + " …"
