"""What belongs together in a text, read from its syntax tree: the cost of a cut before each line, and what encloses it.

tree-sitter parses both markdown and code, so one walk serves both: sections and list items, classes and statements.
Each grammar is a package that contains its compiled parser; nothing is downloaded (tree-sitter-language-pack, which has
more languages, downloads them on first use). A language without a grammar, and text that a grammar cannot parse, is cut
by blank lines and indentation.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING

from twin_assets.content.code import CODE
from twin_assets.content.headings import without_closing

if TYPE_CHECKING:
    from tree_sitter import Language, Node

MARKDOWN = "markdown"

GRAMMARS: dict[str, tuple[tuple[str, str], ...]] = {
    MARKDOWN: (("tree_sitter_markdown", "language"),),
    "python": (("tree_sitter_python", "language"),),
    "javascript": (("tree_sitter_javascript", "language"),),
    "typescript": (("tree_sitter_typescript", "language_typescript"), ("tree_sitter_typescript", "language_tsx")),
    "c": (("tree_sitter_c", "language"), ("tree_sitter_cpp", "language")),
    "c++": (("tree_sitter_cpp", "language"),),
    "go": (("tree_sitter_go", "language"),),
    "rust": (("tree_sitter_rust", "language"),),
    "java": (("tree_sitter_java", "language"),),
    "ruby": (("tree_sitter_ruby", "language"),),
    "shell": (("tree_sitter_bash", "language"),),
}
"""By language, the module and function of each grammar that may fit; the first that parses without error is used."""

DEPTH_COST = 0.1
"""The cost of a cut per level of the tree above it, for at most `DEEPEST` levels."""
DEEPEST = 8
NO_BLANK_LINE_COST = 0.07
SEVERED_COST = 2.0
"""The cost of a cut between a head, such as a heading, and its body: one more chunk is cheaper."""
OPENING_DISCOUNT = 1.2
"""The discount for a cut where a section or definition begins: from half a chunk on it gets its own chunk and path."""
SEALED_COST = 10.0
"""The cost of a cut inside a definition, list, table or fence that fits one chunk: making it a chunk is cheaper."""
STATEMENT_COST = 1.5
"""The cost of a cut inside any other part that fits: more than one more chunk, less than a head without its body."""

_HEADINGS = frozenset({"atx_heading", "setext_heading"})
_LEVEL = re.compile(r"(?:atx|setext)_h(\d)_(?:marker|underline)")
_SECTIONS = frozenset({"document", "section"})
_HEADS = _HEADINGS | {
    "attribute_item", "decorator", "pipe_table_header", "pipe_table_delimiter_row", "fenced_code_block_delimiter",
    "info_string", "block_continuation",
}  # fmt: skip
_PROSE = frozenset({"paragraph", "inline"})
_BLOCKS = frozenset({"block_quote", "fenced_code_block", "list", "list_item", "pipe_table", "section"})
_OPAQUE = _PROSE | {"code_fence_content", "indented_code_block", "html_block", "ERROR"}
_WRAPPERS = frozenset({"decorated_definition", "export_statement", "template_declaration", "type_declaration"})
_KEYWORDS = frozenset({
    "class", "def", "enum", "fn", "func", "function", "interface", "mod", "module", "namespace", "record", "struct",
    "trait", "union",
})  # fmt: skip
_COMMENT = re.compile(r"\s*(#|;|//|--)")
_WORD = re.compile(r"\w")
_FENCED_LANGUAGE = re.compile(r"\{?\s*\.?([\w+#-]+)")
_CALLABLE = re.compile("function|method|constructor")
_BEFORE_BLOCK = " \t>"


class Lines:
    """A text as rows, with the number of tokens that start before each row."""

    def __init__(self, text: str, token_starts: Sequence[int], max_tokens: int) -> None:
        self.rows = text.split("\n")
        self.starts = [0]
        for row in self.rows[:-1]:
            self.starts.append(self.starts[-1] + len(row) + 1)
        self._tokens_before = [bisect_right(token_starts, start - 1) for start in self.starts] + [len(token_starts)]
        self._max_tokens = max_tokens

    def fits(self, first: int, last: int) -> bool:
        """True if the rows first to last, inclusive, fit one chunk."""
        return self._tokens_before[last + 1] - self._tokens_before[first] <= self._max_tokens

    def row_at(self, offset: int) -> int:
        """The row of a character."""
        return bisect_right(self.starts, offset) - 1

    def is_blank(self, row: int) -> bool:
        """True if a row contains nothing but white space."""
        return not self.rows[row].strip()


@dataclass(frozen=True)
class Enclosure:
    """A section or definition: the rows first to last, inclusive, with the comments and decorators above it.

    head: its own first row, below the comments and decorators.
    """

    first: int
    last: int
    label: str
    head: int


@dataclass
class Structure:
    """A text's structure. costs: of cuts before rows, where possible. enclosures: in the text's order, outer first."""

    costs: dict[int, float] = field(default_factory=dict)
    enclosures: list[Enclosure] = field(default_factory=list)
    headings: list["Heading"] = field(default_factory=list)


@dataclass(frozen=True)
class Heading:
    """A heading that begins a section. level: 1 to 6."""

    row: int
    level: int
    label: str


def structure(text: str, lines: Lines, language: str | None) -> Structure:
    """The structure of a text in `language`, a key of `GRAMMARS`; otherwise by blank lines and indentation."""
    found = Structure()
    if language in GRAMMARS:
        _Walk(text.encode(), lines, found).over(language)
    else:
        found.costs.update(_by_indentation(lines, 0, len(lines.rows) - 1, 0.0))
    found.enclosures += _sections(found.headings, len(lines.rows) - 1)
    found.enclosures.sort(key=lambda enclosure: (enclosure.first, -enclosure.last))
    for enclosure in found.enclosures:
        if enclosure.first in found.costs:
            found.costs[enclosure.first] -= OPENING_DISCOUNT
    return found


def _parse(source: bytes, language: str, within: "Node | None" = None) -> "Node":
    """The tree of a text, or of the part that a node of another tree spans, with positions in the whole text."""
    from tree_sitter import Parser

    roots = []
    for grammar in GRAMMARS[language]:
        parser = Parser(_grammar(*grammar))
        if within is not None:
            parser.included_ranges = [within.range]
        roots.append(parser.parse(source).root_node)
        if not roots[-1].has_error:
            break
    return roots[-1] if not roots[-1].has_error else roots[0]


@cache
def _grammar(module: str, function: str) -> "Language":
    from tree_sitter import Language

    return Language(getattr(import_module(module), function)())


@dataclass(frozen=True)
class _Visit:
    """A node to be visited. first: its row, or that of its head. sealed: the extra cost of a cut inside it."""

    node: "Node"
    first: int
    label: str | None = None
    depth: int = 0
    sealed: float = 0.0

    @property
    def cost(self) -> float:
        """The cost of a cut inside the node, before a part that starts a row."""
        return DEPTH_COST * min(self.depth, DEEPEST) + self.sealed


@dataclass(frozen=True)
class _Walk:
    """Fills a structure. Outer nodes come first: a row that starts several nodes has the cost of the outermost."""

    source: bytes
    lines: Lines
    found: Structure

    def over(self, language: str) -> None:
        """Walk over the whole text, with a stack of its own.

        An expression of ten thousand operators is a tree of that depth, which Python's stack could not hold.
        """
        waiting = [_Visit(_parse(self.source, language), 0)]
        while waiting:
            visit = waiting.pop()
            if visit.label:
                head = visit.node.start_point.row
                self.found.enclosures.append(Enclosure(visit.first, _last_row(visit.node), visit.label, head))
            if visit.node.type in _OPAQUE or not visit.node.children:
                waiting += self._opaque(visit)
            else:
                waiting += _children(visit, self.lines, self.found.costs)
                if _is_outermost(visit.node):
                    self.found.headings += filter(None, map(_heading, visit.node.children))

    def _opaque(self, visit: _Visit) -> Iterator[_Visit]:
        """Cost the rows of a node without parts, such as a comment; parse fenced code in its own language."""
        node, first, last = visit.node, visit.node.start_point.row, _last_row(visit.node)
        language = _fenced_language(node)
        if language and not self.lines.fits(first, last):
            yield _Visit(_parse(self.source, language, node), first, depth=visit.depth, sealed=visit.sealed)
        elif node.type not in _PROSE:
            for row, cost in _by_indentation(self.lines, first, last, visit.cost).items():
                self.found.costs.setdefault(row, cost)


def _children(visit: _Visit, lines: Lines, costs: dict[int, float]) -> Iterator[_Visit]:
    """Cost the rows that start a child, and return the children of several rows."""
    body = visit.node.child_by_field_name("body")
    first = visit.first
    previous = None
    for child in visit.node.children:
        row, last = child.start_point.row, _last_row(child)
        headed = previous is not None and _heads(previous, child, lines)
        if not headed and visit.node.type not in _WRAPPERS:
            first = row
        if _starts_row(child, lines) and not _is_prose_under_heading(child, previous):
            severed = headed or not child.is_named or _opens(previous) or _in_head(child, body)
            costs.setdefault(row, visit.cost + _blank_cost(lines, row) + SEVERED_COST * severed)
        if last > row:
            label = _label(child)
            # A body that fits without its head does not count as a part of its own.
            if child != body and lines.fits(row, last):
                sealed = SEALED_COST if label or child.type in _BLOCKS else STATEMENT_COST
            else:
                sealed = 0.0
            yield _Visit(child, first, label, visit.depth + 1, max(visit.sealed, sealed))
        previous = child


def _last_row(node: "Node") -> int:
    """The last row in which a node has text: markdown's blocks end where the next row begins."""
    end = node.end_point
    return end.row - 1 if end.column == 0 and end.row > node.start_point.row else end.row


