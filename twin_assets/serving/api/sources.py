"""An author's sources, and requests to crawl them."""

from typing import Any

from fastapi import APIRouter

from twin_assets.operations.sources import ListedSource, list_sources, request_crawl
from twin_assets.serving.api.dependencies import CurrentCaller, State

router = APIRouter(prefix="/v1/authors/{author}")


@router.get("/sources")
def sources(caller: CurrentCaller, state: State, author: str) -> dict[str, Any]:
    """The author's sources, and what the last crawl of each one did."""
    state.access.profile(caller, author)
    return {"object": "list", "data": [_row(one) for one in list_sources(state.stores, author)]}


@router.post("/collect", status_code=202)
def collect(caller: CurrentCaller, state: State, author: str, source: str | None = None) -> dict[str, Any]:
    """Ask for a crawl of one source, or of all; a running daemon starts it within 30 seconds."""
    state.access.profile(caller, author)
    asked = request_crawl(state.stores, author, source)
    rows = [_row(one) for one in list_sources(state.stores, author) if one.source.id in asked]
    return {"object": "list", "data": rows}


def _row(listed: ListedSource) -> dict[str, Any]:
    """A source as JSON; the name of the variable with its token concerns the operator alone."""
    return {
        **listed.source.model_dump(mode="json", include={"id", "platform", "where", "cron"}),
        "object": "source",
        "asked_at": listed.asked_at,
        "last_crawl": listed.last_crawl,
    }
