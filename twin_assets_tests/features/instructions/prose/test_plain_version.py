import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_assets.documents import Category
from twin_assets.features.instructions.prose.plain_version import MIN_CHANGE, change, plain_sentence, plain_version


@pytest.mark.parametrize(
    ("mine", "plain"),
    [
        ("Well, it's really huge!", "It is large."),
        ("I can't; you won't.", "I cannot. You will not."),
        ("It's been cold, and we've waited.", "It has been cold. We have waited."),
        ("You'd better go, but I'd stay…", "You had better go. But I would stay."),
        (
            "The gauge — a *brass* one — stopped (as it does in winter).",
            "The gauge, a brass one, stopped, as it does in winter.",
        ),
        (
            "It was a really old — and\nan incredibly good — pier.",
            "It was an old, and\na good, pier.",
        ),
        ("It's hard... except for one thing.", "It is hard, except for one thing."),
        (
            "It's the most straightforward way; it requires that I wait.",
            "It is the most straightforward way. It requires that I wait.",
        ),
        (
            "I'll say that it's there, and that `abort` raises it!",
            "I will say that it is there, and that `abort` raises it.",
        ),
        ("However, the rain stayed. 🌧️ #tides #work", "But the rain stayed."),
        ("It isn't just software, and it never quite works.", "It is not just software. It never quite works."),
        ("Why haven't I been there? Can't you go?", "Why have I not been there? Can you not go?"),
        ("It's established by now, so it's cold (really!).", "It is established by now. So it is cold (really.)."),
        (
            "It isn't that hard, and he wasn't there when I called.",
            "It is not that hard. He was not there when I called.",
        ),
        ("It was a very usual, really unimportant day.", "It was a usual, really unimportant day."),
        (
            "It's a useful, not an ubiquitous tool... just in case.",
            "It is a useful, not a common tool, just in case.",
        ),
        ("It has just come, and I'd just drawn it.", "It has just come. I had just drawn it."),
        ("It stood - [see here](https://e.org) - and ran.", "It stood, [see here](https://e.org), and ran."),
        ("I've got used to it!", "I have got used to it."),
        ("I've got a handy gauge - it's slow.", "I have a useful gauge. It is slow."),
        ("Three gauges — one, two, three — will therefore do.", "Three gauges — one, two, three — will therefore do."),
        ('He said "I can\'t really - ever", and left.', 'He said "I can\'t really - ever", and left.'),
        ("It's a vital tool, and a weird one.", "It is an important tool, and a strange one."),
        (
            "See [the stupid][bad] one (gcc, make, afl), but\nso, you'd not.",
            "See [the stupid][bad] one (gcc, make, afl), but\nso, you would not.",
        ),
        ("Not only is it small, but it is really fast.", "Not only is it small, but it is fast."),
        (
            "The `-path:**/a**` isn't `**b**`, which is, of course, completely fine.",
            "The `-path:**/a**` is not `**b**`, which is, of course, completely fine.",
        ),
    ],
)
def test_marks_of_a_voice_are_taken_away(mine, plain):
    assert plain_sentence(mine, "en").strip() == plain


def test_numbers_and_arrows_are_no_hashtags_and_no_emoji():
    mine = "We've finally fixed issue #42, which was #1. A → B was the awful part, B ➡️ C the nice one! ➡️ #100days"
    plain = "We have finally fixed issue #42, which was #1. A → B was the bad part, B ➡ C the nice one."
    assert plain_version(mine, Category.POST, "en") == plain


def test_lines_broken_on_purpose_stay_broken():
    mine = "It's the tide that isn't in,  \nit's the tide that's out,\\\nand I can't say: it's\nhere."
    plain = "It is the tide that is not in,  \nit is the tide that is out,\\\nand I cannot say: it is here."
    assert plain_version(mine, Category.ARTICLE, "en") == plain


def test_code_links_and_lists_stay_as_they_are():
    link = "[it's here](https://e.org/it's)"
    text = f"It's `can't_be - really` at {link}, e.g. now:\n\n- it's one\n- it's two\n\n```\nit's; really\n```"
    plain = plain_version(text, Category.ARTICLE, "en")
    assert plain is not None
    assert "`can't_be - really`" in plain
    assert f"{link}, e.g. now:" in plain
    assert "- it is one\n- it is two" in plain
    assert "it's; really" in plain


def test_a_post_loses_its_line_breaks_and_an_article_keeps_its_paragraphs():
    text = "Nobody called.\n\n- it's late\n- it's cold\n\nI went home, and it rained! 🥖"
    assert plain_version(text, Category.POST, "en") == "Nobody called. It is late. It is cold. I went home. It rained."
    assert "\n\n" in (plain_version(text, Category.ARTICLE, "en") or "")


def test_underlined_headings_and_tables_stay_as_they_are():
    text = "It's a title\n====\n\nIt's one, and it isn't two.\n\na | b\n--- | ---\n1 | 2"
    plain = plain_version(text, Category.ARTICLE, "en")
    assert plain == "It is a title\n====\n\nIt is one. It is not two.\n\na | b\n--- | ---\n1 | 2"


def test_paragraphs_are_one_line_each_and_headings_stay():
    wrapped = "It's a line that an editor wrapped, and it isn't at all short; it's\nthe second of its paragraph."
    heading = "# A heading that nobody would wrap, however long it may be and whatever it says"
    plain = "It is a line that an editor wrapped. It is not at all short. It is the second of its paragraph."
    assert plain_version(f"{wrapped}\n\n{heading}\n{wrapped}\n\nBy Ada\nin May", Category.ARTICLE, "en") == (
        f"{plain}\n\n{heading}\n{plain}\n\nBy Ada in May"
    )


def test_the_last_item_of_a_list_ends_and_a_wrapped_line_goes_on():
    text = """It's a map:

- green at the plug
- green from end to end: the water came in far away and walked along the strands

It's not one that an editor would have wrapped at some sixty characters
or seventy
"""
    assert plain_version(text, Category.POST, "en") == (
        "It is a map: Green at the plug. Green from end to end: the water came in far away and walked along the "
        "strands. It is not one that an editor would have wrapped at some sixty characters or seventy."
    )


def test_there_is_none_for_other_languages_for_code_and_where_little_would_change():
    assert plain_version("Es ist wirklich kalt!", Category.ARTICLE, "de") is None
    assert plain_version("It's really cold!", Category.ARTICLE, None) is None
    assert plain_version("it's = really;", Category.CODE, "en") is None
    assert plain_version("The gauge stood on the pier. It measured the tide.", Category.ARTICLE, "en") is None


@given(st.text(max_size=300), st.sampled_from([Category.ARTICLE, Category.POST]))
def test_any_text_has_a_plain_version_that_differs_or_none(text, category):
    plain = plain_version(text, category, "en")
    assert plain is None or change(text, plain) >= MIN_CHANGE
