"""Cut a document into the answers that a model may learn to write: the author's own words, verbatim.

Quotes, boilerplate and code too long for one answer are rejected, and a piece ends where one of them stands, so that
every answer is one stretch of the cleaned text. Code is cut at its definitions.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

from twin_assets.content.chunking import Chunker, Utf8Bytes
from twin_assets.content.code import code_language
from twin_assets.documents import Category
from twin_assets.features.cleaning import own_lines
from twin_assets.features.cleaning.blocks import SPAN, code_blocks, code_lines, prose
from twin_assets.features.instructions.boilerplate import EDGE, paragraphs
from twin_assets.features.instructions.code.code_definitions import Definition, definitions
from twin_assets.features.instructions.code.incomplete_code import is_comment, is_incomplete
from twin_assets.language.detection import detect_language

MIN_ANSWER_BYTES = 40
MIN_BEGINNING_BYTES = 200
"""A document's beginning that is shorter than this, in bytes, and cut off from the rest only announces what follows."""
MIN_CODE_BYTES = 120
"""Code between definitions that is shorter than this, in bytes, is too small to ask for: a last call of main, say."""
MIN_PROSE_SHARE = 0.15
"""At least this share of the bytes of an article's or post's answer is prose; with less it shows code or output."""
MIN_LETTERS_FOR_LANGUAGE = 200
"""The language of a piece with fewer letters is not checked: a list of names can look like any language."""

TOO_SHORT = f"answer under {MIN_ANSWER_BYTES} bytes"
DATA = "answer holds data, not writing"
THIN = f"beginning under {MIN_BEGINNING_BYTES} bytes"
INCOMPLETE_CODE = "code that is cut inside what belongs together"
INSIDE = "part of a definition longer than an answer"
SHORT_CODE = f"code between definitions under {MIN_CODE_BYTES} bytes"
NO_PROSE = "answer with hardly any prose"
LEAD_IN = "line that leads up to what is left out"
LONG_CODE = "block of code longer than an answer"
NOTE = "note on the piece above it"
OTHER_LANGUAGE = "answer in another language than its document"
QUOTED = "quoted passage"
LINKS = "list of link targets"
BOILERPLATE = "paragraph that many documents share"
"""These are the reasons to reject a piece. Datasets and the memo store the texts, so they have to stay as they are."""

STOP = (
    r"(?:(?<!\bMrs)(?<!\bMr)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\betc)(?<!\be\.g)(?<!\bi\.e)(?<!\b[A-Z])"
    r"(?!(?<=\bNo)\.\s\d)[.!?…]+[\"”’)*_]*(?=\s|$)|[。！？])"
)
"""Where a sentence ends: not after an initial, an abbreviation, or the `No.` of a number."""
_LINK_TARGET = re.compile(r" {0,3}\[[^\]^][^\]]*\]:\s*\S+")
"""A link reference definition. See: https://spec.commonmark.org/0.31.2/#link-reference-definitions"""
_DATA = re.compile(r"[!-~]{400}|(?:\\x[0-9a-fA-F]{2}[^\\\n]?){40}")
_TOKEN = re.compile(r"\w+")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+[uUlL]*|\d\w*")
MIN_NUMBERS, MAX_NUMBER_SHARE = 20, 0.8
"""A text with this many numbers, and this large a share of its tokens, is a table of data that nobody could guess."""
_HEADING = re.compile(r"^#{1,6}\s", re.MULTILINE)
_LIST_OR_CODE = re.compile(r"\s*([-*+]|\d{1,3}[.)])\s|```|~~~|    |\t")
_LEAD_IN = re.compile(r"[:：,，][*_]*$|^#{1,6}\s[^\n]*$")
_LEAD_IN_OR_QUESTION = re.compile(rf"[?？][*_\"”’)]*$|\b(see|as|shown) below[.)]*$|{_LEAD_IN.pattern}")
_LIST_MARK = re.compile(r"\s*([-*+]|\d{1,3}[.)])\s*")
_HERE_IS = re.compile(r"\s*Here(['’]s| is| are)\b(?:.|\n){0,160}$")
_SENTENCE_END = re.compile(STOP)
_NOTE = re.compile(
    r"[*_]*(updated?[*_]*\s*([:(0—–-]|on\b|\w+ 0\b)|edit(ed)?:|follow-?up:|"
    r"this (article|post|page) (was|has been|is) (also |originally |first )?\[?(discussed|published|posted|cross))"
)
"""A note such as "Updated 3 May"; it is compared in lower case, with 0 for each number."""
_TABLE_OR_MEDIA = re.compile(r"^\s*(\||!\[|</?(?:video|audio|img|iframe|div|figure)\b).*$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]\n]*)\](?:\([^)\n]*\)|\[[^\]\n]*\])")
_MARKS = re.compile(r"[*`]+(?=\S)|(?<=\S)[*`]+|(?<!\w)_+(?=\S)|(?<=\S)_+(?!\w)")
"""Marks of emphasis and code, but not an underscore inside a word."""
_ADDRESS_OR_SPAN = re.compile(r"`[^`\n]*`|https?://[^\s)>\]]+|<[^>\n]*>")


