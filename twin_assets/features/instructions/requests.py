"""Make the request that each piece of a document answers.

A task, a wording, and whether context is shown are chosen by hashes, so that one more document changes no other
document's examples.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from twin_assets.content.chunking import CHUNKING_VERSION
from twin_assets.content.headings import heading_label
from twin_assets.documents import Category, digest
from twin_assets.features.cleaning import CLEANING_VERSION
from twin_assets.features.cleaning.blocks import SPAN, code_blocks, prose
from twin_assets.features.instructions.answers import STOP, Answer, plain_text, without_code, writing
from twin_assets.features.instructions.code.code_comments import file_comment
from twin_assets.features.instructions.code.code_definitions import is_main, names_defined
from twin_assets.features.instructions.corpus_counts import ParagraphsAndWords
from twin_assets.features.instructions.excerpt import excerpt
from twin_assets.features.instructions.prose.key_phrases import KeyPhrases, joined
from twin_assets.features.instructions.prose.plain_version import plain_sentence, plain_version
from twin_assets.features.instructions.prose.replies import is_reply, is_statement
from twin_assets.features.instructions.splits import Split, chance
from twin_assets.language.prompts import PROMPT_VERSION, TASKS, task_instruction

INSTRUCTIONS_VERSION = "10"
MADE_BY = (INSTRUCTIONS_VERSION, PROMPT_VERSION, CHUNKING_VERSION)
"""The versions of the rules in this module, of the wordings, and of how answers are cut."""

Task = Literal["write", "continue", "rewrite", "reply", "code"]

MAX_TOPIC = 120
MIN_OPENING, MAX_OPENING = 40, 200
PHRASES = 4
MAX_OUTLINE = 8
MIN_POINT, MAX_POINT = 12, 120
"""The fewest and the most characters of a point of an outline."""
MIN_LETTERS_BEFORE = 40
"""A text to continue shows this many letters: nobody can say what follows a mere picture, table or output."""
MIN_REWRITTEN_LETTERS = 150
"""A piece has to have this many letters of prose, beside pictures and code, to show a voice when it is rewritten."""
NOTHING_TO_ASK_BY = "nothing to ask for it by: code with a path alone, a piece below a picture or output"
SHARE_WITH_NAMES = 0.5
"""This share of the files with a comment is asked for by comment and definitions, the others by comment alone."""
SHARE_WITH_CONTEXT = 0.75
"""This share of the `write` examples shows retrieved writing of the author; the others have the request alone."""
SHARE_REWRITTEN, SHARE_OF_FIRST_REWRITTEN = 0.3, 0.5
"""These shares of the later and of the first pieces are asked for by their plain version, if they have one.

The first piece of a held-out document never is, because drafts are compared with it.
"""

_HEADING = re.compile(r"^#{2,4}[ \t]+.+$", re.MULTILINE)
_NOT_PROSE = re.compile(r"\s*(#{1,6}\s|[-*+|>]|\d+[.)]\s|!\[|<|\[\^|```|~~~|---|===)")
_SENTENCE = re.compile(rf".+?{STOP}")
_CLAUSE = re.compile(r"[;:]\s|\s[—–-]\s|,\s(?=(?:which|but|because|so|and|where|when|while|as|though|or)\s)|\s\(")
_LEAD_IN = re.compile(r"\b(following|below|above|here (is|are))\b", re.IGNORECASE)
"""Words of a sentence that says nothing without the text that it leads up to."""
_POINTS_BACK = re.compile(r"(it|its|this|that|these|those|they|he|she|and|but|so|then|however)\b", re.IGNORECASE)
"""The beginning of a sentence that needs the one before."""
_HIDE_STOPS = str.maketrans(".!?…", "\ue000\ue001\ue002\ue003")
_SHOW_STOPS = {hidden: shown for shown, hidden in _HIDE_STOPS.items()}

Document = Mapping[str, Any]
"""A row of `cleaned_documents`."""


@dataclass(frozen=True)
class Example:
    """An answer and its request. query: the words by which context is looked up; "" for no context."""

    document: Document
    split: Split
    task: Task
    position: int
    template: str
    instruction: str
    answer: str
    query: str = ""
    is_part: bool = False
    """True if the answer of a draft or a rewrite is a part of a longer document."""

    @property
    def id(self) -> str:
        """The id of the example's row. It stays the same as long as the document is cut into the same pieces."""
        return f"{self.document['document_id']}#{self.task}-{self.position:03d}"


