import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_assets.content.chunking import Chunker
from twin_assets.documents import Category
from twin_assets.language.embedding import load_embedder
from twin_assets.settings import Settings


@pytest.fixture(scope="module")
def chunker() -> Chunker:
    return Chunker(load_embedder(Settings(_env_file=None)).tokenizer, 40)


TEXT = st.text(alphabet=st.sampled_from("ab cdé\n\n#.`-😀中 "), min_size=1, max_size=600)


@settings(max_examples=150, deadline=None)
@given(text=TEXT, category=st.sampled_from(list(Category)))
def test_chunks_put_together_are_the_text(chunker, text, category):
    chunks = list(chunker.chunks(text, category))
    assert "".join(chunk.text for chunk in chunks) == text
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert [chunk.position for chunk in chunks] == list(range(len(chunks)))


@settings(max_examples=50, deadline=None)
@given(words=st.lists(st.sampled_from(["tide", "gauge", "harbour", "measure", "logbook"]), min_size=1, max_size=200))
def test_no_word_is_cut_and_no_chunk_is_too_long(chunker, words):
    chunks = list(chunker.chunks(" ".join(words), Category.ARTICLE))
    assert [word for chunk in chunks for word in chunk.text.split()] == words
    assert max(chunk.n_tokens for chunk in chunks) <= 40


def test_a_chunk_carries_the_headings_above_it(chunker):
    text = "# Tides\n\n" + "Intro words here. " * 20 + "\n\n## Gauges\n\n" + "They drift and lie. " * 20
    paths = [chunk.heading_path for chunk in chunker.chunks(text, Category.ARTICLE)]
    assert paths[0] == "Tides"
    assert paths[-1] == "Tides > Gauges"


def test_a_comment_in_a_code_block_is_no_heading(chunker):
    text = "# Real\n\n```\n# not a heading\n```\n\n" + "after the block " * 30
    assert {chunk.heading_path for chunk in chunker.chunks(text, Category.ARTICLE)} == {"Real"}


def test_a_short_post_stays_whole(chunker):
    text = "One line.\n\nAnother line.\n\n#tides 🌊\n"
    assert [chunk.text for chunk in chunker.chunks(text, Category.POST)] == [text]
