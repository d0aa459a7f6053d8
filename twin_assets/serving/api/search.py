"""Search in an author's own writing."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from twin_assets.documents import Category
from twin_assets.operations.search import search_writing
from twin_assets.serving.api.dependencies import CurrentCaller, State

router = APIRouter(prefix="/v1/authors/{author}")

MAX_HITS = 50
DEFAULT_HITS = 10
MAX_QUERY = 2_000
"""The longest query, in characters."""


@router.get("/search")
def search(
    caller: CurrentCaller,
    state: State,
    author: str,
    q: Annotated[str, Query(min_length=1, max_length=MAX_QUERY)],
    k: Annotated[int, Query(ge=1, le=MAX_HITS)] = DEFAULT_HITS,
    category: Category | None = None,
) -> dict[str, Any]:
    """Search the author's own writing by meaning and by words; finds only what may be quoted."""
    state.access.profile(caller, author)
    found = search_writing(state.stores, author, q, k, category, quotable_only=True)
    data = [vars(hit) | {"text": hit.text.strip()} for hit in found.hits]
    return {"object": "list", "data": data, "warnings": found.warnings}
