"""The instruction dataset: every answer is the author's own text, every instruction is made for it by a rule.

A document's side is a hash of its id, a cluster's split follows from its members: the split has no memory, and an
addition never moves a cluster from train to test. Retrieved context comes from the real retriever, never from the
answer's own cluster and never from a cluster that is held out.

Each piece of the author's is the answer of one example, so that a model learns its words once and evaluation counts
their bytes once. What is chosen among (task, wording, context or none, size) is chosen by hashes, so that one document
more changes no other's examples.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from twin_assets.content.chunking import CHUNKING_VERSION
from twin_assets.content.headings import heading_label
from twin_assets.documents import Category, digest
from twin_assets.features.cleaning import CLEANING_VERSION
from twin_assets.features.cleaning.blocks import SPAN, code_blocks, prose
from twin_assets.features.instructions.answers import STOP, Answer, answers, plain_text, without_code, writing
from twin_assets.features.instructions.boilerplate import boilerplate
from twin_assets.features.instructions.code.code_comments import purpose_of_file
from twin_assets.features.instructions.code.code_definitions import is_main, names_defined
from twin_assets.features.instructions.corpus_counts import Counted, counted
from twin_assets.features.instructions.excerpt import excerpt
from twin_assets.features.instructions.overlap import overlap, paragraphs_of, stands_in
from twin_assets.features.instructions.prose.key_phrases import KeyPhrases, joined
from twin_assets.features.instructions.prose.plain_version import plain_sentence, plain_version
from twin_assets.features.instructions.prose.replies import answers_it, is_said
from twin_assets.features.memo import Memo
from twin_assets.language.prompts import PROMPT_VERSION, TASKS, Passage, task_instruction

INSTRUCTIONS_VERSION = "10"
MADE_BY = (INSTRUCTIONS_VERSION, PROMPT_VERSION, CHUNKING_VERSION)
"""The rules here, how requests are worded, and how answers are cut."""

Split = Literal["train", "validation", "test"]
Task = Literal["write", "continue", "rewrite", "reply", "code"]
Size = Literal["small", "medium", "full"]

ORDER: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}
SHARE_OF_SIZE: dict[Size, float] = {"small": 0.1, "medium": 0.4, "full": 1.0}
"""Of the clusters in train. What is held out is the same in every size, so that models of all sizes compare."""

PASSAGES = 3
MAX_TOPIC = 120
MIN_OPENING, MAX_OPENING = 40, 200
PHRASES = 4
MAX_OUTLINE = 8
MIN_POINT, MAX_POINT = 12, 120
"""Characters of a point of an outline."""
MIN_LETTERS_BEFORE = 40
"""Of what is to be continued: below a picture, a table or output alone nobody can say what comes next."""
MIN_REWRITTEN_LETTERS = 150
"""A piece with less prose, beside pictures and code, has no voice to give back."""
NOTHING_TO_ASK_BY = "nothing to ask for it by: code with a path alone, a piece below a picture or output"
WITH_NAMES = 0.5
"""Share of the files with a purpose whose definitions are named beside it."""
WITH_CONTEXT = 0.75
"""Share of the `write` examples that show what the author has written before; the others draft from the prompt."""
REWRITTEN, FIRST_REWRITTEN = 0.3, 0.5
"""Share of the later and of the first pieces that are asked for from their plain version, where they have one.

