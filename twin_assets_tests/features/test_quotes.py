import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_assets.documents import Category
from twin_assets_tests.features.conftest import own_words

ARTICLE, POST = Category.ARTICLE, Category.POST


def test_a_block_quote_leaves_and_the_words_around_it_stay_as_they_are():
    text = "She wrote:\n\n> The tide\n> waits.\n\nI do not.\n"
    assert own_words(text, ARTICLE) == "She wrote:\n\nI do not.\n"


def test_nested_quotes_and_lines_that_continue_a_quote_without_a_mark_leave():
    text = "Mine.\n\n> Theirs.\n>\n> > A third's.\n>\n> Theirs again,\ngoing on unmarked.\n\nMine again.\n"
    assert own_words(text, ARTICLE) == "Mine.\n\nMine again.\n"


def test_a_quote_inside_a_list_leaves_and_takes_its_empty_item_along():
    text = "- Mine one\n- > Theirs\n- Mine two\n\n  > Theirs below\n\n1. \n   > Theirs only\n2. Mine three\n"
    assert own_words(text, ARTICLE) == "- Mine one\n- Mine two\n\n2. Mine three\n"


@pytest.mark.parametrize(
    "code",
    [
        "```\n> prompt\n>>> 1 + 1\n```",
        "~~~sh\ncat a \\\n> b\n~~~",
        "    > indented\n    > code",
        "- item\n\n  ```\n  > x\n  ```",
    ],
)
def test_a_mark_inside_code_is_code(code):
    text = f"Run it:\n\n{code}\n\n> But this is theirs.\n\nDone.\n"
    assert own_words(text, ARTICLE) == f"Run it:\n\n{code}\n\nDone.\n"


def test_code_inside_a_quote_is_theirs():
    assert own_words("> ```\n> their()\n> ```\n\nMine.\n", ARTICLE) == "Mine.\n"


def test_quoted_mail_leaves_with_the_line_that_introduces_it():
    text = "Thanks!\n\nOn Mon, 3 May 2021 at 10:00, Ada Example wrote:\n> Is it in?\n>\n> Ada\n\nIt is in.\n"
    assert own_words(text, POST) == "Thanks!\n\nIt is in.\n"


@pytest.mark.parametrize(
    "below",
    [
        "-----Original Message-----\nTheirs.",
        "Begin forwarded message:\n\nTheirs.",
        "From: Ada\nSent: Monday\nTo: Jo\nSubject: tide\n\nTheirs.",
    ],
)
def test_what_stands_below_an_answer_in_a_mail_is_theirs(below):
    assert own_words(f"My answer.\n\n{below}\n", ARTICLE) == "My answer.\n"
    assert own_words(f"A sample:\n\n```\n{below}\n```\n", ARTICLE) == f"A sample:\n\n```\n{below}\n```\n"


@pytest.mark.parametrize(
    "epigraph",
    [
        "“The sea is never full.”\n— Ecclesiastes",
        "*The sea is never full.*\n\n— Ecclesiastes",
        '"The sea is never full." -- Ecclesiastes 1:7',
        "> The sea is never full.\n\n— *Ecclesiastes*",
    ],
)
def test_an_epigraph_leaves_with_the_name_below_it(epigraph):
    text = f"# Tides\n\n{epigraph}\n\nI keep a gauge.\n"
    assert own_words(text, ARTICLE) == "# Tides\n\nI keep a gauge.\n"


@pytest.mark.parametrize(
    "own",
    [
        "“Quoted” words — and mine after them, which are longer than a name would ever be, so they have to stay.",
        "I said “no” — Ada laughed.",
        "*Emphasis* of mine.\n\n— but a dash begins this sentence, and it is much too long for a name.",
        "Five is more than four: 5 > 4.",
        "— 12 mm was the reading",
        "<b>Bold</b> and `<blockquote>` in passing.",
    ],
)
def test_the_authors_own_quotation_marks_and_dashes_stay(own):
    text = f"Before.\n\n{own}\n\nAfter.\n"
    assert own_words(text, ARTICLE) == text


def test_a_raw_blockquote_leaves_up_to_its_end():
    text = "Mine.\n\n<blockquote>\n<p>Theirs.</p>\n\nTheirs too.\n\n</blockquote>\n\nMine again.\n"
    assert own_words(text, ARTICLE) == "Mine.\n\nMine again.\n"
    text = "<div>\n<blockquote>Theirs.</blockquote>\n<p>Mine.</p>\n<blockquote>Theirs.</blockquote>\n</div>\n"
    assert own_words(text, ARTICLE) == "<div>\n<p>Mine.</p>\n</div>\n"


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("RT @ada: the tide waits\n", ""),
        ("So true!\n\nAs I said. RT @ada: the tide waits\n", "So true!\n"),
        ("“RT @ada the tide waits”\n", ""),
        ("The RT @ada gave me made my day\n", "The RT @ada gave me made my day\n"),
        ("First line 🌊\n\n#tides @ada\n", "First line 🌊\n\n#tides @ada\n"),
    ],
)
def test_a_repost_is_theirs_and_the_comment_before_it_is_mine(text, own):
    assert own_words(text, POST) == own


def test_a_text_of_quotes_alone_has_no_words_of_the_author():
    assert own_words("> Theirs.\n\n> And theirs.\n", ARTICLE) == ""


def test_a_line_that_breaks_above_quoted_mail_stays():
    text = "I went to see.  \nIt was gone.  \n-----Original Message-----\nGo and see.\n"
    assert own_words(text, ARTICLE) == "I went to see.  \nIt was gone.  \n"


LINES = st.sampled_from(
    ["mine", "> theirs", "", "- mine", "- > theirs", "```", "    mine", "# mine", "— mine", "\tmine", "1. mine"]
)


@given(st.lists(LINES, max_size=12))
def test_own_words_are_lines_of_the_text_in_order_and_taking_them_twice_changes_nothing(lines):
    text = "\n".join(lines)
    own = own_words(text, ARTICLE)
    rest = iter(text.split("\n"))
    assert all(line in rest for line in own.split("\n")[:-1])
    if "```" not in lines:
        assert "> theirs" not in own.replace("    ", "")
