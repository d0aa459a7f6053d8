from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_assets.documents import Category
from twin_assets.features.instructions.answers import answers, pieces
from twin_assets.features.instructions.boilerplate import boilerplate, paragraphs

SIGN_OFF = "Thanks for reading! Subscribe for 1 letter a week."
MINE = "The float hung on its chain in the salt, and nobody had looked at it since the spring."
BEGINNING = (
    f"{MINE} The chain was as green as the salt would let it be. The nail that it hung from had begun to move, which "
    "nobody saw either, since the door stood open."
)


def shared_by(texts):
    return boilerplate([[counted for _, counted in paragraphs(text)] for text in texts])


def found(text, category="article", language="en", max_bytes=1500, shared=(), title="x"):
    rejected: Counter[str] = Counter()
    document = {"text": text, "category": category, "language": language, "title": title}
    return answers(document, max_bytes, shared, rejected), +rejected


@given(text=st.text(alphabet="ab \n\n.é", max_size=800), limit=st.integers(min_value=20, max_value=200))
def test_pieces_fit_and_lose_no_word(text, limit):
    for category in Category:
        cut = pieces(text, limit, category)
        assert all(len(piece.encode()) <= limit and piece in text for piece in cut)
        assert "".join("".join(cut).split()) == "".join(text.split())


BLOCKS = st.lists(
    st.sampled_from([MINE, "> quoted words of another", "- a list", "", "    code", SIGN_OFF, "「引用」", "A #tag 🥖"]),
    max_size=12,
)


@settings(deadline=None)  # the first call loads what tells languages apart
@given(blocks=BLOCKS, joint=st.sampled_from(["\n", "\n\n"]), category=st.sampled_from(["article", "post"]))
def test_every_answer_stands_in_the_text_where_it_says(blocks, joint, category):
    text = joint.join(blocks)
    for answer in found(text, category)[0]:
        assert text[answer.start :].startswith(answer.text)


def test_quotes_are_no_answers_and_part_what_stands_around_them():
    text = f"{BEGINNING}\n\n> A float never lies.\n>\n> It hangs.\n\nNow comes what I say to that, at some length.\n"
    first, second = found(text)[0]
    assert first.text == BEGINNING
    assert second.text.startswith("Now comes")
    assert second.quote == "> A float never lies.\n>\n> It hangs."
    assert found("> All of it is quoted, every word of it.\n")[0] == []
    assert found("> All of it is quoted, every word of it.\n")[1] == {"quoted passage": 1}


def test_a_quoted_line_that_the_author_says_again_is_not_taken_for_theirs():
    mine = "I agree with every word of this, and always did."
    quote = f"<blockquote>\nA quote, at length.\n\n{mine}\n\nIts end.\n</blockquote>"
    [answer] = found(f"{quote}\n\n{mine}\n")[0]
    assert (answer.text, answer.quote, answer.start) == (mine, quote, len(quote) + 2)


def test_two_quotations_above_one_answer_are_one():
    first, second = "> A float never lies.", "> It hangs by its chain."
    [answer] = found(f"{first}\n\n\n{second}\n\n{MINE}\n")[0]
    assert (answer.text, answer.quote) == (MINE, f"{first}\n\n\n{second}")


def test_a_sign_off_that_many_documents_share_is_rejected_whatever_its_numbers():
    texts = [f"{MINE} {name}\n\n{SIGN_OFF.replace('1', str(n))}\n" for n, name in enumerate("abcd")]
    shared = shared_by(texts)
    answered, rejected = found(texts[0], shared=shared)
    assert [answer.text for answer in answered] == [f"{MINE} a"]
    assert rejected == {"paragraph that many documents share": 1}


def test_hashtags_code_and_repeated_middles_are_no_boilerplate():
    middle = "\n\n".join(["One.", "Two.", "Three.", "For example:", "Four.", "Five.", "Output:", "Six."])
    texts = [
        f"{n}\n\n{middle.replace('.', f' {chr(97 + n)}.')}\n\n    make install\n\n#tides #fieldnotes\n"
        for n in range(5)
    ]
    assert shared_by(texts) <= {"0"}, "only the number that heads each"


