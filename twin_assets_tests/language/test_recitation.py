"""Verbatim copying: from the training answers, and from what the prompt showed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from twin_assets.language.recitation import Copied, Recitation, RecitationSearch, copied, matching_lengths, words

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


def measured(draft: str, training: list[str], prompt: str = "", passages: tuple[str, ...] = ()) -> Recitation:
    search = RecitationSearch([draft], [prompt], [passages])
    for text in training:
        search.read(text)
    (found,) = search.results()
    return found


def test_a_draft_of_ones_own_copies_nothing():
    found = measured(OWN, [TRAINED])
    assert (found.trained.share, found.trained.longest_run < 4) == (0.0, True)


def test_a_recited_training_text_is_copied_whole_whatever_its_case_and_marks():
    found = measured(TRAINED.upper().replace(" ", ",\n"), ["other text", TRAINED])
    assert found.trained == Copied(1.0, len(words(TRAINED)))


def test_the_share_is_that_of_the_words_in_long_runs():
    found = measured(f"{OWN} {TRAINED}", [TRAINED])
    n_own, n_trained = len(words(OWN)), len(words(TRAINED))
    assert found.n_words == n_own + n_trained
    assert found.trained == Copied(round(n_trained / (n_own + n_trained), 4), n_trained)


def test_a_post_with_every_ninth_word_changed_is_copied_all_the_same():
    changed = [word if n % 9 != 8 else "umbrella" for n, word in enumerate(f"{TRAINED} {OWN}".split())]
    assert copied(" ".join(changed), [f"{TRAINED} {OWN}"]).share > 0.7


def test_what_the_prompt_shows_is_no_recitation_of_the_training_and_is_counted_as_shown():
    prompt = f"[1] Notes\n{TRAINED}\n\nWrite a post"
    found = measured(f"{OWN} {TRAINED}", [TRAINED], prompt, (TRAINED,))
    assert found.trained.share == 0.0
    assert found.trained.longest_run < 8
    assert found.shown == Copied(round(len(words(TRAINED)) / len(words(f"{OWN} {TRAINED}")), 4), len(words(TRAINED)))


def test_repeating_the_instruction_is_no_copying_of_a_passage():
    found = measured(TRAINED, [TRAINED], f"Write a post that begins like this: {TRAINED}", ("something else",))
    assert (found.trained.share, found.shown.share) == (0.0, 0.0)


def test_text_around_a_quotation_does_not_become_one_run():
    words_of = TRAINED.split()
    draft = " ".join([*words_of[:9], *OWN.split()[:12], *words_of[9:]])
    assert measured(draft, [TRAINED], OWN).trained.longest_run == len(words_of) - 9


def test_a_run_does_not_cross_from_one_training_text_into_the_next():
    first, second = TRAINED.split()[:7], TRAINED.split()[7:]
    assert measured(TRAINED, [" ".join(first), " ".join(second)]).trained.longest_run == len(second)


def test_chinese_is_compared_by_character():
    trained = "潮水记得每一块石头的名字"
    assert measured(f"我说{trained}", [trained]).trained.longest_run == len(trained)


def test_an_empty_draft_copies_nothing():
    assert measured("", [TRAINED], "anything", ("anything",)) == Recitation(0, Copied(), Copied())
