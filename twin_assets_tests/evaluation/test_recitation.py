"""Verbatim copying from the training answers."""

from hypothesis import given, settings
from hypothesis import strategies as st

from twin_assets.evaluation.recitation import matching_lengths, recitation, words

TRAINED = "The harbour keeps its own clock and nobody in the gauge house has ever thought to set it right again."
OWN = "Rope wants a dry loft, and a loft wants a window that somebody opens before noon on most of the days."


def brute_force(pieces: list[list[str]], corpus: list[list[str]]) -> list[list[int]]:
    runs = {tuple(text[i:j]) for text in corpus for i in range(len(text)) for j in range(i + 1, len(text) + 1)}
    return [
        [
            max((n for n in range(1, end + 2) if tuple(p[end + 1 - n : end + 1]) in runs), default=0)
            for end in range(len(p))
        ]
        for p in pieces
    ]


texts = st.lists(st.lists(st.sampled_from("abc"), max_size=9), max_size=4)


@settings(max_examples=300, deadline=None)
@given(pieces=texts, corpus=texts)
def test_matching_lengths_are_those_of_a_search_by_hand(pieces: list[list[str]], corpus: list[list[str]]):
    assert matching_lengths(pieces, corpus) == brute_force(pieces, corpus)


def test_a_draft_of_ones_own_copies_nothing():
    (found,) = recitation([OWN], [""], [TRAINED])
    assert (found.copied, found.longest_run < 4) == (0.0, True)


def test_a_recited_training_text_is_copied_whole_whatever_its_case_and_marks():
    (found,) = recitation([TRAINED.upper().replace(" ", ",\n")], [""], ["other text", TRAINED])
    assert found.copied == 1.0
    assert found.longest_run == len(words(TRAINED))


def test_half_a_draft_copied_is_about_half():
    (found,) = recitation([f"{OWN} {TRAINED}"], [""], [TRAINED])
    assert 0.3 < found.copied < 0.6
    assert found.longest_run == len(words(TRAINED))


def test_what_the_prompt_quotes_is_not_recitation():
    (found,) = recitation([f"{OWN} {TRAINED}"], [f"[1] Notes\n{TRAINED}\n\nWrite a post"], [TRAINED])
    assert found.copied == 0.0
    assert found.longest_run < 8
    assert found.n_words == len(words(OWN))


def test_text_around_a_quotation_does_not_become_one_run():
    words_of = TRAINED.split()
    draft = " ".join([*words_of[:9], *OWN.split()[:12], *words_of[9:]])
    (found,) = recitation([draft], [OWN], [TRAINED])
    assert found.longest_run == len(words_of) - 9


def test_a_run_does_not_cross_from_one_training_text_into_the_next():
    first, second = TRAINED.split()[:7], TRAINED.split()[7:]
    (found,) = recitation([TRAINED], [""], [" ".join(first), " ".join(second)])
    assert found.longest_run == len(second)


def test_chinese_is_compared_by_character():
    trained = "潮水记得每一块石头的名字"
    (found,) = recitation([f"我说{trained}"], [""], [trained])
    assert found.longest_run == len(trained)


def test_an_empty_draft_copies_nothing():
    (found,) = recitation([""], ["anything"], [TRAINED])
    assert (found.n_words, found.longest_run, found.copied) == (0, 0, 0.0)
