"""How long a search takes at 1,000, 10,000 and 100,000 chunks, with and without filters.

    python -m twin_assets_tests.benchmarks.search_latency ../shared/data RETRIEVAL_FOLDER WORK [--rows N]…

RETRIEVAL_FOLDER is the folder that `benchmarks.retrieval` wrote. The rows are synthetic: the first half of one real
chunk of skeeto or simonw and the second half of another, with the mean of their vectors plus noise. So all texts
differ, and words are as frequent as in real text. Queries are real titles. Prints a markdown table of
milliseconds, p50 / p95; "exact" is the share of the ten hits that a search without the vector index finds too.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from twin_assets import schemas
from twin_assets.language import search as searching
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets.stores.features import SCALAR_INDEXES, Changes, TableHandle
from twin_assets_tests.benchmarks.retrieval import Index, titles

AUTHORS = ("skeeto", "simonw")
QUERIES = 100
NOISE = 0.02
"""The noise's standard deviation in each of 384 dimensions: a length of 0.39, added to vectors of length 1."""
CHUNKS_PER_DOCUMENT = 8
FIRST_DAY = datetime(2010, 1, 1, tzinfo=UTC)
DAYS = 5_475

FILTERS = {
    "no filter": searching.EVERYTHING,
    "what may be quoted, without one cluster": searching.SearchFilter(quotable_only=True, excluded_clusters={"c0"}),
    "one category of three": searching.SearchFilter(category="post"),
    "a year of fifteen": searching.SearchFilter(
        published_after=datetime(2020, 1, 1, tzinfo=UTC), published_before=datetime(2021, 1, 1, tzinfo=UTC)
    ),
}


