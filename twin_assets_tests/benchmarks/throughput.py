"""Documents and tokens a second in each stage of the features, beside a bare loop with the same parts and no pipeline.

    python -m twin_assets_tests.benchmarks.throughput ../shared/data/authors/skeeto WORK [--documents 200] [--rounds 3]

The loop cleans, cuts and embeds the same documents in one process and keeps the result in memory: no Dagster, no
tables, no indexes, no lineage, no clusters. The two take turns; each round of the pipeline is a project of its own.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from twin_assets.content.chunking import Chunker, Tokens
from twin_assets.documents import Category
from twin_assets.features.changes import embedded_text
from twin_assets.features.cleaning import cleaned_row
from twin_assets.language.embedding import load_embedder
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets_tests.benchmarks.project import AUTHOR, Project, write_folder

STAGES = ("cleaned_documents", "chunks", "embeddings", "instruction_dataset")
IN_BOTH = STAGES[:3]


def bare(data: Path) -> dict[str, float]:
    """Seconds of each stage of the loop over the documents of a project, and what it counted."""
    settings = Settings(_env_file=None, data_dir=data)
    warehouse = Stores(settings).warehouse
    documents = list(warehouse.documents.by_id([row["_id"] for row in warehouse.documents.fingerprints(AUTHOR)]))
    marks = [time.perf_counter()]
    rows = [cleaned_row(document, trainable=True, quotable=True).row for document in documents]
    marks.append(time.perf_counter())
    embedder = load_embedder(settings)
    chunker = Chunker(Tokens(embedder.tokenizer), settings.chunk_tokens)
    chunks = [
        {"title": row["title"], **vars(chunk)}
        for row in rows
        if row
        for chunk in chunker.chunks(row["text"], Category(row["category"]), row["title"])
    ]
    marks.append(time.perf_counter())
    embedder.encode([embedded_text(chunk) for chunk in chunks])
    marks.append(time.perf_counter())
    seconds = {stage: end - start for stage, start, end in zip(IN_BOTH, marks, marks[1:], strict=False)}
    n_tokens = sum(chunk["n_tokens"] for chunk in chunks)
    return seconds | {"n_documents": len(documents), "n_chunks": len(chunks), "n_tokens": n_tokens}


def main() -> None:
    """Print one JSON document: medians over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("author", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--documents", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bare", action="store_true", help="only the loop, over the project in WORK")
    given = parser.parse_args()
    if given.bare:
        print(json.dumps(bare(given.work / "data")))
        return
    write_folder(given.author, given.work / "writing", given.documents)
    # The exported model, which a machine makes once, is there before the first round.
    settings = Settings(_env_file=None, data_dir=given.work / "exported")
    load_embedder(settings).encode(["once"])
    pipeline, loop = [], []
    for number in range(given.rounds):
        project = Project(given.work / f"round-{number}")
        shutil.copytree(settings.data_dir / "cache", project.data / "cache", dirs_exist_ok=True)
        project.add_author(given.work / "writing")
        project.twin("run", AUTHOR, "--until", "cleaned_documents")
        pipeline.append({"cleaned_documents": project.stages()["cleaned_documents"]})
        project.twin("run", AUTHOR, "--until", "instruction_dataset")
        pipeline[-1] |= {stage: seconds for stage, seconds in project.stages().items() if stage in STAGES[1:]}
        command = [sys.executable, "-m", "twin_assets_tests.benchmarks.throughput", str(given.author)]
        ran = subprocess.run([*command, str(project.work), "--bare"], check=True, stdout=subprocess.PIPE)
        loop.append(json.loads(ran.stdout))
        print(json.dumps({"round": number, "pipeline": pipeline[-1], "loop": loop[-1]}), file=sys.stderr, flush=True)
    counts = {name: loop[0][name] for name in ("n_documents", "n_chunks", "n_tokens")}
    stages = {
        stage: {
            "pipeline_s": round(seconds := median(ran[stage] for ran in pipeline), 1),
            "documents_per_s": round(counts["n_documents"] / seconds, 1),
            "tokens_per_s": round(counts["n_tokens"] / seconds),
            "loop_s": round(median(ran[stage] for ran in loop), 1) if stage in IN_BOTH else None,
        }
        for stage in STAGES
    }
    ratios = [
        sum(ran[stage] for stage in IN_BOTH) / sum(beside[stage] for stage in IN_BOTH)
        for ran, beside in zip(pipeline, loop, strict=True)
    ]
    print(
        json.dumps(counts | {"stages": stages, "pipeline_over_loop": [round(ratio, 3) for ratio in ratios]}, indent=1)
    )


if __name__ == "__main__":
    main()
