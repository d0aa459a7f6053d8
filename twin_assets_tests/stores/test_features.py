import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from unittest.mock import Mock

import pyarrow as pa
import pytest
from lancedb.index import FTS
from lancedb.query import MatchQuery

from twin_assets import schemas
from twin_assets.errors import NotThere
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets.stores.features import Changes, FeatureStore, Snapshot, data_version_after


def chunk(n: int, text: str = "text", made_by: str = "m") -> dict:
    return {
        "chunk_id": f"d{n}#0000", "document_id": f"d{n}", "platform": "files", "category": "post", "title": None,
        "url": None, "language": None, "published_at": None, "cluster_id": f"c{n}", "trainable": True,
        "quotable": True, "position": 0, "heading_path": "", "start": 0, "end": len(text), "text": text,
        "n_tokens": 1, "input_hash": text, "made_by": made_by,
    }  # fmt: skip


def changes(*rows: dict, deletes: tuple[str, ...] = ()) -> Changes:
    return Changes(schemas.from_dicts(rows, schemas.CHUNKS), deletes)


def test_upserts_and_deletes_are_one_commit(stores):
    features = stores.features
    first = features.commit("ada", "chunks", changes(chunk(1), chunk(2), chunk(3)))
    features.commit("ada", "chunks", changes(chunk(2, "new"), chunk(4), deletes=("d1#0000",)))
    rows = {row["chunk_id"]: row["text"] for row in features.table("ada", "chunks").rows(["chunk_id", "text"])}
    assert rows == {"d2#0000": "new", "d3#0000": "text", "d4#0000": "text"}
    pinned = features.table_at("ada", "chunks", first.version)
    assert {row["chunk_id"] for row in pinned.rows(["chunk_id"])} == {"d1#0000", "d2#0000", "d3#0000"}


def test_a_handle_keeps_seeing_the_version_it_pinned(stores):
    stores.features.commit("ada", "chunks", changes(chunk(1)))
    handle = stores.features.table("ada", "chunks")
    assert handle.count() == 1
    stores.features.commit("ada", "chunks", changes(chunk(2)))
    assert handle.count() == 1
    assert stores.features.table("ada", "chunks").count() == 2


def test_committing_nothing_keeps_the_data_version(stores):
    first = stores.features.commit("ada", "chunks", changes(chunk(1)))
    second = stores.features.commit("ada", "chunks", changes())
    assert first.data_version == second.data_version


def test_the_data_version_says_what_the_table_holds(stores):
    one = stores.features.commit("ada", "chunks", changes(chunk(1), chunk(2)))
    other = stores.features.commit("bob", "chunks", changes(chunk(2)))
    other = stores.features.commit("bob", "chunks", changes(chunk(1)))
    assert one.data_version == other.data_version
    assert data_version_after({}, changes(chunk(1)), "chunk_id") != one.data_version


def test_quotes_in_keys_are_data(stores):
    row = chunk(1) | {"chunk_id": "it's#0000", "document_id": "it's"}
    stores.features.commit("ada", "chunks", changes(row, chunk(2)))
    found = list(stores.features.table("ada", "chunks").rows_in(["chunk_id"], "document_id", ["it's"]))
    assert found == [{"chunk_id": "it's#0000"}]
    stores.features.commit("ada", "chunks", changes(deletes=("it's#0000",)))
    assert stores.features.table("ada", "chunks").count() == 1


def test_a_snapshot_is_a_table_of_its_own_and_the_same_one_is_not_written_twice(stores):
    rows = pa.Table.from_pylist([{"example_id": "a", "x": 1}])
    first = stores.features.commit_snapshot("ada", "instruction_dataset", Snapshot(rows))
    again = stores.features.commit_snapshot("ada", "instruction_dataset", Snapshot(rows))
    other = stores.features.commit_snapshot("ada", "instruction_dataset", Snapshot(rows.slice(0, 0)))
    assert [first.table, again.table, other.table] == [
        "instruction_dataset-00001", "instruction_dataset-00001", "instruction_dataset-00002",
    ]  # fmt: skip
    assert stores.features.snapshot("ada", "instruction_dataset-00001").count() == 1
    with pytest.raises(NotThere, match="instruction_dataset-00009"):
        stores.features.snapshot("ada", "instruction_dataset-00009")


def test_a_table_written_by_a_run_that_died_before_publishing_is_written_again(stores):
    rows = pa.Table.from_pylist([{"example_id": "a", "x": 1}])
    stores.features.commit_snapshot("ada", "instruction_dataset", Snapshot(rows))
    stores.features.connect("ada").create_table("instruction_dataset-00002", rows)
    published = stores.features.commit_snapshot("ada", "instruction_dataset", Snapshot(rows.slice(0, 0)))
    assert published.table == "instruction_dataset-00002"
    assert stores.features.snapshot("ada", "instruction_dataset-00002").count() == 0


