"""The dataset put together from real tables by the real retriever."""

import pytest

from twin_assets import schemas
from twin_assets.documents import Category
from twin_assets.features.dataset import build, dataset_rows
from twin_assets.features.instructions import split_clusters
from twin_assets.language.embedding import load_embedder
from twin_assets_tests.conftest import raw


@pytest.fixture
def built(project, materialize):
    """built(documents) -> what `build` makes of them, and the cleaned rows it was made from."""

    def make(documents):
        project.warehouse.upsert_documents(documents)
        materialize("cleaned_documents", "chunks", "embeddings")
        cleaned, embeddings = (project.features.table("ada", name) for name in ("cleaned_documents", "embeddings"))
        embedder = load_embedder(project.settings)
        result = build(cleaned, embeddings, embedder, project.settings, lambda line: None)
        return result, list(cleaned.rows(schemas.CLEANED_DOCUMENTS.names))

    return make


def test_context_is_the_authors_quotable_training_writing_and_never_the_answers_own(built, writing, project):
    private = raw("diary", f"On tides and bread. {writing[0].content}", visibility="private")
    project.warehouse.upsert_documents(writing)
    for document in writing[4:8]:
        project.warehouse.leave_out(document.id, ["quoting"])
    result, cleaned = built([*writing, private])
    clusters = {row["document_id"]: row["cluster_id"] for row in cleaned}
    splits = split_clusters(clusters.items())
    quotable = {row["document_id"] for row in cleaned if row["quotable"]}
    shown = [
        (row["document_id"], passage["chunk_id"].rsplit("#", 1)[0])
        for row in result.rows
        for passage in row["passages"]
    ]
    assert len({source for _, source in shown}) > 5
    for document, source in shown:
        assert source in quotable
        assert splits[clusters[source]] == "train"
        assert clusters[source] != clusters[document]


def test_every_trainable_document_has_an_example_or_a_reason(built, writing):
    short = raw("short", "Too short.", category=Category.POST)
    result, cleaned = built([*writing, short])
    assert {row["document_id"] for row in result.rows} == {row["document_id"] for row in cleaned} - {short.id}
    assert result.left_out == {"answer under 40 bytes": 1}


def test_a_row_stands_in_the_split_of_its_cluster(built, writing):
    result, cleaned = built(writing)
    splits = split_clusters((row["document_id"], row["cluster_id"]) for row in cleaned)
    assert all(row["split"] == splits[row["cluster_id"]] for row in result.rows)
    assert {row["split"] for row in result.rows} == {"train", "validation", "test"}


def test_without_anything_trainable_the_dataset_is_empty_and_says_why(built):
    result, _ = built([raw(str(n), f"A private page, number {n}. " * 4, visibility="private") for n in range(3)])
    assert result.rows == []
    assert result.left_out == {"document left out of training": 3}
    assert dataset_rows(result).schema == schemas.INSTRUCTION_DATASET.arrow
