"""Each check can fail, and a failing one writes nothing: the previous version stays published."""

from dataclasses import replace

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_assets import schemas
from twin_assets.features import assets as features
from twin_assets.features import changes, checks
from twin_assets.stores import open_stores
from twin_assets_tests.conftest import raw

COUNT = st.integers(0, 1_000)


def document(name: str = "a", **more: object) -> dict[str, object]:
    fields: dict[str, object] = {
        "document_id": name, "platform": "files", "category": "post", "title": None, "url": None, "language": None,
        "published_at": None, "cluster_id": "c", "trainable": True, "quotable": True, "source_id": "s",
        "visibility": "public", "text": "words", "n_words": 1, "input_hash": "h", "made_by": "m",
        "text_hash": "t", "signature": b"s",
    }  # fmt: skip
    return fields | more


def documents(*rows: dict[str, object]) -> pa.Table:
    return schemas.from_dicts(rows, schemas.CLEANED_DOCUMENTS)


def verdict(rows: pa.Table) -> checks.Verdict:
    return checks.schema(rows, schemas.CLEANED_DOCUMENTS, "document_id")


def test_rows_as_the_schema_says_pass():
    assert verdict(documents(document("a"), document("b"))).passed
    assert verdict(documents()).passed


def test_a_key_that_stands_twice_fails():
    found = verdict(documents(document("a"), document("a")))
    assert (found.passed, found.text) == (False, "1 keys occur more than once")


def test_a_missing_required_value_fails_by_its_column():
    found = verdict(documents(document(text=None)))
    assert (found.passed, found.text) == (False, "text is empty in 1 rows")


@pytest.mark.parametrize(
    "changed",
    [
        lambda rows: rows.drop_columns(["title"]),
        lambda rows: rows.append_column("extra", pa.array([1])),
        lambda rows: rows.set_column(0, pa.field("document_id", pa.int32(), nullable=False), pa.array([1], pa.int32())),
    ],
    ids=["a column is missing", "a column too many", "another type"],
)
def test_other_columns_or_types_fail(changed):
    found = verdict(changed(documents(document())))
    assert not found.passed
    assert "columns are" in found.text


@given(before=COUNT, after=COUNT, explained=COUNT)
def test_empty_is_wrong_unless_every_row_that_went_was_explained(before, after, explained):
    assert checks.not_empty(before, after, explained).passed == (after > 0 or explained >= before)


@given(before=COUNT, gone=COUNT, new=COUNT, explained=COUNT, max_drop=st.floats(0.01, 1))
def test_a_drop_is_what_deletions_do_not_explain(before, gone, new, explained, max_drop):
    gone = min(gone, before)
    explained = min(explained, gone)
    found = checks.no_sudden_drop(before, before - gone + new, explained, max_drop)
    unexplained = max(0, gone - new - explained)
    assert found.passed == (unexplained <= max_drop * before)
    assert "unexplained" in found.text


@pytest.mark.parametrize(
    ("chunked", "cleaned", "passed"),
    [("ab", "ab", True), ("", "", True), ("ab", "a", False), ("a", "ab", False)],
)
def test_chunks_have_exactly_the_documents_that_are_there(chunked, cleaned, passed):
    assert checks.chunks_have_documents(chunked, cleaned).passed == passed


class Standing:
    """A table as it stands: rows in place of a store."""

    def __init__(self, rows):
        self._rows = rows

    def rows(self, columns):
        return ({name: row[name] for name in columns} for row in self._rows)


ENGLISH, SHORT, LONG_ONES = ("article", "en", 300), ("post", "en", 30), ("article", "en", 1200)


@pytest.mark.parametrize(
    ("before", "now", "moved"),
    [
        ([ENGLISH] * 40, [ENGLISH] * 25, ""),
        ([ENGLISH] * 40, [("article", "de", 300)] * 25, "article language"),
        ([ENGLISH] * 40, [ENGLISH] * 20 + [("article", "de", 300)] * 5, ""),
        ([ENGLISH] * 40, [LONG_ONES] * 25, "article words"),
        ([ENGLISH] * 40, [ENGLISH] * 19 + [LONG_ONES] * 6, ""),
        ([ENGLISH] * 40, [LONG_ONES] * 19, ""),
        ([ENGLISH] * 40, [SHORT] * 40, ""),
        ([("code", None, 10)] * 40, [("code", "en", 500)] * 40, "code words"),
        ([], [ENGLISH] * 40, ""),
        ([ENGLISH] * 40, [], ""),
    ],
    ids=[
        "as before", "all in another language", "some in another language", "all longer", "some longer",
        "too few to tell", "a category that is new", "code has lengths only", "the first run", "nothing written",
    ],
)  # fmt: skip
def test_a_shift_of_language_or_length_within_a_category_is_told_and_blocks_nothing(before, now, moved):
    types = pa.schema([("category", pa.string()), ("language", pa.string()), ("words", pa.int32())])
    old, new = ([dict(zip(types.names, row, strict=True)) for row in rows] for rows in (before, now))
    found = checks.no_drift(Standing(old), pa.Table.from_pylist(new, types), "words")
    assert found.passed == (not moved)
    assert not found.blocking
    assert f"look at a few rows: {moved} moved" in found.text or not moved
    assert next(iter(checks.report("chunks", [found]))).severity is dg.AssetCheckSeverity.WARN