@dataclass(frozen=True)
class Answer:
    """A piece of a cleaned text, from character `start` on.

    quote: what the author quotes right above it; "" if nothing. definition: what the piece defines, if it is the code
    of one definition. starts_document, ends_document: True if nothing but boilerplate comes before it, or after it.
    inside_definition: True if it begins or ends within a definition.
    """

    text: str
    start: int
    quote: str = ""
    definition: Definition | None = None
    starts_document: bool = False
    ends_document: bool = False
    inside_definition: bool = False


def answers(
    document: Mapping[str, Any], max_bytes: int, shared: Collection[str], rejected: Counter[str]
) -> list[Answer]:
    """The answers that a row of `cleaned_documents` gives, in order, each of at most `max_bytes` bytes.

    shared: boilerplate paragraphs. rejected: what is rejected is added to these counts, by reason.
    """
    if document["category"] == Category.CODE:
        found = _code_answers(document["text"], document["title"] or "", max_bytes)
        found = (_with_edges(answer, document["text"]) for answer in found)
    else:
        found = _prose_answers(document["text"], Category(document["category"]), max_bytes, shared, rejected)
    kept = []
    for answer in found:
        if reason := _reason_to_reject(answer, document):
            rejected[reason] += 1
        else:
            kept.append(answer)
    return kept


def pieces(text: str, max_bytes: int, category: Category, name: str = "") -> list[str]:
    """Cut a text as chunks are cut, into pieces of at most `max_bytes` UTF-8 bytes. name: the name of a code file."""
    chunks = Chunker(Utf8Bytes(), max_bytes).chunks(text, category, name)
    return [chunk.text.strip("\n") for chunk in chunks if chunk.text.strip()]


