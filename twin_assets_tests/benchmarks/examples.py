"""Prints examples of the instruction dataset: n random ones per task, then counts and the share of each wording.

    python -m twin_assets_tests.benchmarks.examples twin_assets/sample/wren WORK [--n 50] [--task rewrite]
    python -m twin_assets_tests.benchmarks.examples ../shared/data/authors/skeeto WORK --documents 200

The folder holds a `docs.jsonl`, or markdown and code as the platform `files` reads it. The whole graph makes the
dataset in WORK; if it exists and nothing has changed, it is read at once.
"""

import argparse
import json
import random
from collections import Counter
from pathlib import Path

from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets_tests.benchmarks.project import AUTHOR, Project, write_folder

SHOWN = 600
"""How many characters of an answer are printed, from its start and from its end."""


def build(folder: Path, work: Path, n_documents: int | None) -> Path:
    """Collect the folder and run the graph up to the dataset. Returns the data directory."""
    writing = folder
    project = Project(work)
    if (folder / "docs.jsonl").exists():
        writing = project.work / "writing"
        write_folder(folder, writing, n_documents)
    project.add_author(writing)
    project.twin("run", AUTHOR, "--until", "instruction_dataset")
    return project.data


def main() -> None:
    """Print the examples, then one JSON document of figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--documents", type=int)
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--task")
    given = parser.parse_args()
    data = build(given.folder, given.work, given.documents)
    table = Stores(Settings(_env_file=None, data_dir=data)).features.table(AUTHOR, "instruction_dataset")
    columns = ["example_id", "split", "task", "template", "instruction", "passages", "answer"]
    rows = sorted(table.rows(columns), key=lambda row: row["example_id"])
    for task in sorted({row["task"] for row in rows}):
        group = [row for row in rows if row["task"] == task]
        for row in random.Random(0).sample(group, min(given.n, len(group))) if given.task in (None, task) else []:
            answer = row["answer"]
            cut = answer if len(answer) <= SHOWN else f"{answer[: SHOWN // 2]}\n[…]\n{answer[-SHOWN // 2 :]}"
            print(f"==== {row['template']} | {row['example_id']} | {row['split']} | {len(row['passages'])} passages")
            print(f"{row['instruction']}\n---->\n{cut}\n")
    wordings = Counter(row["template"] for row in rows)
    figures = {
        "examples": len(rows),
        "by_task": Counter(row["task"] for row in rows),
        "by_split": Counter(row["split"] for row in rows),
        "wordings": len(wordings),
        "share_of_the_most_used_wording": round(wordings.most_common(1)[0][1] / len(rows), 3),
        "instructions_that_stand_twice": len(rows) - len({row["instruction"] for row in rows}),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
