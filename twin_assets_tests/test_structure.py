"""The house: few files in a folder, few modules at the top, every module in a layer, and no import cycles.

`make check` holds the import contracts too; here they fail with the names of what has to move.
"""

import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "twin_assets"

MAX_MODULES = 12
MAX_AT_THE_TOP = 6


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Every import between modules, also those inside functions and for type checkers."""
    return grimp.build_graph("twin_assets", cache_dir=None)


def modules_of(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.glob("*.py") if file.stem != "__init__")


def test_no_folder_holds_more_than_a_dozen_modules():
    folders = {file.parent for file in PACKAGE.rglob("*.py") if PACKAGE / "sample" not in file.parents}
    held = {folder.relative_to(ROOT).as_posix(): modules_of(folder) for folder in folders}
    assert not {folder: modules for folder, modules in held.items() if len(modules) > MAX_MODULES}


def test_few_modules_stand_at_the_top():
    assert len(modules_of(PACKAGE)) <= MAX_AT_THE_TOP, modules_of(PACKAGE)


def test_every_module_stands_in_a_layer(graph):
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    named = {name for layer in layers for name in layer.replace("|", ":").replace(" ", "").split(":")}
    parts = {module.split(".")[1] for module in graph.modules if "." in module}
    assert parts == named


def test_no_imports_go_in_a_circle(graph):
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))
