"""Drafts that say nothing, and echoes of what was asked."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_assets.documents import Category
from twin_assets.language.empty_drafts import has_own_words, is_nearly_empty, may_be_echo, without_echo

ASKED = ("Write a post: why I check the tide gauge by hand",)
OWN = "I check it by hand because the float sticks when the salt dries, and it always does."


@pytest.mark.parametrize(
    "draft",
    [
        "",
        "  \n",
        "#tides #gauge #salt #harbour #morning #rope #fog #bell #clock #lamp #ledger #salt #float",
        "https://example.org/one https://example.org/two",
        "I check it.",
        ASKED[0],
        f"**{ASKED[0]}**",
        f"{ASKED[0]}\n\n#tides",
        f"{ASKED[0]}\n{ASKED[0]}\n{ASKED[0]}",
    ],
)
def test_a_draft_without_a_dozen_words_of_its_own_is_nearly_empty(draft):
    assert is_nearly_empty(draft, ASKED)


@pytest.mark.parametrize("draft", [OWN, f"{ASKED[0]}\n\n{OWN}", "我每天早上亲手检查潮位计，因为盐干了浮子会卡住。" * 2])
def test_a_draft_of_a_sentence_is_not_empty(draft):
    assert not is_nearly_empty(draft, ASKED)


def test_a_language_without_spaces_is_measured_by_its_characters():
    thai = "ฉันตรวจสอบเครื่องวัดระดับน้ำด้วยมือทุกเช้าก่อนที่จะเชื่อมันเพราะเกลือทำให้ลูกลอยติดอยู่เสมอและไม่มีใครเห็น"
    assert not is_nearly_empty(thai, ASKED)


def test_short_code_is_code():
    assert not is_nearly_empty("def count(xs):\n    return len(xs)", ASKED, Category.CODE)
    assert is_nearly_empty("#", ASKED, Category.CODE)


def test_a_draft_cut_short_has_own_words_or_none():
    assert has_own_words("I check", ASKED)
    assert not has_own_words("#tides", ASKED)
    assert not has_own_words(ASKED[0], ASKED)


@pytest.mark.parametrize(
    "echo",
    [
        "Write a post: why I check the tide gauge by hand",
        "write a post - why I check the tide gauge by hand.",
        '"Write a post: why I check the tide gauge, by hand"',
        "Write the post: why I check the tide gauge by hand",
        "Write a post why I check my tide gauge by hand:",
    ],
)
def test_an_exact_or_nearly_exact_echo_is_cut_off(echo):
    assert without_echo(f"{echo}\n\n{OWN}", ASKED) == OWN
    assert without_echo(f"{echo}\n{echo}\n\n{OWN}", ASKED) == OWN


@pytest.mark.parametrize(
    "draft",
    [
        OWN,
        f"# Why I check the tide gauge by hand\n\n{OWN}",
        f"Why I check the tide gauge by hand\n\n{OWN}",
        "Write a post about bread instead, they said. I did not.",
        f"Write a post: why I check the tide gauge by hand and what I do then. {OWN}",
    ],
)
def test_a_beginning_of_the_authors_own_stays(draft):
    assert without_echo(draft, ASKED) == draft


def test_only_the_line_that_asks_is_an_echo_and_no_line_of_the_material_below_it():
    asked = ("Write what comes next:\n\nThe float sticks when the salt dries.\n\nNobody has ever asked why it does.",)
    draft = f"The float sticks when the salt dries.\n\n{OWN}"
    assert without_echo(draft, asked) == draft
    assert without_echo(f"Write what comes next:\n\n{draft}", asked) == draft


def test_an_echo_is_known_before_it_is_whole():
    assert may_be_echo("Write a post: why I check the", ASKED)
    assert not may_be_echo("Salt dries on the float and then it sticks", ASKED)
    assert not may_be_echo(f"{ASKED[0]}\n\nI check it by hand because", ASKED)


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="ab #\n.:é中", max_size=40), asked=st.lists(st.text("ab \n.", max_size=20), max_size=2))
def test_what_is_left_is_an_ending_of_the_draft(text, asked):
    assert text.endswith(without_echo(text, asked))