def test_scan_reads_a_table_larger_than_one_batch_whole(stores):
    stores.features.commit("ada", "chunks", changes(*(chunk(n) for n in range(2_500))))
    assert len(stores.features.table("ada", "chunks").lineage()) == 2_500


def embedded(*rows: dict) -> Changes:
    with_vectors = [row | {"vector": [1.0, 0.0]} for row in rows]
    return Changes(schemas.from_dicts(with_vectors, schemas.embeddings(2)))


def indexes(features: FeatureStore) -> dict:
    lance = features.connect("ada").open_table("embeddings")
    return {column: index for index in lance.list_indices() for column in index.columns}


def words(features: FeatureStore, query: str) -> set[str]:
    table = features.table("ada", "embeddings").lance
    found = table.search(MatchQuery(query, "text"), query_type="fts").select(["document_id", "_score"])
    return {row["document_id"] for row in found.to_list()}


def test_what_searches_filter_by_is_indexed(stores):
    stores.features.commit("ada", "embeddings", embedded(chunk(1), chunk(2)))
    assert {name: index.index_type for name, index in indexes(stores.features).items()} == {
        "text": "FTS", "title": "FTS", "heading_path": "FTS", "chunk_id": "BTree", "document_id": "BTree",
        "cluster_id": "BTree", "published_at": "BTree", "category": "Bitmap", "platform": "Bitmap",
        "quotable": "Bitmap",
    }  # fmt: skip


def test_each_commit_brings_the_full_text_index_up_to_date(stores):
    features = stores.features
    features.commit("ada", "embeddings", embedded(chunk(1, "tides"), chunk(2, "bread")))
    features.commit("ada", "embeddings", embedded(chunk(2, "rope"), chunk(3, "tides and fog")))
    assert indexes(features)["text"].num_unindexed_rows == 0
    assert (words(features, "tides"), words(features, "bread"), words(features, "rope")) == (
        {"d1", "d3"},
        set(),
        {"d2"},
    )


def test_a_full_text_index_of_another_tokenizer_is_replaced_and_one_of_the_same_is_kept(stores):
    features = stores.features
    features.commit("ada", "embeddings", embedded(chunk(1, "港口的验潮仪每周漂移一毫米"), chunk(2, "bread")))
    lance = features.connect("ada").open_table("embeddings")
    lance.create_index("text", config=FTS(base_tokenizer="simple"), replace=True)
    features._publish("ada", "embeddings", "embeddings", lance, "v", Changes(embedded().upserts))
    before = indexes(features)
    assert words(features, "验潮仪") == set()
    features.commit("ada", "embeddings", embedded())
    after = indexes(features)
    assert words(features, "验潮仪") == {"d1"}
    assert after["text"].index_details["base_tokenizer"] == "icu/split"
    assert {name for name in after if after[name].index_uuid != before[name].index_uuid} == {"text"}


def test_a_vector_index_is_made_once_it_pays(stores, monkeypatch):
    monkeypatch.setattr("twin_assets.stores.features.VECTOR_INDEX_ROWS", 300)
    stores.features.commit("ada", "embeddings", embedded(*(chunk(n) for n in range(299))))
    assert "vector" not in indexes(stores.features)
    stores.features.commit("ada", "embeddings", embedded(chunk(299)))
    assert indexes(stores.features)["vector"].index_type == "IvfPq"


def _write(folder, start: int) -> None:
    stores = Stores(Settings(_env_file=None, data_dir=folder))
    for n in range(start, start + 5):
        with stores.features.writing("ada", "chunks"):
            stores.features.commit("ada", "chunks", changes(chunk(n)))


def test_four_processes_at_once_lose_nothing(settings, stores):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(settings.data_dir, start)) for start in range(0, 20, 5)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    assert stores.features.table("ada", "chunks").count() == 20


@contextmanager
def killed_before_publishing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a kill between the Lance transaction and the publication record leaves behind."""
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(FeatureStore, "_publish", Mock(side_effect=KeyboardInterrupt))
        yield


def test_rows_that_a_killed_run_wrote_and_nobody_asks_for_again_are_not_published(stores, monkeypatch):
    features = stores.features
    with killed_before_publishing(monkeypatch):
        features.commit("ada", "chunks", changes(chunk(1), chunk(9)))
    features.commit("ada", "chunks", changes(chunk(1)))
    with killed_before_publishing(monkeypatch):
        features.commit("ada", "chunks", changes(chunk(2), chunk(3)))
    # Document 3 was deleted at its source in the meantime; to the next run it is no row that it must delete.
    after = features.commit("ada", "chunks", changes(chunk(2)))
    assert {row["chunk_id"] for row in features.table("ada", "chunks").rows(["chunk_id"])} == {"d1#0000", "d2#0000"}
    assert after.rows == 2


def test_a_run_killed_while_old_versions_are_pruned_leaves_the_published_one_readable(stores, monkeypatch):
    features = stores.features
    features.commit("ada", "chunks", changes(chunk(1)))
    monkeypatch.setattr("twin_assets.stores.features.KEEP_VERSIONS", timedelta(0))
    with killed_before_publishing(monkeypatch):
        features.commit("ada", "chunks", changes(chunk(2)))
    assert features.table("ada", "chunks").count() == 1
    features.commit("ada", "chunks", changes(chunk(3)))
    assert features.table("ada", "chunks").count() == 2


def test_erasing_an_author_takes_every_version_of_every_table_and_leaves_the_others(stores):
    features = stores.features
    for author in ("ada", "ben"):
        features.commit(author, "chunks", changes(chunk(1), chunk(2)))
        features.commit(author, "chunks", changes(deletes=("d1#0000",)))
    assert features.erase("ada") > 0
    assert features.erase("ada") == 0
    assert features.tables("ada") == {}
    assert features.table("ben", "chunks").count() == 1
    features.commit("ada", "chunks", changes(chunk(3)))
    assert features.table("ada", "chunks").lineage().keys() == {"d3#0000"}


NAME = "instruction_dataset"
NO_TIME = timedelta(0)


@pytest.fixture
def no_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a table be deleted as soon as it is replaced, as if no reader could have it pinned."""
    monkeypatch.setattr("twin_assets.stores.features.KEEP_VERSIONS", NO_TIME)


