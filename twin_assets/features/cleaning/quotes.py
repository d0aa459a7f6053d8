"""Tell the author's own lines from quoted ones. Search finds quotes in a cleaned text; no model learns from them.

A CommonMark parser decides what a quote is: a `>` inside a fence is code, while a quote inside a list, or an unmarked
line that continues one, is quoted. In doubt a line counts as quoted: a missing sentence costs an example, but a quoted
one would teach somebody else's voice.

See: https://spec.commonmark.org/0.31.2/#block-quotes
"""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from twin_assets.documents import Category
from twin_assets.features.cleaning.blocks import blocks, code_lines, lines_of

if TYPE_CHECKING:
    from markdown_it.token import Token

_DASH = r"(?:[—–―]|--?)"
_ATTRIBUTION = re.compile(rf"[*_]*{_DASH}\s?[^\s\d—–―-][^\n]{{1,80}}")
_IN_QUOTATION_MARKS = re.compile(r"[*_]*(“[^”]+”|\"[^\"]+\"|«[^»]+»|„[^“”]+[“”]|「[^」]+」)[*_]*", re.DOTALL)
_IN_ITALICS = re.compile(r"\*[^*]+\*|_[^_]+_", re.DOTALL)
_MAIL_INTRODUCTION = re.compile(
    r"(On\b.{6,150}\bwrote|Am\b.{6,150}\bschrieb\b.*|Le\b.{6,150}\ba écrit|El\b.{6,150}\bescribió|.{2,80}写道)\s*[:：]",
    re.DOTALL,
)
_MAIL_BELOW = re.compile(
    r"^(-{3,} ?(Original|Forwarded) [Mm]essage ?-{3,}|Begin forwarded message:|"
    r"From: .+\n(Sent|Date): .+\n(To|Subject): )",
    re.MULTILINE,
)
_REPOST = re.compile(r"(^|(?<=\s))[\"“]?(?:RT|MT|QT) ?@\w+:|^[\"“]?(?:RT|MT|QT) ?@\w+", re.MULTILINE)
_NO_TEXT = frozenset({"heading_open", "hr"})
_HTML_QUOTE = re.compile(r"<blockquote\b", re.IGNORECASE)
_HTML_QUOTE_END = re.compile(r"</blockquote\s*>", re.IGNORECASE)
_BARE_MARKER = re.compile(r"\s*([-*+]|\d{1,9}[.)])?\s*")


def own_lines(text: str, category: Category) -> set[int]:
    """The numbers of the lines of a cleaned article or post that are entirely the author's own.

    Lines with any part of a block quote, a quoted mail or its introduction, an epigraph or a repost are not.
    """
    for below in (_MAIL_BELOW, *((_REPOST,) if category is Category.POST else ())):
        text = _cut_before(text, below)
    lines = text.split("\n") if text else []
    tokens = blocks(text)
    quoted = set(_quoted_lines(tokens, lines))
    quoted |= set(_introductions_and_attributions(tokens, lines, quoted))
    quoted |= set(_emptied_items(tokens, lines, quoted))
    return set(range(len(lines))) - quoted


def _cut_before(text: str, start: re.Pattern[str]) -> str:
    """The lines above the first match outside code; from there to the end, the text is somebody else's."""
    code = code_lines(text)
    for match in start.finditer(text):
        if text.count("\n", 0, match.start()) not in code:
            return text[: text.rfind("\n", 0, match.start()) + 1].rstrip("\n")
    return text


def _quoted_lines(tokens: Sequence["Token"], lines: Sequence[str]) -> Iterator[int]:
    for token in tokens:
        if token.type == "blockquote_open":
            yield from lines_of(token)
        elif token.type == "html_block":
            yield from _html_quotes(token, lines)


def _html_quotes(token: "Token", lines: Sequence[str]) -> Iterator[int]:
    """The lines of each raw <blockquote>, to its closing tag or, if there is none, to the end of the HTML block."""
    block = lines_of(token)
    for start in block:
        if not _HTML_QUOTE.search(lines[start]):
            continue
        depths = accumulate(
            len(_HTML_QUOTE.findall(line)) - len(_HTML_QUOTE_END.findall(line)) for line in lines[start:]
        )
        end = next((line for line, depth in enumerate(depths, start) if depth <= 0), block.stop - 1)
        yield from range(start, end + 1)


def _introductions_and_attributions(tokens: Sequence["Token"], lines: Sequence[str], quoted: set[int]) -> Iterator[int]:
    """Lines such as `On Monday Ada wrote:` above a quote or `— Ada` below it, and quotes marked only by such a line."""
    paragraphs = {lines_of(token) for token in tokens if token.type == "paragraph_open"}
    top = [
        lines_of(token) for token in tokens if token.level == 0 and token.nesting >= 0 and token.type not in _NO_TEXT
    ]
    is_opening = True
    for above, block, below in zip([range(0), *top], top, [*top[1:], range(0)], strict=False):
        if quoted.intersection(block):
            continue
        if block not in paragraphs:
            is_opening = False
            continue
        text, text_below = _text(block, lines), _text(below, lines)
        introduces = _MAIL_INTRODUCTION.fullmatch(text) and quoted.intersection(below)
        attributes = _ATTRIBUTION.fullmatch(text) and quoted.intersection(above)
        if introduces or attributes or _is_quotation(text, is_opening=is_opening):
            yield from block
        elif below in paragraphs and _is_quotation(f"{text}\n{text_below}", is_opening=is_opening):
            yield from (*block, *below)
        is_opening = False


def _is_quotation(text: str, *, is_opening: bool) -> bool:
    """True if a paragraph is `“…” — Somebody`. is_opening: at the top of a piece, italics count as quotation marks."""
    marks = (_IN_QUOTATION_MARKS, _IN_ITALICS) if is_opening else (_IN_QUOTATION_MARKS,)
    for mark in marks:
        found = mark.match(text)
        if found and _ATTRIBUTION.fullmatch(text[found.end() :].strip()):
            return True
    return False


def _emptied_items(tokens: Sequence["Token"], lines: Sequence[str], quoted: set[int]) -> Iterator[int]:
    """The lines of list items in which everything but the marker is quoted."""
    for token in tokens:
        if token.type == "list_item_open" and quoted.intersection(lines_of(token)):
            left = [line for line in lines_of(token) if line not in quoted]
            if all(_BARE_MARKER.fullmatch(lines[line]) for line in left):
                yield from left


def _text(block: range, lines: Sequence[str]) -> str:
    return "\n".join(lines[number] for number in block).strip()
