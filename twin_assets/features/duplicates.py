"""The same piece met twice is one cluster: on two platforms, lightly edited, or cross-posted with a canonical link.

Two documents belong together when their texts are equal, when 80% of their five-word shingles are (MinHash), or when
two articles name the same canonical URL, which is that of a whole page; clusters are the connected components. A
cluster's id is the smallest text hash of its members, so that it depends on what is there and not on the order in which
it came.

Source: Broder 1997, On the resemblance and containment of documents; the index is datasketch's MinHashLSH.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from twin_assets.documents import Category
from twin_assets.features.cleaning.document import without_tracking

if TYPE_CHECKING:
    from datasketch import MinHash

DUPLICATES_VERSION = "2"
NEAR = 0.8
"""Jaccard similarity of shingles from which two texts are one piece; the estimate's standard error is 0.04 there."""
LOOKED_AT = 0.7
"""The index proposes pairs from about here, so that few with NEAR or more are missed."""
PERMUTATIONS = 128
SHINGLE = 5
WORDS = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
"""Words; scripts that write none apart give their characters."""


@dataclass(frozen=True)
class Member:
    """What clustering needs of a document. signature: PERMUTATIONS little-endian uint32."""

    document_id: str
    category: str
    url: str | None
    text_hash: str
    signature: bytes


def text_hash(text: str) -> str:
    """16 hex digits that texts share when they are equal, white space aside."""
    return hashlib.sha256(" ".join(text.split()).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def signature(text: str) -> bytes:
    """The MinHash of a text's shingles."""
    minhash = _minhash()
    minhash.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in _shingles(text)])
    return bytes(minhash.hashvalues.astype("<u4").tobytes())


def clusters(members: Sequence[Member]) -> dict[str, str]:
    """The cluster id of each document id."""
    parents = list(range(len(members)))

    def root(of: int) -> int:
        while parents[of] != of:
            parents[of] = parents[parents[of]]
            of = parents[of]
        return of

    for one, other in (*_equal(members), *_near(members)):
        parents[root(one)] = root(other)
    names: dict[int, str] = {}
    for index, member in enumerate(members):
        names[root(index)] = min(names.get(root(index), member.text_hash), member.text_hash)
    return {member.document_id: names[root(index)] for index, member in enumerate(members)}


def canonical_url(url: str | None) -> str | None:
    """A URL as two platforms would agree on it: no scheme, `www.`, tracking or closing slash.

    None for a place within a page, under which one of many pieces may stand. The page's top and a quoted text
    (https://wicg.github.io/scroll-to-text-fragment/) are no such places.
    """
    if not url:
        return None
    try:
        parts = urlsplit(without_tracking(url))
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return None
    if parts.fragment.partition(":~:")[0].lower() not in ("", "top"):
        return None
    path = parts.path.rstrip("/")
    # A home page is the address of many pieces, not of one.
    return f"{host}{path}{f'?{parts.query}' if parts.query else ''}" if host and (path or parts.query) else None


def _shingles(text: str) -> set[str]:
    words = re.findall(WORDS, text.lower())
    return {" ".join(words[start : start + SHINGLE]) for start in range(max(1, len(words) - SHINGLE + 1))}


def _equal(members: Sequence[Member]) -> Iterator[tuple[int, int]]:
    """Neighbours in groups of equal text, and of articles with the same canonical URL."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, member in enumerate(members):
        groups["text", member.text_hash].append(index)
        url = canonical_url(member.url) if member.category == Category.ARTICLE else None
        if url:
            groups["url", url].append(index)
    for group in groups.values():
        yield from pairwise(group)


def _near(members: Sequence[Member]) -> Iterator[tuple[int, int]]:
    """Pairs of near-equal text; one without a word, such as of emoji, is near none.

    Of members with equal signatures the first stands for all.
    """
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=LOOKED_AT, num_perm=PERMUTATIONS)
    first: dict[bytes, int] = {}
    kept: dict[int, MinHash] = {}
    wordless = signature("")
    for number, member in enumerate(members):
        if member.signature == wordless:
            continue
        if (same := first.setdefault(member.signature, number)) != number:
            yield number, same
            continue
        minhash = _minhash(member.signature)
        for other in sorted(index.query(minhash)):
            if minhash.jaccard(kept[other]) >= NEAR:
                yield number, other
        index.insert(number, minhash, check_duplication=False)
        kept[number] = minhash


def _minhash(values: bytes | None = None) -> "MinHash":
    import numpy as np
    import xxhash
    from datasketch import MinHash

    start = _permutations()
    return MinHash(
        num_perm=PERMUTATIONS,
        hashfunc=xxhash.xxh32_intdigest,
        permutations=start.permutations,
        scheme=start.scheme,
        hashvalues=np.frombuffer(values, dtype="<u4").astype(np.uint32) if values else None,
    )


@cache
def _permutations() -> "MinHash":
    """A sketch whose permutations, drawn from datasketch's fixed seed, all others share."""
    from datasketch import MinHash

    return MinHash(num_perm=PERMUTATIONS)