A held-out document's first piece never is: drafts are compared with it.
"""

_HEADING = re.compile(r"^#{2,4}[ \t]+.+$", re.MULTILINE)
_NOT_PROSE = re.compile(r"\s*(#{1,6}\s|[-*+|>]|\d+[.)]\s|!\[|<|\[\^|```|~~~|---|===)")
_SENTENCE = re.compile(rf".+?{STOP}")
_CLAUSE = re.compile(r"[;:]\s|\s[—–-]\s|,\s(?=(?:which|but|because|so|and|where|when|while|as|though|or)\s)|\s\(")
_LEADS_UP = re.compile(r"\b(following|below|above|here (is|are))\b", re.IGNORECASE)
"""What says nothing without what it leads up to."""
_POINTS_BACK = re.compile(r"(it|its|this|that|these|those|they|he|she|and|but|so|then|however)\b", re.IGNORECASE)
"""How a sentence begins that cannot be told without the one before."""
_HIDE_STOPS = str.maketrans(".!?…", "\ue000\ue001\ue002\ue003")
_SHOW_STOPS = {hidden: shown for shown, hidden in _HIDE_STOPS.items()}

Retrieve = Callable[[Sequence[tuple[str, str]]], Iterable[list[tuple[str, Passage]]]]
"""(query, cluster of the answer) of each example -> (cluster_id, passage) of what is found for it, best first."""

Passages = list[dict[str, Any]]
"""The retrieved context of a row: language.prompts.Passage as dicts, best first."""

Document = Mapping[str, Any]
"""A row of `cleaned_documents`."""


@dataclass(frozen=True)
class Example:
    """An answer and how it is asked for. query: what context is looked up by, "" for none."""

    document: Document
    split: Split
    task: Task
    position: int
    template: str
    instruction: str
    answer: str
    query: str = ""
    is_part: bool = False
    """Of a draft or a rewrite, whether the answer is a part of a longer document."""

    @property
    def id(self) -> str:
        """Unique in the dataset; the same as long as the document gives as many pieces."""
        return f"{self.document['document_id']}#{self.task}-{self.position:03d}"


@dataclass(frozen=True)
class Built:
    """The rows of a dataset and what was left out of it, by reason."""

    rows: list[dict[str, Any]]
    left_out: Mapping[str, int]
    looked_up: int = 0
    """Examples whose context was looked up now; that of the others stands as it was."""
    looked_up_among: int = 0
    """Chunks that could be quoted when context was last looked up for all."""


def made_by_instructions(answer_bytes: int, retrieval: str, instruction_model: str | None = None) -> str:
    """How examples are made now; `retrieval` names the embedding model."""
    return digest(["instructions", *MADE_BY, answer_bytes, retrieval, instruction_model], 16)


def side_of(document_id: str) -> Split:
    """80/10/10 by a hash of the id."""
    bucket = int.from_bytes(hashlib.sha256(document_id.encode()).digest()[:8], "big") % 10
    return "test" if bucket == 9 else "validation" if bucket == 8 else "train"


def split_clusters(documents: Iterable[tuple[str, str]]) -> dict[str, Split]:
    """The split of each cluster of (document_id, cluster_id): train if any member is, else validation, else test."""
    splits: dict[str, Split] = {}
    for document_id, cluster_id in documents:
        side = side_of(document_id)
        if cluster_id not in splits or ORDER[side] < ORDER[splits[cluster_id]]:
            splits[cluster_id] = side
    return splits


def is_in_size(cluster_id: str, split: Split, size: Size) -> bool:
    """Whether a cluster belongs to a size of the dataset; what belongs to one belongs to all larger ones."""
    return split != "train" or _chance("size", cluster_id) < SHARE_OF_SIZE[size]


def make_examples(
    documents: Sequence[Document],
    splits: Mapping[str, Split],
    answer_bytes: int,
    size: Size = "full",
    known: Memo | None = None,
) -> tuple[list[Example], Counter[str]]:
    """Examples of one document of each cluster, without their context, and what was left out by reason.

    documents: all rows of `cleaned_documents`, ordered by document_id so that a cluster's first member stands for it.
    known: what was made of them the last time.
    """
    known, left_out = known or Memo(), Counter[str]()
    chosen = list(_chosen(documents, splits, size, left_out))
    counts = {one["document_id"]: counted(one["text"], known) for one in chosen if one["category"] != Category.CODE}
    shared = boilerplate(one.paragraphs for one in counts.values())
    phrases = KeyPhrases(one.words for one in counts.values())
    examples: list[Example] = []
    for document in chosen:
        asking = _Asking(document, splits[document["cluster_id"]], phrases)
        key = asking.memo_key(answer_bytes, shared, counts.get(document["document_id"], Counted()))
        made = known.get(key)
        if made is None:
            missed: Counter[str] = Counter()
            found = answers(document, answer_bytes, shared, missed)
            made = {"examples": list(map(_as_entry, asking.examples(found, missed))), "left_out": dict(+missed)}
            known.put(key, made)
        examples += (Example(document, asking.split, **entry) for entry in made["examples"])
        left_out.update(made["left_out"])
    return list(_without_repeated_answers(examples, left_out)), left_out


def build_rows(
    examples: Sequence[Example],
    splits: Mapping[str, Split],
    retrieve: Retrieve,
    made_by: str,
    kept: Mapping[str, Passages] | None = None,
) -> list[dict[str, Any]]:
    """The examples as rows, with context for those that are to have it, ordered by id.

    kept: the passages of the examples, by id, whose context is not looked up again.
    """
    context = dict(kept or {})
    asking = [example for example in examples if example.query and example.id not in context]
    found = retrieve([(example.query, example.document["cluster_id"]) for example in asking])
    context |= {
        example.id: [
            vars(passage)
            for cluster, passage in hits
            if cluster != example.document["cluster_id"]
            and splits.get(cluster) == "train"
            and not overlap(passage.text, example.answer)
        ][:PASSAGES]
        for example, hits in zip(asking, found, strict=True)
    }
    rows = [_row(example, context.get(example.id, []), made_by) for example in examples]
    return sorted(rows, key=lambda row: str(row["example_id"]))


def made_from(example: Example, passages: Passages) -> str:
    """The `input_hash` of an example's row."""
    return digest([example.document["input_hash"], example.instruction, example.query, passages, example.answer], 32)


