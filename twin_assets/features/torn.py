"""Whether a piece of code was cut in two inside what belongs together: told by its brackets, in any language."""

import re

MIN_CODE_LINES = 3
"""Beside comments, imports and brackets."""

_NO_CODE = re.compile(r"\s*(#|import\b|from\b|use\b|using\b|package\b|[{}()\[\];,]*$)")
_IF, _END_IF = re.compile(r"^\s*#\s*if", re.MULTILINE), re.compile(r"^\s*#\s*endif", re.MULTILINE)
HASH_LANGUAGES = frozenset({"python", "ruby", "shell", "perl", "r", "yaml", "toml", "elixir", "make", "cmake"})
"""Whose comments begin with #, and which put strings in single quotes."""
_HASH_LANGUAGE = re.compile(
    r'"""(?:.|\n)*?"""|\'\'\'(?:.|\n)*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|(?<!\S)#.*'
)
_SLASH_LANGUAGE = re.compile(
    r'"(?:\\.|[^"\\\n])*"|\'(?:\\[^\n]{1,9}|[^\'\\\n])\'|//.*|/\*(?:.|\n)*?\*/|(?<!\S)(?:--|;;).*'
)
"""Strings and comments of the others; a single quote may begin a lifetime of Rust's, so it holds one character."""


def is_torn(code: str, language: str | None, brackets: str) -> bool:
    """Whether something in brackets is cut in two, or a condition or decorator from its object; or code is missing."""
    not_code = _HASH_LANGUAGE if language in HASH_LANGUAGES else _SLASH_LANGUAGE
    bare = not_code.sub(lambda found: "s" * len(found[0]) if found[0][0] in "\"'" else "", code)
    written = [row for row in bare.splitlines() if row.strip() and not _NO_CODE.match(row)]
    if len(_IF.findall(bare)) != len(_END_IF.findall(bare)) or len(written) < MIN_CODE_LINES:
        return True
    last = bare.rstrip().rpartition("\n\n")[2]
    is_bare_decorator = last.startswith("@") and not re.search(r"^(async )?(def|class|function)\b", last, re.MULTILINE)
    # A case of a shell's ends with a bracket that none opens.
    pairs = [brackets[at : at + 2] for at in range(2 if language == "shell" else 0, len(brackets), 2)]
    return is_bare_decorator or any(bare.count(pair[0]) != bare.count(pair[1]) for pair in pairs)