def _prose_answers(
    text: str, category: Category, max_bytes: int, shared: Collection[str], rejected: Counter[str]
) -> Iterator[Answer]:
    lines = text.split("\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    own = own_lines(text, category)
    found_paragraphs = paragraphs(text)
    others = {
        BOILERPLATE: {number for block, paragraph in found_paragraphs if paragraph in shared for number in block},
        NOTE: {number for block, paragraph in found_paragraphs[:EDGE] if _NOTE.match(paragraph) for number in block},
        LINKS: {number for number in own if _LINK_TARGET.match(lines[number])},
        LONG_CODE: {number for block in _long_code(text, lines, max_bytes) for number in block},
    }
    for reason, numbers in others.items():
        rejected[reason] += len(list(_stretches(sorted(numbers & own))))
    unimportant = set().union(others[BOILERPLATE], others[NOTE], others[LINKS])
    end_before, starts_document = 0, True
    for with_blanks in _stretches(sorted(own.difference(*others.values()))):
        written = [number for number in with_blanks if lines[number].strip()]
        if not written:
            continue
        stretch = range(written[0], written[-1] + 1)
        skipped = [number for number in range(end_before, stretch.start) if lines[number].strip()]
        quoted = [number for number in skipped if number not in own]
        starts_document = starts_document and unimportant.issuperset(skipped)
        rejected[QUOTED] += bool(quoted)
        quote = "\n".join(lines[quoted[0] : quoted[-1] + 1]) if quoted and skipped == quoted else ""
        at = starts[stretch.start]
        found = list(_pieces_below(quote, "\n".join(lines[stretch.start : stretch.stop]), max_bytes, category))
        for piece, following in pairwise([*found, ""]):
            at = text.index(piece, at)
            after = range(text.count("\n", 0, at + len(piece)) + 1, len(lines))
            is_end = all(number in unimportant or not lines[number].strip() for number in after)
            kept = _without_lead_in(_without_announcement(piece, following), is_end=is_end)
            rejected[LEAD_IN] += kept != piece
            if kept:
                ends_document = is_end and kept == piece
                yield Answer(kept, at, quote, starts_document=starts_document, ends_document=ends_document)
            at, quote, starts_document = at + len(piece), "", False
        end_before = stretch.stop
    rejected[QUOTED] += any(
        line.strip() for number, line in enumerate(lines[end_before:], end_before) if number not in own
    )


def _pieces_below(quote: str, text: str, max_bytes: int, category: Category) -> Iterator[str]:
    """The pieces of a stretch; a reply to a quote ends where the next section begins."""
    code = code_lines(text)
    headings = (found.start() for found in _HEADING.finditer(text, 1) if text.count("\n", 0, found.start()) not in code)
    heading = next(headings, None) if quote else None
    ends = [len(text)] if heading is None else [heading, len(text)]
    for start, end in pairwise([0, *ends]):
        yield from pieces(text[start:end], max_bytes, category)


def _long_code(text: str, lines: list[str], max_bytes: int) -> Iterator[range]:
    for block in code_blocks(text):
        if len("\n".join(lines[block.start : block.stop]).encode()) > max_bytes:
            yield block


def _without_announcement(piece: str, following: str) -> str:
    """Drop the last of several paragraphs if it announces a list or code that comes after the cut."""
    above, _, last = piece.rpartition("\n\n")
    announces = _LIST_OR_CODE.match(following) and not (_LIST_OR_CODE.match(last) or _ends_in_code(piece))
    return above if above.strip() and announces else piece


def _without_lead_in(piece: str, *, is_end: bool) -> str:
    """Drop a heading, or a sentence with a colon, from the end of a piece: it leads up to text that is not in it.

    is_end: the document ends with this piece. If it goes on, a question at the end leads up to its answer.
    """
    lead_in = _LEAD_IN if is_end else _LEAD_IN_OR_QUESTION
    while piece:
        lines, code = piece.rstrip().split("\n"), code_lines(piece)
        start = next((row + 1 for row in reversed(range(len(lines))) if row in code or not lines[row].strip()), 0)
        last = "\n".join(lines[start:])
        stops = (found.end() for found in _SENTENCE_END.finditer(last))
        cuts = [end for end in stops if last[end:].strip() and _is_whole(last[:end])]
        if not last or not (lead_in.search(last) or _HERE_IS.match(last, cuts[-1] if cuts else 0)):
            break
        above = "\n".join(lines[:start])
        piece = f"{above}\n{last[: cuts[-1]]}".lstrip("\n") if cuts else above.rstrip("\n")
    return piece


def _is_whole(sentences: str) -> bool:
    """True if a text closes its brackets and spans of code, and is more than the marker of a list item."""
    balanced = all(sentences.count(one) == sentences.count(other) for one, other in (("[", "]"), ("(", ")")))
    return balanced and sentences.count("`") % 2 == 0 and not _LIST_MARK.fullmatch(sentences)


def _ends_in_code(piece: str) -> bool:
    return piece.rstrip().count("\n") in code_lines(piece)


def _stretches(numbers: list[int]) -> Iterator[range]:
    """Group ascending numbers into ranges without gaps."""
    start = 0
    for index in range(1, len(numbers) + 1):
        if index == len(numbers) or numbers[index] != numbers[index - 1] + 1:
            yield range(numbers[start], numbers[index - 1] + 1)
            start = index


def _code_answers(text: str, name: str, max_bytes: int) -> Iterator[Answer]:
    """The start of a file with the definitions that fit, then each further definition, and the code between them."""
    found, language = definitions(text, name, max_bytes), code_language(name, text)
    ends = [*(one.start for one in found), *(one.end for one in found), len(text)]
    fits = (end for end in ends if len(text[:end].strip("\n").encode()) <= max_bytes)
    at = max((end for end in fits if end == len(text) or not is_incomplete(text[:end], language, "()[]{}")), default=0)
    if text[:at].strip():
        yield _stretch(text, 0, at)
    for one in found:
        if one.start < at:
            continue
        yield from _between(text, at, one.start, name, max_bytes)
        yield _stretch(text, one.start, one.end, one)
        at = one.end
    yield from _between(text, at, len(text), name, max_bytes)


def _with_edges(answer: Answer, text: str) -> Answer:
    before, after = text[: answer.start], text[answer.start + len(answer.text) :]
    return replace(answer, starts_document=not before.strip(), ends_document=not after.strip())


def _between(text: str, start: int, end: int, name: str, max_bytes: int) -> Iterator[Answer]:
    found = pieces(text[start:end], max_bytes, Category.CODE, name)
    language = code_language(name, text)
    cuts = [False, *(_is_inside(piece, found[0]) for piece in found[1:]), False]
    for piece, begins_inside, ends_inside in zip(found, cuts, cuts[1:], strict=False):
        start = text.index(piece, start)
        if kept := _without_last_comment(piece, language):
            yield Answer(kept, start, inside_definition=begins_inside or ends_inside)
        start += len(piece)


def _is_inside(piece: str, first: str) -> bool:
    """True if a piece continues an earlier one: it is indented more than the first or closes a bracket."""
    return _indent(piece) > _indent(first) or piece.lstrip()[:1] in ("}", ")", "]")


def _indent(piece: str) -> int:
    return len(piece) - len(piece.lstrip(" \t"))


def _without_last_comment(code: str, language: str | None) -> str:
    """Drop the comment at the end of a piece of code, which belongs to what follows."""
    rows = code.rstrip().split("\n")
    while rows and (not rows[-1].strip() or is_comment(rows[-1], language)):
        rows.pop()
    return "\n".join(rows)


def _stretch(text: str, start: int, end: int, definition: Definition | None = None) -> Answer:
    piece = text[start:end].strip("\n")
    return Answer(piece, text.index(piece, start), definition=definition)


def _reason_to_reject(answer: Answer, document: Mapping[str, Any]) -> str | None:
    text, category = answer.text, Category(document["category"])
    if len(text.encode()) < MIN_ANSWER_BYTES:
        return TOO_SHORT
    if answer.inside_definition:
        return INSIDE
    if category is Category.CODE and not answer.definition and not (answer.starts_document and answer.ends_document):
        if len(text.encode()) < MIN_CODE_BYTES:
            return SHORT_CODE
        # A later piece may end within a long function; the start of a file has to end after a complete definition.
        code = code_language(document["title"] or "", document["text"])
        if is_incomplete(text, code, "()[]{}" if answer.starts_document else "()[]"):
            return INCOMPLETE_CODE
    tokens = _TOKEN.findall(text)
    numbers = sum(bool(_NUMBER.fullmatch(token)) for token in tokens)
    if _DATA.search(text) or (numbers >= MIN_NUMBERS and numbers > MAX_NUMBER_SHARE * len(tokens)):
        return DATA
    if category is not Category.CODE:
        if answer.starts_document and not answer.ends_document and len(text.encode()) < MIN_BEGINNING_BYTES:
            return THIN
        n_bytes = len(plain_text(writing(text)).strip().encode())
        if n_bytes < max(MIN_ANSWER_BYTES, MIN_PROSE_SHARE * len(text.encode())):
            return NO_PROSE
    if language := document["language"]:
        words = without_code(text)
        if sum(character.isalpha() for character in words) >= MIN_LETTERS_FOR_LANGUAGE:
            found = detect_language(words)
            if found and found != language:
                return OTHER_LANGUAGE
    return None


def writing(text: str) -> str:
    """Remove code, tables and images from a markdown text."""
    return without_code(_TABLE_OR_MEDIA.sub("", text))


def without_code(text: str) -> str:
    """Remove code blocks, spans of code and URLs from a markdown text."""
    return _ADDRESS_OR_SPAN.sub(" ", prose(text))


def plain_text(markdown: str) -> str:
    """Remove link targets and marks of emphasis and code from markdown."""
    parts = SPAN.split(_LINK.sub(r"\1", markdown))
    return "".join(part[1:-1] if number % 2 else _MARKS.sub("", part) for number, part in enumerate(parts))