def language_name(code: str | None) -> str | None:
    """The English name of a language, by Unicode's locale data; None for English and for what is unknown."""
    from babel import Locale, UnknownLocaleError

    if code in (None, "en"):
        return None
    try:
        return Locale.parse(str(code)).get_language_name("en")
    except (UnknownLocaleError, ValueError):
        return None


def _chosen(
    documents: Iterable[Document], splits: Mapping[str, Split], size: Size, left_out: Counter[str]
) -> Iterator[Document]:
    """The documents that examples are made of: trainable, one of each cluster, within the size."""
    seen: set[str] = set()
    for document in documents:
        cluster = document["cluster_id"]
        if not document["trainable"]:
            left_out["document left out of training"] += 1
        elif cluster in seen:
            left_out["document equal to another"] += 1
        else:
            seen.add(cluster)
            if is_in_size(cluster, splits[cluster], size):
                yield document
            else:
                left_out[f"document beyond the size {size}"] += 1


def _as_entry(example: Example) -> dict[str, Any]:
    """An example without what is known of its document anyway."""
    return {name: value for name, value in vars(example).items() if name not in ("document", "split")}


def _chance(*what: object) -> float:
    """A number in [0, 1) that is always the same for the same things."""
    return int(digest([str(one) for one in what], 12), 16) / 16**12


@dataclass(frozen=True)
class _Asking:
    """Finds, for each piece of a document, the request that it answers."""

    document: Document
    split: Split
    phrases: KeyPhrases

    def memo_key(self, answer_bytes: int, shared: frozenset[str], here: Counted) -> str:
        """A hash over everything that the document's examples follow from. shared: all boilerplate."""
        document = self.document
        facts = [*MADE_BY, CLEANING_VERSION, answer_bytes, self.split]
        facts += [document[name] for name in ("document_id", "category", "language", "title", "text")]
        if self._category is not Category.CODE:
            facts.append(sorted(shared.intersection(here.paragraphs)))
            facts.append(self.phrases.fingerprint(here.words, document["language"]))
        return digest(facts, 32)

    def examples(self, found: Sequence[Answer], left_out: Counter[str]) -> Iterator[Example]:
        """The document's examples: its first piece is asked for as a draft, the others by what comes before them."""
        is_train = self.split == "train"
        for position, answer in enumerate(found):
            rewritten = self._chance("rewrite", position) < (REWRITTEN if position else FIRST_REWRITTEN)
            is_part = not (answer.begins and answer.ends)
            example = None if answer.begins else self._code(answer, position) or self._reply(answer, position)
            if not example and rewritten and (position or is_train):
                example = self._rewrite(answer, position, is_part)
            if not example:
                example = self._write(answer, is_part) if answer.begins else self._continue(answer, position)
            if example:
                yield example
            else:
                left_out[NOTHING_TO_ASK_BY] += 1

    @property
    def _category(self) -> Category:
        return Category(self.document["category"])

    def _chance(self, *what: object) -> float:
        return _chance(self.document["document_id"], *what)

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
        query = f"{title} {topic}".strip() if self._chance("context") < WITH_CONTEXT else ""
        return self._example(
            "write", kind, 0, answer, topic=topic, title=title, material=material, query=query, is_part=is_part
        )

    @property
    def _title(self) -> str:
        return _one_line(self.document["title"] or "")

    def _prose_kinds(self, answer: Answer) -> list[tuple[str, str, str]]:
        """(kind, topic, material) of the ways in which the piece can be asked for, each answerable from itself."""
        words = plain_text(without_code(answer.text))
        title = self._title
        phrases = joined(self.phrases.of(words, PHRASES, self.document["language"], title))
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
        """The headings of a piece; where it has none to speak of, how each of its paragraphs begins, in flat words."""
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
        purpose = purpose_of_file(answer.text)
        listed = "\n".join(f"- {one}" for one in names[: 2 * MAX_OUTLINE])
        if purpose:
            defines = f"\n\nIt defines:\n\n{listed}" if listed and self._chance("names") < WITH_NAMES else ""
            return [("purpose", name, purpose + defines)]
        if len(names) > 1:
            return [("names", name, listed)]
        # A path alone says too little of what is to stand in the file; a title of several words may.
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
        if is_epigraph or not is_said(quote, above=before.rpartition("\n\n")[2]):
            return None
        if not answers_it(answer.text, quote, self.phrases, self.document["language"]):
            return None
        topic = f"“{topic_of(self.document)}”"
        return self._example("reply", "reply", position, answer, topic=topic, material=quote)

    def _code(self, answer: Answer, position: int) -> Example | None:
        if answer.definition is None:
            return None
        one = answer.definition
        listed = "\n".join(f"- {member}" for member in one.members[:MAX_OUTLINE])
        members = f"It has:\n\n{listed}" if listed and not one.purpose else ""
        conditions = f"For {', '.join(one.conditions)}:" if one.conditions else ""
        parts = (conditions, one.name_beside_signature, one.purpose, f"```\n{one.signature}\n```", members)
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
    """What a document is about in a line: its title, else its opening line."""
    first_line = next((line for line in document["text"].splitlines() if line.strip()), "")
    return _one_line(heading_label(document["title"] or first_line))


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_TOPIC else line[:MAX_TOPIC].rsplit(" ", 1)[0] + " …"


