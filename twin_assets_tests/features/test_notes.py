import pytest

from twin_assets.documents import Category
from twin_assets.features.cleaning import clean
from twin_assets_tests.conftest import raw
from twin_assets_tests.features.conftest import own_words


def cleaned(text: str) -> str:
    return clean(raw("a", text)).rstrip("\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Seen %%hidden%% here.", "Seen  here."),
        ("Seen.\n\n%%\nhidden\n\nstill hidden\n%%\n\nSeen too.", "Seen.\n\nSeen too."),
        ("Seen.\n\n%% hidden\n\n```\nhidden\n```\n%%\n\nSeen too.", "Seen.\n\nSeen too."),
        ("- one %%hidden\nstill hidden%%\n- two", "- one\n- two"),
        ("Seen ^%%hidden%%", "Seen ^"),
    ],
)
def test_a_comment_of_a_note_is_gone(text, expected):
    assert cleaned(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Write `%%x%%` for it.",
        "```\nfor %%i in (*) do echo %%i\n```\n\nA loop.",
        "```\n%%\n```\n\nA cell of 50%% here.",
        "It is 20%% of one.\n\nAnd 30%% of another.",
    ],
)
def test_two_percent_signs_elsewhere_are_no_comment(text):
    assert cleaned(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See [[tides|the tide table]].", "See the tide table."),
        ("See [[tides]] and [[tides#Ebb]], [[#Flood]].", "See tides and tides > Ebb, Flood."),
        ("See [[tides#^37066d|this line]] and [[tides#^37066d]].", "See this line and tides."),
        ("| a |\n| --- |\n| [[tides\\|table]] |", "| a |\n| --- |\n| table |"),
        ("One.\n\n![[wall.jpg]]\n\nTwo ![[gauge.png|300]].", "One.\n\nTwo ."),
        ("A thought. ^37066d\n\nAnother. ^my-thought\n\n- item ^a1b2c3", "A thought.\n\nAnother.\n\n- item"),
        ("- item\n\n^list-id\n\nEnd.", "- item\n\nEnd."),
        ("It is ==marked well== here.", "It is marked well here."),
    ],
)
def test_links_embeds_and_marks_of_a_note_are_what_its_reader_sees(text, expected):
    assert cleaned(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Write `[[page|label]]` and `![[x.jpg]]`.",
        "```sh\nif [[ -f x ]]; then [[ a == b ]]; fi # ^my-id\n```\n\nText.",
        "A source [[1]](https://a.example/x) for it.",
        "The area is x ^2",
        "If a == b and c == d, or a==b==c.",
        "A list [[ 1, 2 ]] of it.",
    ],
)
def test_brackets_and_signs_that_are_no_syntax_of_notes_stay(text):
    assert cleaned(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("> [!WARNING]\n> Mind the step.\n> It is wet.", "**Warning**\n\nMind the step.\nIt is wet."),
        ("Before.\n> [!tip]- Read on\n> Mine.\n\nAfter.", "Before.\n\n**Read on**\n\nMine.\n\nAfter."),
        ("> [!note] A title alone", "**A title alone**"),
        ("> [!question] Q?\n> Mine.\n> > [!todo] T\n> > Mine too.", "**Q?**\n\nMine.\n\n**T**\n\nMine too."),
        ("> [!example]\n> ```go\n> a()\n> ```", "**Example**\n\n```go\na()\n```"),
        ("> [!info]\n> Mine.\n---\nMore.", "**Info**\n\nMine.\n\n---\nMore."),
        ("> [!my-type|meta] T\n> - one\n> - two", "**T**\n\n- one\n- two"),
    ],
)
def test_a_callout_holds_the_authors_own_words(text, expected):
    assert cleaned(text) == expected
    assert own_words(cleaned(text) + "\n", Category.ARTICLE).strip() == expected


@pytest.mark.parametrize(
    "text",
    [
        "> Theirs.",
        "> [!quote] Ada\n> Theirs.",
        "> [!CITE]\n> Theirs.",
        "> Theirs.\n>\n> > [!note]\n> > Theirs.",
        "> [!note]\n> > Theirs.",
    ],
)
def test_a_quote_stays_a_quotation_in_and_around_callouts(text):
    own = own_words(clean(raw("a", f"Mine.\n\n{text}\n\nMine.\n")), Category.ARTICLE)
    assert "Theirs" not in own
    assert own.count("Mine.") == 2


def test_a_callout_that_code_shows_is_code():
    text = "```\n> [!WARNING]\n> Mind.\n```\n\nSo it is written."
    assert cleaned(text) == text


def test_two_callouts_and_a_quote_keep_their_order():
    text = "> [!tip]\n> One.\n\n> Theirs.\n\n> [!tip]\n> Two.\n"
    assert cleaned(text) == "**Tip**\n\nOne.\n\n> Theirs.\n\n**Tip**\n\nTwo."
