"""Turns dataset rows into the windows of token ids that the trainer sees; up to the answer they equal the API's ids.

Rows are read as a stream into three arrays of integers, at 4 bytes a token: 100,000 rows of 700 tokens take 280 MB,
where Python's lists would take 4.5 GB.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin_assets.documents import digest
from twin_assets.errors import BadInput
from twin_assets.language.prompts import (
    DEFAULT_CONTEXT_LIMITS,
    ContextLimits,
    DraftRequest,
    Window,
    encode_example,
    windows,
)

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from twin_assets.stores.features import TableHandle

IGNORED = -100
"""The label of a token that is not learned; PyTorch's cross_entropy ignores it."""

COLUMNS = ("example_id", "instruction", "passages", "answer")


class Windows(Sequence[Window]):
    """Windows in compact arrays. The last `learned[i]` tokens of window i are learned."""

    def __init__(self, tokens: "array[int]", ends: "array[int]", learned: "array[int]") -> None:
        self.tokens, self.ends, self.learned = tokens, ends, learned

    @classmethod
    def of(cls, given: Iterable[Window]) -> "Windows":
        """Copy windows into arrays, in the order given."""
        made = cls(array("i"), array("q"), array("i"))
        for window in given:
            made.tokens.extend(window.ids)
            made.ends.append(len(made.tokens))
            made.learned.append(sum(window.mask))
        return made

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Windows.of(self[i] for i in range(*index.indices(len(self))))
        if index < 0 or index >= len(self):
            raise IndexError(index)
        ids = self.tokens[self.ends[index - 1] if index else 0 : self.ends[index]].tolist()
        n_learned = self.learned[index]
        return Window(ids, [0] * (len(ids) - n_learned) + [1] * n_learned)

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Windows) and self.tokens == other.tokens
        return same and isinstance(other, Windows) and (self.ends, self.learned) == (other.ends, other.learned)

    __hash__ = None  # type: ignore[assignment]

    @property
    def n_learned(self) -> int:
        """The number of learned tokens in all windows together."""
        return sum(self.learned)


@dataclass(frozen=True)
class Encoded:
    """The windows of a split, and counts of what did not fit into them."""

    windows: Windows
    n_rows: int
    n_too_long: int
    dropped_passages: int


def encode_rows(
    rows: Iterable[Mapping[str, Any]],
    tokenizer: "PreTrainedTokenizerBase",
    context_tokens: int,
    prompt_tokens: int,
    max_windows: int | None = None,
    limits: ContextLimits = DEFAULT_CONTEXT_LIMITS,
) -> Encoded:
    """Encode rows, in the order of their ids. Each answer token is learned exactly once.

    A row whose instruction alone does not fit into `prompt_tokens` is left out and counted. max_windows: stop after
    this many, and keep the order of `rows`. limits: how much of the passages is shown.
    """
    tokens, pieces, ids = array("i"), list[tuple[int, int, int]](), list[str]()
    n_rows = n_too_long = dropped = 0
    for row in rows:
        if max_windows is not None and len(pieces) >= max_windows:
            break
        n_rows += 1
        try:
            example = encode_example(tokenizer, DraftRequest.from_row(row, limits), row["answer"], prompt_tokens)
        except BadInput:
            n_too_long += 1
            continue
        dropped += example.prompt.dropped_passages
        for window in windows(example, context_tokens):
            pieces.append((len(tokens), len(tokens) + len(window.ids), sum(window.mask)))
            tokens.extend(window.ids)
            ids.append(str(row["example_id"]))
    # Sorting is stable, so the windows of an example stay in order.
    order = range(len(pieces)) if max_windows is not None else sorted(range(len(pieces)), key=ids.__getitem__)
    return Encoded(_arranged(tokens, [pieces[i] for i in order][:max_windows]), n_rows, n_too_long, dropped)


def _arranged(tokens: "array[int]", pieces: Sequence[tuple[int, int, int]]) -> Windows:
    """Cut windows out of `tokens`, in the order given. pieces: (start, end, learned tokens) of each."""
    arranged = Windows(array("i"), array("q"), array("i"))
    for start, end, n_learned in pieces:
        arranged.tokens.extend(tokens[start:end])
        arranged.ends.append(len(arranged.tokens))
        arranged.learned.append(n_learned)
    return arranged


def spread_sample(examples: Iterable[tuple[str, str]], n: int) -> list[str]:
    """Choose `n` example ids that cover as many documents as possible: one of each, then a second of each, and so on.

    examples: (example id, document id). Documents and their examples are ordered by a hash, so that neither age nor
    platform decides what is in the sample, and adding a document changes little of it.
    """
    by_document: dict[str, list[tuple[str, str]]] = {}
    for example, document in examples:
        by_document.setdefault(document, []).append((digest(example, 16), example))
    ranked = (
        (rank, digest(document, 16), example)
        for document, hashed in by_document.items()
        for rank, (_, example) in enumerate(sorted(hashed))
    )
    return [example for _, _, example in sorted(ranked)[:n]]


def validation_rows(dataset: "TableHandle", n: int) -> Iterator[Mapping[str, Any]]:
    """At most `n` rows of the validation split, spread over its documents; only these rows are read in full."""
    found = dataset.rows(("example_id", "document_id"), "split = 'validation'")
    chosen = spread_sample(((row["example_id"], row["document_id"]) for row in found), n)
    rows = {row["example_id"]: row for row in dataset.rows_in(COLUMNS, "example_id", chosen)}
    yield from (rows[example] for example in chosen)


def as_dataset(encoded: Windows) -> "Dataset":
    """Windows as trl's trainer takes them: `input_ids`, and how many at the end are learned. The arrays are shared."""
    import pyarrow as pa
    from datasets import Dataset

    offsets = pa.array([0, *encoded.ends], pa.int64())
    values = pa.Array.from_buffers(pa.int32(), len(encoded.tokens), [None, pa.py_buffer(encoded.tokens)])
    columns = {"input_ids": pa.LargeListArray.from_arrays(offsets, values), "learned": pa.array(encoded.learned)}
    return Dataset(pa.table(columns))


def micro_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Split the windows of one optimizer step into batches of at most `max_tokens` tokens, padding included.

    Windows of similar length are put together, so that there is little padding; a window longer than `max_tokens` is a
    batch by itself. Returns indexes into `lengths`.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if groups and lengths[groups[-1][0]] * (len(groups[-1]) + 1) <= max_tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
