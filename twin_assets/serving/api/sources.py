"""An author's sources, and requests to crawl them."""

from typing import Any

from fastapi import APIRouter

from twin_assets.operations.sources import ListedSource, list_sources, request_crawl
from twin_assets.serving.api.dependencies import Asking, ServedHere

router = APIRouter(prefix="/v1/authors/{author}")


@router.get("/sources")
def sources(who: Asking, served: ServedHere, author: str) -> dict[str, Any]:
    """Where the author's writing comes from, and what the last crawl of each place did."""
    served.access.profile(who, author)
    return {"object": "list", "data": [_row(one) for one in list_sources(served.stores, author)]}


@router.post("/collect", status_code=202)
def collect(who: Asking, served: ServedHere, author: str, source: str | None = None) -> dict[str, Any]:
    """Ask for a crawl of one source, or of all: a running daemon begins within 30 seconds."""
    served.access.profile(who, author)
    asked = request_crawl(served.stores, author, source)
    rows = [_row(one) for one in list_sources(served.stores, author) if one.source.id in asked]
    return {"object": "list", "data": rows}


def _row(listed: ListedSource) -> dict[str, Any]:
    """A source as JSON; the name of the variable with its token concerns the operator alone."""
    return {
        **listed.source.model_dump(mode="json", include={"id", "platform", "where", "cron"}),
        "object": "source",
        "asked_at": listed.asked_at,
        "last_crawl": listed.last_crawl,
    }
