import pytest

from twin_assets.documents import BaseModelRef, DatasetRef, Gate, ModelManifest
from twin_assets.errors import NotThere, TwinError
from twin_assets.stores.models import version_name


def manifest(version: str, **more: object) -> ModelManifest:
    fields = {
        "author": "ada", "version": version, "recipe_name": "tiny", "recipe": {}, "recipe_hash": "r",
        "base": BaseModelRef(name="b", revision="1"), "path": f"/models/{version}", "weights_sha256": "0",
        "dataset": DatasetRef(table="instruction_dataset-00001", version="1", data_version="d"),
        "prompt_version": "1", "prompt_template": "ours", "code_version": "1",
    }  # fmt: skip
    return ModelManifest.model_validate(fields | more)


PASSED = {"evaluation": {"x": 1}, "gates": [Gate(name="g", value=1, limit=2, passed=True)]}


def test_the_alias_alone_says_what_is_in_production(stores):
    for version in ("v1", "v2"):
        stores.models.publish(manifest(version))
    stores.models.promote("ada", "v1", "me", "first")
    # A run killed right after moving the alias: the stages were never written.
    stores.warehouse.move_alias("ada", "v2", "me", "second")
    assert {m.version: m.stage for m in stores.models.versions("ada")} == {"v1": "archived", "v2": "production"}


def test_rollback_is_promoting_an_earlier_version(stores):
    for version in ("v1", "v2"):
        stores.models.publish(manifest(version))
        stores.models.promote("ada", version, "me", "newer")
    stores.models.promote("ada", "v1", "me", "v2 rambles")
    production = stores.models.production("ada")
    assert (production.version, production.reason) == ("v1", "v2 rambles")
    assert [entry["version"] for entry in stores.warehouse.alias("ada")["history"]] == ["v1", "v2", "v1"]


def test_publishing_again_changes_nothing(stores):
    stores.models.publish(manifest("v1", **PASSED))
    stores.models.publish(manifest("v1"))
    assert stores.models.version("ada", "v1").passed


def test_the_newest_that_passed_every_gate_is_the_one_to_promote(stores):
    stores.models.publish(manifest("v1", **PASSED))
    failed = Gate(name="recitation", value=3, limit=2, passed=False)
    stores.models.publish(manifest("v2", evaluation={"x": 1}, gates=[failed]))
    assert stores.models.newest_passing("ada").version == "v1"
    stores.models.reject("ada", "v1", "me", "no")
    with pytest.raises(NotThere, match="v2: recitation"):
        stores.models.newest_passing("ada")


def test_a_rejected_version_is_never_promoted_and_production_never_rejected(stores):
    stores.models.publish(manifest("v1"))
    stores.models.publish(manifest("v2"))
    stores.models.reject("ada", "v1", "me", "bad")
    with pytest.raises(TwinError, match="was rejected"):
        stores.models.promote("ada", "v1", "me", "")
    stores.models.promote("ada", "v2", "me", "")
    with pytest.raises(TwinError, match="roll back"):
        stores.models.reject("ada", "v2", "me", "")


def test_orphans_of_killed_runs_are_collected_and_versions_kept(stores):
    kept, orphan = (stores.models.folder("ada", "tiny", name) for name in ("v1", "v2"))
    for folder in (kept, orphan):
        folder.mkdir(parents=True)
        (folder / "weights").write_text("x")
    stores.models.publish(manifest("v1", path=str(kept)))
    assert stores.models.collect_orphans("ada") == [str(orphan)]
    assert kept.exists()
    assert not orphan.exists()


def test_erasing_an_author_takes_alias_manifests_and_files_and_leaves_the_others(stores):
    for author in ("ada", "ben"):
        for name in ("v1", "v2"):
            folder = stores.models.folder(author, "tiny", name)
            folder.mkdir(parents=True)
            (folder / "weights").write_text("x")
            stores.models.publish(manifest(name, author=author, path=str(folder)))
        stores.models.promote(author, "v1", "me", "good")
    assert stores.models.erase("ada") == {"model_aliases": 1, "model_manifests": 2, "model_files": 2}
    assert not any(stores.models.erase("ada").values())
    assert stores.models.versions("ada") == []
    assert not stores.models.folder("ada", "tiny", "v1").parent.parent.exists()
    assert stores.models.production("ben").version == "v1"
    assert (stores.models.folder("ben", "tiny", "v2") / "weights").exists()


def test_the_same_inputs_name_the_same_version():
    assert version_name("tiny", "r", "d") == version_name("tiny", "r", "d")
    assert len({version_name("tiny", "r", "d"), version_name("tiny", "s", "d"), version_name("tiny", "r", "e")}) == 3