def test_lists_of_link_targets_are_nobodys_writing():
    answered, rejected = found(f"{MINE} See [the book][b].\n\n[b]: https://example.org/book\n[c]: /blog/c/\n")
    assert [answer.text for answer in answered] == [f"{MINE} See [the book][b]."]
    assert rejected == {"list of link targets": 1}


def test_what_is_rejected_is_counted_by_its_reason():
    french = (
        "Il fait froid ce matin sur le port et personne ne veut monter à l'échelle pour lire la jauge. " * 3
        + "Et voilà."
    )
    english = (
        "It is cold this morning at the harbour and nobody wants to go up the ladder to read it. " * 3 + "So it is."
    )
    text = f"{english}\n\n> a quotation\n\n{french}\n\n> another\n\nShort.\n\n> a third\n\ndata:{'QUJD' * 200}\n"
    answered, rejected = found(text)
    assert [answer.text for answer in answered] == [english]
    assert rejected == {
        "answer in another language than its document": 1,
        "answer under 40 bytes": 1,
        "answer holds data, not writing": 1,
        "quoted passage": 3,
    }


def test_code_is_cut_at_definitions_and_all_of_it_is_an_answer():
    functions = [f"def f{n}(x):\n    y = x + {n}\n    return y * {n}\n" for n in range(9)]
    calls = "".join(f"print(f{n}(os.getpid()), 'a last line of the file')\n" for n in range(3))
    text = "import os\n\n\n" + "\n\n".join(functions) + f"\n\n{calls}"
    answered, _ = found(text, "code", None, max_bytes=160, title="f.py")
    assert answered[0].text.startswith("import os")
    assert all(answer.text.startswith(("import", "def f", "print")) for answer in answered)
    assert "".join("".join(answer.text for answer in answered).split()) == "".join(text.split())
    call = "\n\nprint(f0(os.getpid()), 'and that is the last line of it')\n"
    assert found("import os\n\n\n" + "\n\n".join(functions) + call, "code", None, max_bytes=160, title="f.py")[1] == {
        "code between definitions under 120 bytes": 1
    }


def test_tables_of_numbers_are_data_and_arithmetic_is_code():
    table = "\n".join(f"    {{0x{n:02x}, 0x10, {n}, 0b1, 7u}}," for n in range(20))
    rounds = "\n".join(f"a += (b<<5 | b>>27) + w[{n}] + ((c&d) | (~c&e)) + m1;" for n in range(20))
    assert found(table, "code", None) == ([], {"answer holds data, not writing": 1})
    assert [answer.text for answer in found(rounds, "code", None)[0]] == [rounds]


def test_an_answer_does_not_end_in_what_leads_up_to_something_else():
    leads = "And then the second gauge reported its own number, which was:"
    text = (
        f"{BEGINNING}\n\n> one\n\n{leads}\n\n> two\n\n{MINE} It says:\n\n> three\n\n{MINE}\n\n## What it says\n\n> four"
    )
    answers, rejected = found(text)
    assert [answer.text for answer in answers] == [BEGINNING, MINE, MINE]
    assert rejected == {"quoted passage": 4, "line that leads up to what is left out": 3}
    with_code = f"{leads}\n\n    7.2"
    assert [answer.text for answer in found(with_code)[0]] == [with_code]


CODE_BLOCKS = [f"```\n{code}```" for code in ("a = 1\n" * 30, "b = 2\n\nc = 3\n", "# d\nd = 4\n")]


@settings(deadline=None)
@given(
    blocks=st.lists(
        st.sampled_from([*CODE_BLOCKS, MINE, "- one\n- two", "> quoted", "It is:"]),
        max_size=9,
    )
)
def test_no_answer_is_cut_in_a_block_of_code(blocks):
    for answer in found("\n\n".join(blocks), max_bytes=150)[0]:
        assert answer.text.count("```") % 2 == 0
        assert "a = 1" not in answer.text, "it is longer than an answer"
        assert not answer.text.endswith(":")


