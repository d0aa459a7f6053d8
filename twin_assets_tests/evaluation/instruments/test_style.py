"""The stylometric distance."""

import random
from pathlib import Path

import numpy as np
import pytest

from twin_assets.evaluation.instruments import style
from twin_assets.evaluation.instruments.style import BLOCK_WORDS, CLIP, StyleSpace, blocks, features
from twin_assets_tests.benchmarks.authorship import DEFAULT, auc


def terse(seed: int, n: int = 40) -> str:
    rng = random.Random(seed)
    return " ".join(f"The {rng.choice(['rope', 'tide', 'clock'])} is {rng.choice(['slow', 'wet'])}." for _ in range(n))


def winding(seed: int, n: int = 12) -> str:
    rng = random.Random(seed)
    return " ".join(
        f"Although I would perhaps have wanted it otherwise, and not without {rng.choice(['reason', 'cause'])}, there "
        f"are those who, upon {rng.choice(['reflection', 'waking'])}, might well say that we were never quite so sure;"
        for _ in range(n)
    )


@pytest.fixture
def space() -> StyleSpace:
    found = StyleSpace.of([terse(seed) for seed in range(20)], english=True)
    assert found is not None
    return found


def pooled(texts: list[str]) -> list[str]:
    return list(blocks(texts))[:3]


def test_the_author_is_nearer_to_themselves_than_another_is(space: StyleSpace):
    own, other = pooled([terse(seed) for seed in range(50, 54)]), pooled([winding(seed) for seed in range(4)])
    assert 3 * space.distance(own) < space.distance(other) <= CLIP


def test_one_odd_rate_cannot_outvote_all_others(space: StyleSpace):
    odd = pooled([terse(60)])[0] + " !!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"
    assert np.abs(space.position(odd)).max() <= CLIP


def test_function_words_count_in_english_only():
    assert len(features(terse(1), english=True)) - len(features(terse(1), english=False)) == len(style.FUNCTION_WORDS)
    assert len(set(style.FUNCTION_WORDS)) == len(style.FUNCTION_WORDS) >= 130


def test_curly_and_straight_quotes_are_the_same_mark():
    assert np.array_equal(features("“It’s late,” she said.", True), features('"It\'s late," she said.', True))


def test_a_word_that_the_author_never_writes_tells(space: StyleSpace):
    plain, marked = (pooled([addition + terse(60)])[0] for addition in ("", "Perhaps. "))
    assert space.distance([marked]) > space.distance([plain])


def test_too_little_writing_has_no_spread():
    assert StyleSpace.of([terse(1)], english=True) is None
    assert StyleSpace.of([], english=True) is None


def test_text_without_words_has_a_position(space: StyleSpace):
    assert np.isfinite(space.position("")).all()
    assert np.isfinite(space.position("潮水记得每一块石头。")).all()


def test_short_texts_are_pooled_and_long_ones_cut():
    short = list(blocks(["four words of text"] * 100))
    assert [len(block.split()) // 10 for block in short] == [15, 15, 9]
    long = list(blocks([" ".join(["word"] * 1000)]))
    assert max(len(block.split()) for block in long) == BLOCK_WORDS
    assert list(blocks(["a short rest"])) == ["a short rest"]
    assert list(blocks(["", "  \n\n "])) == []


@pytest.mark.skipif(not Path(DEFAULT).exists(), reason=f"{DEFAULT} is not beside the checkout")
def test_it_tells_authors_apart_at_least_as_well_as_is_known():
    found = auc(DEFAULT)
    assert found["tech"] >= 0.69
    assert found["lit"] >= 0.62