def _starts_row(node: "Node", lines: Lines) -> bool:
    row, column = node.start_point
    # Columns are bytes; a blank prefix is ASCII, so there they are characters too.
    return row > 0 and not lines.rows[row][:column].strip(_BEFORE_BLOCK)


def _blank_cost(lines: Lines, row: int) -> float:
    return 0.0 if lines.is_blank(row - 1) else NO_BLANK_LINE_COST


def _is_prose_under_heading(node: "Node", previous: "Node | None") -> bool:
    """True if a cut before the node would leave a heading alone; it is better to cut the paragraph at a sentence."""
    return previous is not None and previous.type in _HEADINGS and node.type in _PROSE


def _heads(previous: "Node", node: "Node", lines: Lines) -> bool:
    """True if `previous` introduces `node`: as its heading or decorator, a comment above it, "as follows:"."""
    if previous.type in _HEADS:
        return True
    if "comment" in previous.type:
        return _starts_row_or_first(previous, lines) and node.start_point.row <= _last_row(previous) + 3
    return previous.type == "paragraph" and (previous.text or b"").rstrip().endswith(b":")


def _starts_row_or_first(node: "Node", lines: Lines) -> bool:
    return node.start_point.row == 0 or _starts_row(node, lines)


def _in_head(node: "Node", body: "Node | None") -> bool:
    """True if a part of a definition comes before its body, or is the body."""
    return body is not None and node.start_byte <= body.start_byte


