from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from twin_assets import schemas
from twin_assets.errors import TwinError
from twin_assets.language.embedding import BUNDLED_SHA256, load_embedder, model_identity
from twin_assets.language.search import Hit, SearchFilter, load_reranker, readable_share, search
from twin_assets.settings import Settings
from twin_assets.stores.features import Changes, TableHandle

TEXTS = {
    "tides": ("article", "The tide gauge in the harbour drifts by a millimetre a week."),
    "bread": ("article", "My sourdough needs a night in the cold before it is baked."),
    "zx81": ("post", "Found the manual of the ZX81-QK7 in the attic today."),
    "median": ("code", "def despike(levels_mm): return median_filter(levels_mm, width=5)"),
    "copy": ("post", "The tide gauge in the harbour drifts by a millimetre a week."),
}

CHINESE = {
    "gauge": "港口的验潮仪每周漂移一毫米，所以我每个星期天都去校准它。",
    "dough": "我的酸面团要在冰箱里放一夜，第二天早上再烤。",
    "attic": "今天在阁楼里找到了旧电脑的说明书，纸已经发黄了。",
}


def row(name: str, text: str, **more: object) -> dict[str, object]:
    return {
        "chunk_id": f"{name}#0000", "document_id": name, "platform": "files", "category": "article", "title": None,
        "url": None, "language": "en", "published_at": None, "cluster_id": f"c-{name}", "trainable": True,
        "quotable": True, "position": 0, "heading_path": "", "start": 0, "end": len(text), "text": text,
        "n_tokens": 9, "input_hash": "h", "made_by": "m",
    } | more  # fmt: skip


@pytest.fixture
def embedder(settings):
    return load_embedder(settings)


@pytest.fixture
def indexed(stores, embedder) -> Callable[..., TableHandle]:
    """indexed(row, …): a table of these rows with their vectors."""

    def index(*rows: dict[str, object]) -> TableHandle:
        vectors = embedder.encode([str(one["text"]) for one in rows])
        with_vectors = [one | {"vector": vector} for one, vector in zip(rows, vectors, strict=True)]
        changes = Changes(schemas.from_dicts(with_vectors, schemas.embeddings(embedder.dimension)))
        stores.features.commit("ada", "embeddings", changes)
        return stores.features.table("ada", "embeddings")

    return index


@pytest.fixture
def table(indexed) -> TableHandle:
    return indexed(
        *(
            row(name, text, category=category, title=name, quotable=name != "bread")
            for name, (category, text) in TEXTS.items()
        )
    )


def test_meaning_finds_what_shares_no_word(table, embedder):
    assert search(table, embedder, "loaf fermenting in the refrigerator")[0].document_id == "bread"


def test_an_exact_name_is_found_by_full_text(table, embedder):
    assert search(table, embedder, "QK7")[0].document_id == "zx81"


def test_filters_hold(table, embedder):
    def found(query: str, **fields: object) -> list[Hit]:
        return search(table, embedder, query, wanted=SearchFilter(**fields))

    assert {hit.category for hit in found("tide gauge", category="code")} == {"code"}
    assert "bread" not in {hit.document_id for hit in found("sourdough", quotable_only=True)}
    excluded = found("tide gauge", excluded_clusters={"c-tides", "c-copy"})
    assert not {"tides", "copy"} & {hit.document_id for hit in excluded}


def test_filters_by_platform_and_date_hold(indexed, embedder):
    dates = {"old": datetime(2019, 5, 1, tzinfo=UTC), "new": datetime(2024, 5, 1, tzinfo=UTC), "undated": None}
    table = indexed(
        *(
            row(f"{name}-{p}", f"Tides, {name}, {p}", published_at=when, platform=p)
            for name, when in dates.items()
            for p in ("x", "o'r")
        )
    )

    def found(**fields: object) -> set[str]:
        return {hit.document_id for hit in search(table, embedder, "tides", wanted=SearchFilter(**fields))}

    assert found(platform="o'r") == {"old-o'r", "new-o'r", "undated-o'r"}
    assert found(published_after=datetime(2024, 5, 1, tzinfo=UTC)) == {"new-x", "new-o'r"}
    assert found(published_before=datetime(2024, 5, 1)) == {"old-x", "old-o'r"}
    assert found(published_after=datetime(2019, 1, 1), published_before=datetime(2020, 1, 1), platform="x") == {"old-x"}


def test_words_of_the_title_and_the_headings_find_what_the_text_does_not_say(indexed, embedder):
    table = indexed(
        row("a", "It was late.", title="The QK7 manual"),
        row("b", "It was late again.", heading_path="Harbour > WRX92"),
        row("c", "It was late once more."),
    )
    assert search(table, embedder, "QK7")[0].document_id == "a"
    assert search(table, embedder, "WRX92")[0].document_id == "b"


