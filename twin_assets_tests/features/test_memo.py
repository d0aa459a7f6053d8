import sqlite3

import pytest

from twin_assets.features import memo as module
from twin_assets.features.memo import open_memo


@pytest.fixture
def path(tmp_path):
    return tmp_path / "instruction_dataset" / "ada.db"


def test_an_entry_is_found_until_a_run_does_not_ask_for_it(path):
    with open_memo(path) as memo:
        assert memo.get("a") is None
        memo.put("a", {"reason": "empty 潮"})
        memo.put("b", {"reason": "gone heron"})
    assert b"gone heron" in path.read_bytes()
    with open_memo(path) as memo:
        assert memo.get("a") == {"reason": "empty 潮"}
    with open_memo(path) as memo:
        assert (memo.get("b"), memo.get("a")) == (None, {"reason": "empty 潮"})
    assert b"gone heron" not in path.read_bytes()


def test_a_run_that_fails_changes_nothing(path):
    with open_memo(path) as memo:
        memo.put("a", {"n": 1})
    with pytest.raises(ZeroDivisionError), open_memo(path) as memo:
        memo.put("b", {"n": 1 / 0})
    with open_memo(path) as memo:
        assert memo.get("a") == {"n": 1}


@pytest.mark.parametrize("damage", [lambda text: b"no database" * 500, lambda text: text[:5000], lambda text: b""])
def test_a_damaged_file_is_begun_again(path, damage):
    with open_memo(path) as memo:
        memo.put("a", {"long": "x" * 20_000})
    path.write_bytes(damage(path.read_bytes()))
    with open_memo(path) as memo:
        assert memo.get("a") is None
        memo.put("a", {"n": 2})
    with open_memo(path) as memo:
        assert memo.get("a") == {"n": 2}


def test_a_file_that_another_process_has_is_not_taken_for_a_damaged_one(path, monkeypatch):
    monkeypatch.setattr(module, "WAIT_S", 0.1)
    with open_memo(path) as memo:
        memo.put("a", {"n": 1})
    with sqlite3.connect(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"), open_memo(path):
            pass
    other.close()
    with open_memo(path) as memo:
        assert memo.get("a") == {"n": 1}
