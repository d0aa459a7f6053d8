"""Errors in the shape that OpenAI's clients expect.

An error that was raised for a person keeps its text; any other is logged, and the client learns only that it happened.
"""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from twin_assets.errors import AccessDenied, BadInput, Busy, NotEnoughWriting, NotThere, TwinError
from twin_assets.serving.access import WrongKey

log = logging.getLogger(__name__)

STATUS: tuple[tuple[type[TwinError], int], ...] = (
    (WrongKey, 401),
    (AccessDenied, 403),
    (NotThere, 404),
    (BadInput, 400),
    (NotEnoughWriting, 409),
    (Busy, 429),
)
"""The first class that an error is an instance of gives its status; any other TwinError is the server's own, 500."""

KINDS: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request_error", "bad_request"),
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", "access_denied"),
    404: ("not_found_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    409: ("conflict_error", "not_enough_writing"),
    413: ("invalid_request_error", "too_large"),
    429: ("rate_limit_error", "too_many_drafts"),
}


def status_of(error: Exception) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def error_body(status: int, message: str, param: str | None = None) -> dict[str, Any]:
    """The JSON of an error: `{error: {message, type, code, param}}`."""
    kind, code = KINDS.get(status, ("server_error", "server_error") if status >= 500 else KINDS[400])
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


def error_response(error: Exception) -> tuple[int, dict[str, Any]]:
    """Status and body of any error; the text of one that was not raised for a person goes only to the log."""
    status = status_of(error)
    if isinstance(error, TwinError):
        return status, error_body(status, str(error))
    log.error("a request failed", exc_info=error)
    return 500, error_body(500, "the server failed at this request; its log says why")


def add_error_handlers(app: FastAPI) -> None:
    """Give every error of the application the same shape."""

    @app.exception_handler(TwinError)
    async def _ours(request: Request, error: TwinError) -> JSONResponse:
        status, body = error_response(error)
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
        if isinstance(error, Busy):
            headers = {"Retry-After": str(error.retry_after_s)}
        return JSONResponse(body, status, headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        param = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query", "path")) or None
        message = f"{param}: {problem['msg']}" if param else problem["msg"]
        return JSONResponse(error_body(400, message, param), 400)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(error_body(error.status_code, str(error.detail)), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def _any(request: Request, error: Exception) -> JSONResponse:
        status, body = error_response(error)
        return JSONResponse(body, status)
