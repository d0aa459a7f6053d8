"""Compares embedding by torch and by ONNX Runtime in 8 bits: speed, cosine, and retrieval of each other's vectors.

    python -m twin_assets_tests.benchmarks.embedding [../shared/data]

Speed: the two take turns on the same texts, best of three each, since other work may run on the machine. Tokens are
counted after truncation. Retrieval: nDCG@10 by exact search, on cranfield (225 queries) and on two real
authors' articles, each to be found by its title; every pair of backends for documents and queries, and its mean
difference from torch alone over the queries, with its standard error.
"""

import csv
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from twin_assets.content.chunking import Chunker, Tokens
from twin_assets.documents import Category
from twin_assets.language.embedding import Embedder, load_embedder
from twin_assets.settings import Settings

DEFAULT = Path(__file__).parents[2].parent / "shared/data"
TURNS = 3
SAMPLE = 100
READ_TOKENS = 256
"""How many tokens of a text all-MiniLM-L6-v2 reads."""

Vectors = npt.NDArray[np.float32]
Grades = dict[int, dict[int, int]]


@dataclass(frozen=True)
class Collection:
    """grades: for each query, by its number, the documents that answer it and how well."""

    name: str
    documents: list[str]
    queries: list[str]
    grades: Grades


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def cranfield(folder: Path) -> Collection:
    corpus, queries = rows(folder / "corpus.jsonl"), rows(folder / "queries.jsonl")
    document = {row["_id"]: n for n, row in enumerate(corpus)}
    query = {row["_id"]: n for n, row in enumerate(queries)}
    grades: Grades = {}
    with (folder / "qrels.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            grades.setdefault(query[row["query-id"]], {})[document[row["corpus-id"]]] = int(row["score"])
    return Collection(
        "cranfield", [f"{row['title']} {row['text']}" for row in corpus], [row["text"] for row in queries], grades
    )


def titles(author: Path) -> Collection:
    articles = [row for row in rows(author / "docs.jsonl") if row["category"] == "article"]
    itself = {n: {n: 1} for n in range(len(articles))}
    return Collection(author.name, [row["text"] for row in articles], [row["title"] for row in articles], itself)


def chunks(author: Path, embedder: Embedder) -> list[str]:
    chunker = Chunker(Tokens(embedder.tokenizer), Settings(_env_file=None).chunk_tokens)
    documents = random.Random(0).sample(rows(author / "docs.jsonl"), 60)
    return [
        chunk.text
        for row in documents
        for chunk in chunker.chunks(row["text"], Category(row["category"]), row["title"])
    ]


def ndcg_at_10(found: npt.NDArray[np.intp], grades: dict[int, int]) -> float:
    """Gain 2^relevance - 1, discount log2(rank + 1). Source: Burges et al. 2005, Learning to rank, section 6."""

    def discounted(relevances: Sequence[int]) -> float:
        return sum((2**grade - 1) / np.log2(rank + 1) for rank, grade in enumerate(relevances[:10], 1))

    ideal = discounted(sorted(grades.values(), reverse=True))
    return discounted([grades.get(int(n), 0) for n in found]) / ideal if ideal else 0.0


def scores(documents: Vectors, queries: Vectors, grades: Grades) -> npt.NDArray[np.float64]:
    best = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :10]
    return np.array([ndcg_at_10(best[n], grades[n]) for n in sorted(grades)])


def speed(name: str, texts: list[str], embedders: dict[str, Embedder]) -> None:
    tokenizer = embedders["torch"].tokenizer
    n_tokens = sum(min(READ_TOKENS, len(encoding.ids)) for encoding in tokenizer.encode_batch(texts))
    wall = dict.fromkeys(embedders, float("inf"))
    processor = dict(wall)
    for _ in range(TURNS):
        for backend, embedder in embedders.items():
            started, used = time.perf_counter(), time.process_time()
            embedder.encode(texts)
            wall[backend] = min(wall[backend], time.perf_counter() - started)
            processor[backend] = min(processor[backend], time.process_time() - used)
    for backend in embedders:
        print(
            f"{name}, {backend}: {len(texts) / wall[backend]:.0f} texts/s, {n_tokens / wall[backend]:.0f} tokens/s, "
            f"{1000 * processor[backend] / len(texts):.1f} ms of processor time a text"
        )
    ratios = [measured["torch"] / measured["onnx"] for measured in (wall, processor)]
    print(f"{name}: onnx is {ratios[0]:.2f} times as fast, in processor time {ratios[1]:.2f} times", flush=True)


def retrieval(collection: Collection, embedders: dict[str, Embedder]) -> None:
    documents = {backend: embedder.encode(collection.documents) for backend, embedder in embedders.items()}
    queries = {backend: embedder.encode(collection.queries) for backend, embedder in embedders.items()}
    cosines = (documents["torch"] * documents["onnx"]).sum(axis=1)
    print(
        f"{collection.name}: cosine of the two vectors of a document: mean {cosines.mean():.4f}, "
        f"1st percentile {np.percentile(cosines, 1):.4f}, least {cosines.min():.4f}"
    )
    alone = scores(documents["torch"], queries["torch"], collection.grades)
    for stored in embedders:
        for asked in embedders:
            found = scores(documents[stored], queries[asked], collection.grades)
            difference = found - alone
            error = difference.std() / len(difference) ** 0.5
            print(
                f"{collection.name}: documents by {stored}, queries by {asked}: nDCG@10 {found.mean():.4f} "
                f"({difference.mean():+.4f} ± {error:.4f})",
                flush=True,
            )


def company(texts: list[str], embedders: dict[str, Embedder]) -> None:
    for backend, embedder in embedders.items():
        alone = np.concatenate([embedder.encode([text]) for text in texts])
        difference = float(np.abs(alone - embedder.encode(texts)).max())
        print(f"{backend}: a text alone and among others differ by at most {difference:.1e} in any component")


def main(data: Path) -> None:
    with TemporaryDirectory() as folder:
        embedders = {
            backend: load_embedder(
                Settings(_env_file=None, data_dir=Path(folder), device="cpu", embedding_backend=backend)
            )
            for backend in ("torch", "onnx")
        }
        for backend, embedder in embedders.items():
            started = time.perf_counter()
            embedder.encode(["warm"])
            print(f"{backend}: ready after {time.perf_counter() - started:.1f} s", flush=True)
        collection, author = cranfield(data / "retrieval/cranfield"), data / "authors/skeeto"
        sample = random.Random(0).sample(collection.documents, SAMPLE)
        speed("cranfield's abstracts", sample, embedders)
        pieces = chunks(author, embedders["torch"])
        speed("skeeto's chunks", random.Random(0).sample(pieces, min(2 * SAMPLE, len(pieces))), embedders)
        company(sample[:50], embedders)
        for each in (collection, titles(author), titles(data / "authors/saki")):
            retrieval(each, embedders)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
