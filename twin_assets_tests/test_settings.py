"""One absolute place for all state, whoever starts first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values

from twin_assets.errors import BadInput
from twin_assets.settings import Settings, enter_project, secret

NAMES = ("DAGSTER_HOME", "TWIN_DATA_DIR", "TWIN_DAGSTER_DIR")


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty project that DAGSTER_HOME names; what the test's process exports otherwise is taken away."""
    for name in NAMES:
        # Set and then deleted, so that what enter_project exports is taken back at the end.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "dagster.yaml").touch()
    monkeypatch.setenv("DAGSTER_HOME", str(root))
    return root


def written(root: Path) -> dict[str, str | None]:
    return dotenv_values(root / ".env")


def test_entering_writes_absolute_paths_that_dagster_dev_reads_too(checkout):
    settings = enter_project()
    assert written(checkout) == {
        "TWIN_DATA_DIR": f"{checkout}/data",
        "TWIN_DAGSTER_DIR": f"{checkout}/data/dagster",
    }
    assert (checkout / "data" / "dagster").is_dir()
    assert settings.data_dir == checkout / "data"
    assert os.environ["TWIN_DAGSTER_DIR"] == f"{checkout}/data/dagster"


def test_without_a_dagster_home_the_checkout_is_written_down_as_one(tmp_path):
    package = Path(enter_project.__code__.co_filename).parent
    root = tmp_path / "clone"
    root.mkdir()
    (root / "dagster.yaml").touch()
    (root / "twin_assets").mkdir()
    for name in ("__init__.py", "errors.py", "settings.py"):
        (root / "twin_assets" / name).write_text((package / name).read_text())
    code = "from twin_assets.settings import enter_project; print(enter_project().data_dir)"
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    command = [sys.executable, "-c", code]
    environment["PYTHONPATH"] = str(root)
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path).stdout
    assert out.strip() == f"{root}/data"
    assert written(root)["DAGSTER_HOME"] == str(root)


def test_entering_twice_changes_nothing(checkout):
    enter_project()
    before = (checkout / ".env").read_bytes()
    enter_project()
    assert (checkout / ".env").read_bytes() == before


def test_other_lines_of_the_file_stay(checkout):
    (checkout / ".env").write_text("# mine\nTWIN_CHUNK_TOKENS=64\n")
    enter_project()
    assert (checkout / ".env").read_text().startswith("# mine\nTWIN_CHUNK_TOKENS=64\n")


def test_the_environment_wins_and_neither_it_nor_what_follows_is_written_down(checkout, monkeypatch, tmp_path):
    monkeypatch.setenv("TWIN_DATA_DIR", str(tmp_path / "elsewhere"))
    settings = enter_project()
    assert settings.data_dir == tmp_path / "elsewhere"
    assert os.environ["TWIN_DAGSTER_DIR"] == f"{tmp_path}/elsewhere/dagster"
    assert not written(checkout)


def test_a_relative_directory_is_made_absolute_before_a_child_with_another_one_reads_it(
    checkout, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TWIN_DATA_DIR", "here")
    assert enter_project().data_dir == tmp_path / "here"
    assert os.environ["TWIN_DATA_DIR"] == f"{tmp_path}/here"
    assert os.environ["TWIN_DAGSTER_DIR"] == f"{tmp_path}/here/dagster"


def test_an_empty_variable_is_as_good_as_none(checkout, monkeypatch):
    for name in ("TWIN_DATA_DIR", "TWIN_DAGSTER_DIR"):
        monkeypatch.setenv(name, "")
    assert enter_project().data_dir == checkout / "data"
    assert os.environ["TWIN_DAGSTER_DIR"] == f"{checkout}/data/dagster"


def test_a_data_directory_of_ones_own_in_the_file_is_kept_even_while_its_disk_is_away(checkout, tmp_path):
    (checkout / ".env").write_text(f"TWIN_DATA_DIR={tmp_path}/disk/data\n")
    assert enter_project().data_dir == tmp_path / "disk" / "data"
    assert written(checkout)["TWIN_DAGSTER_DIR"] == f"{tmp_path}/disk/data/dagster"


@pytest.mark.parametrize("copied", [False, True], ids=["moved", "copied"])
def test_a_checkout_takes_its_own_data_along(checkout, monkeypatch, tmp_path, copied):
    (checkout / ".env").write_text(
        f"DAGSTER_HOME={checkout}\nTWIN_DATA_DIR={checkout}/data\nTWIN_DAGSTER_DIR={checkout}/data/dagster\n"
    )
    other = tmp_path / "other"
    other.mkdir()
    (other / ".env").write_bytes((checkout / ".env").read_bytes())
    if not copied:
        (checkout / ".env").unlink()
        (checkout / "dagster.yaml").unlink()
        checkout.rmdir()
    monkeypatch.setenv("DAGSTER_HOME", str(other))
    assert enter_project().data_dir == other / "data"
    assert written(other)["TWIN_DATA_DIR"] == f"{other}/data"
    assert written(other)["TWIN_DAGSTER_DIR"] == f"{other}/data/dagster"


def test_a_child_sees_the_same_settings(monkeypatch, tmp_path):
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path,
        chunk_tokens=64,
        allow_private_addresses=True,
        mongodb_uri="mongodb://user:pass@db/",
    )
    for name, value in settings.library_environment().items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None) == settings
    assert "pass" not in repr(settings)


def test_libraries_are_told_to_stay_silent_before_they_load():
    code = "import twin_assets.settings, os; print(os.environ['DAGSTER_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_DISABLE_TELEMETRY"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.strip() == "1"


def test_a_token_is_read_by_the_name_of_its_variable(monkeypatch):
    for name in ("ADAS_TOKEN", "adas_token"):
        monkeypatch.setenv(name, "t0ken")
        assert secret(name) == "t0ken"


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_token_names_the_variable_and_the_way_out(monkeypatch, value):
    monkeypatch.delenv("ADAS_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("ADAS_TOKEN", value)
    with pytest.raises(BadInput, match="environment variable ADAS_TOKEN is empty: set it"):
        secret("ADAS_TOKEN")


def test_a_token_that_was_stored_in_its_names_place_is_not_repeated():
    with pytest.raises(BadInput, match="never the token") as caught:
        secret("ghp_16C7e42F292c")
    assert "ghp" not in str(caught.value)
