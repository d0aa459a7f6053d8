"""Whether the server is up."""

from fastapi import APIRouter

router = APIRouter()


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer that the process is up; nothing is loaded or looked up."""
    return {"status": "ok"}
