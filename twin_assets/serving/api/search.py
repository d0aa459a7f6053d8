"""Search in an author's own writing."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from twin_assets.documents import Category
from twin_assets.operations.search import search_writing
from twin_assets.serving.api.dependencies import Asking, ServedHere

router = APIRouter(prefix="/v1/authors/{author}")

MAX_HITS = 50
DEFAULT_HITS = 10
MAX_QUERY = 2_000
"""The longest query, in characters."""


@router.get("/search")
def search(
    who: Asking,
    served: ServedHere,
    author: str,
    q: Annotated[str, Query(min_length=1, max_length=MAX_QUERY)],
    k: Annotated[int, Query(ge=1, le=MAX_HITS)] = DEFAULT_HITS,
    category: Category | None = None,
) -> dict[str, Any]:
    """The author's own passages, by meaning and by words; only what may be quoted."""
    served.access.profile(who, author)
    found = search_writing(served.stores, author, q, k, category, quotable_only=True)
    data = [vars(hit) | {"text": hit.text.strip()} for hit in found.hits]
    return {"object": "list", "data": data, "warnings": found.warnings}
