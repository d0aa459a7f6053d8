"""`twin` as a terminal sees it: whole processes, exit codes, stdout and stderr."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from twin_assets.cli.main import main
from twin_assets.stores import open_stores
from twin_assets_tests.collection.site import Page, Site

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project_environment(tmp_path):
    """The environment of a project of this test alone."""
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("TWIN_", "DAGSTER_"))}
    return environment | {"DAGSTER_HOME": str(tmp_path)}


@pytest.fixture
def twin(tmp_path, project_environment):
    """twin(*arguments) -> CompletedProcess, in a project of its own; typed: what a person enters."""

    def run(*arguments: str, ok: bool = True, typed: str = "") -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [sys.executable, "-m", "twin_assets.cli", *arguments],
            capture_output=True,
            input=typed,
            text=True,
            env=project_environment,
            cwd=tmp_path,
        )
        assert (result.returncode == 0) == ok, result.stderr
        return result

    return run


@pytest.fixture
def site():
    server = Site()
    yield server
    server.close()


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    for n in range(12):
        text = f"---\ntitle: Note {n}\ncategory: {'post' if n % 2 else 'article'}\n---\n"
        (folder / f"note{n}.md").write_text(
            text + f"The gauge read {n} mm at dawn. " * (n + 3) + f"\n\nSo it goes, day {n}.\n"
        )
    return folder


def test_from_nothing_to_a_hit(twin, notes):
    twin("author", "add", "ada", "--name", "Ada Example", "--consent", "Ada Example, 2026-11-24")
    twin("source", "add", "ada", "files", str(notes))
    ran = json.loads(twin("run", "ada", "--until", "instruction_dataset", "--json").stdout)
    assert [(part["part"], part["status"]) for part in ran] == [("raw/files", "ran"), ("features", "ran")]
    status = json.loads(twin("status", "ada", "--json").stdout)
    assert sum(row["alive"] for row in status["documents"]) == 12
    assert status["chunks"] >= 12
    assert sum(status["examples"].values()) >= 12
    hits = [json.loads(line) for line in twin("search", "ada", "day 7", "-k", "3", "--json").stdout.splitlines()]
    assert len(hits) == 3
    assert set(hits[0]) == {"document_id", "title", "url", "text", "score"}

    again = json.loads(twin("run", "ada", "--until", "instruction_dataset", "--json").stdout)
    assert [(part["part"], part["status"]) for part in again] == [("raw/files", "ran"), ("features", "skipped")]

    (notes / "note3.md").unlink()
    twin("run", "ada", "--until", "instruction_dataset")
    documents = [json.loads(line) for line in twin("documents", "ada", "--json").stdout.splitlines()]
    assert [row["external_id"] for row in documents if row["deleted_at"]] == ["note3.md"]
    cleaned = [json.loads(line)["id"] for line in twin("documents", "ada", "--cleaned", "--json").stdout.splitlines()]
    assert len(cleaned) == 11

    twin("dataset", "export", "ada", str(notes.parent / "out"))
    rows = [
        json.loads(line) for path in (notes.parent / "out").glob("*.jsonl") for line in path.read_text().splitlines()
    ]
    assert {row["task"] for row in rows} <= {"write", "continue"}
    assert not [row for row in rows if "note3.md" in row["document_id"]]


def test_errors_are_one_line_that_says_what_to_do(twin, tmp_path):
    assert (
        "no author 'nobody' (known: none yet): add one with `twin author add`"
        in twin("status", "nobody", ok=False).stderr
    )
    assert "use 1 to 63 of a-z" in twin("author", "add", "No Good", "--name", "x", "--consent", "x", ok=False).stderr
    twin("author", "add", "ada", "--name", "Ada", "--consent", "Ada")
    assert "twin source add ada" in twin("run", "ada", ok=False).stderr
    assert "is there already" in twin("author", "add", "ada", "--name", "Ada", "--consent", "Ada", ok=False).stderr
    assert "no crawler for platform 'myspace'" in twin("source", "add", "ada", "myspace", "me", ok=False).stderr
    said = twin("source", "add", "ada", "files", str(tmp_path), "--cron", "daily", ok=False).stderr
    assert "is not a cron line" in said
    assert "ada has no embeddings yet" in twin("search", "ada", "x", ok=False).stderr


def test_a_cron_without_a_daemon_says_what_to_start(twin, tmp_path):
    twin("author", "add", "ada", "--name", "Ada", "--consent", "Ada")
    said = twin("source", "add", "ada", "files", str(tmp_path), "--cron", "0 6 * * *").stderr
    assert "none is running: start one with `dagster dev`" in said
    assert "waits for a daemon" not in twin("source", "add", "ada", "files", str(tmp_path)).stderr


def test_a_demo_of_something_else_names_what_is_accepted(twin, tmp_path):
    (tmp_path / "song.mp3").write_bytes(b"x")
    said = twin("demo", "--author", "ada", "--source", f"{tmp_path}/song.mp3", "--no-serve", ok=False).stderr
    assert "song.mp3" in said
    assert "blog: the http(s) URL of a feed" in said
    assert "files: a folder or a .zip" in said
    said = twin("demo", "--author", "ada", "--no-serve", ok=False).stderr
    assert "say where ada writes: make demo AUTHOR=ada SOURCE=" in said
    said = twin("demo", "--recipe", "enormous", "--no-serve", ok=False).stderr
    assert "no recipe 'enormous': use one of" in said
    assert "tiny-cpu" in said


def test_a_platform_that_fails_does_not_stop_the_rest_and_is_named(twin, notes):
    twin("author", "add", "ada", "--name", "Ada", "--consent", "Ada")
    twin("source", "add", "ada", "files", str(notes))
    twin("source", "add", "ada", "blog", "http://127.0.0.1:9/feed.xml")
    result = twin("run", "ada", "--until", "embeddings", "--json", ok=False)
    statuses = {part["part"]: part["status"] for part in json.loads(result.stdout)}
    assert statuses == {"raw/blog": "failed", "raw/files": "ran", "features": "ran"}
    assert "raw/blog" in result.stderr.splitlines()[-1]


def lines(result: subprocess.CompletedProcess[str]) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def here(tmp_path, project_environment, monkeypatch):
    """here(*arguments) -> click's Result: `twin` in this process, which loads the embedding model once."""
    for name, value in (project_environment | {"TWIN_DATA_DIR": f"{tmp_path}/data"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TWIN_DAGSTER_DIR", f"{tmp_path}/data/dagster")
    open_stores.cache_clear()

    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.stderr
        return result

    yield run
    open_stores.cache_clear()


def test_a_document_that_is_left_out_is_gone_after_the_next_features_run(here, notes, tmp_path):
    here("author", "add", "ada", "--name", "Ada", "--consent", "Ada")
    here("source", "add", "ada", "files", str(notes))
    here("run", "ada", "--until", "instruction_dataset")
    everywhere, unlearned, unquoted = (f"ada:files-notes:note{n}.md" for n in (7, 8, 9))

    said = here("document", "leave-out", "ada", everywhere).stderr
    assert "left out of quoting and training after the next features run" in said
    assert "start it: twin run ada --until instruction_dataset" in said
    here("document", "leave-out", "ada", unlearned, "--from", "training")
    here("document", "leave-out", "ada", unquoted, "--from", "quoting")
    assert "nothing changed" in here("document", "leave-out", "ada", unquoted, "--from", "quoting").stderr
    assert "not for quoting and training" in here("documents", "ada").stdout
    assert ran(here("run", "ada", "--until", "instruction_dataset", "--json")) == {
        "raw/files": "ran",
        "features": "ran",
    }

    assert found(here) >= {unlearned, unquoted}  # the author may look for all they have not left out altogether
    assert everywhere not in found(here)
    here("dataset", "export", "ada", str(tmp_path / "out"))
    rows = [json.loads(line) for path in (tmp_path / "out").glob("*.jsonl") for line in path.read_text().splitlines()]
    assert not {row["document_id"] for row in rows} & {everywhere, unlearned}
    quoted = {passage["chunk_id"].rsplit("#", 1)[0] for row in rows for passage in row["passages"]}
    assert quoted
    assert not quoted & {everywhere, unlearned, unquoted}  # what a model is shown, it learns from

    assert "used again" in here("document", "leave-out", "ada", everywhere, "--take-back").stderr
    assert ran(here("run", "ada", "--until", "instruction_dataset", "--json")) == {
        "raw/files": "ran",
        "features": "ran",
    }
    assert everywhere in found(here)
    assert ran(here("run", "ada", "--until", "instruction_dataset", "--json"))["features"] == "skipped"


def ran(result: Result) -> dict[str, str]:
    return {part["part"]: part["status"] for part in json.loads(result.stdout)}


def found(twin: Callable[..., Result]) -> set[str]:
    """Every document that a search gives."""
    hits = twin("search", "ada", "day 7", "-k", "50", "--json").stdout.splitlines()
    return {json.loads(line)["document_id"] for line in hits}


def test_a_document_of_nobody_is_named(twin):
    twin("author", "add", "ada", "--name", "Ada", "--consent", "Ada")
    said = twin("document", "leave-out", "ada", "ben:files:x", ok=False).stderr
    assert "ada has no document 'ben:files:x': see `twin documents ada`" in said


def test_an_author_is_erased_after_their_id_was_typed(twin, notes, tmp_path):
    twin("author", "add", "ada", "--name", "Ada", "--consent", "Ada")
    twin("source", "add", "ada", "files", str(notes))
    twin("run", "ada", "--until", "raw")
    assert "nothing was erased" in twin("author", "erase", "ada", ok=False, typed="ben\n").stderr
    assert len(lines(twin("documents", "ada", "--json"))) == 12
    result = twin("author", "erase", "ada", "--json", typed="ada\n")
    assert json.loads(result.stdout)["removed"]["raw_documents"] == 12
    assert "Type ada to erase all of it" in result.stderr
    assert "no author 'ada'" in twin("author", "erase", "ada", "--yes", ok=False).stderr
    assert (notes / "note3.md").exists()

    (tmp_path / "data" / "ada.erasing").write_text("[]")
    said = twin("author", "add", "ada", "--name", "Ada", "--consent", "Ada", ok=False).stderr
    assert "the erasure of ada has not finished: run `twin author erase ada` first" in said
    assert json.loads(twin("author", "erase", "ada", "--yes", "--json").stdout)["author"] == "ada"


def test_a_source_is_shown_as_unproven_until_its_page_holds_the_token(twin, site, project_environment):
    project_environment["TWIN_ALLOW_PRIVATE_ADDRESSES"] = "true"
    twin("author", "add", "ada", "--name", "Ada", "--consent", "Ada")
    twin("source", "add", "ada", "blog", f"{site.url}/feed.xml")
    source_id = lines(twin("source", "list", "ada", "--json"))[0]["id"]
    assert "unproven)" in twin("source", "list", "ada").stdout
    assert "proof: unproven" in twin("author", "show", "ada").stdout
    token = twin("source", "token", "ada", source_id).stdout.strip()
    site.pages["/"] = Page(f"<p>{token}</p>".encode())
    assert "is proven by" in twin("source", "prove", "ada", source_id, f"{site.url}/").stderr
    assert f"proven by {site.url}/)" in twin("source", "list", "ada").stdout
    assert json.loads(twin("author", "show", "ada", "--json").stdout)["sources"][0]["proof"]["kind"] == "token"


def test_help_and_status_import_no_torch(twin, project_environment):
    twin("author", "add", "ada", "--name", "Ada", "--consent", "Ada")
    for arguments in (["--help"], ["status", "ada"], ["models", "ada"], ["source", "list", "ada"]):
        code = f"""
import sys
from twin_assets.cli.main import main
main({arguments!r}, standalone_mode=False)
heavy = {{"torch", "transformers", "lancedb", "gradio", "dagster"}} & set(sys.modules)
sys.exit(f"imports {{heavy}}" if heavy else 0)
"""
        command = [sys.executable, "-c", code]
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=project_environment)
        assert result.returncode == 0, (arguments, result.stderr)


def test_a_profile_is_changed_where_it_is_named_and_private_writing_trains_from_then_on(twin, tmp_path):
    notes = tmp_path / "private"
    notes.mkdir()
    for n in range(3):
        (notes / f"{n}.md").write_text(f"---\nprivate: true\n---\nNobody else should read that note {n} burned. " * 2)
    twin("author", "add", "me", "--name", "Me", "--consent", "Me")
    twin("source", "add", "me", "files", str(notes))
    twin("run", "me", "--until", "instruction_dataset")
    assert json.loads(twin("status", "me", "--json").stdout)["examples"] == {}

    said = twin("author", "set", "me", "--train-private", "--promotion", "automatic", "--recipe", "qwen3-4b").stderr
    assert "twin run me --until instruction_dataset" in said
    profile = json.loads(twin("author", "show", "me", "--json").stdout)
    assert (profile["name"], profile["train_private"], profile["promotion"]) == ("Me", True, "automatic")
    assert [choice["name"] for choice in profile["recipes"]] == ["qwen3-4b"]
    twin("run", "me", "--until", "instruction_dataset")
    assert sum(json.loads(twin("status", "me", "--json").stdout)["examples"].values()) == 3
    assert "no recipe 'gpt-9'" in twin("author", "set", "me", "--recipe", "gpt-9", ok=False).stderr
