from hypothesis import given
from hypothesis import strategies as st

from twin_assets.features.instructions import build_dataset, pieces, side_of, split_clusters
from twin_assets.language.prompts import Passage

ORDER = {"train": 0, "validation": 1, "test": 2}
IDS = st.text(alphabet="abc0123", min_size=1, max_size=6)
DOCUMENTS = st.dictionaries(IDS, st.sampled_from("uvwxyz"), max_size=30)


@given(documents=DOCUMENTS, more=DOCUMENTS)
def test_additions_never_move_a_cluster_from_train(documents, more):
    before = split_clusters(documents.items())
    after = split_clusters((documents | {k: v for k, v in more.items() if k not in documents}).items())
    assert all(ORDER[after[cluster]] <= ORDER[split] for cluster, split in before.items())


@given(documents=DOCUMENTS)
def test_a_cluster_is_train_if_any_member_is(documents):
    splits = split_clusters(documents.items())
    for document_id, cluster in documents.items():
        assert ORDER[splits[cluster]] <= ORDER[side_of(document_id)]


def test_sides_are_eighty_ten_ten():
    sides = [side_of(f"ada:files:{n}") for n in range(10_000)]
    assert [round(sides.count(side) / 10_000, 1) for side in ("train", "validation", "test")] == [0.8, 0.1, 0.1]


@given(text=st.text(alphabet="ab \n\n.é", max_size=800), limit=st.integers(min_value=20, max_value=200))
def test_pieces_fit_and_lose_no_word(text, limit):
    cut = pieces(text, limit)
    assert all(len(piece.encode()) <= limit and piece in text for piece in cut)
    assert "".join("".join(cut).split()) == "".join(text.split())


def document(name: str, text: str, cluster: str = "0" * 15 + "1", **more):
    return {
        "document_id": name, "cluster_id": cluster, "category": "article", "language": "en", "published_at": None,
        "title": name, "text": text, "trainable": True, "input_hash": "h",
    } | more  # fmt: skip


def test_context_never_comes_from_the_answers_own_or_a_held_out_cluster():
    own, train, held_out = "0" * 15 + "1", "0" * 15 + "2", "0" * 15 + "3"
    found = [(cluster, Passage(f"c{cluster}", "", "", "text")) for cluster in (own, held_out, train)]
    splits = {own: "train", train: "train", held_out: "test"}
    built = build_dataset([document("ada:files:a", "Some words of mine. " * 5)], splits, lambda q, c: found, 1500, "m")
    [row] = built.rows
    assert [passage["chunk_id"] for passage in row["passages"]] == [f"c{train}"]


def test_a_long_article_goes_on_in_continue_examples_that_together_are_the_text():
    text = "\n\n".join(f"Paragraph {n} says something of its own about tides." * 3 for n in range(12))
    built = build_dataset([document("ada:files:a", text)], {"0" * 15 + "1": "train"}, lambda q, c: [], 500, "m")
    assert [row["task"] for row in built.rows] == ["write"] + ["continue"] * (len(built.rows) - 1)
    assert "\n\n".join(row["answer"] for row in built.rows) == text


def test_an_answer_that_stands_in_train_is_not_held_out_too():
    shared = "The same paragraph stands at the head of two documents, word for word, and it is long enough."
    rows = [document("x", shared, "0" * 15 + "1"), document("y", shared + "\n", "0" * 15 + "2")]
    splits = {"0" * 15 + "1": "test", "0" * 15 + "2": "train"}
    built = build_dataset(rows, splits, lambda q, c: [], 1500, "m")
    assert [row["split"] for row in built.rows] == ["train"]
    assert built.left_out == {"answer stands in an earlier split": 1}
