import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from twin_assets.content.chunking import Chunk, Chunker, Tokens
from twin_assets.content.syntax import GRAMMARS
from twin_assets.documents import Category
from twin_assets.language.embedding import load_embedder
from twin_assets.settings import Settings

MAX_TOKENS = 40

PYTHON = textwrap.dedent('''\
    """Reads the gauges."""

    import json


    # The gauge house keeps three of them,
    # and one lies.
    def names():
        return ["float", "liar", "staff"]


    class Gauge:
        """One gauge and what it has said since the last visit."""

        def __init__(self, name, offset_mm):
            self.name = name
            self.offset_mm = offset_mm
            self.levels_mm = []

        @property
        def median(self):
            ordered = sorted(self.levels_mm)
            return ordered[len(ordered) // 2] + self.offset_mm

        def read(self, path):
            with open(path) as file:
                for line in file:
                    level_mm = json.loads(line)["level"]
                    if level_mm is None:
                        print("the gauge said nothing")
                    else:
                        self.levels_mm.append(level_mm)
                    print(self.name, "is at", level_mm, "above datum")
            return self
''')

CODE = {
    "gauge.py": ("def read", "def read(self, path):\n    level = path.read_text()\n    return int(level)\n\n\n"),
    "gauge.js": ("function read", "function read(path) {\n  const level = load(path);\n  return Number(level);\n}\n\n"),
    "gauge.ts": ("read", "const read = (path: string): number => {\n  return Number(load(path));\n};\n\n"),
    "gauge.tsx": (
        "function Gauge",
        "function Gauge(p: Props) {\n  const mm = p.level;\n  return <b>{mm}</b>;\n}\n\n",
    ),
    "gauge.c": ("read()", "static int *\nread(char *path)\n{\n    int level = load(path);\n    return level;\n}\n\n"),
    "gauge.h": (
        "namespace tides",
        "namespace tides {\nclass Gauge {\n  std::string read() const;\n  int zero_mm;\n};\n}\n\n",
    ),
    "gauge.cpp": (
        "Gauge::read()",
        "int &Gauge::read(char *path)\n{\n    int &level = load(path);\n    return level;\n}\n\n",
    ),
    "gauge.go": ("func Read", "func (g Gauge) Read() int {\n\tlevel := load(g.path)\n\treturn level\n}\n\n"),
    "gauge.rs": (
        "impl Read for Gauge",
        "impl Read for Gauge {\n    fn read(&self) -> i32 {\n        self.level\n    }\n}\n\n",
    ),
    "Gauge.java": (
        "interface Gauge",
        "interface Gauge {\n    /** In mm. */\n    int read(String path);\n    int zero();\n}\n\n",
    ),
    "gauge.rb": ("class Gauge", "class Gauge < Thing\n  def read(path)\n    File.read(path).to_i\n  end\nend\n\n"),
    "gauge.sh": ("read_level()", 'read_level() {\n    level=$(cat "$1")\n    echo "$level"\n}\n\n'),
}
"""What a path says of a definition, and the definition: it fits one chunk and two do not, in each language."""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_embedder(Settings(_env_file=None)).tokenizer


@pytest.fixture(scope="module")
def chunker(tokenizer: Tokenizer) -> Chunker:
    return Chunker(Tokens(tokenizer), MAX_TOKENS)


