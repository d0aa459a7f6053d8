"""The base model that is made on the user's machine."""

import json

import pytest

from twin_assets.errors import BadRecipe
from twin_assets.language.base_models import BaseSpec, load_base, resolve_base
from twin_assets.language.docstring_base import (
    RECORD,
    DocstringSpec,
    docstring_base,
    docstrings_of,
    read_docstrings,
)
from twin_assets.stores.models import sha256_of_files

SMALL = "docstrings:steps=12,hidden=64,layers=1,vocabulary=512,context_tokens=128,text_megabytes=0.2"


def test_a_name_says_how_a_base_is_made():
    assert DocstringSpec.named("docstrings") == DocstringSpec()
    assert DocstringSpec.named("docstrings:steps=12,layers=2") == DocstringSpec(steps=12, layers=2)
    with pytest.raises(BadRecipe, match=r"base model docstrings:step=1: step: .*settings: steps, vocabulary"):
        DocstringSpec.named("docstrings:step=1")
    with pytest.raises(BadRecipe, match=r"steps: .*greater than 0"):
        DocstringSpec.named("docstrings:steps=0")


def test_the_same_machine_makes_the_same_bytes_and_only_once(tmp_path):
    said: list[str] = []
    spec = DocstringSpec.named(SMALL)
    first, second = (docstring_base(spec, tmp_path / name, said.append) for name in "ab")
    for pattern in ("*.safetensors", "tokenizer.json"):
        assert sha256_of_files(first, pattern) == sha256_of_files(second, pattern)
    assert said[0] == "making the base model `docstrings`, once for this machine: reading docstrings"
    assert sum("is ready" in line for line in said) == 2
    docstring_base(spec, tmp_path / "a", said.append)
    assert sum("is ready" in line for line in said) == 2


def test_a_build_that_was_killed_is_made_again(tmp_path):
    spec = DocstringSpec.named(SMALL)
    folder = docstring_base(spec, tmp_path, lambda _: None)
    whole = sha256_of_files(folder)
    (folder / RECORD).unlink()
    (folder / "model.safetensors").write_bytes(b"cut off")
    assert docstring_base(spec, tmp_path, lambda _: None) == folder
    assert sha256_of_files(folder) == whole


def test_training_it_lowers_its_loss_and_any_text_has_ids(tmp_path, settings):
    losses = []
    for steps in (2, 40):
        folder = docstring_base(DocstringSpec.named(f"{SMALL},steps={steps}"), tmp_path, lambda _: None)
        losses.append(json.loads((folder / RECORD).read_text())["loss"])
    assert losses[1] < losses[0] - 0.5
    model, tokenizer = load_base(resolve_base(BaseSpec(name=f"{SMALL},steps=40"), _with_bases(settings, tmp_path)))
    text = "Tide 潮 🌊 naïve\tcafé\n"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    assert model.config.max_position_embeddings == 128


def _with_bases(settings, bases):
    home = settings.data_dir / "models"
    home.mkdir(parents=True)
    (home / "_bases").symlink_to(bases)
    return settings


def test_it_reads_docstrings_and_nothing_else_of_a_file():
    module, one_class = "Module text. " * 12, "C text. " * 20
    source = f'''"""{module}"""\nSECRET = 1\ndef f():\n    "short"\nclass C:\n    """{one_class}"""\n'''
    found = list(docstrings_of(source, "pkg.mod"))
    assert [(one.name, one.is_module) for one in found] == [("pkg.mod", True), ("pkg.mod.C", False)]
    assert "SECRET" not in "".join(one.text for one in found)
    assert list(docstrings_of("def broken(:", "pkg.bad")) == []


def test_it_never_reads_an_authors_text():
    documented = read_docstrings(4_000_000)
    assert not [one.name for one in documented if "Skerrow" in one.text or one.module.startswith("twin_assets")]


def test_the_docstrings_are_python_documentation():
    documented = read_docstrings(200_000)
    assert 200_000 <= sum(len(one.text.encode()) for one in documented) < 400_000
    assert len({one.text for one in documented}) == len(documented)
