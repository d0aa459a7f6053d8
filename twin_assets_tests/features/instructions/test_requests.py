from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_assets.documents import digest
from twin_assets.features.instructions.requests import NOTHING_TO_ASK_BY, language_name, topic_of
from twin_assets.language.prompts import ONLY_THE_BEGINNING, TASKS
from twin_assets_tests.features.instructions.test_examples import LIVELY, PARAGRAPHS, built, document


def test_some_first_pieces_in_train_are_asked_for_by_their_plain_version_and_none_that_is_held_out():
    documents = [document(f"a:f:{n}", LIVELY.format(n=n) * 3, digest(n, 16), category="post") for n in range(60)]
    tasks = {
        split: Counter(row["task"] for row in built(documents, {one["cluster_id"]: split for one in documents})[0])
        for split in ("train", "validation", "test")
    }
    assert 15 < tasks["train"]["rewrite"] < 45
    assert tasks["validation"] == tasks["test"] == {"write": 60}


@pytest.mark.parametrize(
    ("title", "text", "topic"),
    [
        ("Why I like F#", "", "Why I like F#"),
        ("## Knots ##", "", "Knots"),
        (None, "# C# by the sea #\n\nWords.", "C# by the sea"),
        (None, "#rope day", "#rope day"),
    ],
)
def test_a_topic_keeps_the_names_in_it(title, text, topic):
    assert topic_of({"title": title, "text": text}) == topic


def test_a_file_of_one_line_gives_no_error():
    script = "#!/usr/bin/env -S uv run --script --with requests\n"
    rows, rejected = built([document("a:f:x", script, category="code", title="x", language=None)])
    assert len(rows) + sum(rejected.values()) == 1


def test_a_piece_under_a_quotation_is_asked_for_by_the_quotation():
    mine = "That is what the book says, and I have never seen a float that did as the book says it will."
    text = f"{PARAGRAPHS[0]}\n\n> A float never lies, said the keeper of the manual.\n\n{mine}\n"
    rows, rejected = built([document("a:f:x", text, title="Floats")])
    [reply] = [row for row in rows if row["task"] == "reply"]
    assert reply["answer"] == mine
    assert "> A float never lies" in reply["instruction"]
    assert "Floats" in reply["instruction"]
    assert rejected["quoted passage"] == 1


@pytest.mark.parametrize(
    ("above", "quote", "below"),
    [
        (
            "I ran it, and this is the output:",
            "Tide 4.6 m at gauge 1, tide 4.5 m at gauge 2, all is well.",
            "That is high.",
        ),
        (
            "So I prompted it like this:",
            "Read the gauge for me, and tell me how high it stands.",
            "This is what it said.",
        ),
        ("He is right.", "A float never lies.", "This is short."),
        ("Then this:", "**Update**: the float never lied, and so this post is obsolete by now.", "That is old."),
        ("The book says:", "A float never lies, said the keeper of the manual to me.", "Bread is another matter."),
        ("The book says:", "A float never lies, said the keeper to me. " * 30, "That is long."),
    ],
    ids=["output", "a prompt", "a few words", "a note", "the answer is on something else", "longer than is shown"],
)
def test_what_is_set_off_and_is_no_statement_is_not_replied_to(above, quote, below):
    text = f"{PARAGRAPHS[0]}\n\n{above}\n\n> {quote}\n\n{below} {'It goes on and on and says nothing more. ' * 3}\n"
    rows, _ = built([document("a:f:x", text, title="Floats")])
    assert [row["task"] for row in rows if row["answer"].startswith(below)] == ["continue"]


def test_a_held_out_documents_first_piece_is_never_a_rewrite():
    text = "> A float.\n\n" + "It's really odd; well, it isn't at all what I'd have thought, and I can't say why. " * 6
    documents = [document(f"a:f:{n}", f"{text}{chr(97 + n)}", digest(n, 16), title="Floats") for n in range(26)]
    for split in ("train", "test"):
        tasks = {row["task"] for row in built(documents, {digest(n, 16): split for n in range(26)})[0]}
        assert ("rewrite" in tasks) == (split == "train")


def test_a_quotation_in_a_script_without_spaces_is_replied_to():
    quote, reply = (
        "潮位计从不说谎，它只是挂在那里，等着有人来看它一眼，仅此而已。",
        "可是它说了谎，而且说了三年，没有人去看它。",
    )
    text = f"{PARAGRAPHS[0]}\n\n> {quote}\n\n{reply * 4}"
    rows, _ = built([document("a:f:x", text, title="Floats", language=None)])
    assert "reply" in {row["task"] for row in rows}


def test_what_stands_below_a_quotation_is_no_beginning():
    quote = "> A float knows nothing of the moon, and follows it twice a day."
    rows, _ = built([document("a:f:x", f"{quote}\n\n{PARAGRAPHS[0]}\n", title="Floats")])
    [row] = rows
    assert row["task"] == "continue"
    assert quote in row["instruction"]


def test_below_a_picture_or_output_alone_nothing_is_asked_for():
    for above in ("![A float](float.png)", "```\nlevel: a long line that the gauge printed, and nobody wrote\n```"):
        text = f"> {above}\n\n{PARAGRAPHS[0]}\n\n{PARAGRAPHS[1]}"
        rows, rejected = built([document("a:f:x", text.replace("\n", "\n> ", above.count("\n")))], answer_bytes=300)
        assert [row["answer"].strip() for row in rows] == [PARAGRAPHS[1].strip()]
        assert rejected == {"quoted passage": 1, NOTHING_TO_ASK_BY: 1}


