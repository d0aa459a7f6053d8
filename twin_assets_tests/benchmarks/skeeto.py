"""A real author end to end: 461 articles and 366 code files, from a folder with front matter to an evaluated adapter.

    python -m twin_assets_tests.benchmarks.skeeto ../shared/data WORK_FOLDER

Prints one JSON document: documents, chunks, examples, bits per byte of base and adapter, minutes, peak memory.
"""

import argparse
import json
import time
from pathlib import Path

import yaml

from twin_assets_tests.benchmarks.project import Project, write_folder

RECIPE = {
    "description": "The 3M-parameter TinyStories model, on a real author.",
    "base": {"precision": "fp32"},
    "context_tokens": 512,
    "answer_tokens": 192,
    "lora": {"r": 16, "alpha": 32, "dropout": 0.0},
    "training": {"max_steps": 300, "learning_rate": 0.002, "batch_size": 8, "seed": 7},
}


def main() -> None:
    """Fold out the folder, run the graph, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--author", default="skeeto")
    given = parser.parse_args()
    project = Project(given.work, TWIN_RECIPES_DIR=str(given.work.resolve() / "recipes"))
    written = write_folder(given.data / "authors" / given.author, project.work / "writing")
    base = RECIPE["base"] | {"name": str((given.data / "models" / "stories3m-hf").resolve())}
    (project.work / "recipes").mkdir(exist_ok=True)
    (project.work / "recipes" / "stories3m.yaml").write_text(yaml.safe_dump(RECIPE | {"base": base}))
    started = time.monotonic()
    author = given.author
    project.add_author(project.work / "writing", author)
    run = project.run("run", author, "--recipe", "stories3m", "--json")
    parts = json.loads(run.stdout)
    minutes = (time.monotonic() - started) / 60
    status = json.loads(project.twin("status", author, "--json"))
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
                "peak_memory_mib": run.peak_mib,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
