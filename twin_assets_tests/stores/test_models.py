import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from twin_assets.documents import DatasetRef, Gate, ModelManifest, utcnow
from twin_assets.errors import NotThere, TwinError
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets.stores.models import AUTOMATIC, Identity, sha256_of_files
from twin_assets_tests.stores.conftest import manifest

PASSED = {"evaluation": {"x": 1}, "gates": [Gate(name="g", value=1, limit=2, passed=True)]}


def test_the_alias_alone_says_what_is_in_production(stores):
    for version in ("v1", "v2"):
        stores.models.publish(manifest(version))
    stores.models.promote("ada", "v1", "me", "first")
    # A run killed right after moving the alias: the stages were never written.
    stores.warehouse.aliases.move("ada", "v2", "you", "second")
    assert [(m.version, m.stage, m.promoted_by, m.reason) for m in stores.models.versions("ada")] == [
        ("v1", "archived", "you", "replaced by v2"),
        ("v2", "production", "you", "second"),
    ]
    again = stores.models.promote("ada", "v2", "me", "a second click")
    assert (again.promoted_at, again.reason) == (stores.warehouse.aliases.find("ada")["at"], "second")


def test_rollback_is_promoting_an_earlier_version(stores):
    for version in ("v1", "v2"):
        stores.models.publish(manifest(version))
        stores.models.promote("ada", version, "me", "newer")
    stores.models.promote("ada", "v1", "me", "v2 rambles")
    production = stores.models.production("ada")
    assert (production.version, production.reason) == ("v1", "v2 rambles")
    assert [entry["version"] for entry in stores.warehouse.aliases.find("ada")["history"]] == ["v1", "v2", "v1"]


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


def test_orphans_of_killed_runs_are_deleted_and_versions_kept(stores):
    kept, orphan = (stores.models.folder("ada", "tiny", name) for name in ("v1", "v2"))
    for folder in (kept, orphan):
        folder.mkdir(parents=True)
        (folder / "weights").write_text("x")
    stores.models.publish(manifest("v1"))
    assert stores.models.delete_orphans("ada") == [str(orphan)]
    assert kept.exists()
    assert not orphan.exists()


def test_versions_move_with_the_data_directory_and_are_no_orphans_there(stores, settings):
    folder = stores.models.folder("ada", "tiny", "v1")
    folder.mkdir(parents=True)
    (folder / "weights").write_text("x")
    stores.models.publish(manifest("v1", path=str(folder)))
    stores.models.promote("ada", "v1", "me", "good")
    moved = settings.data_dir.rename(settings.data_dir.with_name("elsewhere"))
    there = Stores(Settings(_env_file=None, data_dir=moved))
    assert there.models.delete_orphans("ada") == []
    production = there.models.production("ada")
    assert Path(production.path) == moved / "models" / "ada" / "tiny" / "v1"
    assert (there.models.local_folder(production, moved / "cache") / "weights").read_text() == "x"


@pytest.fixture
def remote(settings: Settings, tmp_path: Path) -> Stores:
    """Stores with a registry that is reached through a file system of its own."""
    return Stores(settings.model_copy(update={"models_uri": f"file://{tmp_path}/remote"}))


