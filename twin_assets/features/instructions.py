"""The instruction dataset: every answer is the author's own text, every instruction is deterministic.

A document's side is a hash of its id, a cluster's split follows from its members: the split has no memory, and an
addition never moves a cluster from train to test. Retrieved context comes from the real retriever, never from the
answer's own cluster and never from a cluster that is held out.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from twin_assets.documents import Category, digest
from twin_assets.language.prompts import Passage, continue_instruction, write_instruction

INSTRUCTIONS_VERSION = "1"

Split = Literal["train", "validation", "test"]

MIN_ANSWER_BYTES = 40
CONTINUE_BYTES = 400
"""How much of the text before is shown when the task is to continue."""

PASSAGES = 3
MAX_TOPIC = 120

_HEADING = re.compile(r"^#{2,3}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)

Retrieve = Callable[[str, str], list[tuple[str, Passage]]]
"""(query, cluster of the answer) -> (cluster_id, passage) of the passages found, best first."""


@dataclass(frozen=True)
class Built:
    """The rows of a dataset and what was left out of it, by reason."""

    rows: list[dict[str, Any]]
    left_out: Mapping[str, int]


def made_by_instructions(answer_bytes: int, retrieval: str) -> str:
    """How examples are made now; `retrieval` names the embedding model."""
    return digest(["instructions", INSTRUCTIONS_VERSION, answer_bytes, retrieval], 16)


def side_of(document_id: str) -> Split:
    """80/10/10 by a hash of the id."""
    bucket = int.from_bytes(hashlib.sha256(document_id.encode()).digest()[:8], "big") % 10
    return "test" if bucket == 9 else "validation" if bucket == 8 else "train"


def split_clusters(documents: Iterable[tuple[str, str]]) -> dict[str, Split]:
    """The split of each cluster of (document_id, cluster_id): train if any member is, else validation, else test."""
    order: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}
    splits: dict[str, Split] = {}
    for document_id, cluster_id in documents:
        side = side_of(document_id)
        if cluster_id not in splits or order[side] < order[splits[cluster_id]]:
            splits[cluster_id] = side
    return splits


def pieces(text: str, max_bytes: int) -> list[str]:
    """`text` in pieces of at most `max_bytes` UTF-8 bytes, cut at paragraph ends where there are any."""
    from semantic_text_splitter import TextSplitter

    splitter = TextSplitter.from_callback(lambda piece: len(piece.encode()), max_bytes, trim=False)
    return [piece.strip("\n") for piece in splitter.chunks(text) if piece.strip()]


def topic_of(document: Mapping[str, Any]) -> str:
    """What a document is about in a line: its title, else its opening line."""
    first_line = next((line for line in document["text"].splitlines() if line.strip()), "")
    topic = (document["title"] or first_line).strip("# \t")
    return topic if len(topic) <= MAX_TOPIC else topic[:MAX_TOPIC].rsplit(" ", 1)[0] + " …"


def build_dataset(
    documents: Iterable[Mapping[str, Any]],
    splits: Mapping[str, Split],
    retrieve: Retrieve,
    answer_bytes: int,
    made_by: str,
) -> Built:
    """Examples of all documents, one document of a cluster only, ordered by id.

    documents: rows of `cleaned_documents`, ordered by document_id so that a cluster's first member stands for it.
    """
    left_out: Counter[str] = Counter()
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    for document in documents:
        if not document["trainable"]:
            left_out["document left out of training"] += 1
        elif document["cluster_id"] in seen:
            left_out["document equal to another"] += 1
        else:
            seen.add(document["cluster_id"])
            for example in _examples(document, retrieve, splits, answer_bytes):
                if len(example["answer"].encode()) < MIN_ANSWER_BYTES:
                    left_out[f"answer under {MIN_ANSWER_BYTES} bytes"] += 1
                else:
                    rows.append(_row(document, example, splits[document["cluster_id"]], made_by))
    return Built(list(_without_repeated_answers(rows, left_out)), dict(left_out))


def _examples(
    document: Mapping[str, Any], retrieve: Retrieve, splits: Mapping[str, Split], answer_bytes: int
) -> Iterator[dict[str, Any]]:
    category = Category(document["category"])
    first, *rest = pieces(document["text"], answer_bytes)
    topic = topic_of(document)
    variant = int(document["cluster_id"], 16)
    outline = _HEADING.findall(first)[:8] if category is Category.ARTICLE and variant % 2 else []
    found = retrieve(topic, document["cluster_id"])
    passages = [
        vars(passage)
        for cluster, passage in found
        if cluster != document["cluster_id"] and splits.get(cluster) == "train"
    ][:PASSAGES]
    instruction = write_instruction(category, topic, variant, outline)
    yield {"task": "write", "position": 0, "instruction": instruction, "passages": passages, "answer": first}
    before = first
    for position, piece in enumerate(rest, 1):
        instruction = continue_instruction(category, _tail(before))
        yield {"task": "continue", "position": position, "instruction": instruction, "passages": [], "answer": piece}
        before = piece


def _tail(text: str) -> str:
    """The last CONTINUE_BYTES of a text, from a word's start."""
    if len(text.encode()) <= CONTINUE_BYTES:
        return text
    tail = text.encode()[-CONTINUE_BYTES:].decode(errors="ignore")
    cut = re.search(r"\s", tail)
    return tail[cut.end() :] if cut else tail


def _row(document: Mapping[str, Any], example: dict[str, Any], split: Split, made_by: str) -> dict[str, Any]:
    return {
        "example_id": f"{document['document_id']}#{example['task']}-{example['position']:03d}",
        **{name: document[name] for name in ("document_id", "cluster_id", "category", "language", "published_at")},
        "split": split,
        **{name: example[name] for name in ("task", "instruction", "passages", "answer")},
        "input_hash": digest([document["input_hash"], example["instruction"], example["passages"]], 32),
        "made_by": made_by,
    }


def _without_repeated_answers(rows: list[dict[str, Any]], left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """Two documents may share a paragraph: an answer that stands in train is not held out as well."""
    order = {"train": 0, "validation": 1, "test": 2}
    owner: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: order[row["split"]]):
        owner.setdefault(row["answer"], row["split"])
    for row in rows:
        if owner[row["answer"]] == row["split"]:
            yield row
        else:
            left_out["answer stands in an earlier split"] += 1