def language_name(code: str | None) -> str | None:
    """The English name of a language, from Unicode's locale data; None for English and for an unknown language."""
    from babel import Locale, UnknownLocaleError

    if code in (None, "en"):
        return None
    try:
        return Locale.parse(str(code)).get_language_name("en")
    except (UnknownLocaleError, ValueError):
        return None


@dataclass(frozen=True)
class RequestBuilder:
    """Builds, for each piece of a document, the request that it answers."""

    document: Document
    split: Split
    phrases: KeyPhrases

    def memo_key(self, answer_bytes: int, shared: frozenset[str], here: ParagraphsAndWords) -> str:
        """A hash of everything that the document's examples are made from. shared: boilerplate of all documents."""
        document = self.document
        facts = [*MADE_BY, CLEANING_VERSION, answer_bytes, self.split]
        facts += [document[name] for name in ("document_id", "category", "language", "title", "text")]
        if self._category is not Category.CODE:
            facts.append(sorted(shared.intersection(here.paragraphs)))
            facts.append(self.phrases.fingerprint(here.words, document["language"]))
        return digest(facts, 32)

    def examples(self, found: Sequence[Answer], rejected: Counter[str]) -> Iterator[Example]:
        """The document's examples. Mostly, its first piece is asked for as a draft, and the others as continuations."""
        is_train = self.split == "train"
        for position, answer in enumerate(found):
            rewritten = self._chance("rewrite", position) < (SHARE_REWRITTEN if position else SHARE_OF_FIRST_REWRITTEN)
            is_part = not (answer.starts_document and answer.ends_document)
            example = None if answer.starts_document else self._code(answer, position) or self._reply(answer, position)
            if not example and rewritten and (position or is_train):
                example = self._rewrite(answer, position, is_part)
            if not example:
                example = self._write(answer, is_part) if answer.starts_document else self._continue(answer, position)
            if example:
                yield example
            else:
                rejected[NOTHING_TO_ASK_BY] += 1

    @property
    def _category(self) -> Category:
        return Category(self.document["category"])

    def _chance(self, *what: object) -> float:
        return chance(self.document["document_id"], *what)

    def _example(
        self,
        task: Task,
        kind: str,
        position: int,
        answer: Answer,
        *,
        topic: str = "",
        title: str = "",
        material: str = "",
        query: str = "",
        is_part: bool = False,
    ) -> Example:
        key = f"{self._category}/{kind}"
        variant = int(self._chance("wording", task, position) * len(TASKS[key]))
        language = None if self._category is Category.CODE else language_name(self.document["language"])
        instruction = task_instruction(
            key,
            variant,
            topic=topic,
            title=title,
            material=material,
            language=language,
            is_part=is_part,
        )
        template = f"{key}/{variant}"
        return Example(self.document, self.split, task, position, template, instruction, answer.text, query, is_part)

    def _write(self, answer: Answer, is_part: bool) -> Example | None:
        kinds = self._code_kinds(answer) if self._category is Category.CODE else self._prose_kinds(answer)
        if not kinds:
            return None
        kind, topic, material = kinds[int(self._chance("kind") * len(kinds))]
        title = self._title if kind == "phrases" else ""
        query = f"{title} {topic}".strip() if self._chance("context") < SHARE_WITH_CONTEXT else ""
        return self._example(
            "write", kind, 0, answer, topic=topic, title=title, material=material, query=query, is_part=is_part
        )

    @property
    def _title(self) -> str:
        return _one_line(self.document["title"] or "")

    def _prose_kinds(self, answer: Answer) -> list[tuple[str, str, str]]:
        """The (kind, topic, material) of each possible request for the piece, which names what the piece is about."""
        words = plain_text(without_code(answer.text))
        title = self._title
        phrases = joined(self.phrases.extract(words, PHRASES, self.document["language"], title))
        opening = _opening(answer.text)
        outline = self._outline(answer.text)
        kinds = []
        if title:
            kinds.append(("title", title, ""))
        if " and " in phrases:
            kinds.append(("phrases", phrases, ""))
        if (len(opening) >= MIN_OPENING or not title) and opening and len(answer.text) > 3 * len(opening):
            kinds.append(("opening", opening, ""))
        if len(outline) >= 3 and (title or phrases):
            points = "\n".join(f"- {point}" for point in outline[:MAX_OUTLINE])
            kinds.append(("outline", f"“{title}”" if title else phrases, points))
        return kinds or [("title", topic_of(self.document), "")]

    def _outline(self, text: str) -> list[str]:
        """The headings of a piece; if it has few, the first sentences of its paragraphs in their plain version."""
        headings = [label for heading in _HEADING.findall(text) if (label := _one_line(heading_label(heading)))]
        if len(headings) >= 3:
            return headings
        parts = (" ".join(part.split()) for part in prose(text).split("\n\n"))
        first = (_first_sentence(part) for part in parts if not _NOT_PROSE.match(part))
        points = (_point(plain_sentence(sentence, self.document["language"])) for sentence in first)
        return [point for point in points if len(point) >= MIN_POINT and not _POINTS_BACK.match(point)]

    def _code_kinds(self, answer: Answer) -> list[tuple[str, str, str]]:
        name = topic_of(self.document)
        names = [one for one in names_defined(answer.text, name) if not is_main(one)]
        comment = file_comment(answer.text)
        listed = "\n".join(f"- {one}" for one in names[: 2 * MAX_OUTLINE])
        if comment:
            defines = f"\n\nIt defines:\n\n{listed}" if listed and self._chance("names") < SHARE_WITH_NAMES else ""
            return [("purpose", name, comment + defines)]
        if len(names) > 1:
            return [("names", name, listed)]
        # A path alone says too little about the file; a title of several words may be enough.
        return [("title", name, "")] if " " in name else []

    def _rewrite(self, answer: Answer, position: int, is_part: bool) -> Example | None:
        if sum(character.isalpha() for character in without_code(answer.text)) < MIN_REWRITTEN_LETTERS:
            return None
        plain = plain_version(answer.text, self._category, self.document["language"])
        return self._example("rewrite", "rewrite", position, answer, material=plain, is_part=is_part) if plain else None

    def _reply(self, answer: Answer, position: int) -> Example | None:
        if not answer.quote:
            return None
        quote = answer.quote.rstrip("> \n")
        before = self.document["text"][: answer.start].rpartition(answer.quote)[0].rstrip()
        is_epigraph = not (before or position)
        if is_epigraph or not is_statement(quote, above=before.rpartition("\n\n")[2]):
            return None
        if not is_reply(answer.text, quote, self.phrases, self.document["language"]):
            return None
        topic = f"“{topic_of(self.document)}”"
        return self._example("reply", "reply", position, answer, topic=topic, material=quote)

    def _code(self, answer: Answer, position: int) -> Example | None:
        if answer.definition is None:
            return None
        one = answer.definition
        listed = "\n".join(f"- {member}" for member in one.members[:MAX_OUTLINE])
        members = f"It has:\n\n{listed}" if listed and not one.comment else ""
        conditions = f"For {', '.join(one.conditions)}:" if one.conditions else ""
        parts = (conditions, one.name_beside_signature, one.comment, f"```\n{one.signature}\n```", members)
        topic, material = topic_of(self.document), "\n\n".join(part for part in parts if part)
        return self._example("code", "definition", position, answer, topic=topic, material=material)

    def _continue(self, answer: Answer, position: int) -> Example | None:
        text, is_code = self.document["text"], self._category is Category.CODE
        before = excerpt(text[: answer.start].rstrip(), () if is_code else code_blocks(text), self._category)
        shown = before if is_code else plain_text(writing(before))
        if sum(character.isalpha() for character in shown) < MIN_LETTERS_BEFORE:
            return None
        return self._example("continue", "continue", position, answer, title=self._title, material=before)


