"""Whether the server is up."""

from fastapi import APIRouter

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers; nothing is loaded or looked up."""
    return {"status": "ok"}
