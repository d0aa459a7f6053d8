"""Shows what would be masked in real authors' documents, by kind, so that a person can judge the false positives.

    python -m twin_assets_tests.benchmarks.redaction ../shared/data/authors [--show 20]

`--show` prints that many masked texts of each kind with the words around them. It prints them unmasked, so only run it
on published writing.
"""

import json
import sys
from collections import Counter
from pathlib import Path

from twin_assets.documents import Category
from twin_assets.features.redaction import redact

AROUND = 40


def finds(text: str, masked: str) -> list[tuple[str, str]]:
    """(mask, the original with words around it) of each mask, by walking both texts side by side."""
    found, at, since = [], 0, 0
    while (start := masked.find("[", since)) >= 0:
        end = masked.find("]", start) + 1
        mask = masked[start:end]
        position = at + start - since
        if text[position : position + len(mask)] == mask or not end:
            at, since = position + 1, start + 1
            continue
        rest = masked[end : end + 12]
        after = text.find(rest, position) if rest else len(text)
        found.append((mask, text[max(0, position - AROUND) : after + AROUND].replace("\n", " ")))
        at, since = after, end
    return found


def main(folder: Path, shown: int) -> None:
    """Print counts by author and kind, and some of the masked texts."""
    counts: Counter[tuple[str, str]] = Counter()
    documents: Counter[str] = Counter()
    texts: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*/docs.jsonl")):
        for line in path.read_text().splitlines():
            document = json.loads(line)
            documents[path.parent.name] += 1
            redacted = redact(document["text"], Category(document["category"]))
            counts.update({(path.parent.name, kind): n for kind, n in redacted.counts.items()})
            for mask, context in finds(document["text"], redacted.text) if redacted.counts else ():
                texts.setdefault(mask, []).append(context)
    print(f"{sum(documents.values())} documents: {dict(documents)}")
    for (author, kind), n in sorted(counts.items()):
        print(f"{author:<12} {kind:<14} {n:>4}")
    for mask, contexts in texts.items() if shown else ():
        print(f"\n{mask}: {len(contexts)}")
        for context in contexts[:shown]:
            print(f"  … {context} …")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[3]) if "--show" in sys.argv else 0)
