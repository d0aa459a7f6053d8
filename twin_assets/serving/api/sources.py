"""An author's sources, and requests to crawl them."""

from typing import Any

from fastapi import APIRouter

from twin_assets.documents import AuthorProfile
from twin_assets.errors import NotThere
from twin_assets.serving.api.dependencies import Asking, ServedHere
from twin_assets.stores import Stores

router = APIRouter(prefix="/v1/authors/{author}")


@router.get("/sources")
def sources(who: Asking, served: ServedHere, author: str) -> dict[str, Any]:
    """Where the author's writing comes from, and what the last crawl of each place did."""
    profile = served.access.profile(who, author)
    return {"object": "list", "data": _source_rows(served.stores, profile)}


@router.post("/collect", status_code=202)
def collect(who: Asking, served: ServedHere, author: str, source: str | None = None) -> dict[str, Any]:
    """Ask for a crawl of one source, or of all: a running daemon begins within 30 seconds."""
    profile = served.access.profile(who, author)
    asked = [one.id for one in profile.sources if source in (None, one.id)]
    if not asked:
        known = ", ".join(one.id for one in profile.sources) or "none yet"
        raise NotThere(f"{author} has no source {source or 'to collect from'} (sources: {known})")
    for source_id in asked:
        served.stores.warehouse.ask_for_crawl(author, source_id)
    return {"object": "list", "data": [row for row in _source_rows(served.stores, profile) if row["id"] in asked]}


def _source_rows(stores: Stores, profile: AuthorProfile) -> list[dict[str, Any]]:
    """Each source with its last crawl; the name of its token's variable is the operator's affair."""
    asked = {
        one["source_id"]: one["asked_at"] for one in stores.warehouse.crawl_requests() if one["author"] == profile.id
    }
    crawls = stores.warehouse.crawls(profile.id)
    return [
        {
            **source.model_dump(mode="json", include={"id", "platform", "where", "cron"}),
            "object": "source",
            "asked_at": asked.get(source.id),
            "last_crawl": crawls.get(source.id),
        }
        for source in profile.sources
    ]
