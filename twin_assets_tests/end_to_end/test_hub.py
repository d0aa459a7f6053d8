"""The recipe that the demo's last lines name: its base comes from a hub, here one on loopback with a small model."""

import json

import pytest

from twin_assets_tests.end_to_end.conftest import AUTHOR
from twin_assets_tests.hub import COMMIT, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_smollm2_135m_is_fetched_trained_evaluated_and_drafts(make_project, featured, make_tiny_model, tmp_path):
    with serving({NAME: make_tiny_model(context=1024)}) as hub:
        project = make_project("project", like=featured, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "hf"))
        ran = json.loads(project.twin("run", AUTHOR, "--recipe", "smollm2-135m", "--json").stdout)
        assert [(part["part"], part["status"]) for part in ran] == [
            ("raw/files", "ran"),
            ("features", "skipped"),
            ("recipe smollm2-135m", "ran"),
        ]
        [manifest] = project.stores.models.versions(AUTHOR)
        assert (manifest.base.name, manifest.base.revision) == (NAME, COMMIT)
        assert manifest.evaluation is not None
        project.twin("approve", AUTHOR, manifest.version, "--reason", "a test")
        asked = len(hub.asked)
        drafted = json.loads(project.twin("draft", AUTHOR, "Write a post about rope", "--json").stdout)
    assert drafted["model_version"] == manifest.version
    assert drafted["text"]
    assert drafted["sources"]
    assert len(hub.asked) == asked, "what was fetched once is not asked for again"