def test_code_too_long_for_an_answer_and_notes_above_a_piece_are_rejected():
    code = "\n".join(f"    line {n}" for n in range(200))
    text = f"*This article was discussed [on a forum][f].*\n\n{BEGINNING} Here:\n\n{code}\n\n{MINE}"
    answers, rejected = found(text)
    assert [answer.text for answer in answers] == [BEGINNING, MINE]
    assert rejected == {
        "block of code longer than an answer": 1,
        "line that leads up to what is left out": 1,
        "note on the piece above it": 1,
    }


def test_what_announces_a_list_that_is_cut_off_is_left_to_what_comes_before_it():
    points = "\n".join(
        f"{n}. The point numbered {n} is made at some length, so that not all of them fit." for n in range(1, 9)
    )
    text = f"{BEGINNING}\n\nThere are eight things to be said of it.\n\n{points}"
    first, *rest = found(text, max_bytes=280)[0]
    assert first.text == BEGINNING
    assert "".join(answer.text for answer in rest).count("The point") == 8


C = "int f{n}(void)\n{\n    return {n};\n}\n\n"
PYTHON = "def f{n}(x):\n    y = x + {n}\n    return y\n\n\n"
CALLS = "\n".join(f"call({n}, 'the gauge of the old pier')" for n in range(5))


@pytest.mark.parametrize(
    ("name", "function", "incomplete"),
    [
        ("a.py", PYTHON, f"levels = [\n{CALLS.replace(')', '),')}"),
        ("a.py", PYTHON, f"{CALLS}\n\n@parametrize('x', ['a', 'b'])"),
        ("a.c", C, "#if _WIN32\n" + CALLS.replace("'", '"').replace("\n", ";\n") + ";"),
        ("a.py", PYTHON, CALLS.replace("call", "import call")),
    ],
    ids=["a list", "a decorator", "a condition", "imports"],
)
def test_code_that_is_cut_in_what_belongs_together_is_no_answer(name, function, incomplete):
    functions = "".join(function.replace("{n}", str(n)) for n in range(9))
    answered, rejected = found(f"{functions}{incomplete}\n", "code", None, max_bytes=280, title=name)
    assert rejected["code that is cut inside what belongs together"] == 1
    assert all("the gauge" not in answer.text for answer in answered)
    whole, _ = found(f"{functions}{CALLS}\n", "code", None, max_bytes=280, title=name)
    assert whole[-1].text == CALLS


def test_what_is_only_a_table_or_code_is_nobodys_writing():
    table = "| gauge | level |\n| --- | --- |\n" + "\n".join(f"| number {n} | {n} |" for n in range(9))
    code = "```\n" + "\n".join(f"gauge({n})" for n in range(30)) + "\n```"
    for only in (table, code):
        assert found(only) == ([], {"answer with hardly any prose": 1})
        assert [answer.text for answer in found(f"{MINE}\n\n{only}")[0]] == [f"{MINE}\n\n{only}"]


JAVA = "class Gauge {\n" + "".join(
    f"    /** The level {n}. */\n    int level{n}() {{\n        return read({n}) * scale;\n    }}\n\n" for n in range(9)
)
WHOLE_FILES = {
    "a.py": "def middle(a, b):\n    return max(a // b, (a + 1) // 2)  # not :-)\n\n\n" + "print(middle(1, 2))\n" * 9,
    "a.rs": "fn first<'a>(x: &'a str, y: &'a str) -> &'a str { // 1)\n    x\n}\n" + "fn g() {\n    h()\n}\n" * 9,
    "a.c": "void level(int gauge)\n{\n    set(gauge, ')');\n    --gauge;\n    set(gauge, '(');\n    if (gauge) {\n"
    "        report(gauge, minutes);\n    }\n}\n\n" + "read(gauge);\n" * 12 + "--gauge;\n",
    "a.js": "function level(gauge) {\n  set(gauge, 'one (')\n  report(gauge, 'and ) another')\n  return gauge\n"
    "  // that is all of it :-)\n}\n\n" + "level('(1')\n" * 12,
    "a.sh": "case $1 in\n    start) run ;;\n    stop) halt ;;\nesac\n" + "read_gauge 1\nread_gauge 2\n" * 9,
    "a.lua": "function f(x) -- 1) read\n    return x\nend\n\n" + "print(f(1))\nprint(f(2))\n" * 9,
}


