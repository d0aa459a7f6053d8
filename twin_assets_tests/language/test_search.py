import pytest

from twin_assets import schemas
from twin_assets.language.embedding import BUNDLED_SHA256, load_embedder, model_identity
from twin_assets.language.search import search
from twin_assets.settings import Settings
from twin_assets.stores.features import Changes

TEXTS = {
    "tides": ("article", "The tide gauge in the harbour drifts by a millimetre a week."),
    "bread": ("article", "My sourdough needs a night in the cold before it is baked."),
    "zx81": ("post", "Found the manual of the ZX81-QK7 in the attic today."),
    "median": ("code", "def despike(levels_mm): return median_filter(levels_mm, width=5)"),
    "copy": ("post", "The tide gauge in the harbour drifts by a millimetre a week."),
}


@pytest.fixture
def embedder(settings):
    return load_embedder(settings)


@pytest.fixture
def table(stores, embedder):
    vectors = embedder.encode([text for _, text in TEXTS.values()])
    rows = [
        {
            "chunk_id": f"{name}#0000", "document_id": name, "platform": "files", "category": category, "title": name,
            "url": None, "language": "en", "published_at": None, "cluster_id": f"c-{name}", "trainable": True,
            "quotable": name != "bread", "position": 0, "heading_path": "", "start": 0, "end": len(text), "text": text,
            "n_tokens": 9, "input_hash": "h", "made_by": "m", "vector": vector,
        }
        for (name, (category, text)), vector in zip(TEXTS.items(), vectors, strict=True)
    ]  # fmt: skip
    changes = Changes(schemas.from_dicts(rows, schemas.embeddings(embedder.dimension)))
    stores.features.commit("ada", "embeddings", changes)
    return stores.features.table("ada", "embeddings")


def test_meaning_finds_what_shares_no_word(table, embedder):
    assert search(table, embedder, "loaf fermenting in the refrigerator")[0].document_id == "bread"


def test_an_exact_name_is_found_by_full_text(table, embedder):
    assert search(table, embedder, "QK7")[0].document_id == "zx81"


def test_filters_hold(table, embedder):
    assert {hit.category for hit in search(table, embedder, "tide gauge", category="code")} == {"code"}
    assert "bread" not in {hit.document_id for hit in search(table, embedder, "sourdough", quotable_only=True)}
    excluded = search(table, embedder, "tide gauge", exclude_clusters={"c-tides", "c-copy"})
    assert not {"tides", "copy"} & {hit.document_id for hit in excluded}


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
