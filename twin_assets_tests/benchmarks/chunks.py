"""Prints chunks, and compares the chunker with a stock splitter: lengths, needless cuts, throughput.

    python -m twin_assets_tests.benchmarks.chunks ../shared/data/authors/skeeto [--n 20] [--category code]

The folder holds a `docs.jsonl`, or markdown and code as the platform `files` reads it (`twin_assets/sample/wren`).
Prints n random chunks per category with the end of the one before and the start of the one after, then the figures.
"stock" is semantic-text-splitter: markdown for articles and posts, plain text for code.
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from semantic_text_splitter import MarkdownSplitter, TextSplitter
from tokenizers import Tokenizer

from twin_assets.collection.events import Found
from twin_assets.collection.platforms.files import FilesCrawler
from twin_assets.content.chunking import Chunk, Chunker, Tokens
from twin_assets.content.code import code_language
from twin_assets.content.syntax import MARKDOWN, Lines, structure
from twin_assets.content.web import WebClient
from twin_assets.documents import Category, Source
from twin_assets.language.embedding import load_embedder
from twin_assets.settings import Settings

NEIGHBOUR = 120
"""How many characters of the chunks before and after are printed."""
BIN = 20


class Document(NamedTuple):
    title: str
    category: Category
    text: str


def documents(folder: Path, settings: Settings) -> list[Document]:
    """The documents in a folder, as they were collected."""
    listing = folder / "docs.jsonl"
    if listing.exists():
        rows = map(json.loads, listing.read_text().splitlines())
        return [Document(row["title"], Category(row["category"]), row["text"]) for row in rows]
    source = Source(id="folder", platform="files", where=str(folder))
    with WebClient(settings) as http:
        found = [event.item for event in FilesCrawler().collect(source, {}, http) if isinstance(event, Found)]
    return [Document(item.title or item.external_id, item.category, item.content) for item in found]


def show(cut: list[tuple[Document, list[Chunk]]], n: int) -> None:
    """Print n random chunks, the same ones each time."""
    every = [(document, chunks, position) for document, chunks in cut for position in range(len(chunks))]
    for document, chunks, position in random.Random(0).sample(every, min(n, len(every))):
        chunk = chunks[position]
        before = chunks[position - 1].text[-NEIGHBOUR:] if position else "(start)"
        after = chunks[position + 1].text[:NEIGHBOUR] if position + 1 < len(chunks) else "(end)"
        print(f"==== {document.title} | {chunk.heading_path} | {position + 1}/{len(chunks)}, {chunk.n_tokens} tokens")
        print(f"  … {before!r}\n----\n{chunk.text}\n----\n  … {after!r}\n")


def cut_though_they_fit(document: Document, starts: Iterable[int], tokenizer: Tokenizer, limit: int) -> Counter[str]:
    """Counts sections or definitions of several rows that fit into a chunk, and those that a chunk starts inside."""
    offsets = tokenizer.encode(document.text, add_special_tokens=False).offsets
    lines = Lines(document.text, [start for start, _ in offsets], limit)
    language = code_language(document.title, document.text) if document.category is Category.CODE else MARKDOWN
    rows = [lines.row_at(start) for start in starts]
    counts: Counter[str] = Counter()
    for enclosure in structure(document.text, lines, language).enclosures:
        if enclosure.last > enclosure.first and lines.fits(enclosure.first, enclosure.last):
            counts["fit"] += 1
            counts["cut"] += any(enclosure.first < row <= enclosure.last for row in rows)
    return counts


def figures(
    group: list[Document], split: Callable[[Document], list[tuple[int, int]]], tokenizer: Tokenizer, limit: int
) -> dict[str, Any]:
    """The lengths, the speed, and what is cut. split: gives the start and tokens of each chunk of a document."""
    started = time.perf_counter()
    pieces = [split(document) for document in group]
    seconds = time.perf_counter() - started
    lengths = [n_tokens for chunks in pieces for _, n_tokens in chunks]
    counts = Counter({"fit": 0, "cut": 0})
    for document, chunks in zip(group, pieces, strict=True):
        counts.update(cut_though_they_fit(document, (start for start, _ in chunks), tokenizer, limit))
    bins = Counter(length // BIN * BIN for length in lengths)
    return {
        "documents": len(group),
        "chunks": len(lengths),
        "mean_tokens": round(sum(lengths) / max(len(lengths), 1)),
        "longest": max(lengths, default=0),
        "documents_per_s": round(len(group) / seconds, 1),
        "tokens_per_s": round(sum(lengths) / seconds),
        "sections_or_definitions_that_fit": counts["fit"],
        "of_these_cut": counts["cut"],
        "chunks_by_tokens": {f"{low}-{low + BIN - 1}": bins[low] for low in sorted(bins)},
    }


def main() -> None:
    """Print the samples, then one JSON document of figures per category and splitter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--category", type=Category, choices=list(Category))
    given = parser.parse_args()
    settings = Settings(_env_file=None)
    tokenizer, limit = load_embedder(settings).tokenizer, settings.chunk_tokens
    chunker = Chunker(Tokens(tokenizer), limit)
    markdown = MarkdownSplitter.from_huggingface_tokenizer(tokenizer, limit, trim=False)
    plain = TextSplitter.from_huggingface_tokenizer(tokenizer, limit, trim=False)

    def ours(document: Document) -> list[Chunk]:
        return list(chunker.chunks(document.text, document.category, document.title))

    def stock(document: Document) -> list[tuple[int, int]]:
        splitter = plain if document.category is Category.CODE else markdown
        pieces = splitter.chunk_indices(document.text)
        return [(start, len(tokenizer.encode(piece, add_special_tokens=False).ids)) for start, piece in pieces]

    found = documents(given.folder, settings)
    report: dict[str, Any] = {}
    for category in [given.category] if given.category else list(Category):
        group = [document for document in found if document.category is category]
        if not group:
            continue
        show([(document, ours(document)) for document in group], given.n)
        report[category] = {
            "ours": figures(group, lambda d: [(c.start, c.n_tokens) for c in ours(d)], tokenizer, limit),
            "stock": figures(group, stock, tokenizer, limit),
        }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
