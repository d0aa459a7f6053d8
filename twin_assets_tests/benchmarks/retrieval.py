"""Measures how well search finds: nDCG@10 on judged and on known-item collections, and what each part adds.

    python -m twin_assets_tests.benchmarks.retrieval ../shared/data FOLDER [--only NAME]… [--choose]

Every collection goes through the real chunker, embedder, feature store and `search`. FOLDER keeps the tables, so that a
second run embeds nothing. Documents are ranked by their best chunk.

- cranfield: abstracts of aerodynamics and 225 questions with graded judgements; `cranfield-whole`: the same with each
  abstract, its title before it, as one row, as in other systems' figures.
- titles of an author: a title, taken out of the text, finds its article or post.
- functions: the first paragraph of a docstring, taken out, finds its function among those of skeeto and simonw.
- library: the same for the standard library, which no setting was chosen on.

Settings were chosen on the queries whose hash is even; `--choose` prints their figures for a grid of settings and
nothing else. The table gives the figures for all queries, and in brackets those for the other half.
"""

import argparse
import ast
import hashlib
import importlib
import inspect
import itertools
import json
import re
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import log2
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lancedb
import numpy as np
from lancedb.index import FTS

from twin_assets import schemas
from twin_assets.content.chunking import CHUNKING_VERSION, Chunker, Tokens
from twin_assets.documents import Category, digest
from twin_assets.features.changes import embedded_text
from twin_assets.language import search as searching
from twin_assets.language.embedding import EMBEDDING_VERSION, Embedder, load_embedder
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets.stores.features import FULL_TEXT, Changes, TableHandle

DEPTH = 10
CHUNKS_ASKED = 30
"""How many chunks to ask for, which is enough for ten documents."""

LIBRARY = (
    "argparse ast calendar collections.abc contextlib csv dataclasses difflib fractions functools glob gzip heapq "
    "ipaddress json keyword mimetypes os.path pathlib pprint random shlex shutil statistics string tarfile tempfile "
    "textwrap tokenize typing urllib.parse uuid zipfile"
)

FULL_TEXT_VARIANTS: dict[str, dict[str, Any]] = {
    "LanceDB's default words, no stemming, no stop words": {"stem": False, "remove_stop_words": False},
    "… stemmed": {"stem": True, "remove_stop_words": False},
    "… stemmed, stop words out": {"stem": True, "remove_stop_words": True},
    "… by `ngram`": {"base_tokenizer": "ngram", "stem": False, "remove_stop_words": False},
    "… by `icu`": {"base_tokenizer": "icu"},
    "… by `icu/split`": {"base_tokenizer": "icu/split"},
    "… by `icu/split`, English stop words only": FULL_TEXT,
}

Ranking = list[str]
"""The documents found, best first."""


@dataclass(frozen=True)
class Document:
    """What can be found."""

    id: str
    title: str | None
    text: str
    category: Category


@dataclass
class Collection:
    """Documents, queries, and which document answers which query how well."""

    name: str
    documents: list[Document] = field(default_factory=list)
    queries: dict[str, str] = field(default_factory=dict)
    relevant: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, document: Document, query: str | None) -> None:
        """A document, and the query that it alone answers."""
        self.documents.append(document)
        if query:
            self.queries[document.id] = query
            self.relevant[document.id] = {document.id: 1}


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def is_kept(name: str) -> bool:
    """True for half of all names, by a hash."""
    return hashlib.sha256(name.encode()).digest()[-1] % 2 == 0


def cranfield(data: Path, whole: bool) -> Collection:
    """Cleverdon's collection of 1967 in the form of BEIR."""
    folder = data / "retrieval" / "cranfield"
    found = Collection("cranfield-whole" if whole else "cranfield")
    for row in json_lines(folder / "corpus.jsonl"):
        title, text = (None, f"{row['title']}\n{row['text']}") if whole else (row["title"], row["text"] or row["title"])
        if text.strip():
            found.documents.append(Document(row["_id"], title, text, Category.ARTICLE))
    found.queries = {row["_id"]: row["text"] for row in json_lines(folder / "queries.jsonl")}
    for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        found.relevant.setdefault(query, {})[document] = int(grade)
    return found