def commit_datasets(features: FeatureStore, n: int) -> None:
    for version in range(n):
        rows = pa.Table.from_pylist([{"example_id": "a", "answer": f"the words of version {version}"}])
        features.commit_snapshot("ada", NAME, Snapshot(rows))


def numbers(features: FeatureStore) -> list[int]:
    return [int(table[-5:]) for table in features.snapshots("ada", NAME)]


def is_under(folder, text: str) -> bool:
    return any(text.encode() in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_dataset_that_no_model_names_is_deleted_with_its_text_and_the_others_stay(settings, stores, no_readers):
    commit_datasets(stores.features, 4)
    assert is_under(settings.data_dir, "the words of version 0")
    assert stores.features.delete_old_snapshots("ada", NAME, {f"{NAME}-00002"}) == [f"{NAME}-00001", f"{NAME}-00003"]
    assert numbers(stores.features) == [2, 4]
    assert not is_under(settings.data_dir, "the words of version 0")
    assert is_under(settings.data_dir, "the words of version 1")
    assert stores.features.tables("ada").keys() == {NAME, f"{NAME}-00002", f"{NAME}-00004"}
    commit_datasets(stores.features, 1)
    assert numbers(stores.features) == [2, 4, 5], "a number is never given twice"


def test_a_dataset_that_was_replaced_within_a_day_is_kept_for_its_readers(stores, monkeypatch):
    commit_datasets(stores.features, 2)
    reader = stores.features.snapshot("ada", f"{NAME}-00001")
    assert stores.features.delete_old_snapshots("ada", NAME, ()) == []
    assert reader.count() == 1
    monkeypatch.setattr("twin_assets.stores.features.KEEP_VERSIONS", NO_TIME)
    assert stores.features.delete_old_snapshots("ada", NAME, ()) == [f"{NAME}-00001"]


def test_a_dataset_that_a_living_process_has_pinned_is_kept_and_a_dead_ones_is_not(settings, stores, no_readers):
    commit_datasets(stores.features, 3)
    dead = settings.data_dir / "locks" / "ada" / "pins" / f"{NAME}-00001.of-a-dead-one.pin"
    dead.parent.mkdir(parents=True, exist_ok=True)
    dead.touch()
    with stores.features.pinning("ada", f"{NAME}-00002"):
        assert stores.features.delete_old_snapshots("ada", NAME, ()) == [f"{NAME}-00001"]
    assert stores.features.delete_old_snapshots("ada", NAME, ()) == [f"{NAME}-00002"]
    assert list(dead.parent.iterdir()) == []


def test_a_deletion_killed_half_way_ends_the_same_when_it_is_called_again(stores, no_readers, monkeypatch):
    commit_datasets(stores.features, 3)
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr("twin_assets.stores.features.remove_tree", Mock(side_effect=KeyboardInterrupt))
        stores.features.delete_old_snapshots("ada", NAME, ())
    assert numbers(stores.features) == [1, 2, 3]
    with pytest.raises(NotThere, match="no table instruction_dataset-00001"):
        stores.features.snapshot("ada", f"{NAME}-00001")
    assert stores.features.delete_old_snapshots("ada", NAME, ()) == [f"{NAME}-00001", f"{NAME}-00002"]
    assert numbers(stores.features) == [3]


def test_what_a_killed_run_wrote_after_the_current_dataset_is_not_an_old_one(stores, no_readers):
    commit_datasets(stores.features, 1)
    rows = pa.Table.from_pylist([{"example_id": "a", "answer": "new"}])
    stores.features.connect("ada").create_table(f"{NAME}-00002", rows)
    assert stores.features.delete_old_snapshots("ada", NAME, ()) == []
    assert numbers(stores.features) == [1, 2]
