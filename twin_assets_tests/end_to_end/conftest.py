"""Whole processes in a project folder of their own: `twin`, a daemon, and what a kill leaves of them."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
import psutil
import pytest
import yaml
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from filelock import FileLock

from twin_assets.documents import DEFAULT_RECIPE
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets_tests.conftest import SUBJECTS, WORDS

ROOT = Path(__file__).resolve().parents[2]
BINARIES = Path(sys.executable).parent

AUTHOR = "ada"
TABLES = ("cleaned_documents", "chunks", "embeddings", "instruction_dataset")
BASE = "docstrings:steps=20,hidden=64,layers=1,vocabulary=512,context_tokens=256,text_megabytes=0.3"
RECIPE: dict[str, Any] = {
    "description": "Seconds long: for tests.",
    "base": {"name": BASE},
    "context_tokens": 256,
    "answer_tokens": 128,
    "lora": {"r": 4, "alpha": 8},
    "training": {"max_steps": 90, "epochs": 90, "batch_size": 4, "save_steps": 10, "validation_windows": 8},
}
EXPORT = (
    "from twin_assets.language.embedding import load_embedder; from twin_assets.settings import Settings; "
    "load_embedder(Settings()).encode(['once'])"
)

T = TypeVar("T")


class Project:
    """A project folder, and the processes that work in it.

    Its default recipe, which every author subscribes to, is on a base made in seconds. variables: further settings.
    """

    def __init__(self, home: Path, **variables: str) -> None:
        self.home = home
        self.data = home / "data"
        self.log = home / "stderr.log"
        (home / "recipes").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "dagster.yaml", home)
        (home / "recipes" / f"{DEFAULT_RECIPE}.yaml").write_text(yaml.safe_dump(RECIPE))
        (self.data / "dagster").mkdir(parents=True, exist_ok=True)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("TWIN_", "DAGSTER_"))} | {
            "DAGSTER_HOME": str(home),
            "TWIN_DATA_DIR": str(self.data),
            "TWIN_DAGSTER_DIR": str(self.data / "dagster"),
            "TWIN_RECIPES_DIR": str(home / "recipes"),
            **variables,
        }

    def copy(self, home: Path, **variables: str) -> "Project":
        """Another project with the same data."""
        shutil.copytree(self.data, home / "data")
        return Project(home, **variables)

    def twin(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `twin` to its end; it must succeed."""
        done = subprocess.run(
            self._twin(arguments), capture_output=True, text=True, env=self.environment, cwd=self.home
        )
        assert done.returncode == 0, done.stderr
        return done

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start `twin` as the leader of a process group; its stderr goes to `self.log`."""
        return self._popen(self._twin(arguments))

    def start_daemon(self) -> "subprocess.Popen[bytes]":
        """Start the daemon, which starts its code server, which starts the runs."""
        return self._popen([str(BINARIES / "dagster-daemon"), "run", "-m", "twin_assets.definitions"])

    def _twin(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "twin_assets.cli", *arguments]

    def _popen(self, command: list[str]) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environment, cwd=self.home, start_new_session=True
            )

    def said(self) -> str:
        """What started processes have said so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def until(self, condition: Callable[[], T], timeout_s: float, every_s: float = 0.5) -> T:
        """The condition's value once it is true."""
        end = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < end, (
                f"not true after {timeout_s:.0f} s; the processes said:\n{self.said()[-6000:]}"
            )
            time.sleep(every_s)
        return value

    def processes(self) -> list[psutil.Process]:
        """Every living process that was started for this project, however far down."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            living = process.status() != psutil.STATUS_ZOMBIE
            return living and process.environ().get("TWIN_DATA_DIR") == str(self.data)
        return False

    def kill_everything(self) -> None:
        """SIGKILL to all of them at once, until none is left that one of them was just starting."""
        while processes := self.processes():
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.05)

    @property
    def stores(self) -> Stores:
        """The project's stores as they are now, read from outside."""
        return Stores(Settings(_env_file=None, data_dir=self.data))

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """The project's Dagster instance, read from outside."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TWIN_DAGSTER_DIR", self.environment["TWIN_DAGSTER_DIR"])
            with dg.DagsterInstance.from_config(str(self.home)) as instance:
                yield instance

    def documents(self) -> dict[str, str]:
        """Id to content hash of every living document."""
        return {
            row["_id"]: row["content_hash"]
            for row in self.stores.warehouse.documents.fingerprints(AUTHOR)
            if alive(row)
        }

    def data_versions(self) -> dict[str, str]:
        """Published feature table to the data version of what it holds."""
        features = self.stores.features
        published = {name: features.published(AUTHOR, name) for name in TABLES}
        return {name: publication.data_version for name, publication in published.items() if publication}

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """What the published tables really hold, whatever their data version says."""
        features = self.stores.features
        found = {}
        for name in self.data_versions():
            table = features.table(AUTHOR, name)
            rows = [row | {"vector": None} for row in table.rows(table.lance.schema.names)]
            found[name] = sorted(rows, key=lambda row: json.dumps(row, default=str, sort_keys=True))
        return found

    def weights(self) -> dict[str, str]:
        """Model version to the sha256 of its weights."""
        return {manifest.version: manifest.weights_sha256 for manifest in self.stores.models.versions(AUTHOR)}


def alive(row: Mapping[str, Any]) -> bool:
    return row["deleted_at"] is None


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def automation_ticks(instance: dg.DagsterInstance) -> list[InstigatorTick]:
    """Finished ticks of the automation sensor, newest first."""
    states = [state for state in instance.all_instigator_state() if state.name == "automation"]
    ticks = [tick for state in states for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id)]
    return [tick for tick in ticks if tick.status in (TickStatus.SUCCESS, TickStatus.SKIPPED)]


def write_notes(folder: Path, n: int, paragraphs: int = 4) -> Path:
    """A folder of `n` small documents, articles and posts, the same for the same arguments."""
    folder.mkdir(parents=True)
    for number in range(n):
        write_note(folder, number, paragraphs)
    return folder


def write_note(folder: Path, number: int, paragraphs: int = 4) -> Path:
    chance = random.Random(number)
    category = "post" if number % 3 == 2 else "article"
    body = "\n\n".join(f"{' '.join(chance.choices(WORDS, k=14)).capitalize()}, {number}." for _ in range(paragraphs))
    path = folder / f"note{number:04}.md"
    path.write_text(f"---\ntitle: On {SUBJECTS[number % len(SUBJECTS)]}, {number}\ncategory: {category}\n---\n{body}\n")
    return path


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """once(name, make) -> a folder that `make` fills once for all of pytest-xdist's workers; the others wait."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    shared.mkdir(exist_ok=True)

    def folder(name: str, make: Callable[[Path], object]) -> Path:
        home = shared / name
        with FileLock(f"{home}.lock"):
            if not (shared / f"{name}.made").exists():
                make(home)
                (shared / f"{name}.made").touch()
        return home

    return folder