def test_languages_that_the_embedding_model_does_not_know_are_counted_and_the_setting_named():
    found = checks.languages_known(["zh", "en", "zh", "de", None], {"en"})
    assert not found.passed
    assert not found.blocking
    assert found.numbers == {"chunks": 3, "languages": 2}
    assert "found by their words more than by their meaning: 2 in zh, 1 in de." in found.text
    assert "TWIN_EMBEDDING_MODEL" in found.text
    assert checks.languages_known(["en", None], {"en"}).passed
    assert checks.languages_known(["zh"], None).passed


@pytest.mark.parametrize(
    ("vectors", "bad"),
    [
        ([[1, 0], [0.6, 0.8]], 0),
        ([[1, 0], [2, 0]], 1),
        ([[0, 0], [1, 0]], 1),
        ([[np.nan, 0], [np.inf, 0]], 2),
        ([[1.0005, 0], [1.002, 0]], 1),
        ([], 0),
    ],
)
def test_vectors_are_finite_and_of_length_one(vectors, bad):
    schema = pa.schema([pa.field("vector", pa.list_(pa.float32(), 2))])
    found = checks.vectors_unit_and_finite(pa.table({"vector": pa.array(vectors, schema.field(0).type)}, schema=schema))
    assert (found.passed, found.numbers.get("bad", 0)) == (bad == 0, bad)


LONG = "A sentence that is long enough to be told from another one, and a little longer than that. "
OTHER = "Another sentence of the same kind, about something else altogether, that is as long as it. "


@pytest.mark.parametrize(
    ("rows", "passed"),
    [
        ([("c1", "train", LONG), ("c1", "train", LONG + "More."), ("c2", "test", "Other. " + LONG)], True),
        ([("c1", "train", LONG), ("c1", "test", "Other. " + LONG)], False),
        ([("c1", "train", LONG), ("c2", "test", LONG)], False),
        ([("c1", "train", f"{LONG}\n\nMore.\n\n{OTHER}"), ("c2", "test", LONG)], False),
        ([("c1", "train", LONG), ("c2", "test", f"{LONG}\n\nMore.\n\n{OTHER}{OTHER}")], True),
        ([("c1", "train", LONG), ("c2", "test", OTHER, f"Above.\n\n{OTHER}")], False),
        ([("c1", "train", LONG), ("c2", "test", OTHER, LONG)], True),
    ],
    ids=[
        "apart", "a cluster in two splits", "an answer in two splits", "an answer that is a part of one in train",
        "an answer of which less than half stands in train", "an answer in its context", "an answer beside its context",
    ],
)  # fmt: skip
def test_nothing_held_out_stands_in_train_or_in_its_own_context(rows, passed):
    names = ("cluster_id", "split", "answer")
    table = pa.Table.from_pylist(
        [dict(zip(names, row, strict=False)) | {"passages": [{"text": text} for text in row[3:]]} for row in rows]
    )
    assert checks.no_leak(table).passed == passed


def test_an_answer_that_is_not_a_piece_of_its_own_document_fails():
    texts = {"a": "My own words.", "b": "Other words of mine."}
    assert checks.answers_are_the_authors([("a", "own words"), ("b", "Other words")], texts).passed
    assert not checks.answers_are_the_authors([("a", "own words!")], texts).passed
    assert not checks.answers_are_the_authors([("a", "Other words")], texts).passed
    assert not checks.answers_are_the_authors([("gone", "own words")], texts).passed


def test_every_result_is_reported_before_the_failure_that_says_what_stays():
    verdicts = [checks.Verdict(name, passed, "why", {}) for name, passed in [("a", False), ("b", True), ("c", False)]]
    reported = []
    with pytest.raises(dg.Failure) as caught:  # noqa: PT012
        for result in checks.report("chunks", verdicts):
            reported.append((result.check_name, result.passed))  # noqa: PERF401
    assert reported == [("a", False), ("b", True), ("c", False)]
    assert caught.value.description == "chunks: nothing was written, the previous version stays in use. a: why; c: why"
    assert caught.value.allow_retries is False


def failed_checks(result: dg.ExecuteInProcessResult) -> list[str]:
    assert not result.success
    return [one.check_name for one in result.get_asset_check_evaluations() if one.blocking and not one.passed]


