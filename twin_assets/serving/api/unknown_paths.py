"""The answer for paths under /v1 that no other router knows; without it the web page mounted at / would answer."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from twin_assets.errors import NotThere

router = APIRouter()


@router.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def unknown_path(request: Request, path: str) -> Response:
    """Raises NotThere."""
    raise NotThere(f"there is no {request.method} /v1/{path} here")
