"""A draft out of a few tries: what is held back, what is drawn again, what is counted."""

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_assets.documents import Category
from twin_assets.language.generation import Sampling
from twin_assets.serving import draft_writer as module
from twin_assets.serving.draft_writer import MAX_TRIES, DraftWriter, Retry, Waiting, trimmed

ASKED = ("Write a post: why I check the tide gauge by hand",)
WHOLE = "I check it by hand because the float sticks when the salt dries, and it always does. Nobody else has looked."


class Model:
    """Draws one prepared text per try, a word at a time; says which seeds it was given, and how often it was closed."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.seeds: list[int | None] = []
        self.closed = 0

    def draw(self, sampling: Sampling, on_token: Callable[[], None]) -> Iterator[str]:
        self.seeds.append(sampling.seed)
        text = self.texts[len(self.seeds) - 1]
        try:
            for n, word in enumerate(text.split(" ")):
                if n == sampling.max_new_tokens:
                    return
                on_token()
                yield word if not n else f" {word}"
        finally:
            self.closed += 1


def writing(model: Model, category: Category | None = None, stop: threading.Event | None = None, **sampling: object):
    drawn = Sampling(**{"seed": 3} | sampling)
    return DraftWriter(model.draw, drawn, ASKED, category, stop or threading.Event())


def written(one: DraftWriter) -> tuple[str, list[int]]:
    """The pieces together, and the numbers of the tries that began again."""
    pieces = list(one.pieces())
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    assert text == one.text
    return text, [piece.number for piece in pieces if isinstance(piece, Retry)]


@pytest.mark.parametrize("nothing", ["", "#tides", "Rope.", ASKED[0], f"{ASKED[0]}\n\n#tides https://example.org"])
def test_a_try_that_comes_to_nothing_is_drawn_again_with_the_next_seed_and_nobody_sees_it(nothing):
    model = Model(nothing, WHOLE)
    one = writing(model)
    assert written(one) == (WHOLE, [2])
    assert (model.seeds, model.closed) == ([3, 4], 2)
    assert (one.n_tries, one.is_empty, one.finish_reason) == (2, False, "stop")


def test_tokens_of_all_tries_are_counted():
    one = writing(Model("a b c", "#x", WHOLE))
    written(one)
    assert one.n_tokens == 3 + 1 + len(WHOLE.split(" "))


def test_after_the_last_try_the_longest_of_them_is_shown_without_its_echo():
    one = writing(Model("#tides", f"{ASKED[0]}\n\nIt lies.", ""))
    assert written(one) == ("It lies.", [2, 3])
    assert (one.n_tries, one.is_empty) == (MAX_TRIES, True)


def test_greedy_drawing_is_not_tried_again_and_no_seed_stays_none():
    one = writing(Model("#tides", WHOLE), temperature=0)
    assert written(one) == ("#tides", [])
    assert one.is_empty
    model = Model("", WHOLE)
    written(writing(model, seed=None))
    assert model.seeds == [None, None]


def test_a_draft_that_was_cut_short_on_purpose_is_not_empty():
    one = writing(Model(WHOLE), max_new_tokens=3)
    assert written(one) == ("I check it", [])
    assert (one.finish_reason, one.is_empty) == ("length", False)


def test_a_row_of_hashtags_cut_short_is_empty_all_the_same():
    one = writing(Model(*["#a #b #c #d"] * 3), max_new_tokens=3)
    assert written(one) == ("#a #b #c", [2, 3])
    assert (one.finish_reason, one.is_empty) == ("length", True)


def test_short_code_is_whole():
    code = "def count(xs):\n    return len(xs)"
    assert written(writing(Model(code), Category.CODE)) == (code, [])


@pytest.mark.parametrize("when", [1, 5, 20])
def test_stop_ends_whichever_try_is_being_drawn(when):
    stop = threading.Event()
    model = Model("a b c", WHOLE, WHOLE)
    one = writing(model, stop=stop)

    def draw(sampling: Sampling, on_token: Callable[[], None]) -> Iterator[str]:
        for piece in model.draw(sampling, on_token):
            if one.n_tokens >= when:
                stop.set()
            if stop.is_set():
                return
            yield piece

    one._draw = draw
    written(one)
    assert one.n_tokens == when
    assert len(model.seeds) == (1 if when < 4 else 2)


def test_closing_a_draft_closes_what_draws_it():
    model = Model(WHOLE)
    pieces = writing(model).pieces()
    next(pieces)
    pieces.close()
    assert model.closed == 1


def test_pieces_come_as_soon_as_the_beginning_is_one():
    pieces = [piece for piece in writing(Model(WHOLE)).pieces() if isinstance(piece, str)]
    assert len(pieces[0].split()) == 12
    assert len(pieces) == len(WHOLE.split()) - 11


def test_while_a_beginning_is_held_back_there_are_signs_of_life(monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT_S", 0)
    events = list(writing(Model(f"{'#tides ' * 30}{WHOLE}")).pieces())
    kinds = [type(event) for event in events]
    assert kinds == [Waiting] * kinds.count(Waiting) + [str] * kinds.count(str)
    assert kinds.count(Waiting) > 30


@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(
        st.sampled_from(["", "#tides", "Rope.", ASKED[0], WHOLE, f"{ASKED[0]}\n\n{WHOLE}", f"\n {WHOLE} \n"]),
        min_size=3,
        max_size=3,
    )
)
def test_what_is_seen_is_one_draft_never_two(texts: Sequence[str]):
    model = Model(*texts)
    text, _ = written(writing(model))
    assert text in {"", "#tides", "Rope.", WHOLE}
    if any(WHOLE in one for one in texts):
        assert text == WHOLE
        assert len(model.seeds) == next(n for n, one in enumerate(texts, 1) if WHOLE in one)


def test_white_space_around_a_draft_is_no_part_of_it():
    assert list(trimmed(iter([" ", "\n a", " ", " b\n", " "]))) == ["a", "  b"]
