"""Find the blocks of code in HTML, whatever a site wraps around them, and give each the same simple form.

Highlighters put code into tables with a column of line numbers, one element per line, `<br>` for line breaks, or a
figure. Converters of HTML read those as tables and pictures, so every block first becomes `<pre><code>` of plain text.
The forms are those of Medium, Hexo, Hugo (Chroma), Jekyll (Rouge), GitHub, Sphinx and pandoc, and of highlight.js,
Prism, Shiki and SyntaxHighlighter. An element counts as line numbers only if it holds nothing but numbers.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from bs4.element import PageElement

LANGUAGE_CLASS = "language-"
"""The class of a block's `<code>` element is this and the name of the language, as HTML's standard suggests.
See: https://html.spec.whatwg.org/multipage/text-level-semantics.html#the-code-element"""

_CONTROLS = "button, svg, script, style, input, textarea, select"
_BLOCKS = frozenset({"table", "tbody", "thead", "tr", "div", "p", "li", "ol", "ul", "pre", "figure"})
_WRAPPERS = frozenset({"figure", "div", "table", "tbody", "tr", "td", "span", "section", "p"})
_LINE_NUMBER_CLASS = re.compile(
    r"(?:[\w-]*[-_])?(?:gutter|gl|linenos?|line-?num(?:ber)?s?(?:-rows)?|blob-num|crayon-nums?|lnt|ln|ln-n|ln-num(?:ber)?s?)"
)
_LINE_CLASS = re.compile(r"(?:[\w-]+-)?(?:line|code-line)")
_CODE_CELL_CLASS = re.compile(r"(?:[\w-]*[-_])?code(?:[-_][\w-]*)?|lntd|hljs-ln-code|line-content")
_NUMBERS = re.compile(r"[\s\d.:|]*")
_LANGUAGE_ATTRIBUTES = (
    "data-code-block-lang", "data-lang", "data-language", "data-enlighter-language", "data-tagsearch-lang",
)  # fmt: skip
_NAMED_LANGUAGE = re.compile(r"(?:^|[\s;])(?:language|lang|highlight-source|highlight|brush)[-:]\s*([\w+#.-]+)")
_HIGHLIGHTER = re.compile("highlight|hljs|sourcecode", re.IGNORECASE)
_NAME = re.compile(r"[\w+#.-]+")
_NO_LANGUAGE = frozenset({"none", "default", "undefined", "null", "nohighlight", "no-highlight", "auto"})


def simplify_code_blocks(soup: "BeautifulSoup") -> None:
    """Replace each block of code by `<pre><code class="language-…">` that holds its lines as text, in place."""
    for table in soup.find_all("table"):
        if table.find_parent("pre") is None and _is_code_table(table):
            _replace(soup, table)
    for pre in soup.find_all("pre"):
        if pre.find_parent("pre") is None:
            _replace(soup, pre)
    for code in soup.find_all("code"):
        if code.find_parent("pre") is None and code.find("br") and "\n" in _code(code):
            _replace(soup, code)


def language_of(pre: "Tag") -> str:
    """The language of a block that `simplify_code_blocks` made; empty when the page does not name it."""
    classes = pre.code.get_attribute_list("class") if pre.code else []
    return next((str(name).removeprefix(LANGUAGE_CLASS) for name in classes if name), "")


def _replace(soup: "BeautifulSoup", element: "Tag") -> None:
    if not any(parent is soup for parent in element.parents):  # it was part of a block that is replaced
        return
    for control in element.select(_CONTROLS):
        control.extract()
    for row in element.find_all("tr"):
        cells = row.find_all(["td", "th"], recursive=False)
        for cell in [cell for cell in cells if _is_line_number_cell(cell, cells)]:
            cell.extract()
    for numbers in [found for found in element.find_all(True) if _has_only_line_numbers(found)]:
        numbers.extract()
    text = _code(element)
    if not text:
        return
    wrappers = [element, *_wrappers(element)]
    language = next((name for part in wrappers for name in _languages(part)), "")
    block, code = soup.new_tag("pre"), soup.new_tag("code")
    if language:
        code["class"] = LANGUAGE_CLASS + language
    code.string = text
    block.append(code)
    wrappers[-1].replace_with(block)
    figure = block.find_parent("figure")
    if figure is not None:  # of several blocks, or of code with a picture
        figure.name = "div"


def _is_code_table(table: "Tag") -> bool:
    """True if each row is line numbers, if any, and one cell of code."""
    rows = [row.find_all(["td", "th"], recursive=False) for row in table.find_all("tr")]
    cells = [[cell for cell in row if not _is_line_number_cell(cell, row)] for row in rows]
    has_numbers = sum(map(len, cells)) < sum(map(len, rows))
    return any(cells) and all(
        len(row) <= 1 and all(_is_code_cell(cell, has_numbers=has_numbers) for cell in row) for row in cells
    )