def test_a_warehouse_that_lost_its_documents_empties_no_table(project, materialize, writing):
    project.warehouse.documents.upsert(writing)
    materialize("cleaned_documents")
    before = project.features.tables("ada")
    project.warehouse.connection.db["raw_documents"].delete_many({"author": "ada"})
    result = materialize("cleaned_documents", raise_on_error=False)
    assert failed_checks(result) == ["not_empty", "no_sudden_drop"]
    assert project.features.tables("ada") == before


def test_a_drop_that_tombstones_and_left_out_documents_explain_is_none(project, materialize, writing):
    project.warehouse.documents.upsert(writing)
    materialize("cleaned_documents")
    project.warehouse.documents.mark_deleted([document.id for document in writing[:20]])
    for document in writing[20:35]:
        project.warehouse.documents.leave_out(document.id, ["training", "quoting"])
    assert materialize("cleaned_documents").success
    assert project.features.published("ada", "cleaned_documents").rows == 5


def test_everything_deleted_by_its_author_is_no_failure_of_the_cleaned_table(project, materialize, writing):
    project.warehouse.documents.upsert(writing)
    stages = ("cleaned_documents", "chunks", "embeddings")
    materialize(*stages)
    project.warehouse.documents.mark_deleted([document.id for document in writing])
    result = materialize(*stages)
    assert result.success
    assert project.features.table("ada", "embeddings").count() == 0


def test_a_setting_that_makes_far_fewer_chunks_waits_for_a_word_of_the_operator(
    project, materialize, monkeypatch, writing
):
    sentences = " ".join(f"Sentence {n} tells of the tide and of what the gauge made of it." for n in range(60))
    project.warehouse.documents.upsert([raw(f"long{n}", f"{sentences} Ends with {n}.") for n in range(5)])
    monkeypatch.setenv("TWIN_CHUNK_TOKENS", "32")
    open_stores.cache_clear()
    stages = ("cleaned_documents", "chunks")
    materialize(*stages)
    before = project.features.published("ada", "chunks")
    monkeypatch.setenv("TWIN_CHUNK_TOKENS", "220")
    open_stores.cache_clear()
    result = materialize(*stages, raise_on_error=False)
    assert failed_checks(result) == ["no_sudden_drop"]
    [event] = [event for event in result.all_events if event.is_step_failure]
    assert "allow it with TWIN_MAX_DROP=0." in str(event.step_failure_data.user_failure_data.description)
    assert project.features.published("ada", "chunks") == before
    monkeypatch.setenv("TWIN_MAX_DROP", "1")
    open_stores.cache_clear()
    assert materialize(*stages).success
    assert project.features.published("ada", "chunks").rows < before.rows / 2


def test_a_dataset_that_would_hold_nothing_any_more_is_not_published(project, materialize, writing):
    project.warehouse.documents.upsert(writing)
    materialize()
    before = project.features.published("ada", "instruction_dataset")
    project.warehouse.documents.upsert(
        [document.model_copy(update={"content": f"{n}."}) for n, document in enumerate(writing)]
    )
    result = materialize(raise_on_error=False)
    assert failed_checks(result) == ["not_empty"]
    assert project.features.published("ada", "instruction_dataset") == before
    assert project.features.snapshots("ada", "instruction_dataset") == ["instruction_dataset-00001"]


def test_each_asset_reports_the_checks_it_declares(project, materialize, writing):
    project.warehouse.documents.upsert(writing)
    reported = {(check.asset_key, check.check_name) for check in materialize().get_asset_check_evaluations()}
    declared = {(spec.asset_key, spec.name) for asset in features.assets([]) for spec in asset.check_specs}
    assert reported == declared
    assert {name for _, name in declared} == set(checks.SPECS)


def test_an_author_who_also_writes_chinese_is_told_what_the_bundled_model_cannot_do(project, materialize, writing):
    chinese = raw("gauge", "潮水仪器挂在链条上。每天早上七点, 我读一次水位, 然后写在本子里。", title="潮水")
    project.warehouse.documents.upsert([*writing, chinese])
    result = materialize("cleaned_documents", "chunks", "embeddings")
    assert result.success
    [found] = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert (found.check_name, found.metadata["chunks"].value) == ("languages_known", 1)
    assert "1 in zh" in found.metadata["result"].value


def test_documents_that_come_out_otherwise_by_new_code_are_warned_of(project, materialize, monkeypatch, writing):
    project.warehouse.documents.upsert(writing)
    materialize("cleaned_documents")
    monkeypatch.setattr("twin_assets.features.changes.CLEANING_VERSION", "other")
    real = changes.cleaned_row

    def halved(document, **how):
        cleaned = real(document, **how)
        words = cleaned.row["text"].split()
        kept = words[: max(1, len(words) // 4)]
        return replace(cleaned, row=cleaned.row | {"text": " ".join(kept), "n_words": len(kept)})

    monkeypatch.setattr(changes, "cleaned_row", halved)
    result = materialize("cleaned_documents")
    assert result.success
    assert [check.check_name for check in result.get_asset_check_evaluations() if not check.passed] == ["no_drift"]
