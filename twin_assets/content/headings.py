"""Markdown's ATX headings: `## Words ##`. A closing sequence stands behind a space, so that `# C#` keeps its name.

See: https://spec.commonmark.org/0.31.2/#atx-headings
"""

import re

_OPENING = re.compile(r"^\s*#{1,6}\s+")
_CLOSING = re.compile(r"(?:^|\s)#+\s*$")


def heading_label(line: str) -> str:
    """A line without the marks of a heading around it."""
    return without_closing(_OPENING.sub("", line))


def without_closing(words: str) -> str:
    """What stands behind a heading's opening marks, without the closing ones."""
    return _CLOSING.sub("", words).strip()


def first_heading(markdown: str) -> str:
    """The words of a text's first heading of the first level, "" when it has none."""
    return heading_label(next((line for line in markdown.splitlines() if line.startswith("# ")), ""))
