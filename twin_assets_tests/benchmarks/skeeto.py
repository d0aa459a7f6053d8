"""A real author end to end: 461 articles and 366 code files, from a folder with front matter to an evaluated adapter.

    python -m twin_assets_tests.benchmarks.skeeto ../shared/data WORK_FOLDER

Prints one JSON document: documents, chunks, examples, bits per byte of base and adapter, minutes, peak memory.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import yaml

RECIPE = {
    "description": "The 3M-parameter TinyStories model, on a real author.",
    "base": {"precision": "fp32"},
    "context_tokens": 512,
    "answer_tokens": 192,
    "lora": {"r": 16, "alpha": 32, "dropout": 0.0},
    "training": {"max_steps": 300, "learning_rate": 0.002, "batch_size": 8, "seed": 7},
}


def write_folder(documents: Path, folder: Path) -> int:
    """One file per document of a `docs.jsonl`, with front matter where the format has it. Returns how many."""
    count = 0
    for line in documents.read_text().splitlines():
        row = json.loads(line)
        name = row["id"].split(":", 1)[1].replace(":", "/")
        if row["category"] == "code":
            path, text = folder / "code" / name, row["text"]
        else:
            path = folder / "articles" / f"{name.rsplit('/', 1)[-1]}.md"
            front = {k: row[k] for k in ("title", "url", "category") if row.get(k)} | {"date": row["published_at"]}
            text = f"---\n{yaml.safe_dump(front, allow_unicode=True)}---\n{row['text']}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        count += 1
    return count


def twin(environment: dict[str, str], *arguments: str) -> str:
    """Run `twin`, passing its progress on; returns stdout."""
    command = [sys.executable, "-m", "twin_assets.cli", *arguments]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Fold out the folder, run the graph, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--author", default="skeeto")
    given = parser.parse_args()
    work = given.work.resolve()
    written = write_folder(given.data / "authors" / given.author / "docs.jsonl", work / "writing")
    recipes = work / "recipes"
    recipes.mkdir(exist_ok=True)
    base = RECIPE["base"] | {"name": str((given.data / "models" / "stories3m-hf").resolve())}
    (recipes / "stories3m.yaml").write_text(yaml.safe_dump(RECIPE | {"base": base}))
    root = Path(__file__).resolve().parents[2]
    (work / "dagster.yaml").write_text((root / "dagster.yaml").read_text())
    environment = os.environ | {
        "DAGSTER_HOME": str(work),
        "TWIN_DATA_DIR": str(work / "data"),
        "TWIN_DAGSTER_DIR": str(work / "data" / "dagster"),
        "TWIN_RECIPES_DIR": str(recipes),
    }
    started = time.monotonic()
    author = given.author
    twin(environment, "author", "add", author, "--name", author, "--consent", f"{author}, public domain")
    twin(environment, "source", "add", author, "files", str(work / "writing"))
    parts = json.loads(twin(environment, "run", author, "--recipe", "stories3m", "--json"))
    minutes = (time.monotonic() - started) / 60
    status = json.loads(twin(environment, "status", author, "--json"))
    crawl = next(iter(status["crawls"].values()))
    print(
        json.dumps(
            {
                "files": written,
                "documents": sum(row["alive"] for row in status["documents"]),
                "failed": crawl["failed"],
                "chunks": status["chunks"],
                "examples": status["examples"],
                "model": status["models"][-1],
                "parts_s": {part["part"]: part["seconds"] for part in parts},
                "minutes": round(minutes, 1),
                "peak_memory_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
