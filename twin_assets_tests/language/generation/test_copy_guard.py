"""Which tokens the sampler must not draw, so that a draft does not copy what it was shown."""

import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_assets.language.base_models import load_tokenizer
from twin_assets.language.generation.copy_guard import CopyGuard, TokenGuard, WordStarts
from twin_assets.language.recitation import matching_lengths, words

OTHER = 99
"""A token that no shown text has."""

IDS = st.integers(0, 4)
SHOWN = st.lists(st.lists(IDS, max_size=30), min_size=1, max_size=3)


def runs(text: Sequence[int], length: int) -> set[tuple[int, ...]]:
    return {tuple(text[start : start + length]) for start in range(len(text) - length + 1)}


def copy_greedily(shown: Sequence[Sequence[int]], start: int, guard: CopyGuard) -> list[int]:
    """The draft of a model that wants to recite the first text, and changes a word only when it must."""
    written: list[int] = []
    for wanted in shown[0][start:]:
        banned = guard.banned(written)
        written.append(next(token for token in (wanted, 0, 1, 2, 3, 4, OTHER) if token not in banned))
    return written


@settings(max_examples=300, deadline=None)
@given(shown=SHOWN, max_tokens=st.integers(1, 8), start=st.integers(0, 5))
def test_no_greedy_copier_writes_a_run_longer_than_allowed_of_any_shown_text(shown, max_tokens, start):
    written = copy_greedily(shown, start, CopyGuard(shown, max_tokens))
    for text in shown:
        assert not runs(written, max_tokens + 1) & runs(text, max_tokens + 1)


@settings(max_examples=300, deadline=None)
@given(shown=SHOWN, max_tokens=st.integers(1, 8), drawn=st.lists(st.integers(0, 4), max_size=60))
def test_neither_does_any_other_writer_that_heeds_the_guard(shown, max_tokens, drawn):
    guard = CopyGuard(shown, max_tokens)
    written: list[int] = []
    for token in drawn:
        written.append(token if token not in guard.banned(written) else OTHER)
    for text in shown:
        assert not runs(written, max_tokens + 1) & runs(text, max_tokens + 1)


def test_who_copies_on_behind_a_changed_word_may_copy_half_as_much():
    text = list(range(100))
    written = copy_greedily([text], 0, CopyGuard([text], 16))
    assert written[:16] == text[:16]
    later = written[17:]
    assert not runs(later, 9) & runs(text, 9)
    assert runs(later, 8) & runs(text, 8)


def test_a_run_of_another_text_may_still_be_full():
    one, two = list(range(40)), list(range(50, 90))
    guard = CopyGuard([one, two], 8)
    copied = one[:8]
    assert guard.banned(copied) == {8}
    assert guard.banned([*copied, OTHER, *two[:7]]) == set()
    assert guard.banned([*copied, OTHER, *two[:8]]) == {two[8]}


@given(shown=SHOWN, drawn=st.lists(IDS, max_size=40))
def test_only_what_continues_a_shown_run_is_forbidden(shown, drawn):
    for token in CopyGuard(shown, 4).banned(drawn):
        end = (*drawn[-4:], token)
        assert any(end in runs(text, 5) for text in shown)


@given(shown=SHOWN)
def test_what_nobody_was_shown_is_free_and_so_is_a_beginning(shown):
    assert CopyGuard([], 4).banned([1, 2, 3, 4, 5]) == set()
    assert CopyGuard(shown, 4).banned([]) == set()
    assert CopyGuard([[1, 2, 3]], 4).banned([1, 2, 3]) == set()


def test_a_call_takes_no_longer_at_the_end_of_a_long_draft():
    shown = [list(range(n, n + 20_000)) for n in range(3)]
    guard = CopyGuard(shown, 16)
    draft = [n % 1000 for n in range(20_000)]
    guard.banned(draft)
    started = time.perf_counter()
    for _ in range(1000):
        draft.append(OTHER)
        guard.banned(draft)
    assert time.perf_counter() - started < 0.5


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        CopyGuard([], 0)


TEXT = (
    "The gauge has drifted again, so I went down at seven and read the staff by eye. Forty-one centimetres, and the "
    "screen said forty-four. Nobody had cleaned the float since the storm in March.\nAfter that I stopped believing it."
)


def recite(tokenizer, guard: TokenGuard, wanted: list[int], fallback: int) -> str:
    """The draft of a model that wants to write `wanted`, and writes something else only where it must."""
    written: list[int] = []
    for token in wanted:
        written.append(token if token not in guard.banned(written) else fallback)
    return tokenizer.decode(written)


@pytest.mark.parametrize("changed", [TEXT, TEXT.upper(), TEXT.replace(",", " –").replace(". ", "!\n\n")])
def test_a_text_copied_with_other_capitals_and_marks_is_still_a_copy(smollm2, changed):
    tokenizer = load_tokenizer(smollm2.path)
    wanted = tokenizer(changed, add_special_tokens=False)["input_ids"]
    other = tokenizer(" herring", add_special_tokens=False)["input_ids"][0]
    draft = recite(tokenizer, TokenGuard(WordStarts(tokenizer), [TEXT], 12), wanted, other)
    (matched,) = matching_lengths([words(draft)], [words(TEXT)])
    assert max(matched) == 12
    assert draft != tokenizer.decode(wanted)


def test_a_word_is_forbidden_at_its_beginning_and_never_broken_off(smollm2):
    tokenizer = load_tokenizer(smollm2.path)
    text = "I measured the anemometer beside the hydrophone, the barograph and the thermohygrometer on the breakwater"
    wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
    guard = TokenGuard(WordStarts(tokenizer), [text], 4)
    forbidden = [tokenizer.decode(wanted[: n + 1]) for n in range(len(wanted)) if wanted[n] in guard.banned(wanted[:n])]
    assert len(forbidden) == len(words(text)) - 4, "every word behind the first four"
    begun = [words(one)[-1] for one in forbidden]
    assert all(any(word.startswith(one) for word in words(text)) for one in begun), begun