def topic_of(document: Document) -> str:
    """What a document is about, in one line: its title, or else its first line."""
    first_line = next((line for line in document["text"].splitlines() if line.strip()), "")
    return _one_line(heading_label(document["title"] or first_line))


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_TOPIC else line[:MAX_TOPIC].rsplit(" ", 1)[0] + " …"


def _point(sentence: str) -> str:
    """A sentence as a point of an outline, without its full stop; a long one is cut after a clause, or gives ""."""
    whole = sentence.rstrip(".!?…。, ")
    if _LEAD_IN.search(whole):
        return ""
    if len(whole) <= MAX_POINT:
        return whole
    cuts = (whole[: found.start()] for found in reversed([*_CLAUSE.finditer(whole, 0, MAX_POINT)]))
    return next((cut for cut in cuts if cut.count("(") == cut.count(")")), "")


def _first_sentence(paragraph: str) -> str:
    """The first sentence of a paragraph as plain text; "" if none ends. A stop in a span of code ends no sentence."""
    found = _SENTENCE.match(plain_text(SPAN.sub(lambda span: span[0].translate(_HIDE_STOPS), paragraph)))
    return found[0].translate(_SHOW_STOPS) if found else ""


def _opening(text: str) -> str:
    """The first sentence of a piece, below its headings; "" if there is none, or if it is too long."""
    line = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    sentence = _SENTENCE.match(line)
    if not sentence or _NOT_PROSE.match(line) or len(sentence[0]) > MAX_OPENING:
        return ""
    return sentence[0]
