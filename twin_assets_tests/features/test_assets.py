import random
from collections import Counter

import pyarrow as pa
import pytest

from twin_assets import schemas
from twin_assets.documents import Category, digest
from twin_assets.features import changes
from twin_assets.language.embedding import load_embedder
from twin_assets.language.search import SearchFilter, search
from twin_assets.stores.features import Changes
from twin_assets_tests.conftest import WORDS, raw, setting

ALL = ("cleaned_documents", "chunks", "embeddings", "instruction_dataset")


def written(result, asset: str) -> int:
    [materialization] = result.asset_materializations_for_node(asset)
    return materialization.metadata["written"].value


def lineage(stores, name):
    return stores.features.table("ada", name).lineage()


def test_all_stages_run_and_every_document_is_found_again(project, materialize, writing):
    project.warehouse.documents.upsert(writing)
    result = materialize()
    assert written(result, "cleaned_documents") == len(writing)
    assert len(result.get_asset_check_evaluations()) == 18
    hits = search(project.features.table("ada", "embeddings"), load_embedder(project.settings), writing[0].title, 5)
    assert hits[0].document_id == writing[0].id


def test_unchanged_documents_are_not_cleaned_chunked_or_embedded_again(project, materialize, writing):
    project.warehouse.documents.upsert(writing)
    first = materialize()
    second = materialize()
    assert [written(second, asset) for asset in ALL[:3]] == [0, 0, 0]
    for asset in ALL:
        [before] = first.asset_materializations_for_node(asset)
        [after] = second.asset_materializations_for_node(asset)
        assert before.tags["dagster/data_version"] == after.tags["dagster/data_version"]
    assert project.features.snapshots("ada", "instruction_dataset") == ["instruction_dataset-00001"]


def test_edited_post_is_reembedded_and_nothing_else(project, materialize, writing):
    project.warehouse.documents.upsert(writing)
    materialize()
    before = {name: lineage(project, name) for name in ALL[:3]}
    post = next(document for document in writing if document.category == "post")
    project.warehouse.documents.upsert([post.model_copy(update={"content": post.content + "\n\nOne more line."})])
    materialize()
    for name in ALL[:3]:
        after = lineage(project, name)
        changed = {key for key in after if before[name].get(key) != after[key]}
        assert changed == {key for key in after if key.split("#")[0] == post.id}, name


def test_a_deleted_document_leaves_every_table(project, materialize, writing):
    project.warehouse.documents.upsert(writing)
    materialize()
    gone = writing[0]
    project.warehouse.documents.mark_deleted([gone.id])
    materialize()
    for name in ALL:
        assert gone.id not in {key.split("#")[0] for key in lineage(project, name)}, name
    passages = [
        passage["chunk_id"]
        for row in project.features.table("ada", "instruction_dataset").rows(["passages"])
        for passage in row["passages"]
    ]
    assert passages
    assert not [chunk_id for chunk_id in passages if chunk_id.startswith(gone.id)]


def test_deleted_writing_leaves_the_dataset_although_what_is_left_gives_no_example(project, materialize, writing):
    project.warehouse.documents.upsert([*writing, raw("short", "Back on Monday.", category=Category.POST)])
    materialize()
    assert project.features.table("ada", "instruction_dataset").count() > 5
    project.warehouse.documents.mark_deleted([document.id for document in writing])
    materialize()
    assert project.features.table("ada", "instruction_dataset").count() == 0


def test_a_document_left_out_of_training_is_quoted_and_never_learned(project, materialize, writing):
    project.warehouse.documents.upsert(writing)
    project.warehouse.documents.leave_out(writing[0].id, ["training"])
    project.warehouse.documents.leave_out(writing[1].id, ["quoting"])
    materialize()
    rows = list(project.features.table("ada", "instruction_dataset").rows(["document_id", "passages"]))
    learned = {row["document_id"] for row in rows}
    shown = {passage["chunk_id"].rsplit("#", 1)[0] for row in rows for passage in row["passages"]}
    table, embedder = project.features.table("ada", "embeddings"), load_embedder(project.settings)
    assert writing[0].id not in learned | shown
    assert writing[1].id in learned
    assert len(shown) > 3
    quotable = SearchFilter(quotable_only=True)
    assert search(table, embedder, writing[0].title, 3, quotable)[0].document_id == writing[0].id
    quoted = {hit.document_id for hit in search(table, embedder, writing[1].title, 50, quotable)}
    assert writing[1].id not in quoted


def test_private_writing_is_never_quoted_and_trains_only_when_the_profile_says_so(project, materialize, ada, writing):
    private = raw("diary", "Nobody else should read that the ledger burned on Tuesday. " * 3, visibility="private")
    project.warehouse.documents.upsert([*writing, private])
    materialize()
    rows = list(project.features.table("ada", "instruction_dataset").rows(["document_id", "passages"]))
    assert private.id not in {row["document_id"] for row in rows}
    project.warehouse.profiles.change("ada", setting(train_private=True))
    materialize()
    rows = list(project.features.table("ada", "instruction_dataset").rows(["document_id", "passages"]))
    assert private.id in {row["document_id"] for row in rows}
    assert not [p for row in rows for p in row["passages"] if p["chunk_id"].startswith(private.id)]


def test_a_failed_check_writes_nothing_and_keeps_the_previous_version(project, materialize, writing, monkeypatch):
    project.warehouse.documents.upsert(writing)
    materialize()
    before = project.features.published("ada", "embeddings")
    project.warehouse.documents.upsert([raw("new", "A new piece about kettles and their lids.")])
    from twin_assets.language.embedding import Embedder

    encode = Embedder.encode
    monkeypatch.setattr(Embedder, "encode", lambda self, texts: encode(self, texts) * 2)
    result = materialize(raise_on_error=False)
    assert not result.success
    [failed] = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert (failed.check_name, failed.partition) == ("vectors_unit_and_finite", "ada")
    assert project.features.published("ada", "embeddings") == before


