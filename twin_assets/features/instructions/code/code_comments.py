"""Read what code is for from its author's comments: the first paragraph of a docstring or of the comment above it."""

import re
from collections.abc import Iterator, Sequence
from itertools import dropwhile

MAX_COMMENT = 300
"""A longer comment is cut to this many characters."""

_COMMENT = re.compile(r"\s*(#(?!include|define|if|endif|else|pragma|\[)|//+[/!]?|/?\*+/?|--+|;+)")
_COMMENT_MARKS = re.compile(r"^\s*(#+!?|//+[/!]?|/\*+!?|\*+/|\*+|--+|;+)\s?|\s*\*+/\s*$")
_BANNER = re.compile(r"\W*(--|==|\*\*|~~).*(--|==|\*\*|~~)\W*|[-=*~#/]{4,}")
_RUN = re.compile(r"([-=*~#/])\1{3,}")
_LINT = re.compile(
    r"flake8|noqa|type: ignore|pylint|mypy|isort|coding[:=]|-\*-|SPDX|Copyright|eslint|clang-", re.IGNORECASE
)
_NOT_A_DESCRIPTION = re.compile(
    r"\s*([$>%|@]|(TODO|FIXME|XXX|Copyright)\b|(Ref|See|Usage|Build|Note)s?:|See (also|http)|https?://|-{3}|={3})"
)
_DOCSTRING = re.compile(r"\s*[rRbBuU]*(\"\"\"|''')(.*?)\1", re.DOTALL)
_SHORT_DOCSTRING = re.compile(r"\s*(\"|')((?:(?!\1)[^\n\\])+)\1\s*(?:\n|$)")
_DEFINES = re.compile(
    r"(export |pub |public )?(static|struct|typedef|func|def|class|fn|function|enum)\b|[A-Za-z_][\w\s*]*\("
)
"""The beginning of a definition, in many languages."""
_FILE_NAME = re.compile(r"^\S+\.\w+ --- |\s*-\*-.*?-\*-")
"""The file name and mode line that Emacs files have in their first line."""
MAX_TITLE = 60
"""A first line of more characters is not taken for a title."""
_ENDS_OR_GOES_ON = re.compile(r"([.!?:;,]|\b(an?|the|of|to|in|on|at|by|for|from|with|and|or|that|which|is|are|as))$")


def file_comment(text: str) -> str:
    """The first paragraph of a file's docstring or of the comment at its top; "" if there is none."""
    body = text.split("\n")
    if body[0].startswith("#!"):
        body = body[1:]
    if docstring := _DOCSTRING.match("\n".join(body)):
        return first_paragraph(docstring[2])
    comments = list(comments_above(body))
    # A comment right above a definition belongs to the definition.
    if comments and body[len(comments) - 1].strip() and _DEFINES.match("\n".join(body[len(comments) :][:1])):
        return ""
    return first_paragraph("\n".join(comments))


def docstring(signature: Sequence[str], body: Sequence[str]) -> str:
    """The docstring below a signature; it may be in single quotes if the signature ends with a colon."""
    text = "\n".join(body)
    found = _DOCSTRING.match(text)
    if not found and signature and signature[-1].rstrip().endswith(":"):
        found = _SHORT_DOCSTRING.match(text)
    return found[2] if found else ""


def comments_above(rows: Sequence[str]) -> Iterator[str]:
    """The text of the comments at the top of some rows, without comment marks, up to the first other row."""
    for row, within in zip(rows, inside_comments(rows), strict=True):
        if not (within or not row.strip() or _COMMENT.match(row)):
            return
        yield _COMMENT_MARKS.sub("", row).rstrip()


def inside_comments(rows: Sequence[str]) -> Iterator[bool]:
    """For each row, whether it is part of a comment between `/*` and `*/`."""
    within = False
    for row in rows:
        begins = within or row.lstrip().startswith("/*")
        yield begins
        within = begins and "*/" not in row


def is_banner(row: str) -> bool:
    """True for a section banner such as `# -- reading -----`, which is not about the definition below it."""
    return bool(_BANNER.fullmatch(_RUN.sub(r"\1\1\1\1", row.strip()[:200])))


def first_paragraph(text: str) -> str:
    """The first paragraph in one line; it ends before a row on usage, sources or open tasks."""
    rows = list(dropwhile(_is_no_text, map(str.strip, text.splitlines())))
    rows = [_FILE_NAME.sub("", rows[0]), *rows[1:]] if rows else []
    rows = rows[:1] if _is_title(rows) else rows
    ends = (number for number, row in enumerate(rows) if not row or _NOT_A_DESCRIPTION.match(row))
    line = " ".join(" ".join(rows[: next(ends, len(rows))]).split())
    return line if len(line) <= MAX_COMMENT else line[:MAX_COMMENT].rsplit(" ", 1)[0] + " …"


def _is_title(rows: Sequence[str]) -> bool:
    """True if the first row is a title and not a wrapped line: short, without a full stop, above a sentence."""
    return (
        len(rows) > 1
        and len(rows[0]) <= MAX_TITLE
        and rows[1][:1].isupper()
        and not _ENDS_OR_GOES_ON.search(rows[0].lower())
    )


def _is_no_text(row: str) -> bool:
    return not row or is_banner(row) or bool(_LINT.match(row))
