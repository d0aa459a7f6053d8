import sqlite3
from collections import Counter
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_assets.documents import digest
from twin_assets.features.instructions.examples import build_rows, make_examples
from twin_assets.features.instructions.splits import SHARE_OF_SIZE, is_in_size, split_clusters
from twin_assets.features.memo import Memo
from twin_assets.language.prompts import Passage


def document(name: str, text: str, cluster: str = "0" * 15 + "1", **more):
    return {
        "document_id": name, "cluster_id": cluster, "category": "article", "language": "en", "published_at": None,
        "title": name, "text": text, "trainable": True, "input_hash": "h",
    } | more  # fmt: skip


def built(documents, splits=None, found=(), answer_bytes=1500, size="full"):
    splits = splits or dict.fromkeys((one["cluster_id"] for one in documents), "train")
    examples, rejected = make_examples(documents, splits, answer_bytes, size)
    rows = build_rows(examples, splits, lambda asked: [list(found) for _ in asked], "m")
    return rows, +rejected


PARAGRAPHS = [f"Paragraph {n} says something of its own about tides in harbour {n}. " * 3 for n in range(12)]


def test_context_never_comes_from_the_answers_own_or_a_held_out_cluster():
    own, train, held_out = "0" * 15 + "1", "0" * 15 + "2", "0" * 15 + "3"
    found = [(cluster, Passage(f"c{cluster}", "", "", "text")) for cluster in (own, held_out, train)]
    splits = {own: "train", train: "train", held_out: "test"}
    documents = [document(f"ada:files:{n}", "Some words of mine. " * 5, own) for n in "abcd"]
    shown = [built([one], splits, found)[0][0]["passages"] for one in documents]
    assert {passage["chunk_id"] for passages in shown for passage in passages} == {f"c{train}"}


def test_some_drafts_are_asked_for_with_context_and_some_without():
    passage = Passage("c", "", "", "text")
    documents = [document(f"a:f:{n}", f"{n} words. " * 9, digest(n, 16)) for n in range(60)]
    splits = dict.fromkeys((one["cluster_id"] for one in documents), "train") | {"other": "train"}
    rows, _ = built(documents, splits, [("other", passage)])
    with_context = sum(bool(row["passages"]) for row in rows if row["task"] == "write")
    assert 30 < with_context < 60


def test_a_long_article_goes_on_in_examples_that_together_are_the_text():
    text = "\n\n".join(PARAGRAPHS)
    rows, _ = built([document("ada:files:a", text)], answer_bytes=500)
    in_order = sorted(rows, key=lambda row: row["example_id"].rsplit("-", 1)[1])
    assert in_order[0]["task"] == "write"
    assert "\n\n".join(row["answer"].strip() for row in in_order).split() == text.split()


LIVELY = "It's really a huge thing; I wouldn't say so myself (or not aloud, that is)! Well, it's number {n}, isn't it? "


def test_each_piece_of_writing_is_the_answer_of_one_example():
    text = "\n\n".join(LIVELY.format(n=n) + paragraph for n, paragraph in enumerate(PARAGRAPHS))
    rows, _ = built([document("a:f:x", text)], answer_bytes=500)
    assert max(Counter(row["answer"] for row in rows).values()) == 1
    assert {row["task"] for row in rows} == {"write", "continue", "rewrite"}


def test_an_answer_that_stands_in_train_is_not_held_out_too():
    shared = "The same paragraph stands at the head of two documents, word for word, and it is long enough."
    rows = [document("x", shared, "0" * 15 + "1"), document("y", shared + "\n", "0" * 15 + "2")]
    rows, rejected = built(rows, {"0" * 15 + "1": "test", "0" * 15 + "2": "train"})
    assert [row["split"] for row in rows] == ["train"]
    assert rejected == {"answer stands in an earlier split": 1}


TEASER = f"{PARAGRAPHS[0].strip()}\n\nThe rest is on my site."


