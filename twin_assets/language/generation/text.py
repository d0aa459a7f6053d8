"""Turns tokens into text as they are drawn, and finds where a draft ends."""

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from twin_assets.language.prompts import DraftRequest, encode_example

if TYPE_CHECKING:
    from collections.abc import Generator

    from transformers import GenerationConfig, PreTrainedTokenizerBase


class DecodedStream:
    """Decodes tokens one by one, and returns text once no further token can change it.

    tokenizers' own DecodeStream raises an error if a model draws bytes that are not UTF-8, as a small one may. The
    window of tokens that are decoded again is the one in text-generation-inference.
    See: https://github.com/huggingface/text-generation-inference/blob/main/server/text_generation_server/models/model.py
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._before = self._returned = 0

    def step(self, token: int) -> str:
        """The text that this token completes; empty if it ends in the middle of a character."""
        self._ids.append(token)
        is_incomplete = self._decode(self._ids[self._before :]).endswith("\N{REPLACEMENT CHARACTER}")
        # A character has at most four bytes: what is not one after four tokens will never be one.
        return "" if is_incomplete and len(self._ids) - self._returned < 4 else self.rest()

    def rest(self) -> str:
        """The text that was not returned yet."""
        known = self._decode(self._ids[self._before : self._returned])
        text = self._decode(self._ids[self._before :])
        new = text[len(known) :] if text.startswith(known) else self._decode(self._ids[self._returned :])
        self._before, self._returned = self._returned, len(self._ids)
        return new

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


def end_ids(configured: "GenerationConfig | None", tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """The tokens that end a draft: the model's, the tokenizer's, and those with which its template ends a turn."""
    of_model = getattr(configured, "eos_token_id", None)
    ids = {*(of_model if isinstance(of_model, list) else [of_model]), tokenizer.eos_token_id} - {None}
    example = encode_example(tokenizer, DraftRequest("x"), "y", max_prompt_tokens=1_000_000)
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(int(number) for number in ids | (set(example.answer_ids[-example.n_closing :]) & special))


def until_markers(pieces: "Generator[str, None, None]", markers: Sequence[str]) -> "Generator[str, None, None]":
    """The pieces up to the first marker. Text that may be the beginning of a marker is held back until it is clear."""
    held = ""
    with closing(pieces):
        for piece in pieces:
            held += piece
            if any(marker in held for marker in markers):
                yield min((held.partition(marker)[0] for marker in markers), key=len)
                return
            keep = max((n for one in markers for n in range(1, len(one)) if held.endswith(one[:n])), default=0)
            if ready := held[: len(held) - keep]:
                yield ready
            held = held[len(held) - keep :]
    if held:
        yield held
