"""What documents may be used for, told to Dagster also by a command that comes after one that died."""

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from twin_assets.operations import usage
from twin_assets.stores import Stores
from twin_assets_tests.conftest import raw, setting


def known_data_version(instance: dg.DagsterInstance, platform: str) -> str:
    event = instance.get_latest_materialization_event(dg.AssetKey(["raw", platform]))
    return event.asset_materialization.tags[DATA_VERSION_TAG]


def is_known(instance: dg.DagsterInstance, stores: Stores, platform: str) -> bool:
    return known_data_version(instance, platform) == stores.warehouse.raw_data_version("ada", platform)


def test_an_exclusion_by_a_command_that_died_is_told_of_by_the_same_command_again(dagster_instance, stores, ada):
    stores.warehouse.upsert_documents([raw("a", "words")])
    assert usage.exclude(dagster_instance, stores, "ada", "ada:files:a", ["quoting"])
    stores.warehouse.leave_out("ada:files:a", ["quoting", "training"])  # and here it died
    assert not is_known(dagster_instance, stores, "files")

    assert usage.exclude(dagster_instance, stores, "ada", "ada:files:a", ["training", "quoting"])
    assert is_known(dagster_instance, stores, "files")
    assert not usage.exclude(dagster_instance, stores, "ada", "ada:files:a", ["training", "quoting"])


def test_private_writing_allowed_by_a_command_that_died_is_told_of_by_the_same_command_again(
    dagster_instance, stores, ada
):
    stores.warehouse.upsert_documents([raw("a", "words"), raw("b", "more words", platform="blog", source_id="blog")])
    assert usage.train_private(dagster_instance, stores, "ada", True)
    assert usage.train_private(dagster_instance, stores, "ada", False)
    stores.warehouse.change_profile("ada", setting(train_private=True))  # and here it died
    assert not is_known(dagster_instance, stores, "files")

    assert usage.train_private(dagster_instance, stores, "ada", True)
    assert is_known(dagster_instance, stores, "files")
    assert is_known(dagster_instance, stores, "blog")
    assert not usage.train_private(dagster_instance, stores, "ada", True)
