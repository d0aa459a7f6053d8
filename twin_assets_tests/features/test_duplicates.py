"""The same piece met twice is one cluster."""

import random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from twin_assets.features.duplicates import Member, canonical_url, clusters, signature, text_hash
from twin_assets_tests.conftest import WORDS


def member(name: str, text: str, url: str | None = None, category: str = "article") -> Member:
    return Member(name, category, url, text_hash(text), signature(text))


def essay(seed: int, n_words: int = 400) -> list[str]:
    return random.Random(seed).choices(WORDS, k=n_words)


def groups(*members: Member) -> set[frozenset[str]]:
    found = clusters(members)
    return {frozenset(name for name in found if found[name] == cluster) for cluster in found.values()}


def test_a_lightly_edited_copy_is_the_same_piece_and_another_piece_is_not():
    text = essay(1)
    edited = [*text[:100], "really", *text[100:300], *text[305:]]
    found = groups(
        member("medium", " ".join(text)), member("substack", " ".join(edited)), member("x", " ".join(essay(2)))
    )
    assert found == {frozenset({"medium", "substack"}), frozenset({"x"})}


def test_half_of_the_same_text_is_another_piece():
    text = essay(3)
    assert len(groups(member("a", " ".join(text)), member("b", " ".join(text[:200] + essay(4, 200))))) == 2


def test_white_space_makes_no_difference():
    assert text_hash("a b\n\nc") == text_hash(" a  b c ")
    assert text_hash("a b c") != text_hash("a b d")


def test_articles_with_one_canonical_url_are_one_piece_whatever_was_edited():
    one = member("medium", " ".join(essay(5)), "https://www.example.org/a/?utm_source=medium")
    other = member("blog", " ".join(essay(6)), "http://example.org/a#top")
    assert groups(one, other) == {frozenset({"medium", "blog"})}


def test_pieces_at_places_of_one_page_are_not_one_piece():
    page = "https://example.org/day.html"
    places = [member(f"{number}", " ".join(essay(number)), f"{page}#a{number}") for number in (1, 2)]
    assert len(groups(*places, member("page", " ".join(essay(3)), page))) == 3


@pytest.mark.parametrize("fragment", ["#", "#top", "#:~:text=the%20tide"])
def test_a_page_is_the_same_whatever_of_it_is_shown_first(fragment):
    assert canonical_url(f"https://example.org/a{fragment}") == "example.org/a"


def test_posts_without_a_word_are_one_piece_only_when_they_are_equal():
    posts = [member("a", "🎉🎉🎉"), member("b", "❤️ :-)"), member("c", " ❤️  :-)\n"), member("d", "")]
    assert groups(*posts) == {frozenset({"a"}), frozenset({"b", "c"}), frozenset({"d"})}


def test_posts_and_code_under_one_url_stay_apart():
    url = "https://github.com/ada/tides"
    one = member("a.py", " ".join(essay(7)), url, "code")
    assert len(groups(one, member("b.py", " ".join(essay(8)), url, "code"))) == 2


@pytest.mark.parametrize("url", [None, "", "https://example.org", "https://example.org/", "http://[x"])
def test_a_home_page_is_no_canonical_url(url):
    assert canonical_url(url) is None


def test_chinese_texts_are_compared_by_their_characters():
    text = "".join(
        random.Random(1).choices("今天早上我在潮汐站检查了水位计发现传感器的读数比手工测量高出三厘米", k=400)
    )
    other = "".join(random.Random(2).choices("昨天晚上没有什么可以写的于是我去睡觉了什么也没有想", k=400))
    assert len(groups(member("a", text), member("b", f"{text[:200]}，{text[200:]}。"))) == 1
    assert len(groups(member("a", text), member("b", other))) == 2


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.randoms())
@hypothesis_settings(max_examples=30, deadline=None)
def test_clusters_do_not_depend_on_the_order(seeds, shuffle):
    members = [
        member(f"{number}", " ".join(essay(seed, 60)), f"https://a.example/{seed}") for number, seed in enumerate(seeds)
    ]
    shuffled = list(members)
    shuffle.shuffle(shuffled)
    assert clusters(members) == clusters(shuffled)
    assert len(set(clusters(members).values())) == len(set(seeds))


@given(st.text())
def test_every_text_has_a_signature(text):
    assert len(signature(text)) == 512
