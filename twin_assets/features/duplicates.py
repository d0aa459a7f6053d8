"""Put copies of one piece into one cluster: posted on two platforms, lightly edited, or cross-posted with a link.

Two documents belong together if their texts are equal, if they share 80% of their five-word shingles (estimated by
MinHash), or if both are articles with the same canonical URL of a whole page. The clusters are the connected
components. A cluster's id is the smallest text hash of its members, so it does not depend on the order of arrival.

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
"""Two texts with this Jaccard similarity of shingles are one piece; the estimate's standard error is 0.04 there."""
CANDIDATE_SIMILARITY = 0.7
"""The index proposes pairs with about this similarity or more, so that few with NEAR or more are missed."""
PERMUTATIONS = 128
SHINGLE = 5
WORDS = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
"""A pattern that finds words; in scripts that do not separate words, it finds single characters."""


@dataclass(frozen=True)
class Member:
    """What clustering needs to know of a document. signature: PERMUTATIONS little-endian uint32."""

    document_id: str
    category: str
    url: str | None
    text_hash: str
    signature: bytes


def text_hash(text: str) -> str:
    """A hash of 16 hex digits, which is the same for texts that differ only in white space."""
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
    """A URL in the form that two platforms would share: without scheme, `www.`, tracking parameters or final slash.

    None for a fragment, which may be one of many pieces on a page. Fragments that mean the top of the page or a quoted
    text (https://wicg.github.io/scroll-to-text-fragment/) are ignored.
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
    """Pairs of members with equal text, and of articles with the same canonical URL; each group as a chain of pairs."""
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, member in enumerate(members):
        groups["text", member.text_hash].append(index)
        url = canonical_url(member.url) if member.category == Category.ARTICLE else None
        if url:
            groups["url", url].append(index)
    for group in groups.values():
        yield from pairwise(group)


def _near(members: Sequence[Member]) -> Iterator[tuple[int, int]]:
    """Pairs of members with nearly equal text.

    A text without words, such as one of emoji, is in no pair. Of members with equal signatures, only the first is
    compared with the others.
    """
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=CANDIDATE_SIMILARITY, num_perm=PERMUTATIONS)
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
    """A MinHash whose permutations, drawn from datasketch's fixed seed, all others share."""
    from datasketch import MinHash

    return MinHash(num_perm=PERMUTATIONS)