@pytest.fixture
def published(remote: Stores, tmp_path: Path) -> ModelManifest:
    """A version in the remote registry."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights.safetensors").write_bytes(b"w" * 1000)
    remote.models.upload("ada", "tiny", "v1", tmp_path, ["adapter"])
    remote.models.publish(manifest("v1", weights_sha256=sha256_of_files(tmp_path / "adapter")))
    return remote.models.version("ada", "v1")


def test_a_version_is_fetched_from_a_remote_registry_once(remote, published):
    cache = remote.settings.cache_dir
    local = remote.models.local_folder(published, cache)
    assert local == cache / "models" / "ada" / "v1"
    remote.models.erase("ada")
    assert (remote.models.local_folder(published, cache) / "adapter" / "weights.safetensors").stat().st_size == 1000


def test_a_version_that_two_fetch_at_once_is_whole_for_both(remote, published, monkeypatch):
    began, seen = threading.Event(), threading.Event()
    copy, files_fetched = LocalFileSystem.get_file, itertools.count()

    def slowly(files: LocalFileSystem, source: str, target: str, **more: object) -> None:
        """The first fetch ends once a second one, if any, is half-way; the second ends once the first was read."""
        if files.isfile(source) and next(files_fetched):
            Path(target).write_bytes(b"w")
            began.set()
            seen.wait(10)
        copy(files, source, target, **more)
        if files.isfile(source):
            began.wait(0.5)

    def size(_: int) -> int:
        folder = remote.models.local_folder(published, remote.settings.cache_dir)
        found = (folder / "adapter" / "weights.safetensors").stat().st_size
        seen.set()
        return found

    monkeypatch.setattr(LocalFileSystem, "get_file", slowly)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(size, range(2))) == [1000, 1000]


def test_a_fetch_that_was_killed_starts_again(remote, published):
    half = remote.settings.cache_dir / "models" / "ada" / "v1.new" / "adapter"
    half.mkdir(parents=True)
    for name in ("weights.safetensors", "of-another-time.safetensors"):
        (half / name).write_bytes(b"w")
    folder = remote.models.local_folder(published, remote.settings.cache_dir)
    assert [path.name for path in (folder / "adapter").iterdir()] == ["weights.safetensors"]
    assert not half.exists()


def test_fetched_weights_that_are_not_those_published_are_refused(remote, published, tmp_path):
    weights = tmp_path / "remote" / "ada" / "tiny" / "v1" / "adapter" / "weights.safetensors"
    weights.write_bytes(b"w" * 500)
    with pytest.raises(TwinError, match=r"ada@v1 in file://.* are not those that were published"):
        remote.models.local_folder(published, remote.settings.cache_dir)
    weights.write_bytes(b"w" * 1000)
    assert remote.models.local_folder(published, remote.settings.cache_dir).is_dir()


def test_erasing_an_author_takes_alias_manifests_and_files_and_leaves_the_others(stores):
    for author in ("ada", "ben"):
        for name in ("v1", "v2"):
            folder = stores.models.folder(author, "tiny", name)
            folder.mkdir(parents=True)
            (folder / "weights").write_text("x")
            stores.models.publish(manifest(name, author=author))
        stores.models.promote(author, "v1", "me", "good")
    assert stores.models.erase("ada") == {"model_aliases": 1, "model_manifests": 2, "model_files": 2}
    assert not any(stores.models.erase("ada").values())
    assert stores.models.versions("ada") == []
    assert not stores.models.folder("ada", "tiny", "v1").parent.parent.exists()
    assert stores.models.production("ben").version == "v1"
    assert (stores.models.folder("ben", "tiny", "v2") / "weights").exists()


SAME = Identity("r", "commit", "d", "1", "1")


def test_the_same_inputs_name_the_same_version_and_each_of_them_another():
    assert SAME.version("tiny") == replace(SAME).version("tiny")
    names = {replace(SAME, **{field: "x"}).version("tiny") for field in SAME.__dataclass_fields__}
    assert len(names | {SAME.version("tiny")}) == 7
    with pytest.raises(ValueError, match="not known yet"):
        replace(SAME, base_revision=None).version("tiny")


def test_a_version_is_found_by_all_that_it_was_made_from(stores):
    pairs = DatasetRef(table="preference_pairs-tiny-00001", version="00001", data_version="p")
    stores.models.publish(manifest("v1"))
    stores.models.publish(manifest("v2", preference_pairs=pairs))
    made = Identity("r", "1", "d", "1", "1")

    def found(identity: Identity, recipe: str = "tiny") -> str | None:
        version = stores.models.find_trained("ada", recipe, identity)
        return version.version if version else None

    assert found(made) == "v1"
    assert found(replace(made, preference_pairs="p")) == "v2"
    assert found(made, recipe="another") is None
    assert [found(replace(made, **{field: "x"})) for field in made.__dataclass_fields__] == [None] * 6
    assert found(replace(made, base_revision=None)) == "v1", "a base that is not on this machine may be any"


def test_a_manifest_of_earlier_code_still_loads(stores):
    stores.models.publish(manifest("v1"))
    stores.warehouse.connection.db["model_manifests"].update_one({}, {"$unset": {"preference_pairs": ""}})
    [old] = stores.models.versions("ada")
    assert old.preference_pairs is None
    assert old.prompt_warning("1") is None
    assert "prompts of version 1, and prompts are now of version 2" in old.prompt_warning("2")
    assert "twin run ada --recipe tiny" in old.prompt_warning("2")


def test_what_a_manifest_names_is_never_uploaded_over(stores, tmp_path):
    (tmp_path / "adapter").mkdir()
    weights = tmp_path / "adapter" / "weights.safetensors"
    weights.write_text("first")
    place = Path(stores.models.upload("ada", "tiny", "v1", tmp_path, ["adapter"]))
    weights.write_text("again")
    stores.models.upload("ada", "tiny", "v1", tmp_path, ["adapter"])
    stores.models.publish(manifest("v1"))
    weights.write_text("third")
    with pytest.raises(TwinError, match="ada@v1 is in the registry, and a version never changes"):
        stores.models.upload("ada", "tiny", "v1", tmp_path, ["adapter"])
    assert (place / "adapter" / "weights.safetensors").read_text() == "again"


LONG_AGO = utcnow() - timedelta(days=9)


def publish(stores: Stores, *versions: str, **more: object) -> None:
    """Versions that passed, trained days ago in this order."""
    for n, version in enumerate(versions):
        stores.models.publish(manifest(version, created_at=LONG_AGO + timedelta(days=n), **PASSED, **more))


def candidates(stores: Stores) -> list[str]:
    return [one.version for one in stores.models.candidates("ada")]


def test_a_rollback_leaves_no_candidate_but_what_is_trained_later(stores):
    publish(stores, "v1", "v2", "v3")
    assert candidates(stores) == ["v1", "v2", "v3"]
    for version in ("v1", "v3", "v1"):
        stores.models.promote("ada", version, AUTOMATIC, "")
    assert candidates(stores) == []
    assert stores.models.newest_passing("ada").version == "v1", "no default undoes a rollback"
    stores.models.publish(manifest("v4", created_at=utcnow() + timedelta(seconds=1), **PASSED))
    assert candidates(stores) == ["v4"]
    assert stores.models.newest_passing("ada").version == "v4"


def test_what_a_person_passed_over_is_no_candidate_and_what_the_sensor_did_is(stores):
    publish(stores, "v1", "v2", "v3")
    stores.models.promote("ada", "v2", AUTOMATIC, "better")
    assert candidates(stores) == ["v1", "v3"]
    stores.models.promote("ada", "v3", "Ada", "reads well")
    assert candidates(stores) == []


def test_what_was_in_production_before_is_known_in_turn(stores):
    publish(stores, "v1", "v2", "v3", "v4")
    assert stores.models.production_history("ada") == []
    for version in ("v1", "v2", "v3", "v1", "v4"):
        stores.models.promote("ada", version, "Ada", "")
    before = [one.version for one in stores.models.production_history("ada")]
    assert before == ["v4", "v1", "v3", "v2"]
    stores.models.reject("ada", "v1", "Ada", "wrong")
    production = stores.models.production("ada")
    steps = []
    while production := stores.models.previous_production(production):
        steps.append(production.version)
    assert steps == ["v3", "v2"]


def test_weights_in_a_local_registry_are_verified_too(stores, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "weights.safetensors").write_bytes(b"w" * 1000)
    place = Path(stores.models.upload("ada", "tiny", "v1", tmp_path, ["adapter"]))
    stores.models.publish(manifest("v1", weights_sha256=sha256_of_files(tmp_path / "adapter")))
    version = stores.models.version("ada", "v1")
    cache = stores.settings.cache_dir
    assert stores.models.verified_folder(version, cache) == place
    weights = place / "adapter" / "weights.safetensors"
    weights.write_bytes(b"w" * 500)
    with pytest.raises(TwinError, match=r"ada@v1 in .* are not those that were published"):
        stores.models.verified_folder(version, cache)
    weights.unlink()
    with pytest.raises(TwinError, match="ada@v1 has no weights in"):
        stores.models.verified_folder(version, cache)