def titles(data: Path, author: str) -> Collection:
    """Half of an author's articles and posts, without their titles."""
    found = Collection(f"titles-{author}")
    for row in json_lines(data / "authors" / author / "docs.jsonl"):
        text = re.sub(re.escape(row["title"]), "", row["text"], flags=re.IGNORECASE)
        if row["category"] != "code" and text.strip() and is_kept(row["id"]):
            found.add(Document(row["id"], None, text, Category(row["category"])), row["title"])
    return found


def functions(data: Path) -> Collection:
    """The functions of both authors' Python and Emacs Lisp, without their docstrings; of those without one, a half."""
    found = Collection("functions")
    for author in ("simonw", "skeeto"):
        for row in json_lines(data / "authors" / author / "docs.jsonl"):
            of = {".py": python_functions, ".el": lisp_functions}.get(Path(row["id"]).suffix)
            if row["category"] == "code" and of:
                path = row["id"].split(":", 1)[1].replace(":", "/")
                for number, (text, docstring) in enumerate(of(row["text"])):
                    name = f"{row['id']}:{number}"
                    if docstring or is_kept(name):
                        found.add(Document(name, path, text, Category.CODE), docstring)
    return found


def library(_: Path) -> Collection:
    """The functions with docstrings of some modules of the standard library."""
    found = Collection("library")
    for module in LIBRARY.split():
        for number, (text, docstring) in enumerate(
            python_functions(inspect.getsource(importlib.import_module(module)))
        ):
            if docstring:
                document = Document(f"{module}:{number}", f"{module.replace('.', '/')}.py", text, Category.CODE)
                found.add(document, docstring)
    return found