def _point(sentence: str) -> str:
    """A sentence as a point of an outline, without the stop; of a long one the clauses that fit, "" when none does."""
    whole = sentence.rstrip(".!?…。, ")
    if _LEADS_UP.search(whole):
        return ""
    if len(whole) <= MAX_POINT:
        return whole
    cuts = (whole[: found.start()] for found in reversed([*_CLAUSE.finditer(whole, 0, MAX_POINT)]))
    return next((cut for cut in cuts if cut.count("(") == cut.count(")")), "")


def _first_sentence(paragraph: str) -> str:
    """The words of a paragraph's first sentence, "" when none ends; a stop inside a span of code ends none."""
    found = _SENTENCE.match(plain_text(SPAN.sub(lambda span: span[0].translate(_HIDE_STOPS), paragraph)))
    return found[0].translate(_SHOW_STOPS) if found else ""


def _opening(text: str) -> str:
    """The first sentence of a piece, below its headings; "" when it begins with none, or with a long one."""
    line = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    sentence = _SENTENCE.match(line)
    if not sentence or _NOT_PROSE.match(line) or len(sentence[0]) > MAX_OPENING:
        return ""
    return sentence[0]


def _row(example: Example, passages: Passages, made_by: str) -> dict[str, Any]:
    document = example.document
    return {
        "example_id": example.id,
        **{name: document[name] for name in ("document_id", "cluster_id", "category", "language", "published_at")},
        "split": example.split,
        "task": example.task,
        "template": example.template,
        "instruction": example.instruction,
        "passages": passages,
        "answer": example.answer,
        "input_hash": made_from(example, passages),
        "made_by": made_by,
    }


def _without_repeated_answers(examples: Sequence[Example], left_out: Counter[str]) -> Iterator[Example]:
    """A post may be the first paragraph of an article: an answer that stands in train is not held out as well."""
    owner: dict[str, Split] = {}
    paragraphs = [paragraphs_of(example.answer) for example in examples]
    for split in ORDER:
        for example, here in zip(examples, paragraphs, strict=True):
            if example.split == split:
                owner.update((paragraph, split) for paragraph in here if paragraph not in owner)
    for example, here in zip(examples, paragraphs, strict=True):
        if stands_in(here, {paragraph for paragraph in here if owner[paragraph] != example.split}):
            left_out["answer stands in an earlier split"] += 1
        else:
            yield example


def with_instruction(example: Example, instruction: str, template: str) -> Example:
    """The example asked for in other words; its context is still looked up by its topic."""
    return replace(example, instruction=instruction, template=template)
