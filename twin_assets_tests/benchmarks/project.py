"""A project in its own folder, run through `twin` as a user would; the whole-graph benchmarks share it."""

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
AUTHOR = "reader"


@dataclass(frozen=True)
class Ran:
    """The output of a command, and the most memory that its process held."""

    stdout: str
    peak_mib: int


class Project:
    """Open the project under `work`, or make an empty one. settings: environment variables."""

    def __init__(self, work: Path, **settings: str) -> None:
        self.work = work.resolve()
        self.data = self.work / "data"
        self.work.mkdir(parents=True, exist_ok=True)
        (self.work / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
        self.environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.work),
            "TWIN_DATA_DIR": str(self.data),
            "TWIN_DAGSTER_DIR": str(self.data / "dagster"),
            **settings,
        }

    def run(self, *arguments: str) -> Ran:
        """Run `twin` and show its progress. Raises CalledProcessError."""
        command = [sys.executable, "-m", "twin_assets.cli", *arguments]
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        stdout = process.stdout.read()
        # wait4 and not wait: the usage is this command's alone.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        return Ran(stdout, usage.ru_maxrss // 1024)

    def twin(self, *arguments: str) -> str:
        """The output of a `twin` command."""
        return self.run(*arguments).stdout

    def add_author(self, writing: Path, author: str = AUTHOR) -> None:
        """Add an author whose only source is a folder, unless the author exists."""
        if not any(json.loads(line) for line in self.twin("author", "list", "--json").splitlines()):
            self.twin("author", "add", author, "--name", author, "--consent", "a benchmark of published writing")
            self.twin("source", "add", author, "files", str(writing.resolve()))

    def stages(self) -> dict[str, float]:
        """The seconds that each step of the latest features run took."""
        script = (
            "import dagster, json; instance = dagster.DagsterInstance.get(); "
            "run = instance.get_runs(dagster.RunsFilter(job_name='features'), limit=1)[0]; "
            "print(json.dumps({one.step_key: one.end_time - one.start_time "
            "for one in instance.get_run_step_stats(run.run_id)}))"
        )
        found = subprocess.run([sys.executable, "-c", script], env=self.environment, check=True, stdout=subprocess.PIPE)
        return {name: round(seconds, 2) for name, seconds in json.loads(found.stdout).items()}


def write_folder(author: Path, folder: Path, n_documents: int | None = None) -> int:
    """Write a file for each row of the author's `docs.jsonl`, with front matter if the format has it. Returns how many.

    n_documents: take this many random rows, always the same; by default all.
    """
    rows = [json.loads(line) for line in (author / "docs.jsonl").read_text().splitlines()]
    chosen = random.Random(0).sample(rows, min(n_documents or len(rows), len(rows)))
    for row in chosen:
        name = row["id"].split(":", 1)[1].replace(":", "/")
        if row["category"] == "code":
            path, text = folder / name, row["text"]
        else:
            path = folder / "articles" / f"{name.rsplit('/', 1)[-1]}.md"
            front = {k: row[k] for k in ("title", "url", "category") if row.get(k)} | {"date": row["published_at"]}
            text = f"---\n{yaml.safe_dump(front, allow_unicode=True)}---\n{row['text']}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return len(chosen)
