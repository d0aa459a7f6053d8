"""Tell, in any language, whether a piece of code was cut inside something that belongs together, by its brackets."""

import re
from functools import cache

from twin_assets.content.code import COMMENTS

MIN_CODE_LINES = 3
"""A piece with fewer lines, not counting comments, imports and lone brackets, is incomplete."""

NO_COMMENTS: tuple[tuple[str, ...], None] = ((), None)
_NO_CODE = re.compile(r"\s*(#|import\b|from\b|use\b|using\b|package\b|[{}()\[\];,]*$)")
_IF, _END_IF = re.compile(r"^\s*#\s*if", re.MULTILINE), re.compile(r"^\s*#\s*endif", re.MULTILINE)
_STRING = r'"(?:\\.|[^"\\\n])*"'
_SINGLE_QUOTED = r"'(?:\\.|[^'\\\n])*'"
_CHARACTER = r"'(?:\\[^\n]{1,9}|[^'\\\n])'"
"""A character in single quotes. A single quote may also begin a lifetime (Rust), a type (ML) or a symbol (Lisp)."""
SINGLE_QUOTED = frozenset({
    "python", "shell", "ruby", "perl", "r", "elixir", "toml", "yaml", "awk", "make", "cmake", "javascript", "php",
    "typescript", "lua", "sql", "pascal", "powershell", "css", "fortran",
})  # fmt: skip
"""Languages that have strings in single quotes."""


def is_incomplete(code: str, language: str | None, brackets: str) -> bool:
    """True if brackets or `#if` are not closed, a decorator lacks its function, or there is hardly any code.

    brackets: the pairs that have to be closed, such as `()[]`.
    """
    bare = _strings_and_comments(language).sub(lambda found: "s" * len(found[0]) if found[0][0] in "\"'" else "", code)
    code_rows = [row for row in bare.splitlines() if row.strip() and not _NO_CODE.match(row)]
    if len(_IF.findall(bare)) != len(_END_IF.findall(bare)) or len(code_rows) < MIN_CODE_LINES:
        return True
    last = bare.rstrip().rpartition("\n\n")[2]
    is_bare_decorator = last.startswith("@") and not re.search(r"^(async )?(def|class|function)\b", last, re.MULTILINE)
    # A `case` in a shell script ends its patterns with a bracket that was never opened.
    pairs = [brackets[at : at + 2] for at in range(2 if language == "shell" else 0, len(brackets), 2)]
    return is_bare_decorator or any(bare.count(pair[0]) != bare.count(pair[1]) for pair in pairs)


def is_comment(row: str, language: str | None) -> bool:
    """True if a row of code is a line comment."""
    return any(row.lstrip().startswith(mark) for mark in COMMENTS.get(language or "", NO_COMMENTS)[0])


@cache
def _strings_and_comments(language: str | None) -> re.Pattern[str]:
    line, block = COMMENTS.get(language or "", NO_COMMENTS)
    parts = [r'"""(?:.|\n)*?"""|\'\'\'(?:.|\n)*?\'\'\''] if language == "python" else []
    parts += [_STRING, _SINGLE_QUOTED if language in SINGLE_QUOTED else _CHARACTER]
    parts += [rf"{re.escape(block[0])}(?:.|\n)*?{re.escape(block[1])}"] if block else []
    # Two slashes begin a comment anywhere; `#` and `--` do not within a word, as in `$#` or `i--`.
    parts += [("" if mark == "//" else r"(?<!\S)") + re.escape(mark) + ".*" for mark in line]
    return re.compile("|".join(parts))
