"""Find the functions and classes of a source file, each with what a request for it has to say: signature and comment.

The structure that the chunker uses says where they are, so no language needs rules here. In a language without a
grammar, no definitions are found.
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
    file_comment,
    first_paragraph,
    inside_comments,
    is_banner,
)

MIN_LINES = 3
"""A definition of fewer lines is a detail of its surroundings."""
MAX_SIGNATURE_LINES = 8
MIN_COMMENT = 12
"""A comment of fewer characters, such as `// urandom`, says too little."""
MAX_DECORATOR_LINES = 3
"""If a definition has more lines of decorators, only the first line of each decorator is shown."""

_OPENS_BODY = re.compile(r"(:|\{|=>|\bdo|\bthen|=)\s*(#.*|//.*|/\*.*)?$|\{")
_CALLABLE = re.compile(r"\(\)$|^(def|fn|func|function) ")
_CONDITION = re.compile(r"\s*#\s*(if|ifdef|ifndef|elif|else|endif)\b")
_IFNDEF, _DEFINE = re.compile(r"\s*#\s*ifndef\s+(\w+)"), re.compile(r"\s*#\s*define\s+(\w+)\s*$")
_MAIN = re.compile(r"(def |func |fn |function )?main(\(\))?")


@dataclass(frozen=True)
class Definition:
    """A definition: the characters `start` to `end` of a file, including the comment above it.

    label: its name, after those of what encloses it. comment: the first paragraph of its docstring or of the comment
    above it; for `main` else the file's; "" if there is none. members: the names that a class defines. conditions: the
    preprocessor's conditions around it.
    """

    start: int
    end: int
    label: str
    signature: str
    comment: str
    members: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()

    @property
    def says_what_it_is(self) -> bool:
        """True if a request could describe it: a type could be anything if only its name is known."""
        name = self.label.rpartition(" > ")[2]
        return bool(self.comment or self.members or (_CALLABLE.search(name) and not is_main(name)))

    @property
    def name_beside_signature(self) -> str:
        """What the signature does not say: the enclosing names, or the name itself, as with a `typedef struct` in C."""
        within, _, name = self.label.rpartition(" > ")
        is_named = name.removesuffix("()").rpartition(" ")[2] in self.signature
        return f"Within {within}:" if within and is_named else "" if is_named else f"{self.label}, which begins:"


def definitions(text: str, name: str, max_bytes: int) -> list[Definition]:
    """The outermost definitions of at most `max_bytes` and at least MIN_LINES that say what they are, in order.

    None is within another. name: the file's name or path, which tells its language.
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
        # Nobody would ask for what a function that is too long defines inside itself.
        if fits or _CALLABLE.search(one.label):
            last_taken = one.last
    return found


def is_main(label: str) -> bool:
    """True if a definition is a program's entry point, whose name says nothing."""
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
    comment = first_paragraph(docstring(signature, rows[head + len(signature) :]) or "\n".join(comments))
    comment = comment if len(comment) >= MIN_COMMENT else ""
    if not comment and is_main(enclosure.label):
        comment = file_comment(text)
    end = lines.starts[enclosure.last] + len(rows[-1])
    shown = "\n".join([*decorators, *signature]).strip("\n").rstrip("{ \n")
    return Definition(lines.starts[first], end, label, shown, comment, members, conditions)


def _first_row(lines: Lines, enclosure: Enclosure) -> int:
    """The first row of a definition or its comment: the one below the last banner or blank row above it."""
    above = lines.rows[enclosure.first : enclosure.head]
    above = above[: len(list(comments_above(above)))]
    first = enclosure.first
    for number, (row, within) in enumerate(zip(above, inside_comments(above), strict=True), enclosure.first + 1):
        if not within and (not row.strip() or is_banner(row)):
            first = number
    return first


def _conditions(rows: Sequence[str], language: str | None) -> list[tuple[str, ...]]:
    """For each row of C, the preprocessor conditions under which it is compiled, without include guards."""
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
