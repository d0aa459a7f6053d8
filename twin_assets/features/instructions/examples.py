"""Make the instruction dataset's examples: every answer is the author's own text, and a rule makes its instruction.

Retrieved context comes from the retriever that drafts use, and never from the answer's own cluster or a held-out one.
Each piece of writing is the answer of one example, so that a model learns its words once and evaluation counts their
bytes once.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from twin_assets.documents import Category, digest
from twin_assets.features.instructions.answers import answers
from twin_assets.features.instructions.boilerplate import boilerplate
from twin_assets.features.instructions.corpus_counts import ParagraphsAndWords, paragraphs_and_words
from twin_assets.features.instructions.overlap import is_mostly_in, overlaps, paragraphs_of
from twin_assets.features.instructions.prose.key_phrases import KeyPhrases
from twin_assets.features.instructions.requests import MADE_BY, Document, Example, RequestBuilder
from twin_assets.features.instructions.splits import ORDER, Size, Split, is_in_size
from twin_assets.features.memo import Memo
from twin_assets.language.prompts import Passage

PASSAGES = 3
"""An example shows at most this many retrieved passages."""

Retrieve = Callable[[Sequence[tuple[str, str]]], Iterable[list[tuple[str, Passage]]]]
"""Maps each example's (query, cluster of its answer) to the (cluster_id, passage) pairs found for it, best first."""

Passages = list[dict[str, Any]]
"""The retrieved context of a row: `language.prompts.Passage` as dicts, best first."""


@dataclass(frozen=True)
class BuiltDataset:
    """The rows of a dataset, and how much was rejected, by reason."""

    rows: list[dict[str, Any]]
    rejected: Mapping[str, int]
    looked_up: int = 0
    """For this many examples context was looked up in this run; the others kept the context of the version before."""
    looked_up_among: int = 0
    """This many chunks could be quoted when context was last looked up for all examples."""


def made_by_instructions(answer_bytes: int, retrieval: str, instruction_model: str | None = None) -> str:
    """A hash of the rules and settings that make examples. retrieval: the identity of the retriever."""
    return digest(["instructions", *MADE_BY, answer_bytes, retrieval, instruction_model], 16)


def make_examples(
    documents: Sequence[Document],
    splits: Mapping[str, Split],
    answer_bytes: int,
    size: Size = "full",
    memo: Memo | None = None,
) -> tuple[list[Example], Counter[str]]:
    """The examples of one document of each cluster, without their context, and what was rejected, by reason.

    documents: all rows of `cleaned_documents`, ordered by document_id; the first member of a cluster is the one used.
    memo: what the last run made of each document.
    """
    memo, rejected = memo or Memo(), Counter[str]()
    chosen = list(_chosen(documents, splits, size, rejected))
    counted = {
        one["document_id"]: paragraphs_and_words(one["text"], memo)
        for one in chosen
        if one["category"] != Category.CODE
    }
    shared = boilerplate(one.paragraphs for one in counted.values())
    phrases = KeyPhrases(one.words for one in counted.values())
    examples: list[Example] = []
    for document in chosen:
        requests = RequestBuilder(document, splits[document["cluster_id"]], phrases)
        key = requests.memo_key(answer_bytes, shared, counted.get(document["document_id"], ParagraphsAndWords()))
        made = memo.get(key)
        if made is None:
            reasons: Counter[str] = Counter()  # stored as "left_out", the name that existing memos have
            found = answers(document, answer_bytes, shared, reasons)
            made = {"examples": list(map(_as_entry, requests.examples(found, reasons))), "left_out": dict(+reasons)}
            memo.put(key, made)
        examples += (Example(document, requests.split, **entry) for entry in made["examples"])
        rejected.update(made["left_out"])
    return list(_without_repeated_answers(examples, rejected)), rejected


def build_rows(
    examples: Sequence[Example],
    splits: Mapping[str, Split],
    retrieve: Retrieve,
    made_by: str,
    kept: Mapping[str, Passages] | None = None,
) -> list[dict[str, Any]]:
    """The examples as rows, ordered by id, with context for those that have a query.

    kept: passages by example id, for the examples whose context need not be looked up again.
    """
    context = dict(kept or {})
    to_look_up = [example for example in examples if example.query and example.id not in context]
    found = retrieve([(example.query, example.document["cluster_id"]) for example in to_look_up])
    context |= {
        example.id: [
            vars(passage)
            for cluster, passage in hits
            if cluster != example.document["cluster_id"]
            and splits.get(cluster) == "train"
            and not overlaps(passage.text, example.answer)
        ][:PASSAGES]
        for example, hits in zip(to_look_up, found, strict=True)
    }
    rows = [_row(example, context.get(example.id, []), made_by) for example in examples]
    return sorted(rows, key=lambda row: str(row["example_id"]))


def example_input_hash(example: Example, passages: Passages) -> str:
    """The `input_hash` of an example's row."""
    return digest([example.document["input_hash"], example.instruction, example.query, passages, example.answer], 32)


def _chosen(
    documents: Iterable[Document], splits: Mapping[str, Split], size: Size, rejected: Counter[str]
) -> Iterator[Document]:
    """The documents that examples are made from: trainable, one of each cluster, within the dataset's size."""
    seen: set[str] = set()
    for document in documents:
        cluster = document["cluster_id"]
        if not document["trainable"]:
            rejected["document left out of training"] += 1
        elif cluster in seen:
            rejected["document equal to another"] += 1
        else:
            seen.add(cluster)
            if is_in_size(cluster, splits[cluster], size):
                yield document
            else:
                rejected[f"document beyond the size {size}"] += 1


def _as_entry(example: Example) -> dict[str, Any]:
    """An example as a memo entry, without its document and split."""
    return {name: value for name, value in vars(example).items() if name not in ("document", "split")}


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
        "input_hash": example_input_hash(example, passages),
        "made_by": made_by,
    }


def _without_repeated_answers(examples: Sequence[Example], rejected: Counter[str]) -> Iterator[Example]:
    """Reject held-out answers that also occur in train, as a post may that is the first paragraph of an article."""
    owner: dict[str, Split] = {}
    paragraphs = [paragraphs_of(example.answer) for example in examples]
    for split in ORDER:
        for example, here in zip(examples, paragraphs, strict=True):
            if example.split == split:
                owner.update((paragraph, split) for paragraph in here if paragraph not in owner)
    for example, here in zip(examples, paragraphs, strict=True):
        if is_mostly_in(here, {paragraph for paragraph in here if owner[paragraph] != example.split}):
            rejected["answer stands in an earlier split"] += 1
        else:
            yield example


def with_instruction(example: Example, instruction: str, template: str) -> Example:
    """The example with another instruction; its context is still looked up by its own query."""
    return replace(example, instruction=instruction, template=template)