def test_the_methods_of_a_class_too_long_are_asked_for_one_by_one():
    answered, _ = found(f"{JAVA}}}\n", "code", None, max_bytes=400, title="Gauge.java")
    assert [answer.definition.comment for answer in answered if answer.definition] == [
        f"The level {n}." for n in range(9)
    ]


@pytest.mark.parametrize("name", WHOLE_FILES)
def test_marks_of_comments_and_quotes_are_those_of_the_language(name):
    answered, rejected = found(WHOLE_FILES[name], "code", None, max_bytes=180, title=name)
    assert "code that is cut inside what belongs together" not in rejected
    assert answered[0].starts_document
    assert answered[-1].text.endswith(WHOLE_FILES[name].rstrip().splitlines()[-1])


def test_notes_are_dated_or_say_where_a_piece_is_discussed_and_nothing_else_is_one():
    notes = ["*Update June 2017*: it moved.", "Update: it moved.", "*This article was [discussed here][h].*"]
    own = ["Update your router before you read on, as I did not.", "This article was a long time coming, I must admit."]
    for note in notes:
        assert [answer.text for answer in found(f"{note}\n\n{MINE}")[0]] == [MINE]
    for text in own:
        assert [answer.text for answer in found(f"{text}\n\n{MINE}")[0]] == [f"{text}\n\n{MINE}"]


def test_a_question_that_is_answered_further_down_is_rejected():
    asks = f"{BEGINNING} But what had it read until then?"
    assert [answer.text for answer in found(f"{asks}\n\n> one\n\n{MINE}")[0]] == [BEGINNING, MINE]
    assert [answer.text for answer in found(f"{BEGINNING} For the numbers see below.\n\n> one")[0]] == [BEGINNING]
    assert [answer.text for answer in found(asks)[0]] == [asks]


def test_code_that_breaks_off_within_a_long_function_is_rejected():
    rows = "".join(f"    level[{n}] = read_gauge({n}, harbour, tide, clock);\n" for n in range(60))
    before, after = C.replace("f{n}", "level_of_the_first_gauge"), C.replace("f{n}", "level_of_the_second_gauge")
    top = "#include <stdio.h>\n#include <stdlib.h>\n\nstruct gauge { int level; char *name; struct gauge *next; };\n\n"
    text = f"{top}{before}int long_one(void)\n{{\n{rows}    return 0;\n}}\n\n{after}"
    answered, rejected = found(text, "code", None, max_bytes=400, title="x.c")
    assert rejected["part of a definition longer than an answer"] > 5
    assert not any("level[" in answer.text for answer in answered)
    assert any("level_of_the_second_gauge" in answer.text for answer in answered)


def test_a_sentence_is_cut_off_whole_and_not_at_an_initial():
    cut = "I read it in D. R. Hipp and in No. 2 of the journal, which says this:"
    assert [answer.text for answer in found(f"{BEGINNING} {cut}\n\n> one")[0]] == [BEGINNING]
    in_link = f"{BEGINNING} [1.5. Clauses](https://e.org/a.b) of it. In `a. b` and (c. d) it says:"
    assert [answer.text for answer in found(f"{in_link}\n\n> one")[0]] == [in_link.partition(" In `a")[0]]
    in_code = f"```\n>>> read('First?')\n```\n{BEGINNING} {cut}"
    assert [answer.text for answer in found(f"{in_code}\n\n> one")[0]] == [in_code.removesuffix(f" {cut}")]


def test_an_answer_says_whether_the_document_begins_and_ends_with_it():
    sign_off = f"{MINE}\n\n{SIGN_OFF}"
    [whole] = found(sign_off, shared=shared_by([f"{n}{sign_off}" for n in range(3)]))[0]
    assert (whole.starts_document, whole.ends_document) == (True, True)
    below, last = found(f"> quoted\n\n{MINE}\n\n> quoted\n\n{MINE}")[0]
    assert (below.starts_document, below.ends_document, last.starts_document, last.ends_document) == (
        False,
        False,
        False,
        True,
    )
    long = "```\n" + "a = 1\n" * 300 + "```"
    [after] = found(f"This is what it read, in full, before it broke:\n\n{long}\n\n{MINE}")[0][-1:]
    assert not after.starts_document
