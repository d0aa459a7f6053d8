import multiprocessing
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from twin_assets.documents import AuthorProfile, Consent, RawDocument
from twin_assets.errors import NotThere
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets_tests.conftest import raw


def test_a_document_comes_back_as_it_was_written(stores):
    document = raw(
        "a", "Tea & “toast” 🌊\n", published_at=datetime(2024, 1, 2, tzinfo=UTC), metadata={"tags": ["x"], "n": 1}
    )
    stores.warehouse.upsert_documents([document])
    assert list(stores.warehouse.documents("ada")) == [document]


def test_upserts_are_idempotent_and_keep_what_the_author_set(stores):
    stores.warehouse.upsert_documents([raw("a", "one")])
    stores.warehouse.leave_out("ada:files:a", ["training"])
    before = stores.warehouse.fingerprints("ada")
    stores.warehouse.upsert_documents([raw("a", "one")])
    assert stores.warehouse.fingerprints("ada") == before
    assert next(stores.warehouse.documents("ada")).left_out == ["training"]


def test_a_tombstone_changes_the_data_version_and_a_second_one_does_not(stores):
    stores.warehouse.upsert_documents([raw("a", "one"), raw("b", "two")])
    alive = stores.warehouse.raw_data_version("ada", "files")
    assert stores.warehouse.bury(["ada:files:a"]) == 1
    dead = stores.warehouse.raw_data_version("ada", "files")
    assert stores.warehouse.bury(["ada:files:a"]) == 0
    assert stores.warehouse.raw_data_version("ada", "files") == dead != alive


def test_one_author_never_sees_anothers_documents(stores):
    stores.warehouse.upsert_documents([raw("a", "mine"), raw("a", "theirs", author="bob")])
    assert [document.content for document in stores.warehouse.documents("ada")] == ["mine"]


def test_an_unknown_author_is_named_with_the_way_out(stores, ada):
    with pytest.raises(NotThere, match=r"no author 'bob' \(known: ada\): add one with `twin author add`"):
        stores.warehouse.profile("bob")


@pytest.mark.parametrize("slug", ["Ada", "a b", "-a", "", "a/b", "..", "a" * 64])
def test_an_author_id_is_a_slug(slug):
    with pytest.raises(ValidationError):
        AuthorProfile(id=slug, name="x", consent=Consent(who="x"))


@given(st.text(), st.text())
def test_content_hash_follows_the_content_and_nothing_else(one, other):
    first, second = raw("a", one), raw("b", one, metadata={"likes": 3}, title="a")
    assert first.content_hash == second.content_hash
    assert (raw("a", other).content_hash == first.content_hash) == (one == other)


def _write(folder, name: str) -> None:
    warehouse = Stores(Settings(_env_file=None, data_dir=folder)).warehouse
    for n in range(100):
        warehouse.upsert_documents([raw(f"{name}-{n}", f"text {n}"), raw("shared", f"by {name}, {n}")])
        warehouse.save_crawl_state("ada", name, {"n": n})


def test_four_processes_write_at_once_without_an_error_or_a_lost_document(settings, stores):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(settings.data_dir, name)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    assert len(stores.warehouse.fingerprints("ada")) == 401
    assert all(stores.warehouse.crawl_state("ada", name) == {"n": 99} for name in "abcd")


def test_unknown_fields_are_refused():
    with pytest.raises(ValidationError):
        RawDocument.model_validate(raw("a", "x").model_dump() | {"titel": "typo"})
