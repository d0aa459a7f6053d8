"""The notebook, run from its first cell to its last on an author's results."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from twin_assets_tests.end_to_end.conftest import AUTHOR

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "author_results.ipynb"


def test_the_notebook_shows_an_authors_results(make_project, trained, monkeypatch):
    project = make_project("project", like=trained)
    for name, value in (project.environment | {"TWIN_NOTEBOOK_AUTHOR": AUTHOR}).items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(project.home)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    text = "".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs)
    assert len(pictures) >= 2
    assert "smollm2-cpu-" in text
    written = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    kinds = [output.output_type for output in written.outputs]
    assert (kinds[0], kinds[-1]) == ("stream", "execute_result"), "a draft, then its sources"


def test_the_notebook_is_kept_without_outputs():
    cells = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert not [cell for cell in cells if cell.outputs or cell.execution_count]