def _is_line_number_cell(cell: "Tag", row: "list[Tag]") -> bool:
    """True for a cell of line numbers by its class, or one beside code that only counts upwards."""
    if _has_only_line_numbers(cell):
        return True
    numbers = cell.get_text(" ").split()
    counts = bool(numbers) and all(number.isascii() and number.isdecimal() for number in numbers)
    return (
        counts
        and all(int(after) == int(before) + 1 for before, after in pairwise(numbers))
        and any(other is not cell and other.find("pre") for other in row)
    )


def _is_code_cell(cell: "Tag", *, has_numbers: bool) -> bool:
    pre = cell.find("pre")
    if pre is not None:
        return _letters(pre) == _letters(cell)
    return has_numbers and any(_CODE_CELL_CLASS.fullmatch(name) for name in _classes(cell))


def _has_only_line_numbers(element: "Tag") -> bool:
    is_named = any(_LINE_NUMBER_CLASS.fullmatch(name) for name in _classes(element))
    return is_named and bool(_NUMBERS.fullmatch(element.get_text()))


def _wrappers(element: "Tag") -> "Iterator[Tag]":
    """The elements around a block, inside out, that hold no other words than the block and its caption."""
    letters = _letters(element)
    for parent in element.parents:
        captions = parent.find_all("figcaption") if parent.name == "figure" else []
        if parent.name not in _WRAPPERS or parent.find(["img", "picture", "video"]):
            return
        if len(_letters(parent)) - sum(len(_letters(caption)) for caption in captions) != len(letters):
            return
        yield parent


def _languages(element: "Tag") -> Iterator[str]:
    """The names of programming languages that an element and the code inside it carry, the most certain first."""
    parts = [element, *element.find_all(["pre", "code"])]
    for part in parts:
        yield from _names(str(part.get(attribute) or "") for attribute in _LANGUAGE_ATTRIBUTES)
    for part in parts:
        yield from _names(_NAMED_LANGUAGE.findall(" ".join(_classes(part))))
    for part in parts:
        bare = [*_classes(part), str(part.get("lang") or "")] if _is_of_highlighter(part) else []
        yield from _names(name for name in bare if name.lower() in _known_languages())


def _is_of_highlighter(element: "Tag") -> bool:
    return element.name in ("pre", "code", "figure", "table") or bool(_HIGHLIGHTER.search(" ".join(_classes(element))))


def _names(found: Iterator[str] | list[str]) -> Iterator[str]:
    return (name for name in found if _NAME.fullmatch(name) and name.lower() not in _NO_LANGUAGE)


@cache
def _known_languages() -> frozenset[str]:
    from pygments.lexers import get_all_lexers

    return frozenset(alias.lower() for _, aliases, *_ in get_all_lexers(plugins=False) for alias in aliases)


def _code(element: "Tag") -> str:
    """The lines of a block, without blanks at their ends and without empty lines around them."""
    text = "".join(_pieces(element))
    if "\n" not in text.strip():
        text = _one_element_per_line(element) or text
    lines = text.replace("\r\n", "\n").replace("\xa0", " ").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _pieces(element: "Tag") -> Iterator[str]:
    """The text of an element in pieces, with a line break for each `<br>` and between blocks."""
    from bs4 import Tag
    from bs4.element import NavigableString

    at_line_start = True
    # A stack of iterators, since elements may be nested deeper than Python calls functions.
    stack: list[Iterator[PageElement | str]] = [iter(list(element.children))]
    while stack:
        child = next(stack[-1], None)
        if child is None:
            stack.pop()
        elif isinstance(child, Tag) and child.name == "br":
            yield "\n"
            at_line_start = True
        elif isinstance(child, Tag):
            is_block = child.name in _BLOCKS
            if is_block and (not at_line_start or _is_empty_line(child)):
                yield "\n"
                at_line_start = True
            stack.append(iter([*child.children, *(["\n"] if is_block else [])]))
        elif type(child) is NavigableString and not _is_layout(child):
            yield str(child)
            at_line_start = child.endswith("\n")
        elif type(child) is str and not at_line_start:
            yield child
            at_line_start = True


def _is_empty_line(block: "Tag") -> bool:
    return block.name in ("tr", "div", "li") and not block.get_text() and block.find(["br", *_BLOCKS]) is None


def _is_layout(text: "PageElement") -> bool:
    """True for white space between blocks, which no browser shows."""
    parent = text.parent
    return (
        not str(text).strip()
        and "\n" in str(text)
        and parent is not None
        and any(child.name in _BLOCKS or child.name in ("td", "th") for child in parent.find_all(True, recursive=False))
    )


def _one_element_per_line(element: "Tag") -> str:
    """The text of a block whose lines are elements that only a style sheet breaks; empty if it is none."""
    lines = [part for part in element.find_all("span") if any(_LINE_CLASS.fullmatch(name) for name in _classes(part))]
    lines = lines or (element.find_all("code", recursive=False) if element.name == "pre" else [])
    is_all = len(lines) > 1 and sum(len(_letters(line)) for line in lines) == len(_letters(element))
    return "\n".join(line.get_text() for line in lines) if is_all else ""


def _classes(element: "Tag") -> list[str]:
    return [str(name) for name in element.get_attribute_list("class") if name]


def _letters(element: "Tag") -> str:
    return "".join(element.get_text().split())