def test_a_word_inside_an_identifier_finds_it(table, embedder):
    assert search(table, embedder, "levels")[0].document_id == "median"


def test_words_that_are_stop_words_of_other_languages_are_found(indexed, embedder):
    names = ("ai", "os", "man", "bin", "3")
    table = indexed(*(row(name, f"Notes on {name}, which I keep.") for name in names))
    assert [search(table, embedder, name, 1)[0].document_id for name in names] == list(names)


def test_a_chinese_query_finds_the_right_document_though_the_model_knows_english_only(indexed, embedder):
    table = indexed(*(row(name, text, language="zh") for name, text in CHINESE.items()))
    for query, document in {"验潮仪校准": "gauge", "怎么烤酸面团": "dough", "旧电脑": "attic"}.items():
        assert search(table, embedder, query)[0].document_id == document
    assert search(table, embedder, "火山") == []


def test_what_the_model_cannot_read_of_a_query_does_not_count_as_meaning():
    assert readable_share("tide gauge 3.14", {"en"}) == 1
    assert readable_share("Wie repariere ich den Gezeitenpegel?", {"en"}) == 1
    assert readable_share("潮汐", {"en"}) == readable_share("приливомер", {"en"}) == 0
    assert readable_share("tide 潮汐", {"en"}) == pytest.approx(4 / 6)
    assert readable_share("潮汐", None) == readable_share("3.14", {"en"}) == 1


def test_a_table_that_older_code_indexed_is_still_searched(table, embedder, stores):
    lance = stores.features.connect("ada").open_table("embeddings")
    for index in lance.list_indices():
        if index.columns[0] in ("title", "heading_path"):
            lance.drop_index(index.name)
    older = stores.features.table_at("ada", "embeddings", lance.version)
    assert older.full_text_columns == {"text"}
    assert search(older, embedder, "QK7")[0].document_id == "zx81"


@pytest.fixture(scope="session")
def tiny_cross_encoder(tmp_path_factory) -> Path:
    """A BERT of random weights that gives a pair of texts one number."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("cross-encoder")
    words = sorted({word for _, text in TEXTS.values() for word in text.lower().split()})
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        "bert", vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64, num_labels=1, initializer_range=1.0,
    )  # fmt: skip
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def test_a_configured_cross_encoder_orders_the_hits(table, embedder, tiny_cross_encoder):
    from sentence_transformers import CrossEncoder

    settings = Settings(_env_file=None, reranker=str(tiny_cross_encoder), device="cpu")
    query = "tide gauge in the attic"
    hits = search(table, embedder, query, reranker=load_reranker(settings))
    before = search(table, embedder, query)
    assert {hit.chunk_id for hit in hits} == {hit.chunk_id for hit in before}
    own = CrossEncoder(str(tiny_cross_encoder), device="cpu")
    wanted = own.predict([(query, f"{hit.title}\n{hit.text}") for hit in hits])
    assert [hit.score for hit in hits] == pytest.approx(sorted(wanted.tolist(), reverse=True), abs=1e-5)
    assert [hit.chunk_id for hit in search(table, embedder, query, 2, reranker=load_reranker(settings))] == [
        hit.chunk_id for hit in hits[:2]
    ]


def test_a_cross_encoder_that_is_not_there_is_named_with_the_way_out(table, embedder, tmp_path):
    settings = Settings(_env_file=None, reranker=str(tmp_path))
    with pytest.raises(TwinError, match=r"TWIN_RERANKER is .* give a folder or a hub name"):
        search(table, embedder, "tide gauge", reranker=load_reranker(settings))


def test_by_default_there_is_no_cross_encoder(settings):
    assert load_reranker(settings) is None


def test_the_same_text_comes_once(table, embedder):
    texts = [hit.text for hit in search(table, embedder, "tide gauge drift")]
    assert len(texts) == len(set(texts)) == 4


@pytest.mark.parametrize("query", ["", "   ", '"unbalanced', "a OR (b AND", "!!!", "café — 潮汐"])
def test_no_query_is_an_error(table, embedder, query):
    assert isinstance(search(table, embedder, query), list)


def test_an_author_without_embeddings_finds_nothing(stores, embedder):
    assert search(stores.features.table("nobody", "embeddings"), embedder, "tides") == []


def test_hits_come_best_first_and_at_most_k(table, embedder):
    hits = search(table, embedder, "harbour tide", 2)
    assert len(hits) == 2
    assert hits[0].score >= hits[1].score


def test_the_bundled_model_is_the_pinned_one(settings, embedder):
    import hashlib

    from twin_assets.language.embedding import bundled_folder

    weights = (bundled_folder() / "model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == BUNDLED_SHA256
    assert model_identity(settings) == f"all-MiniLM-L6-v2@{BUNDLED_SHA256[:12]}"
    assert model_identity(Settings(_env_file=None, embedding_model="x/y", embedding_revision="abc")) == "x/y@abc"
