"""From tokens to text as they come, and where a draft ends."""

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from twin_assets.language.prompts import DraftRequest, encode_example

if TYPE_CHECKING:
    from collections.abc import Generator

    from transformers import GenerationConfig, PreTrainedTokenizerBase


class DecodedStream:
    """Text of tokens that come one by one: a piece is given out once no further token can change it.

    Not tokenizers' DecodeStream, which raises on a model that draws bytes that are no UTF-8 (a small one does). The
    window of tokens that are decoded again is that of text-generation-inference.
    See: https://github.com/huggingface/text-generation-inference/blob/main/server/text_generation_server/models/model.py
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._before = self._given = 0

    def step(self, token: int) -> str:
        """The text that this token completes; empty while it ends in the middle of a character."""
        self._ids.append(token)
        waits = self._decode(self._ids[self._before :]).endswith("\N{REPLACEMENT CHARACTER}")
        # Four bytes are the longest character: what is still none after that will never be one.
        return "" if waits and len(self._ids) - self._given < 4 else self.rest()

    def rest(self) -> str:
        """What was not given out yet."""
        known = self._decode(self._ids[self._before : self._given])
        text = self._decode(self._ids[self._before :])
        new = text[len(known) :] if text.startswith(known) else self._decode(self._ids[self._given :])
        self._before, self._given = self._given, len(self._ids)
        return new

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


def end_ids(configured: "GenerationConfig | None", tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """Tokens that end a draft: the model's, the tokenizer's, and the special ones its template closes a turn with."""
    of_model = getattr(configured, "eos_token_id", None)
    ids = {*(of_model if isinstance(of_model, list) else [of_model]), tokenizer.eos_token_id} - {None}
    example = encode_example(tokenizer, DraftRequest("x"), "y", max_prompt_tokens=1_000_000)
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset(int(number) for number in ids | (set(example.answer_ids[-example.n_closing :]) & special))


def until_marks(pieces: "Generator[str, None, None]", marks: Sequence[str]) -> "Generator[str, None, None]":
    """The pieces up to the first mark; what may be the beginning of one is held back until it is decided."""
    held = ""
    with closing(pieces):
        for piece in pieces:
            held += piece
            if any(mark in held for mark in marks):
                yield min((held.partition(mark)[0] for mark in marks), key=len)
                return
            keep = max((n for mark in marks for n in range(1, len(mark)) if held.endswith(mark[:n])), default=0)
            if ready := held[: len(held) - keep]:
                yield ready
            held = held[len(held) - keep :]
    if held:
        yield held