def test_an_author_without_any_writing_is_told_so(project, materialize):
    result = materialize(raise_on_error=False)
    assert not result.success or written(result, "cleaned_documents") == 0


def test_the_same_text_on_two_platforms_is_one_cluster_and_one_example(project, materialize, writing):
    copy = writing[0].model_copy(update={"source_id": "blog", "platform": "blog", "url": "https://elsewhere.example/1"})
    project.warehouse.documents.upsert([*writing, copy])
    materialize()
    rows = list(project.features.table("ada", "cleaned_documents").rows(["document_id", "cluster_id"]))
    clusters = Counter(row["cluster_id"] for row in rows)
    assert sorted(clusters.values())[-1] == 2
    examples = [row["answer"] for row in project.features.table("ada", "instruction_dataset").rows(["answer"])]
    assert len(examples) == len(set(examples))


def test_an_edited_copy_that_arrives_later_joins_its_cluster_and_leaves_it_again(project, materialize, writing):
    essay = " ".join(random.Random(1).choices(WORDS, k=300))
    mine = raw("essay", f"{essay} And so it ends.", url="https://ada.example/essay")
    copy = raw("copy", f"{essay} Read more on my blog.", source_id="medium", platform="medium")
    project.warehouse.documents.upsert([*writing, mine])
    materialize()
    before = {name: lineage(project, name) for name in ALL[:3]}

    project.warehouse.documents.upsert([copy])
    result = materialize()
    rows = list(project.features.table("ada", "cleaned_documents").rows(["document_id", "cluster_id", "url"]))
    clusters = {row["document_id"]: row["cluster_id"] for row in rows}
    assert clusters[mine.id] == clusters[copy.id]
    assert written(result, "cleaned_documents") <= 2
    answered = {
        row["document_id"] for row in project.features.table("ada", "instruction_dataset").rows(["document_id"])
    }
    assert len({mine.id, copy.id} & answered) == 1
    embedder = load_embedder(project.settings)
    hits = search(project.features.table("ada", "embeddings"), embedder, essay[:80], 10)
    assert len({mine.id, copy.id} & {hit.document_id for hit in hits}) == 1

    project.warehouse.documents.mark_deleted([copy.id])
    materialize()
    assert {name: lineage(project, name) for name in ALL[:3]} == before


def test_a_table_that_older_code_made_with_fewer_columns_is_made_again(project, materialize, writing):
    project.warehouse.documents.upsert(writing)
    materialize()
    handle = project.features.table("ada", "cleaned_documents")
    rows = handle.lance.to_arrow().drop_columns(["text_hash", "signature"])
    made_by = pa.array(["older code"] * rows.num_rows)
    rows = rows.set_column(rows.schema.get_field_index("made_by"), rows.schema.field("made_by"), made_by)
    project.features.commit("ada", "cleaned_documents", Changes(rows))
    assert "signature" not in project.features.table("ada", "cleaned_documents").lance.schema.names

    materialize()
    assert project.features.table("ada", "cleaned_documents").lance.schema.equals(schemas.CLEANED_DOCUMENTS.arrow)
    assert project.features.table("ada", "cleaned_documents").count() == len(writing)


def test_the_dataset_names_the_versions_it_was_made_from(project, materialize, writing):
    project.warehouse.documents.upsert(writing)
    materialize()
    dataset = project.features.published("ada", "instruction_dataset")
    assert dataset.inputs == {
        "cleaned_documents": project.features.published("ada", "cleaned_documents").version,
        "chunks": project.features.published("ada", "chunks").version,
        "embeddings": project.features.published("ada", "embeddings").version,
    }


def test_answers_come_from_the_cleaned_version_that_the_embeddings_name(project, materialize, writing):
    project.warehouse.documents.upsert(writing)
    materialize()
    project.warehouse.documents.upsert(
        [writing[0].model_copy(update={"content": "Entirely different words now. " * 5})]
    )
    materialize("cleaned_documents")
    materialize("instruction_dataset")
    answers = {row["answer"] for row in project.features.table("ada", "instruction_dataset").rows(["answer"])}
    assert not [answer for answer in answers if "Entirely different" in answer]


@pytest.mark.parametrize("name", ALL)
def test_data_versions_do_not_depend_on_order(project, materialize, writing, name):
    project.warehouse.documents.upsert(reversed(writing))
    materialize()
    rows = sorted([key, *value] for key, value in lineage(project, name).items())
    if name != "instruction_dataset":
        assert project.features.published("ada", name).data_version == digest(rows, 32)
    else:
        assert len(rows) == project.features.published("ada", name).rows


def test_a_document_that_gives_no_row_is_cleaned_once_until_it_changes(project, materialize, writing, monkeypatch):
    generated = raw("gen", "// Code generated by protoc. DO NOT EDIT.\npackage a\n", category="code", title="a.go")
    project.warehouse.documents.upsert([*writing, generated])
    cleaned, real = [], changes.cleaned_row
    monkeypatch.setattr(changes, "cleaned_row", lambda one, **how: cleaned.append(one.id) or real(one, **how))

    def run():
        cleaned.clear()
        [event] = materialize("cleaned_documents").asset_materializations_for_node("cleaned_documents")
        return cleaned, event.metadata["left_out"].value

    assert len(run()[0]) == len(writing) + 1
    again, rejected = run()
    assert (again, list(rejected.values())) == ([], [1])
    project.warehouse.documents.upsert(
        [raw("gen", "package a\n\nfunc mine() int { return 1 }\n", category="code", title="a.go")]
    )
    assert run() == ([generated.id], {})