def _opens(previous: "Node | None") -> bool:
    """True if the previous node is a bracket or a keyword that opens something."""
    return previous is not None and not previous.is_named and previous.type not in {",", ";", "\n"}


def _by_indentation(lines: Lines, first: int, last: int, cost: float) -> dict[int, float]:
    """The costs of the rows after the first: lowest after a blank line, unindented; highest at closing brackets."""
    costs = {}
    blocks = [first, *(row for row in range(first + 1, last + 1) if _starts_block(lines, row)), last + 1]
    for start, end in pairwise(blocks):
        sealed = SEALED_COST if lines.fits(start, end - 1) else 0.0
        costs[start] = cost + SEVERED_COST * _follows_comment(lines, start, first)
        for row in range(start + 1, end):
            if not lines.is_blank(row):
                depth = min(1 + _indentation(lines.rows[row]) / 2, DEEPEST)
                severed = not _WORD.search(lines.rows[row]) or _follows_comment(lines, row, first)
                costs[row] = cost + sealed + SEVERED_COST * severed + _blank_cost(lines, row) + DEPTH_COST * depth
    del costs[first]
    return costs


def _follows_comment(lines: Lines, row: int, first: int) -> bool:
    """True if the last non-blank row before this one is a comment, and this one is not."""
    before = next((lines.rows[above] for above in range(row - 1, first - 1, -1) if not lines.is_blank(above)), "")
    return bool(_COMMENT.match(before)) and not _COMMENT.match(lines.rows[row])


