"""The instruction dataset's examples: every answer is the author's own text, its instruction is made for it by a rule.

Retrieved context comes from the real retriever, never from the answer's own cluster and never from a cluster that is
held out. Each piece of the author's is the answer of one example, so that a model learns its words once and evaluation
counts their bytes once.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from twin_assets.documents import Category, digest
from twin_assets.features.instructions.answers import answers
from twin_assets.features.instructions.boilerplate import boilerplate
from twin_assets.features.instructions.corpus_counts import Counted, counted
from twin_assets.features.instructions.overlap import overlap, paragraphs_of, stands_in
from twin_assets.features.instructions.prose.key_phrases import KeyPhrases
from twin_assets.features.instructions.requests import MADE_BY, Asking, Document, Example
from twin_assets.features.instructions.splits import ORDER, Size, Split, is_in_size
from twin_assets.features.memo import Memo
from twin_assets.language.prompts import Passage

PASSAGES = 3

Retrieve = Callable[[Sequence[tuple[str, str]]], Iterable[list[tuple[str, Passage]]]]
"""(query, cluster of the answer) of each example -> (cluster_id, passage) of what is found for it, best first."""

Passages = list[dict[str, Any]]
"""The retrieved context of a row: language.prompts.Passage as dicts, best first."""


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
        asking = Asking(document, splits[document["cluster_id"]], phrases)
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