def python_functions(source: str) -> Iterator[tuple[str, str | None]]:
    """Each function without its docstring, and that one's first paragraph; none of fewer than three words."""
    try:
        nodes = [
            node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
    except SyntaxError:
        return
    for node in nodes:
        text, docstring = ast.get_source_segment(source, node) or "", ast.get_docstring(node)
        if docstring:
            text = text.replace(ast.get_source_segment(source, node.body[0]) or "", "", 1)
        yield text, first_paragraph(docstring or "")


_LISP_FUNCTION = re.compile(r'\(def(?:un|macro|subst)\*? +\S+ +\(.*?\)\s+("(?:[^"\\]|\\.)*")', re.DOTALL)


def lisp_functions(source: str) -> Iterator[tuple[str, str | None]]:
    """The same of Emacs Lisp."""
    for form in re.split(r"\n(?=\()", source):
        match = _LISP_FUNCTION.match(form)
        if match:
            yield form.replace(match[1], "", 1), first_paragraph(match[1][1:-1].replace('\\"', '"'))
        elif form.startswith("(def"):
            yield form, None


def first_paragraph(docstring: str) -> str | None:
    """The first paragraph; None if it has fewer than three words."""
    paragraph = docstring.strip().split("\n\n")[0]
    return paragraph if len(paragraph.split()) >= 3 else None


class Index:
    """A collection in a feature store under `folder`, embedded once."""

    def __init__(self, collection: Collection, folder: Path) -> None:
        self.collection = collection
        self._folder = folder
        self._settings = Settings(_env_file=None, data_dir=folder)
        self.embedder: Embedder = load_embedder(self._settings)
        self._stores = Stores(self._settings)
        self._identity = digest(
            [self.embedder.identity, EMBEDDING_VERSION, CHUNKING_VERSION, *sorted(map(repr, collection.documents))]
        )

    @cached_property
    def table(self) -> TableHandle:
        """The pinned table, which is made if it does not exist or was made from something else."""
        features = self._stores.features
        stored = features.published(self.collection.name, "embeddings")
        if stored is None or stored.about.get("identity") != self._identity:
            features.erase(self.collection.name)
            rows = schemas.from_dicts(self._embedded(), schemas.embeddings(self.embedder.dimension))
            features.commit(self.collection.name, "embeddings", Changes(rows, about={"identity": self._identity}))
        else:
            # Brings the indexes up to date with the code.
            rows = schemas.from_dicts([], schemas.embeddings(self.embedder.dimension))
            features.commit(self.collection.name, "embeddings", Changes(rows, about=stored.about))
        return features.table(self.collection.name, "embeddings")

    @cached_property
    def query_vectors(self) -> dict[str, np.ndarray]:
        """The vector of each query."""
        path = self._folder / f"{self.collection.name}-{digest([self._identity, self.collection.queries], 12)}.npy"
        if not path.exists():
            np.save(path, self.embedder.encode(list(self.collection.queries.values())))
        return dict(zip(self.collection.queries, np.load(path), strict=True))

    def rank(self) -> dict[str, Ranking]:
        """The documents that `search` finds, by query."""
        found = {}
        for name, query in self.collection.queries.items():
            hits = searching.search(
                self.table, self.embedder, query, CHUNKS_ASKED, query_vector=self.query_vectors[name]
            )
            found[name] = unique(hit.document_id for hit in hits)
        return found

    def rank_words(self, columns: list[str], settings: dict[str, Any]) -> dict[str, Ranking]:
        """The documents that an index of `columns` with other settings finds by full text alone."""
        texts = self.table.read(["document_id", *searching.COLUMN_WEIGHTS])
        other = lancedb.connect("memory://").create_table("texts", texts)
        for column in columns:
            other.create_index(column, config=FTS(**settings))
        weights = {column: searching.COLUMN_WEIGHTS[column] for column in columns}
        return {name: self._by_words(other, weights, query) for name, query in self.collection.queries.items()}

    def _by_words(self, table: Any, weights: dict[str, float], query: str) -> Ranking:
        from lancedb.query import BooleanQuery, MatchQuery, Occur

        asked = BooleanQuery([(Occur.SHOULD, MatchQuery(query, name, boost=boost)) for name, boost in weights.items()])
        found = table.search(asked, query_type="fts").select(["document_id", "_score"]).limit(CHUNKS_ASKED).to_list()
        return unique(row["document_id"] for row in found)

    def rank_by_ranks(self) -> dict[str, Ranking]:
        """Equal reciprocal rank fusion of our two parts (Cormack, Clarke and Büttcher 2009, k = 60)."""
        found = {}
        for name, query in self.collection.queries.items():
            scores: dict[str, float] = {}
            documents: dict[str, str] = {}
            vector = self.query_vectors[name]
            for part in (
                searching._nearest(self.table, vector, None, searching.CANDIDATES),
                searching._matches(self.table, query, None, searching.CANDIDATES),
            ):
                for rank, one in enumerate(part, 1):
                    chunk = one.row["chunk_id"]
                    documents[chunk] = one.row["document_id"]
                    scores[chunk] = scores.get(chunk, 0.0) + 1 / (60 + rank)
            found[name] = unique(documents[chunk] for chunk in sorted(scores, key=lambda chunk: -scores[chunk]))
        return found

    def _embedded(self) -> list[dict[str, Any]]:
        chunker = Chunker(Tokens(self.embedder.tokenizer), self._settings.chunk_tokens)
        rows = [
            {
                "chunk_id": f"{document.id}#{chunk.position:04d}",
                "document_id": document.id,
                "cluster_id": document.id,
                "platform": "files",
                "category": str(document.category),
                "title": document.title,
                "trainable": True,
                "quotable": True,
                "input_hash": "",
                "made_by": "",
                **vars(chunk),
            }
            for document in self.collection.documents
            for chunk in self._chunks(chunker, document)
        ]
        print(f"{self.collection.name}: {len(rows)} chunks to embed", flush=True)
        for row, vector in zip(rows, self.embedder.encode([embedded_text(row) for row in rows]), strict=True):
            row["vector"] = vector
        return rows

    def _chunks(self, chunker: Chunker, document: Document) -> Iterator[Any]:
        whole = next(iter(chunker.chunks(document.text, document.category, document.title)))
        if self.collection.name == "cranfield-whole":
            yield type(whole)(0, 0, len(document.text), document.text, "", 0)
        else:
            yield from chunker.chunks(document.text, document.category, document.title)


def unique(documents: Iterator[str]) -> Ranking:
    """The first DEPTH documents without repetitions."""
    return list(dict.fromkeys(documents))[:DEPTH]


def ndcg(ranking: Ranking, relevant: dict[str, int]) -> float:
    """Normalised discounted cumulative gain at 10 with gain 2^relevance - 1 (Burges et al. 2005, section 6)."""
    gains = [2 ** relevant.get(document, 0) - 1 for document in ranking[:DEPTH]]
    ideal = sorted((2**grade - 1 for grade in relevant.values()), reverse=True)[:DEPTH]
    best = discounted(ideal)
    return discounted(gains) / best if best else 0.0


def discounted(gains: list[int]) -> float:
    """Järvelin and Kekäläinen 2002, with the logarithm to base 2."""
    return sum(gain / log2(place + 1) for place, gain in enumerate(gains, 1))


@contextmanager
def constants(**values: float) -> Iterator[None]:
    """Run `search` with other constants."""
    with patch.multiple(searching, **values):
        yield


def variants(index: Index) -> Iterator[tuple[str, Callable[[], dict[str, Ranking]]]]:
    """The variants that are compared, by name."""

    def ranked(**values: float) -> dict[str, Ranking]:
        with constants(**values):
            return index.rank()

    columns = list(searching.COLUMN_WEIGHTS)
    yield "vector alone", partial(ranked, VECTOR_WEIGHT=1.0, FEEDBACK=0.0)
    for label, settings in FULL_TEXT_VARIANTS.items():
        yield f"full text: {label}", partial(index.rank_words, ["text"], settings)
    yield "full text: … and titles", partial(index.rank_words, ["text", "title"], FULL_TEXT)
    yield "full text: … and headings (our part)", partial(index.rank_words, columns, FULL_TEXT)
    yield "hybrid, equal reciprocal ranks", index.rank_by_ranks
    yield "hybrid, our fusion", partial(ranked, FEEDBACK=0.0)
    yield "hybrid, our fusion and feedback: `search`", index.rank


def is_chosen_on(collection: str, query: str) -> bool:
    """True if a query belongs to the half that the settings were chosen on."""
    return int(hashlib.sha256(f"{collection}:{query}".encode()).hexdigest(), 16) % 2 == 0


def mean_ndcg(collection: Collection, rankings: dict[str, Ranking], chosen_on: bool | None = None) -> float:
    """The mean over all queries, or over one half of them."""
    scores = [
        ndcg(ranking, collection.relevant.get(name, {}))
        for name, ranking in rankings.items()
        if chosen_on is None or is_chosen_on(collection.name, name) == chosen_on
    ]
    return statistics.mean(scores)


def print_grid(indexes: list[Index]) -> None:
    """Print the figures by which settings are chosen."""
    print("weight, feedback:", ", ".join(index.collection.name for index in indexes), "-> mean")
    for weight, feedback in itertools.product((0.5, 0.6, 0.7, 0.8), (0.0, 0.3, 0.5)):
        with constants(VECTOR_WEIGHT=weight, FEEDBACK=feedback):
            means = [mean_ndcg(index.collection, index.rank(), chosen_on=True) for index in indexes]
        figures = " ".join(f"{mean:.4f}" for mean in means)
        print(f"{weight} {feedback}: {figures} -> {statistics.mean(means):.4f}", flush=True)


def main() -> None:
    """Print one markdown table, or the grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", help="one collection, by name; may come again")
    parser.add_argument("--choose", action="store_true", help="print the grid that settings are chosen by")
    given = parser.parse_args()
    made = [
        cranfield(given.data, whole=False),
        cranfield(given.data, whole=True),
        titles(given.data, "skeeto"),
        titles(given.data, "simonw"),
        functions(given.data),
        library(given.data),
    ]
    indexes = [Index(one, given.folder) for one in made if not given.only or one.name in given.only]
    if given.choose:
        print_grid(indexes)
        return
    table: dict[str, dict[str, str]] = {}
    for index in indexes:
        collection = index.collection
        size = f"{len(collection.documents)}, {index.table.count()}, {len(collection.queries)}"
        table.setdefault("documents, chunks, queries", {})[collection.name] = size
        for label, rank in variants(index):
            rankings = rank()
            others = mean_ndcg(collection, rankings, chosen_on=False)
            cell = f"{mean_ndcg(collection, rankings):.3f} ({others:.3f})"
            table.setdefault(label, {})[collection.name] = cell
            print(f"{collection.name}: {label}: {cell}", flush=True)
    names = list(next(iter(table.values())))
    print("\n| nDCG@10 |", " | ".join(names), "|")
    print("| --- |", " | ".join("---" for _ in names), "|")
    for label, cells in table.items():
        print(f"| {label} |", " | ".join(cells[name] for name in names), "|")


if __name__ == "__main__":
    main()
