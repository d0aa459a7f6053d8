"""Where base models come from: a folder, this machine's docstrings, or a hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from twin_assets.errors import BadRecipe
from twin_assets.language.base_models import BaseSpec, load_base, resolve_base
from twin_assets.stores.models import sha256_of_files
from twin_assets_tests.hub import COMMIT, serving

ROOT = Path(__file__).resolve().parents[2]

DOWNLOAD = """
import json, sys
from twin_assets.errors import BadRecipe
from twin_assets.language.base_models import BaseSpec, load_base, resolve_base
from twin_assets.settings import Settings
said = []
try:
    found = resolve_base(BaseSpec(name=sys.argv[1]), Settings(_env_file=None), said.append)
    model, tokenizer = load_base(found, "cpu")
    out = {"revision": found.revision, "path": str(found.path), "parameters": model.num_parameters(), "said": said}
except BadRecipe as error:
    out = {"error": str(error)}
print(json.dumps(out))
"""


def download(endpoint: str, home: Path, name: str) -> dict:
    """In a process of its own: huggingface_hub reads its endpoint when it loads."""
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home)}
    command = [sys.executable, "-c", DOWNLOAD, name]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_model_of_the_hub_is_fetched_once_and_known_by_its_commit(tiny_model, tmp_path):
    with serving({"org/small": tiny_model}) as hub:
        first = download(hub.url, tmp_path, "org/small")
        assert first["revision"] == COMMIT
        assert first["parameters"] > 10_000
        assert first["said"] == ["downloading org/small (main) …"]
        asked = len(hub.asked)
        again = download(hub.url, tmp_path, "org/small")
        assert again == first | {"said": []}
        assert len(hub.asked) == asked, "what is in the cache is not asked for again"


def test_a_pickle_is_never_fetched(tiny_model, tmp_path):
    folder = tmp_path / "with-pickle"
    folder.mkdir()
    for file in tiny_model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with serving({"org/small": folder}) as hub:
        download(hub.url, tmp_path / "home", "org/small")
    assert not [line for line in hub.asked if "pytorch_model.bin" in line]


def test_a_hub_without_the_model_or_out_of_reach_says_what_to_do(tiny_model, tmp_path):
    with serving({"org/small": tiny_model}) as hub:
        unknown = download(hub.url, tmp_path, "org/other")
    assert unknown["error"] == "the hub has no model org/other at main: correct `base` in the recipe"
    away = download("http://127.0.0.1:9", tmp_path, "org/small")
    assert "org/small is not on this machine and could not be downloaded" in away["error"]
    assert "is on this machine, such as smollm2-cpu" in away["error"]


def test_a_local_model_is_known_by_its_weights(tiny_model, settings):
    found = resolve_base(BaseSpec(name=str(tiny_model)), settings)
    assert found.revision == sha256_of_files(tiny_model)
    assert resolve_base(BaseSpec(name=str(tiny_model), revision=found.revision), settings) == found


@pytest.mark.parametrize("name", ["/no/such/folder", "./nor/this"])
def test_a_path_that_is_no_folder_is_named(name, settings):
    with pytest.raises(BadRecipe, match=f"{name} is not a folder"):
        resolve_base(BaseSpec(name=name), settings)


def test_a_folder_without_a_model_is_named(tmp_path, settings):
    with pytest.raises(BadRecipe, match=r"holds no model: it needs config\.json"):
        resolve_base(BaseSpec(name=str(tmp_path)), settings)


def test_something_that_is_no_language_model_is_named(tiny_model, tmp_path, settings):
    for file in tiny_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    with pytest.raises(BadRecipe, match="cannot be loaded as a causal language model"):
        load_base(resolve_base(BaseSpec(name=str(tmp_path)), settings), "cpu")


def test_a_base_in_4_bits_is_a_quarter_of_the_size(tiny_model, settings):
    sizes = {}
    for precision in ("bf16", "nf4"):
        model, _ = load_base(resolve_base(BaseSpec(name=str(tiny_model), precision=precision), settings), "cpu")
        sizes[precision] = model.model.layers[0].mlp.up_proj.weight.nbytes
    assert sizes["nf4"] * 4 == sizes["bf16"]