@pytest.fixture(scope="session")
def blank(once: Callable[..., Path]) -> Project:
    """A project with nothing but the tiny base model and the exported embedding model."""
    from twin_assets.language.base_models import BaseSpec, resolve_base

    def make(home: Path) -> None:
        project = Project(home)
        resolve_base(BaseSpec(name=BASE), project.stores.settings)
        # In a process of its own: this one may have exported it for another test, elsewhere.
        subprocess.run([sys.executable, "-c", EXPORT], check=True, env=project.environment, cwd=home)

    return Project(once("blank", make))


@pytest.fixture
def make_project(tmp_path: Path, blank: Project) -> Iterator[Callable[..., Project]]:
    """make(name, like=blank, **settings) -> Project, whose processes do not outlive the test."""
    made: list[Project] = []

    def make(name: str, like: Project = blank, **settings: str) -> Project:
        project = like.copy(tmp_path / name, **settings)
        made.append(project)
        return project

    yield make
    for project in made:
        project.kill_everything()


@pytest.fixture(scope="session")
def writing(once: Callable[..., Path]) -> Path:
    return once("writing", lambda folder: write_notes(folder, 60))


@pytest.fixture(scope="session")
def added(once: Callable[..., Path], blank: Project, writing: Path) -> Project:
    """A project with an author and a source, nothing collected; never disturbed."""

    def make(home: Path) -> None:
        project = blank.copy(home)
        project.twin("author", "add", AUTHOR, "--name", "Ada Example", "--consent", "Ada Example")
        project.twin("source", "add", AUTHOR, "files", str(writing))

    return Project(once("added", make))


@pytest.fixture(scope="session")
def collected(once: Callable[..., Path], added: Project) -> Project:
    """The same, collected; never disturbed."""
    return Project(once("collected", lambda home: added.copy(home).twin("collect", AUTHOR)))


@pytest.fixture(scope="session")
def featured(once: Callable[..., Path], collected: Project) -> Project:
    """The same, with its features; never disturbed."""
    run = ("run", AUTHOR, "--until", "instruction_dataset")
    return Project(once("featured", lambda home: collected.copy(home).twin(*run)))


@pytest.fixture(scope="session")
def trained(once: Callable[..., Path], featured: Project) -> Project:
    """The same, with an adapter; never disturbed."""
    return Project(once("trained", lambda home: featured.copy(home).twin("run", AUTHOR, "--until", "adapter")))
