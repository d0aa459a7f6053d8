"""Dataset rows as the windows of token ids that the trainer sees: the same ids as the API's up to the answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin_assets.errors import BadInput
from twin_assets.language.prompts import DraftRequest, Window, encode_example, windows

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label of a token that is not learned, as PyTorch's cross_entropy has it."""

COLUMNS = ("example_id", "instruction", "passages", "answer")


@dataclass(frozen=True)
class Encoded:
    """Windows of a split, and what did not go into them."""

    windows: list[Window]
    n_rows: int
    n_too_long: int
    dropped_passages: int


def encode_rows(
    rows: Iterable[Mapping[str, Any]], tokenizer: "PreTrainedTokenizerBase", context_tokens: int, prompt_tokens: int
) -> Encoded:
    """Encode rows in the order of their ids. Each answer token is learned exactly once.

    A row whose instruction alone does not fit `prompt_tokens` is left out and counted.
    """
    encoded: list[Window] = []
    n_rows = n_too_long = dropped = 0
    for row in sorted(rows, key=lambda row: str(row["example_id"])):
        n_rows += 1
        try:
            example = encode_example(tokenizer, DraftRequest.of_row(dict(row)), row["answer"], prompt_tokens)
        except BadInput:
            n_too_long += 1
            continue
        dropped += example.prompt.dropped_passages
        encoded.extend(windows(example, context_tokens))
    return Encoded(encoded, n_rows, n_too_long, dropped)


def as_dataset(encoded: Sequence[Window]) -> "Dataset":
    """Windows as the trainer takes them: `input_ids`, and `labels` that name what is learned. In memory only."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            "input_ids": [window.ids for window in encoded],
            "labels": [
                [token if learned else IGNORED for token, learned in zip(window.ids, window.mask, strict=True)]
                for window in encoded
            ],
        }
    )
