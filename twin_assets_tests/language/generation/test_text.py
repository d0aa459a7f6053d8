"""From tokens to text, and where a draft ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_assets.language.base_models import load_tokenizer
from twin_assets.language.generation.text import DecodedStream, end_ids, until_markers
from twin_assets.language.prompts import ROLE_MARKERS


def test_a_role_mark_ends_the_draft_even_when_it_comes_in_pieces():
    pieces = (piece for piece in ["A ro", "pe <", "|us", "er|", ">\nand more"])
    assert "".join(until_markers(pieces, ROLE_MARKERS)) == "A rope "
    innocent = (piece for piece in ["1 <", " 2 <|", "x"])
    assert "".join(until_markers(innocent, ROLE_MARKERS)) == "1 < 2 <|x"


def test_the_templates_own_end_of_turn_is_an_end(make_tiny_model):
    template = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}<pad>{% endfor %}"
    tokenizer = load_tokenizer(make_tiny_model(chat_template=template))
    assert tokenizer.pad_token_id in end_ids(None, tokenizer)


@pytest.fixture(scope="module")
def with_byte_fallback():
    """A tokenizer as Llama 2's and Mistral's: words with a leading mark, and a token for each byte."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    words = ["▁", "a", "b", "é", "\n", "▁a", "▁b", "ab", "▁ab"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = [("▁", "a"), ("▁", "b"), ("a", "b"), ("▁a", "b")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@given(text=st.text(alphabet="ab é\n潮🌊✔", max_size=30))
def test_text_that_comes_token_by_token_is_the_text(with_byte_fallback, text):
    ids = with_byte_fallback(text, add_special_tokens=False)["input_ids"]
    stream = DecodedStream(with_byte_fallback)
    pieces = [stream.step(token) for token in ids]
    assert "".join([*pieces, stream.rest()]) == with_byte_fallback.decode(ids)
    assert not [piece for piece in pieces if "\N{REPLACEMENT CHARACTER}" in piece]


@given(ids=st.lists(st.integers(3, 267), max_size=40))
def test_bytes_that_are_no_text_never_break_a_draft(with_byte_fallback, ids):
    stream = DecodedStream(with_byte_fallback)
    whole = "".join([*(stream.step(token) for token in ids), stream.rest()])
    words = [with_byte_fallback.convert_ids_to_tokens(token) for token in ids]
    # Words between the bytes come out whole and in order, whatever the bytes are.
    assert whole.count("é") >= words.count("é")
    assert whole.count("b") >= sum(word.count("b") for word in words if not word.startswith("<"))