@pytest.fixture(scope="module")
def byte_chunker() -> Chunker:
    """By a byte-level tokenizer: white space has tokens, and a word's tokens depend on the space before it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([PYTHON], trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    return Chunker(Tokens(tokenizer), MAX_TOKENS)


def assert_whole(chunks: list[Chunk], text: str) -> None:
    assert "".join(chunk.text for chunk in chunks) == text
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert [chunk.position for chunk in chunks] == list(range(len(chunks)))
    assert max(chunk.n_tokens for chunk in chunks) <= MAX_TOKENS


TEXT = st.text(alphabet=st.sampled_from("ab cdé\n\n#.`-|>1😀中。 "), min_size=1, max_size=600)
PIECES = [
    "def read():\n", "    return 1\n", "class A:\n", "{\n", "}\n", "  // é\n", "'''", "if (x) {", "int f(void)\n",
    "end\n", "\t", ";", "fi", "\n\n", "中文 ",
]  # fmt: skip
SOURCE = st.lists(st.sampled_from(PIECES), min_size=1, max_size=80).map("".join)
NAMES = st.sampled_from([*CODE, "notes.sql", "unknown"])


@settings(max_examples=150, deadline=None)
@given(text=TEXT, category=st.sampled_from(list(Category)))
def test_chunks_put_together_are_the_text(chunker, text, category):
    assert_whole(list(chunker.chunks(text, category)), text)


@settings(max_examples=200, deadline=None)
@given(text=SOURCE, name=NAMES)
def test_chunks_put_together_are_the_code_whether_it_parses_or_not(chunker, text, name):
    assert_whole(list(chunker.chunks(text, Category.CODE, name)), text)


@settings(max_examples=50, deadline=None)
@given(text=st.one_of(TEXT, SOURCE), category=st.sampled_from(list(Category)))
def test_chunks_fit_by_a_tokenizer_that_counts_a_piece_otherwise_than_the_whole(byte_chunker, text, category):
    assert_whole(list(byte_chunker.chunks(text, category, "gauge.py")), text)


@settings(max_examples=50, deadline=None)
@given(words=st.lists(st.sampled_from(["tide", "gauge", "harbour", "measure", "logbook"]), min_size=1, max_size=200))
def test_no_word_is_cut_and_no_chunk_is_too_long(chunker, words):
    chunks = list(chunker.chunks(" ".join(words), Category.ARTICLE))
    assert [word for chunk in chunks for word in chunk.text.split()] == words
    assert max(chunk.n_tokens for chunk in chunks) <= MAX_TOKENS


def test_no_text_has_no_chunks(chunker):
    assert list(chunker.chunks("", Category.CODE, "gauge.py")) == []


def test_white_space_alone_is_never_a_chunk_beside_others(chunker):
    text = "\n\n\n" + "A sentence of six words here. " * 20 + "\n" * 50
    assert all(chunk.text.strip() for chunk in chunker.chunks(text, Category.ARTICLE))


# Articles


def test_a_chunk_carries_the_headings_above_it(chunker):
    text = "# Tides\n\n" + "Intro words here. " * 20 + "\n\n## Gauges\n\n" + "They drift and lie. " * 20
    paths = [chunk.heading_path for chunk in chunker.chunks(text, Category.ARTICLE)]
    assert paths[0] == "Tides"
    assert paths[-1] == "Tides > Gauges"


def test_a_chunk_that_begins_inside_a_section_carries_its_path_even_when_the_next_begins_in_it(chunker):
    text = "## Gauges\n\n" + "They drift and they lie to me. " * 5 + "Yes.\n\n## Rain\n\nNone.\n"
    chunks = list(chunker.chunks(text, Category.ARTICLE))
    assert "Rain" in chunks[-1].text
    assert chunks[-1].text.strip().startswith("They drift")
    assert {chunk.heading_path for chunk in chunks} == {"Gauges"}


def test_underlined_headings_count_and_marks_around_headings_do_not(chunker):
    text = "Tides\n=====\n\n" + "Intro words. " * 20 + "\n\n## Gauges ##\n\n" + "They drift. " * 20
    paths = [chunk.heading_path for chunk in chunker.chunks(text, Category.ARTICLE)]
    assert (paths[0], paths[-1]) == ("Tides", "Tides > Gauges")


@pytest.mark.parametrize(
    ("heading", "label"),
    [("# C#", "C#"), ("# F# ##", "F#"), ("C #\n===", "C #"), ("# Tides\t#  ", "Tides"), ("# Issue #12", "Issue #12")],
)
def test_a_heading_ends_in_marks_only_behind_a_space(chunker, heading, label):
    chunks = chunker.chunks(f"{heading}\n\n" + "They drift. " * 20, Category.ARTICLE)
    assert {chunk.heading_path for chunk in chunks} == {label}


def test_a_comment_in_a_code_block_is_no_heading(chunker):
    text = "# Real\n\n```\n# not a heading\n```\n\n" + "after the block " * 30
    assert {chunk.heading_path for chunk in chunker.chunks(text, Category.ARTICLE)} == {"Real"}


@pytest.mark.parametrize(
    "block",
    [
        "```sh\ncat gauge.log\n\ngrep -c liar gauge.log\n\nsort -n gauge.log\n```\n",
        "| gauge | lies by |\n| --- | --- |\n| float | 2 mm |\n| liar | 33 mm |\n",
        "- The float, which sticks.\n  In winter it freezes.\n\n- The liar.\n",
        "> Read it out.\n>\n> Then write it down, and not the other way round.\n",
    ],
    ids=["fence", "table", "list", "quotation"],
)
def test_a_block_that_fits_is_not_cut(chunker, block):
    text = "A paragraph of some length comes first. " * 3 + "\n\n" + block + "\n" + "And one comes after it. " * 5
    assert any(block.strip() in chunk.text for chunk in chunker.chunks(text, Category.ARTICLE))


def test_a_long_list_is_cut_between_its_items(chunker):
    items = [f"- Item {n} says that the gauge\n  was read by eye.\n" for n in range(12)]
    chunks = list(chunker.chunks("".join(items), Category.ARTICLE))
    assert len(chunks) > 1
    assert all(chunk.text.startswith("- Item") for chunk in chunks)


def test_a_heading_is_never_left_behind_by_its_paragraph(chunker):
    text = "".join(f"## Gauge {n}\n\n" + "It drifts a little more each winter. " * 5 + "\n\n" for n in range(5))
    assert not any(
        chunk.text.strip().split("\n")[-1].startswith("#") for chunk in chunker.chunks(text, Category.ARTICLE)
    )


def test_a_heading_inside_a_quotation_or_a_fence_opens_no_section(chunker):
    text = "# Real\n\n> # Quoted\n> They said so.\n\n```markdown\n# Fenced\n" + "words " * 60 + "\n```\n"
    assert {chunk.heading_path for chunk in chunker.chunks(text, Category.ARTICLE)} == {"Real"}


def test_long_fenced_code_is_cut_as_the_code_that_it_is(chunker):
    text = "# Reading\n\nThe program:\n\n```python\n" + PYTHON + "```\n"
    chunks = list(chunker.chunks(text, Category.ARTICLE))
    paths = {chunk.heading_path for chunk in chunks}
    assert "Reading > class Gauge > def read" in paths


# Posts


def test_a_short_post_stays_whole(chunker):
    text = "One line.\n\nAnother line.\n\n#tides 🌊\n"
    assert [chunk.text for chunk in chunker.chunks(text, Category.POST)] == [text]


def test_a_long_post_is_cut_at_the_ends_of_paragraphs_and_sentences(chunker):
    paragraph = "The float says 2.114 m. The liar says more, e.g. 33 mm more! Who is right?"
    text = "\n\n".join([paragraph, paragraph, paragraph * 3, paragraph])
    chunks = list(chunker.chunks(text, Category.POST))
    assert len(chunks) > 3
    assert all(chunk.text.rstrip()[-1] in ".!?" for chunk in chunks)
    assert not any(chunk.text.rstrip().endswith("e.g.") for chunk in chunks)


def test_chinese_is_cut_at_the_ends_of_its_sentences(chunker):
    chunks = list(chunker.chunks("潮位计在冬天总是不准。我每天早上用眼睛读水尺。" * 10, Category.POST))
    assert len(chunks) > 3
    assert all(chunk.text.endswith("。") for chunk in chunks)


# Code


def test_code_carries_its_file_and_what_encloses_it(chunker):
    chunks = list(chunker.chunks(PYTHON, Category.CODE, "tides/gauge.py"))
    paths = [chunk.heading_path for chunk in chunks]
    assert paths[0].startswith("tides/gauge.py")
    assert paths[-1] == "tides/gauge.py > class Gauge > def read"
    median = next(chunk for chunk in chunks if "def median" in chunk.text)
    assert "@property\n    def median" in median.text
    assert "class Gauge" in median.heading_path


def test_a_comment_stays_with_what_it_is_about(chunker):
    chunks = [chunk.text for chunk in chunker.chunks(PYTHON, Category.CODE, "tides/gauge.py")]
    assert any("# The gauge house" in text and "def names" in text and "staff" in text for text in chunks)


def test_a_long_function_is_cut_before_a_statement_and_keeps_its_head(chunker):
    chunks = [chunk for chunk in chunker.chunks(PYTHON, Category.CODE, "tides/gauge.py") if "def read" in chunk.text]
    assert "def read(self, path):\n        with open(path)" in chunks[0].text
    assert all(chunk.text.endswith("\n") for chunk in chunks)


@pytest.mark.parametrize("name", list(CODE))
def test_a_definition_that_fits_is_not_cut_and_names_its_chunk(chunker, name):
    path, source = CODE[name]
    chunks = list(chunker.chunks(source * 4, Category.CODE, name))
    assert [chunk.text for chunk in chunks] == [source] * 4
    assert {chunk.heading_path for chunk in chunks} == {f"{name} > {path}"}


def test_every_grammar_is_covered_by_a_test():
    assert len(GRAMMARS) == 11  # markdown, and what CODE holds: TSX and C++ headers by their language's second grammar


def test_a_language_without_grammar_is_cut_at_blank_lines_and_says_no_more_than_its_file(chunker):
    form = "(defun tides-read (path)\n  (with-temp-buffer\n    (insert-file-contents path)\n\n    (buffer-string)))\n\n"
    chunks = list(chunker.chunks(form * 4, Category.CODE, "tides.el"))
    assert [chunk.text for chunk in chunks] == [form] * 4
    assert {chunk.heading_path for chunk in chunks} == {"tides.el"}


def test_what_does_not_parse_is_cut_at_line_ends(chunker):
    text = "))) def ((( this is no code at all, not even nearly\n" * 20
    chunks = list(chunker.chunks(text, Category.CODE, "broken.py"))
    assert len(chunks) > 1
    assert all(chunk.text.endswith("\n") for chunk in chunks)
    assert {chunk.heading_path for chunk in chunks} == {"broken.py"}


def test_a_script_without_an_extension_is_known_by_its_first_line(chunker):
    text = "#!/bin/sh\n" + CODE["gauge.sh"][1] * 4
    assert list(chunker.chunks(text, Category.CODE, "bin/gauge"))[-1].heading_path == "bin/gauge > read_level()"


def test_an_expression_as_deep_as_it_is_long_is_no_stack_overflow(chunker):
    text = "level = (\n" + " +\n".join(["1"] * 3000) + "\n)\n"
    assert_whole(list(chunker.chunks(text, Category.CODE, "deep.py")), text)
