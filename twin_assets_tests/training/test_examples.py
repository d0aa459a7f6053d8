"""What the trainer learns from."""

import pytest

from twin_assets.language.prompts import DraftRequest, Passage, encode_prompt
from twin_assets.training.examples import IGNORED, as_dataset, encode_rows
from twin_assets_tests.evaluation.conftest import row

QWEN_LIKE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer_of(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(params=[None, QWEN_LIKE], ids=["our template", "the tokenizer's own"])
def tokenizer(request, make_tiny_model):
    return tokenizer_of(make_tiny_model(chat_template=request.param))


def test_the_trainers_token_ids_are_the_apis_up_to_the_answer(tokenizer):
    one = row(1, "train") | {"passages": [{"chunk_id": "c", "title": "Rope", "url": "", "text": "A rope keeps."}]}
    [window] = encode_rows([one], tokenizer, 512, 384).windows
    api = encode_prompt(tokenizer, DraftRequest(one["instruction"], (Passage("c", "Rope", "", "A rope keeps."),)), 384)
    n = len(api.ids)
    assert window.ids[:n] == api.ids
    assert window.mask[:n] == [0] * n
    assert set(window.mask[n:]) == {1}
    assert tokenizer.decode(window.ids[n:]).startswith(one["answer"])


def test_every_answer_token_is_learned_once_however_many_windows_it_takes(tokenizer):
    long = row(2, "train", n_sentences=60)
    encoded = encode_rows([long], tokenizer, 128, 64)
    assert len(encoded.windows) > 3
    learned = [token for window in encoded.windows for token, m in zip(window.ids, window.mask, strict=True) if m]
    assert tokenizer.decode(learned).startswith(long["answer"])
    assert all(len(window.ids) <= 128 for window in encoded.windows)


def test_passages_go_before_the_answer_does_and_what_went_is_counted(tokenizer):
    passage = {"chunk_id": "c", "title": "T", "url": "", "text": "A rope keeps the tide. " * 30}
    encoded = encode_rows([row(3, "train") | {"passages": [passage]}], tokenizer, 256, 64)
    assert encoded.dropped_passages == 1
    assert encoded.windows


def test_a_row_whose_instruction_does_not_fit_is_left_out_and_counted(tokenizer):
    long = row(4, "train") | {"instruction": "Write a post: " + "tide " * 400}
    encoded = encode_rows([long, row(5, "train")], tokenizer, 256, 128)
    assert (encoded.n_rows, encoded.n_too_long) == (2, 1)


def test_labels_are_the_ids_where_learned_and_ignored_elsewhere(tokenizer):
    windows = encode_rows([row(6, "train")], tokenizer, 512, 384).windows
    [example] = as_dataset(windows).to_list()
    expected = [t if m else IGNORED for t, m in zip(windows[0].ids, windows[0].mask, strict=True)]
    assert example == {"input_ids": windows[0].ids, "labels": expected}


def test_the_order_of_rows_changes_nothing(tokenizer):
    given = [row(n, "train") for n in range(5)]
    assert encode_rows(given, tokenizer, 256, 128) == encode_rows(given[::-1], tokenizer, 256, 128)