def test_a_post_that_is_an_articles_first_paragraph_is_not_held_out_when_the_article_is_learned():
    article = document("article", "\n\n".join(PARAGRAPHS[:4]), "0" * 15 + "1")
    post = document("post", TEASER, "0" * 15 + "2", category="post")
    rows, rejected = built([article, post], {"0" * 15 + "1": "train", "0" * 15 + "2": "test"})
    assert [row["split"] for row in rows] == ["train"]
    assert rejected == {"answer stands in an earlier split": 1}
    rows, _ = built([article, post], {"0" * 15 + "1": "test", "0" * 15 + "2": "train"})
    assert [row["split"] for row in rows] == ["test", "train"]  # one paragraph of four


def test_context_is_neither_a_part_of_the_answer_nor_holds_it():
    found = [
        ("0" * 15 + "2", Passage("teaser", "", "", TEASER)),
        ("0" * 15 + "2", Passage("whole", "", "", "\n\n".join([*PARAGRAPHS[:3], "And more."]))),
        ("0" * 15 + "2", Passage("half of a paragraph", "", "", PARAGRAPHS[1][:100])),
        ("0" * 15 + "2", Passage("other", "", "", PARAGRAPHS[7])),
    ]
    documents = [document(f"a:f:{n}", "\n\n".join(PARAGRAPHS[:3]), "0" * 15 + "1") for n in range(8)]
    splits = {"0" * 15 + "1": "train", "0" * 15 + "2": "train"}
    shown = [passage["chunk_id"] for one in documents for passage in built([one], splits, found)[0][0]["passages"]]
    assert set(shown) == {"other"}


@pytest.mark.parametrize(("smaller", "larger"), [("small", "medium"), ("medium", "full")])
def test_sizes_are_nested_and_hold_out_the_same(smaller, larger):
    documents = [document(f"a:f:{n}", PARAGRAPHS[n % 12] + str(n), digest(n, 16)) for n in range(300)]
    splits = split_clusters((one["document_id"], one["cluster_id"]) for one in documents)
    less, rejected = built(documents, splits, size=smaller)
    more, _ = built(documents, splits, size=larger)
    assert {row["example_id"] for row in less} < {row["example_id"] for row in more}
    for split in ("validation", "test"):
        assert [row["answer"] for row in less if row["split"] == split] == [
            row["answer"] for row in more if row["split"] == split
        ]
    assert rejected[f"document beyond the size {smaller}"] > 0
    share = sum(is_in_size(digest(n, 16), "train", smaller) for n in range(5_000)) / 5_000
    assert abs(share - SHARE_OF_SIZE[smaller]) < 0.02


def test_one_document_more_changes_no_others_example():
    documents = [document(f"a:f:{n}", PARAGRAPHS[n % 12] + f" Number {n}.", digest(n, 16)) for n in range(40)]
    before, _ = built(documents)
    after, _ = built([*documents, document("a:f:z", "A new one about bread, not tides. " * 5, digest("z", 16))])
    assert [row for row in after if row["document_id"] != "a:f:z"] == before


SIGN_OFF = "Thanks for reading, and subscribe to my letter."


SENTENCES = st.sampled_from([*PARAGRAPHS[:6], SIGN_OFF, "> quoted", "    code()"])


TEXTS = st.lists(st.lists(SENTENCES, min_size=1, max_size=5).map("\n\n".join), min_size=1, max_size=6)


@settings(deadline=None)
@given(first=TEXTS, second=TEXTS, category=st.sampled_from(["article", "code"]))
def test_what_was_made_before_never_shows_in_what_is_made_now(first, second, category):
    def documents(texts):
        return [document(f"a:f:{n}", text, digest(n, 16), category=category) for n, text in enumerate(texts)]

    splits = {digest(n, 16): "train" if n else "test" for n in range(12)}
    with closing(sqlite3.connect(":memory:")) as database:
        memo = Memo(database)
        make_examples(documents(first), splits, 1500, memo=memo)
        memo.save()
        for texts in (first + second, second, second):
            assert make_examples(documents(texts), splits, 1500, memo=memo) == make_examples(
                documents(texts), splits, 1500
            )
            memo.save()
