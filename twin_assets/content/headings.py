"""Markdown's ATX headings: `## Words ##`. A closing sequence must follow a space, so that `# C#` keeps its name.

See: https://spec.commonmark.org/0.31.2/#atx-headings
"""

import re

_OPENING = re.compile(r"^\s*#{1,6}\s+")
_CLOSING = re.compile(r"(?:^|\s)#+\s*$")


def heading_label(line: str) -> str:
    """A line without a heading's opening and closing marks."""
    return without_closing(_OPENING.sub("", line))


def without_closing(words: str) -> str:
    """A heading's words without the closing marks."""
    return _CLOSING.sub("", words).strip()


def first_heading(markdown: str) -> str:
    """The words of a text's first level-one heading; "" when it has none."""
    return heading_label(next((line for line in markdown.splitlines() if line.startswith("# ")), ""))