def test_code_without_a_comment_or_names_is_not_asked_for_by_its_path_alone():
    code = "".join(f"puts(argv[{n}]);\n" for n in range(9))
    rows, rejected = built([document("a:f:x", code, category="code", title="src/x.rb", language=None)])
    assert (rows, rejected.total()) == ([], 1)
    [row] = built([document("a:f:x", code, category="code", title="Print what is given", language=None)])[0]
    assert "Print what is given" in row["instruction"]


BLOCKS = st.sampled_from(
    [*PARAGRAPHS[:6], "```\n" + "read()\n" * 40 + "```", "    code()\n" * 9, "> quoted", "Here:", "- one"]
)


@settings(deadline=None)
@given(blocks=st.lists(BLOCKS, min_size=6, max_size=16))
def test_what_is_to_be_continued_is_named_and_begins_where_a_part_does(blocks):
    rows, _ = built([document("a:f:x", "\n\n".join(blocks), title="Floats")], answer_bytes=400)
    for row in rows:
        if row["task"] == "continue":
            request, _, before = row["instruction"].partition("\n\n")
            assert "“Floats”" in request
            assert before.count("```") % 2 == 0
            assert before.startswith(("Paragraph", "```\n", "    ", "code()", "> ", "Here", "- "))


def test_phrases_are_named_beside_the_title_and_an_outline_has_whole_points():
    sentence = (
        "Gauge {n} stands on a pier that was built in 1884 by masons of the mainland who never came back to see it"
    )
    text = "\n\n".join(
        f"{sentence.replace('{n}', str(n))}, which is how it is. The pier is Skerrow Pier." for n in range(4)
    )
    rows = [
        row
        for n in range(60)
        for row in built([document(f"a:f:{n}", text, digest(n, 16), title="Stone")])[0]
        if row["task"] == "write"
    ]
    phrases = [row["instruction"] for row in rows if row["template"].startswith("article/phrases")]
    outlines = [row["instruction"] for row in rows if row["template"].startswith("article/outline")]
    assert phrases
    assert all("“Stone”" in one and "pier" in one.lower() for one in phrases)
    assert outlines
    assert all(f"- {sentence.replace('{n}', '1')}\n" in one and "…" not in one for one in outlines)


def test_code_is_asked_for_by_signature_and_comment():
    body = "\n".join(f"    total += {n} * depth  # step {n}" for n in range(12))
    functions = [
        f'def tide_{n}(depth: int) -> int:\n    """Height at gauge {n}."""\n    total = 0\n{body}\n    return total\n'
        for n in range(4)
    ]
    text = '"""Tides."""\n\n' + "\n\n".join(functions)
    rows, _ = built(
        [document("a:f:tide.py", text, category="code", language=None, title="src/tide.py")], answer_bytes=900
    )
    assert [row["task"] for row in rows] == ["code"] * 3 + ["write"]
    assert "def tide_3(depth: int) -> int:" in rows[2]["instruction"]
    assert "Height at gauge 3." in rows[2]["instruction"]
    assert "src/tide.py" in rows[2]["instruction"]
    assert rows[2]["answer"] == functions[3].rstrip("\n")


def test_an_instruction_names_the_language_when_it_is_not_english():
    german = "Der Pegel zeigt seit gestern wieder an, was er soll, und ich weiß nicht, warum das so ist. " * 3
    rows, _ = built([document("a:f:x", german, language="de", title="Der Pegel")])
    assert [row["task"] for row in rows] == ["write"]
    assert "Write in German." in rows[0]["instruction"]
    assert [language_name(code) for code in ("zh", "en", None, "xx-nonsense")] == ["Chinese", None, None, None]


def test_a_piece_longer_than_an_answer_is_asked_for_in_part():
    rows, _ = built([document("a:f:x", "\n\n".join(PARAGRAPHS))], answer_bytes=500)
    [write] = [row for row in rows if row["task"] == "write"]
    assert any(beginning in write["instruction"] for beginning in ONLY_THE_BEGINNING)


def test_no_wording_is_used_more_than_its_share():
    documents = [
        document(
            f"a:f:{n}",
            f"The gauge {n} stood on the old pier {n} for years. " + PARAGRAPHS[n % 12] + PARAGRAPHS[(n + 5) % 12],
            digest(n, 16),
            title=f"Gauge {n}",
        )
        for n in range(600)
    ]
    rows, _ = built(documents)
    by_kind: dict[str, Counter] = {}
    for row in rows:
        kind, _, variant = row["template"].rpartition("/")
        by_kind.setdefault(kind, Counter())[variant] += 1
    assert {"article/title", "article/opening"} <= by_kind.keys()
    for kind, variants in by_kind.items():
        assert len(variants) == len(TASKS[kind])
        assert max(variants.values()) < 1.6 * variants.total() / len(TASKS[kind])


def test_a_stop_inside_a_span_of_code_ends_no_point_of_an_outline():
    text = "\n\n".join(f"Because gauge {n} is read by `read . --now` you can add a flag. It works." for n in range(4))
    outlines = [
        row["instruction"]
        for n in range(40)
        for row in built([document(f"a:f:{n}", text, digest(n, 16))])[0]
        if row["template"].startswith("article/outline")
    ]
    assert outlines
    assert all("- Because gauge 1 is read by read . --now you can add a flag" in one for one in outlines)


def test_an_opening_is_a_whole_sentence():
    text = "Mrs. Hale wrote that gauge No. 2 stood at 1.5 m. " + " ".join(PARAGRAPHS[:3])
    rows, _ = built([document(f"a:f:{n}", f"{text} {n}", digest(n, 16)) for n in range(40)])
    openings = [row["instruction"] for row in rows if row["template"].startswith("article/opening")]
    assert openings
    assert all("“Mrs. Hale wrote that gauge No. 2 stood at 1.5 m.”" in one for one in openings)
