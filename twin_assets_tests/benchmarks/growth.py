"""The features of an author of 129, 516, 2,064 and 10,062 documents; then one document more, three times.

    python -m twin_assets_tests.benchmarks.growth WORK [--copies 1 4 16 78]

The documents are the sample author's and copies of them. Each copy replaces each word of four or more letters by
another word of the same length, and every copy does so differently: no two documents are near-duplicates, but
lengths, structure, vocabulary and the keywords of code stay. The model is exported beforehand.
"""

import argparse
import json
import keyword
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

from twin_assets_tests.benchmarks.project import AUTHOR, ROOT, Project

WREN = ROOT / "twin_assets" / "sample" / "wren"
ADDED = """---
title: A rope left out
date: 2026-11-01
---

Somebody left a rope on the slip in October. It has gone green at the end that the tide can reach and grey at the other.

I coiled it on Sunday. By Tuesday it was back in the water, which is where it had been going all along.
"""
_WORD = re.compile(r"\b[a-z]{4,}\b")


def exchanged(texts: dict[Path, str], number: int) -> dict[Path, str]:
    """The texts with the words of copy `number`; copy 0 is the original."""
    if not number:
        return texts
    in_files: Counter[str] = Counter()
    for text in texts.values():
        in_files.update(set(_WORD.findall(text)))
    kept = {"title", "date", "category", "tags", "https", "example", "void", "static", "struct", *keyword.kwlist}
    by_length: dict[int, list[str]] = defaultdict(list)
    for word in sorted(in_files.keys() - kept, key=lambda word: (-in_files[word], word)):
        by_length[len(word)].append(word)
    exchange = {}
    for words in by_length.values():
        others = list(words)
        random.Random(number).shuffle(others)
        exchange |= dict(zip(words, others, strict=True))
    return {
        path: _WORD.sub(lambda found: exchange.get(found[0], found[0]), text).replace(
            ".example/", f"-{number}.example/"
        )
        for path, text in texts.items()
    }


def write_copies(folder: Path, copies: int) -> int:
    """The sample author's folder, so many times. Returns the number of files."""
    texts = {path.relative_to(WREN): path.read_text() for path in sorted(WREN.rglob("*.*"))}
    for number in range(copies):
        for path, text in exchanged(texts, number).items():
            target = folder / path.parent / f"{number:03d}" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    return copies * len(texts)


def features(project: Project) -> dict[str, object]:
    """Run the features; returns the seconds in total and of each step, and the peak memory."""
    started = time.monotonic()
    ran = project.run("run", AUTHOR, "--until", "instruction_dataset")
    seconds = round(time.monotonic() - started, 1)
    return {"seconds": seconds, "peak_mib": ran.peak_mib, "steps": project.stages()}


def main() -> None:
    """Print a JSON line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 4, 16, 78])
    given = parser.parse_args()
    exported = Project(given.work / "exported")
    # In a process of its own: what this one holds would count as held by those that it starts.
    export = "from twin_assets.settings import Settings; from twin_assets.language.embedding import load_embedder; "
    export += "load_embedder(Settings(_env_file=None)).encode(['once'])"
    subprocess.run([sys.executable, "-c", export], env=exported.environment, check=True)
    for copies in given.copies:
        project = Project(given.work / f"copies-{copies}")
        shutil.copytree(exported.data / "cache", project.data / "cache")
        writing = project.work / "writing"
        written = write_copies(writing, copies)
        project.add_author(writing)
        project.twin("collect", AUTHOR)
        full = features(project)
        status = json.loads(project.twin("status", AUTHOR, "--json"))
        one_more = []
        for month in ("October", "November", "December"):
            (writing / "posts" / f"{month}.md").write_text(ADDED.replace("October", month))
            project.twin("collect", AUTHOR)
            one_more.append(features(project))
        new = json.loads(project.twin("status", AUTHOR, "--json"))["chunks"] - status["chunks"]
        counts = {"documents": written, "chunks": status["chunks"], "examples": status["examples"]}
        print(json.dumps(counts | {"full": full, "one_more": one_more, "chunks_more": new}), flush=True)


if __name__ == "__main__":
    main()
