"""What the trainer learns from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_assets.errors import BadRecipe
from twin_assets.language.prompts import ContextLimits, DraftRequest, Passage, encode_prompt, token_limits
from twin_assets.training.process.examples import (
    IGNORED,
    as_dataset,
    encode_rows,
    micro_batches,
    spread_sample,
    validation_rows,
)
from twin_assets_tests.training.conftest import publish_dataset, row

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
    from twin_assets.training.process.trainer import collated

    windows = encode_rows([row(6, "train"), row(7, "train", n_sentences=3)], tokenizer, 512, 384).windows
    batch = collated(as_dataset(windows).to_list(), pad_token=0)
    for i, window in enumerate(windows):
        n = len(window.ids)
        expected = [t if m else IGNORED for t, m in zip(window.ids, window.mask, strict=True)]
        assert batch["input_ids"][i].tolist() == window.ids + [0] * (batch["input_ids"].shape[1] - n)
        assert batch["labels"][i].tolist() == expected + [IGNORED] * (batch["labels"].shape[1] - n)
        assert batch["attention_mask"][i].sum() == n
    assert "attention_mask" not in collated(as_dataset(windows).to_list()[:1], pad_token=0)


def test_a_short_base_gives_the_trainer_the_room_that_the_api_has(tokenizer):
    """A recipe of 512 and 200 tokens on a base of 256."""
    context, prompt = token_limits(512, 200, 256)
    assert (context, prompt) == (256, 56)
    passage = {"chunk_id": "c", "title": "T", "url": "", "text": "A rope keeps the tide. " * 10}
    one = row(1, "train") | {"passages": [passage]}
    api = encode_prompt(tokenizer, DraftRequest.from_row(one), prompt)
    for window in encode_rows([one], tokenizer, context, prompt).windows[:1]:
        assert window.ids[: len(api.ids)] == api.ids
        assert window.mask[: len(api.ids) + 1] == [0] * len(api.ids) + [1]


def test_a_recipe_that_shows_little_trains_on_what_the_api_shows(tokenizer):
    passages = [{"chunk_id": str(n), "title": "T", "url": "", "text": f"A rope {n} keeps. " * 20} for n in range(3)]
    one, limits = row(1, "train") | {"passages": passages}, ContextLimits(passages=2, passage_bytes=100)
    api = encode_prompt(tokenizer, DraftRequest.from_row(one, limits), 384)
    [window] = encode_rows([one], tokenizer, 512, 384, limits=limits).windows
    assert window.ids[: len(api.ids)] == api.ids
    assert [passage.chunk_id for passage in api.kept_passages] == ["0", "1"]
    assert all(0 < len(text.encode()) <= 100 and text.endswith("keeps.") for text in api.shown)


def test_a_recipe_whose_answers_leave_no_prompt_is_refused_with_what_would_fit():
    with pytest.raises(BadRecipe, match=r"answer_tokens 200 leave 0 tokens .* lower answer_tokens to at most 96"):
        token_limits(512, 200, 128)


def test_memory_is_a_few_bytes_a_token(tokenizer):
    import tracemalloc

    encode_rows([row(0, "train")], tokenizer, 256, 128)
    tracemalloc.start()
    given = (row(n, "train") for n in range(300))
    windows = encode_rows(given, tokenizer, 256, 128).windows
    as_dataset(windows)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 16 * len(windows.tokens)


def test_the_validation_sample_covers_the_documents_and_does_not_follow_their_age():
    examples = [(f"{document:04d}#{n}", f"{document:04d}") for document in range(100) for n in range(1 + document % 7)]
    chosen = spread_sample(examples, 100)
    assert len({example.split("#")[0] for example in chosen}) == 100
    few = spread_sample(examples, 20)
    assert few == chosen[:20]
    assert few == spread_sample(reversed(examples), 20)
    assert max(few) > "0080"
    assert len(spread_sample(examples, 10_000)) == len(examples)


def test_only_the_sampled_validation_rows_are_encoded(own_stores, tokenizer, monkeypatch):
    from twin_assets.training.process import examples

    publish_dataset(own_stores, [row(n, "validation") for n in range(50)])
    table = own_stores.features.table("ada", "instruction_dataset")
    encoded: list[str] = []
    real = examples.encode_example

    def counting(tokenizer, request, answer, room):
        encoded.append(answer)
        return real(tokenizer, request, answer, room)

    monkeypatch.setattr(examples, "encode_example", counting)
    windows = encode_rows(validation_rows(table, 8), tokenizer, 512, 384, max_windows=8).windows
    assert len(windows) == len(encoded) == 8


@given(st.lists(st.integers(1, 1200), min_size=1, max_size=30), st.integers(1, 2000))
def test_micro_batches_hold_each_window_once_within_their_tokens(lengths, max_tokens):
    groups = micro_batches(lengths, max_tokens)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= max_tokens


def test_the_order_of_rows_changes_nothing(tokenizer):
    given = [row(n, "train") for n in range(5)]
    assert encode_rows(given, tokenizer, 256, 128) == encode_rows(given[::-1], tokenizer, 256, 128)
