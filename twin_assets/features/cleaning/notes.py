"""Turn the syntax of notes into what a reader of the note sees: Obsidian's comments, links and embeds, and callouts.

A callout such as `> [!WARNING]` is a box around the author's own words, though it is written as a quote; only
`[!quote]` and `[!cite]` hold somebody else's.

See: https://help.obsidian.md/syntax and https://help.obsidian.md/callouts; GitHub calls callouts alerts.
"""

import re
from collections.abc import Iterator

from twin_assets.features.cleaning.blocks import SPAN, blocks, change_prose, code_blocks, lines_of

QUOTING_CALLOUTS = frozenset({"quote", "cite"})

_CALLOUT = re.compile(
    r"(?P<before>[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)>[ \t]?\[!(?P<type>[\w|-]+)\][+-]?[ \t]*(?P<title>.*)"
)
_GONE = "\0 gone"
_QUOTE_MARK = re.compile(r"^([ \t]*)>[ \t]?")
_COMMENT = re.compile(
    rf"{SPAN.pattern}|^[ \t]*%%(?!%)(?:(?!%%).)*%%(?!%)[ \t]*(?:\n|\Z)|(?<![\d%])%%(?!%)(?:(?!%%|\n[ \t]*\n).)+%%(?!%)",
    re.DOTALL | re.MULTILINE,
)
"""A comment, which only at the start of a line may span paragraphs, or a span of code, in which one is shown."""
_EMBED = re.compile(rf"{SPAN.pattern}|^[ \t]*!\[\[[^\[\]\n]+\]\][ \t]*(?:\n|\Z)|!\[\[[^\[\]\n]+\]\]", re.MULTILINE)
_LINK = re.compile(r"(?<![\[!\\])\[\[(?![\s\[])(?P<page>[^\[\]|\n]*?)(?:\\?\|(?P<label>[^\[\]\n]+))?\]\](?![\](])")
_BLOCK_ID = re.compile(r"(?:(?<=\S)[ \t]+|^)\^(?=[\w-]*[A-Za-z]|\d{6}$)[A-Za-z0-9][A-Za-z0-9-]+[ \t]*$", re.MULTILINE)
_HIGHLIGHT = re.compile(r"(?<![\w=])==(?=[^\s=])([^=\n]+)(?<=\S)==(?![\w=])")


def without_note_syntax(markdown: str) -> str:
    """The markdown of a note as its reader sees it: no comments, embeds or block ids, and links as their labels."""
    return change_prose(_without_callouts(_without_comments(markdown)), _plain_links)


def _without_comments(text: str) -> str:
    if "%%" not in text:
        return text
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    code = [(starts[block.start], starts[min(block.stop, len(starts) - 1)]) for block in code_blocks(text)]
    kept, position, kept_to = [], 0, 0
    while found := _COMMENT.search(text, position):
        block_end = next((end for start, end in code if start <= found.start() < end), None)
        position = max(block_end or found.end(), found.start() + 1)
        if block_end is None and found[1] is None:
            kept.append(text[kept_to : found.start()])
            kept_to = found.end()
    return "".join([*kept, text[kept_to:]])


def _without_callouts(text: str) -> str:
    """Replace the callouts by their title in bold and their words; one inside somebody else's quote stays theirs."""
    while "[!" in text:
        changed = _without_outer_callouts(text)
        if changed == text:
            break
        text = changed
    return text


def _without_outer_callouts(text: str) -> str:
    lines = text.split("\n")
    for block in _outer_quotes(text):
        found = _CALLOUT.fullmatch(lines[block.start])
        if not found:
            continue
        title = found["title"].strip()
        kind = found["type"].partition("|")[0].lower()
        if kind in QUOTING_CALLOUTS:
            lines[block.start] = f"{found['before']}> {title}".rstrip()
            continue
        inner = [_QUOTE_MARK.sub(r"\1", line) for line in lines[block.start + 1 : block.stop]]
        above = [""] if block.start and not found["before"].strip() and lines[block.start - 1].strip() else []
        heading = f"{found['before']}**{title or kind.replace('-', ' ').capitalize()}**"
        lines[block.start : block.stop] = ["\n".join([*above, heading, *([""] if inner else []), *inner, ""])]
        # The other lines keep their numbers until the text is put together.
        lines[block.start + 1 : block.start + 1] = [_GONE] * (len(block) - 1)
    return "\n".join(line for line in lines if line is not _GONE)


def _outer_quotes(text: str) -> Iterator[range]:
    """The lines of each block quote that is in no other."""
    depth = 0
    for token in blocks(text):
        if token.type == "blockquote_open":
            if depth == 0:
                yield lines_of(token)
            depth += 1
        elif token.type == "blockquote_close":
            depth -= 1


def _plain_links(text: str) -> str:
    if not any(mark in text for mark in ("[[", "^", "==")):
        return text
    parts = SPAN.split(_EMBED.sub(lambda found: found[1] or "", text))
    return "".join(part if number % 2 else _plain(part) for number, part in enumerate(parts))


def _plain(text: str) -> str:
    return _HIGHLIGHT.sub(r"\1", _BLOCK_ID.sub("", _LINK.sub(_label, text)))


def _label(link: re.Match[str]) -> str:
    """The text that a link shows: its label, or the names of the page and the heading."""
    if link["label"]:
        return link["label"].strip()
    page, *headings = (part.strip() for part in link["page"].split("#"))
    return " > ".join(part for part in (page, *(name for name in headings if not name.startswith("^"))) if part)