def _indentation(row: str) -> int:
    return len(row[: len(row) - len(row.lstrip())].expandtabs(4))


def _starts_block(lines: Lines, row: int) -> bool:
    return not lines.is_blank(row) and lines.is_blank(row - 1) and lines.rows[row][0] not in " \t"


def _label(node: "Node") -> str | None:
    """A definition's label in a path, its keyword and name; None for any other node.

    Grammars agree on the fields `name` and `body` (https://tree-sitter.github.io/tree-sitter/using-parsers), so no
    language needs a table of its own; in C the name is inside a declarator, and Rust's `impl` has none.
    """
    body = node.child_by_field_name("body")
    if node.type == "impl_item" and body is not None and node.text is not None:
        return _one_line(node.text[: body.start_byte - node.start_byte])
    name = node.child_by_field_name("name") or _declared(node)
    if name is None or not _is_definition(node, body):
        return None
    keyword = next((child.type for child in node.children if child.type in _KEYWORDS), "")
    called = "" if keyword or not _CALLABLE.search(node.type) else "()"
    return f"{keyword} {_one_line(name.text)}{called}".strip()


def _fenced_language(node: "Node") -> str | None:
    """The grammar of fenced code, by the word after its fence: a language's name or a file's extension."""
    fence = node.parent if node.type == "code_fence_content" else None
    info = fence and next((child for child in fence.children if child.type == "info_string"), None)
    word = info and _FENCED_LANGUAGE.match(_one_line(info.text))
    if not word:
        return None
    name = word[1].lower()
    language = CODE.get(f".{name}", name)
    return language if language in GRAMMARS and language != MARKDOWN else None


def _is_outermost(node: "Node") -> bool:
    """True if the headings in a node are the text's own, and not inside a quotation or a list item."""
    while node.type in _SECTIONS and node.parent is not None:
        node = node.parent
    return node.type == "document"


def _heading(node: "Node") -> Heading | None:
    content = node.child_by_field_name("heading_content") if node.type in _HEADINGS else None
    level = next((match for child in node.children if (match := _LEVEL.fullmatch(child.type))), None)
    label = _one_line(content.text) if content is not None else ""
    if node.type == "atx_heading":
        label = without_closing(label)
    return Heading(node.start_point.row, int(level[1]), label) if level and label else None


def _sections(headings: list[Heading], last_row: int) -> Iterator[Enclosure]:
    """From each heading to the next of its level or above; the grammar's sections ignore underlined headings."""
    open_: list[Heading] = []
    for heading in sorted(headings, key=lambda heading: heading.row):
        while open_ and open_[-1].level >= heading.level:
            above = open_.pop()
            yield Enclosure(above.row, heading.row - 1, above.label, above.row)
        open_.append(heading)
    yield from (Enclosure(above.row, last_row, above.label, above.row) for above in open_)


def _is_definition(node: "Node", body: "Node | None") -> bool:
    if body is not None:
        return True
    value = node.child_by_field_name("value") or node.child_by_field_name("type")
    # `const read = () => {…}`, `typedef struct {…} Gauge`, Go's `type Gauge struct {…}`
    return value is not None and (
        value.child_by_field_name("body") is not None or value.type in {"struct_type", "interface_type"}
    )


def _declared(node: "Node") -> "Node | None":
    """The name inside C's declarator: `*(*read)(int)` declares `read`."""
    inner = node.child_by_field_name("declarator")
    declared = None
    while inner is not None:
        declared = inner
        inner = inner.child_by_field_name("declarator") or (
            inner.named_children[-1] if inner.type == "reference_declarator" else None
        )
    return declared if declared is not None and "identifier" in declared.type else None


def _one_line(text: bytes | None) -> str:
    return " ".join((text or b"").decode(errors="replace").split())
