"""A real author end to end: from a folder of files to an evaluated adapter, and ten drafts by base and adapter.

    python -m twin_assets_tests.benchmarks.author ../shared/data WORK_FOLDER --author skeeto

Prints one JSON document (documents, chunks, examples, bits per byte of base and adapter, minutes, peak memory), then
the drafts. A second run in the same folder trains nothing again and writes the same drafts.
"""

import argparse
import json
import time
from pathlib import Path

from twin_assets.documents import DEFAULT_RECIPE, Category
from twin_assets.language.generation import Sampling
from twin_assets.serving.drafting import Draft, Drafter, DraftSpec
from twin_assets.serving.model_choice import UNTRAINED
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets_tests.benchmarks.project import Project, write_folder

SUBJECTS = {
    "skeeto": (
        "why I prefer arena allocation to malloc",
        "hash tables that fit in ten lines of C",
        "what I learned from writing a small game over a weekend",
        "reading a file line by line without stdio",
        "why my Emacs configuration is in version control",
        "a random number generator for games",
        "building a Windows program on Linux",
        "how to test a parser with a fuzzer",
        "string slices instead of null-terminated strings",
        "a chess engine that plays badly on purpose",
    ),
    "simonw": (
        "running a language model on my own laptop",
        "why I keep a changelog for every project",
        "publishing a SQLite database on the web",
        "prompt injection in an e-mail assistant",
        "a small tool that I wrote with an LLM in an hour",
        "what I changed in the new release of Datasette",
        "scraping a government website with GitHub Actions",
        "writing documentation and tests in the same commit",
        "what embeddings are good for",
        "how I take notes",
    ),
    "wren": (
        "why I check a gauge by hand before I believe it",
        "what bread taught me about patience",
        "the week the tide tables were wrong",
        "how to name files so that they sort",
        "cleaning a mussel bed after a storm",
        "why I restore a backup every month",
        "a walk along the harbour wall in fog",
        "the light at the end of the pier",
        "what I carry in my coat",
        "a boat that nobody wants any more",
    ),
}
"""Ten things that each author might post about, none of them a title of theirs."""


def main() -> None:
    """Fold out the folder, run the graph, print the figures and the drafts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--author", default="skeeto", choices=sorted(SUBJECTS))
    parser.add_argument("--recipe", default=DEFAULT_RECIPE)
    given = parser.parse_args()
    project = Project(given.work)
    print(json.dumps(_figures(project, given.data, given.author, given.recipe), indent=1), flush=True)
    _print_drafts(Stores(Settings(_env_file=None, data_dir=project.data)), given.author)


def _figures(project: Project, data: Path, author: str, recipe: str) -> dict[str, object]:
    """Run the graph as its user would."""
    written = write_folder(data / "authors" / author, project.work / "writing")
    started = time.monotonic()
    project.add_author(project.work / "writing", author)
    run = project.run("run", author, "--recipe", recipe, "--json")
    minutes = (time.monotonic() - started) / 60
    status = json.loads(project.twin("status", author, "--json"))
    return {
        "files": written,
        "documents": sum(row["alive"] for row in status["documents"]),
        "failed": next(iter(status["crawls"].values()))["failed"],
        "chunks": status["chunks"],
        "examples": status["examples"],
        "model": status["models"][-1],
        "parts_s": {part["part"]: part["seconds"] for part in json.loads(run.stdout)},
        "minutes": round(minutes, 1),
        "peak_memory_mib": run.peak_mib,
    }


def _print_drafts(stores: Stores, author: str) -> None:
    """Ten by the untrained base, then ten by what was trained last."""
    drafter = Drafter(stores)
    latest = stores.models.versions(author)[-1].version
    for version in (UNTRAINED, latest):
        for seed, subject in enumerate(SUBJECTS[author]):
            draft = _drafted(drafter, author, subject, version, seed)
            about = f"{len(draft.text.split())} words, {draft.copied.share:.0%} copied, {draft.finish_reason}"
            print(f"\n## {version}: {subject} ({about})\n\n{draft.text}", flush=True)


def _drafted(drafter: Drafter, author: str, subject: str, version: str, seed: int) -> Draft:
    sampling = Sampling(max_new_tokens=1_000_000, seed=seed)
    ask = DraftSpec(author, subject, version, Category.POST, sampling=sampling)
    [draft] = [event for event in drafter.stream(ask) if isinstance(event, Draft)]
    return draft


if __name__ == "__main__":
    main()