def synthetic_rows(texts: list[list[str]], vectors: np.ndarray, rows: int) -> pa.Table:
    """Make an `embeddings` table of so many rows."""
    chance = np.random.default_rng(rows)
    first, second = chance.integers(len(texts), size=(2, rows))
    made = (vectors[first] + vectors[second]) / 2 + chance.normal(0, NOISE, (rows, vectors.shape[1]))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    documents = np.arange(rows) // CHUNKS_PER_DOCUMENT
    days = chance.integers(DAYS, size=rows // CHUNKS_PER_DOCUMENT + 1)
    columns: dict[str, Any] = {
        "chunk_id": [f"d{document}#{n % CHUNKS_PER_DOCUMENT:04d}" for n, document in enumerate(documents)],
        "document_id": [f"d{document}" for document in documents],
        "cluster_id": [f"c{document}" for document in documents],
        "platform": chance.choice(["blog", "github", "x"], rows),
        "category": chance.choice(["article", "post", "code"], rows),
        "title": [" ".join(texts[n][:6]) for n in first],
        "published_at": [FIRST_DAY + timedelta(days=int(days[document])) for document in documents],
        "trainable": [True] * rows,
        "quotable": chance.random(rows) < 0.95,
        "text": [
            " ".join(texts[a][: len(texts[a]) // 2] + texts[b][len(texts[b]) // 2 :])
            for a, b in zip(first, second, strict=True)
        ],
        "vector": list(made.astype(np.float32)),
    }
    schema = schemas.embeddings(vectors.shape[1]).arrow
    empty = {"string": "", "int32": 0}
    for field in schema:
        if field.name not in columns:
            columns[field.name] = [None if field.nullable else empty[str(field.type)]] * rows
    return pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names}, schema=schema)


def milliseconds(action: Callable[[int], object]) -> tuple[float, float]:
    """The p50 and p95 of QUERIES calls, after five that do not count."""
    for n in range(5):
        action(n)
    taken = []
    for n in range(QUERIES):
        started = time.perf_counter()
        action(n)
        taken.append((time.perf_counter() - started) * 1_000)
    return float(np.percentile(taken, 50)), float(np.percentile(taken, 95))


class Bench:
    """A table of synthetic rows, and the queries to run on it."""

    def __init__(self, stores: Stores, rows: pa.Table, queries: dict[str, np.ndarray]) -> None:
        started = time.perf_counter()
        self._author = f"rows-{rows.num_rows}"
        self._stores = stores
        stores.features.commit(self._author, "embeddings", Changes(rows))
        self.build_s = time.perf_counter() - started
        self._queries = list(queries.items())
        self._embedder = searching.Embedder(stores.settings)

    @property
    def table(self) -> TableHandle:
        return self._stores.features.table(self._author, "embeddings")

    def search(
        self, table: TableHandle, wanted: searching.SearchFilter = searching.EVERYTHING
    ) -> Callable[[int], list[searching.Hit]]:
        """A function that runs the query of a given number."""

        def action(n: int) -> list[searching.Hit]:
            query, vector = self._queries[n % len(self._queries)]
            return searching.search(table, self._embedder, query, wanted=wanted, query_vector=vector)

        return action

    def exact_share(self) -> float:
        """The share of the ten hits that a table without a vector index also gives."""
        found = [{hit.chunk_id for hit in self.search(self.table)(n)} for n in range(QUERIES)]
        exact = self._without(["vector"])
        return float(
            np.mean([len(hits & {hit.chunk_id for hit in self.search(exact)(n)}) / 10 for n, hits in enumerate(found)])
        )

    def without_scalar_indexes(self) -> TableHandle:
        """The table without its scalar indexes."""
        return self._without(list(SCALAR_INDEXES))

    def _without(self, columns: list[str]) -> TableHandle:
        lance = self._stores.features.connect(self._author).open_table("embeddings")
        for index in lance.list_indices():
            if index.columns[0] in columns:
                lance.drop_index(index.name)
        return self._stores.features.table_at(self._author, "embeddings", lance.version)


def main() -> None:
    """Print the table of latencies, then the time that embedding a query takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("retrieval", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rows", type=int, action="append")
    given = parser.parse_args()
    indexes = [Index(titles(given.data, author), given.retrieval) for author in AUTHORS]
    real = [index.table.read(["text", "vector"]) for index in indexes]
    texts = [text.split() for table in real for text in table["text"].to_pylist()]
    vectors = np.stack(list(itertools.chain.from_iterable(table["vector"].to_numpy() for table in real)))
    queries = {
        query: index.query_vectors[name] for index in indexes for name, query in index.collection.queries.items()
    }
    queries = dict(list(queries.items())[:: max(1, len(queries) // QUERIES)])
    stores = Stores(Settings(_env_file=None, data_dir=given.work))
    result: dict[str, dict[str, str]] = {}
    for rows in given.rows or (1_000, 10_000, 100_000):
        stores.features.erase(f"rows-{rows}")
        made = synthetic_rows(texts, vectors, rows)
        bench = Bench(stores, made, queries)
        cells = {"table written and indexed": f"{bench.build_s:.0f} s"}
        for label, wanted in FILTERS.items():
            cells[label] = "{:.0f} / {:.0f}".format(*milliseconds(bench.search(bench.table, wanted)))
        bare = bench.without_scalar_indexes()
        for label in list(FILTERS)[1:]:
            cells[f"{label}; no scalar indexes"] = "{:.0f} / {:.0f}".format(
                *milliseconds(bench.search(bare, FILTERS[label]))
            )
        cells["exact"] = f"{bench.exact_share():.0%}"
        result[f"{rows:,}"] = cells
        print(json.dumps({rows: cells}), flush=True)
    print("\n| ms, p50 / p95 |", " | ".join(result), "|\n|", " | ".join(["---"] * (len(result) + 1)), "|")
    for label in next(iter(result.values())):
        print(f"| {label} |", " | ".join(cells[label] for cells in result.values()), "|")
    embedder = indexes[0].embedder
    asked = list(queries)
    p50, p95 = milliseconds(lambda n: embedder.encode([asked[n % len(asked)]]))
    print(f"\nembedding a query: {p50:.0f} / {p95:.0f} ms")


if __name__ == "__main__":
    main()
