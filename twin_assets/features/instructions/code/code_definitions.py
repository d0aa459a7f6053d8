"""Functions and classes in a source file, each with what a person would say to have it written: signature and purpose.

The chunker's structure says where they are, so a language needs no table of its own here either. A file in a language
without a grammar has none.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from twin_assets.content.code import code_language
from twin_assets.content.syntax import Enclosure, Lines, structure
from twin_assets.features.instructions.code.code_comments import (
    comments_above,
    docstring,
    first_paragraph,
    inside_comments,
    is_banner,
    purpose_of_file,
)

MIN_LINES = 3
"""A shorter definition is a detail of its surroundings."""
MAX_SIGNATURE_LINES = 8
MIN_PURPOSE = 12
"""Characters; `// /dev/urandom` says nothing."""
MAX_DECORATOR_LINES = 3
"""Of more, as above a parametrized test, how each begins is shown."""

_OPENS_BODY = re.compile(r"(:|\{|=>|\bdo|\bthen|=)\s*(#.*|//.*|/\*.*)?$|\{")
_CALLABLE = re.compile(r"\(\)$|^(def|fn|func|function) ")
_CONDITION = re.compile(r"\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b")
_IFNDEF, _DEFINE = re.compile(r"\s*#\s*ifndef\s+(\w+)"), re.compile(r"\s*#\s*define\s+(\w+)\s*$")
_MAIN = re.compile(r"(def |func |fn |function )?main(\(\))?")


@dataclass(frozen=True)
class Definition:
    """Characters start to end of a file, with the comments above; its enclosing names, signature and purpose.

    purpose: the first paragraph of its docstring or of the comment above it, of `main` else the file's, "" when there
    is neither; members: the names of what a class defines inside itself; conditions: of the preprocessor, around it.
    """

    start: int
    end: int
    label: str
    signature: str
    purpose: str
    members: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()

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
    language = code_language(name, text)
    enclosures = structure(text, lines, language).enclosures
    conditions = _conditions(lines.rows, language)
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
            definition = _definition(text, lines, one, label, members, conditions[one.head])
            fits = definition.says_what_it_is
            found += [definition] if fits else []
        # What a function too long for an answer defines inside itself is no part that anybody would ask for.
        if fits or _CALLABLE.search(one.label):
            last_taken = one.last
    return found


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
    text: str, lines: Lines, enclosure: Enclosure, label: str, members: tuple[str, ...], conditions: tuple[str, ...]
) -> Definition:
    first = _first_row(lines, enclosure)
    rows = lines.rows[first : enclosure.last + 1]
    head = enclosure.head - first
    comments = list(comments_above(rows[:head]))
    decorators = rows[len(comments) : head]
    if len(decorators) > MAX_DECORATOR_LINES:
        heads = (row for row in decorators if row.lstrip().startswith(("@", "#[")))
        decorators = [f"{row}…)" if row.count("(") > row.count(")") else row for row in heads]
    signature = _signature(rows[head:])
    purpose = first_paragraph(docstring(signature, rows[head + len(signature) :]) or "\n".join(comments))
    purpose = purpose if len(purpose) >= MIN_PURPOSE else ""
    if not purpose and is_main(enclosure.label):
        purpose = purpose_of_file(text)
    end = lines.starts[enclosure.last] + len(rows[-1])
    shown = "\n".join([*decorators, *signature]).strip("\n").rstrip("{ \n")
    return Definition(lines.starts[first], end, label, shown, purpose, members, conditions)


def _first_row(lines: Lines, enclosure: Enclosure) -> int:
    """Of a definition with its own comment: no head of a part of the file, nothing that a blank row parts from it."""
    above = lines.rows[enclosure.first : enclosure.head]
    above = above[: len(list(comments_above(above)))]
    first = enclosure.first
    for number, (row, within) in enumerate(zip(above, inside_comments(above), strict=True), enclosure.first + 1):
        if not within and (not row.strip() or is_banner(row)):
            first = number
    return first


def _conditions(rows: Sequence[str], language: str | None) -> list[tuple[str, ...]]:
    """For each row of C, the preprocessor's rows that decide whether it is compiled; include guards decide nothing."""
    if language not in ("c", "c++"):
        return [()] * len(rows)
    branches: list[tuple[str, ...]] = []
    found: list[tuple[str, ...]] = []
    for row, following in pairwise([*rows, ""]):
        found.append(tuple(condition for branch in branches for condition in branch))
        if not (condition := _CONDITION.match(row)):
            continue
        if condition[1].startswith("if"):
            guard, define = _IFNDEF.match(row), _DEFINE.match(following)
            branches.append(() if guard and define and guard[1] == define[1] else (f"`{row.strip()}`",))
        elif condition[1] == "endif":
            branches = branches[:-1]
        elif branches and condition[1] == "elif":
            branches[-1] = (f"`{row.strip()}`",)
        elif branches and branches[-1]:
            branches[-1] = (f"the `#else` of {branches[-1][0]}",)
    return found


def _signature(body: Sequence[str]) -> list[str]:
    """The rows up to the one that opens the body."""
    for number, row in enumerate(body[:MAX_SIGNATURE_LINES]):
        if _OPENS_BODY.search(row.rstrip()):
            return list(body[: number + 1])
    return list(body[:1])
