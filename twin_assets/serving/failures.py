"""Errors as OpenAI's clients expect them, and the doors that a request passes before anything looks at it.

An error that was raised for a person keeps its words; any other is logged, and the client learns only that it happened.
"""

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twin_assets.errors import AccessDenied, BadInput, Busy, NotEnoughWriting, NotThere, TwinError
from twin_assets.serving.access import WrongKey

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1_000_000
MAX_UPLOAD_BYTES = 2_000_000_000
"""Of an export archive; a larger one goes into the inbox folder by hand."""
UPLOADS = "/gradio_api/upload"

STATUS: tuple[tuple[type[TwinError], int], ...] = (
    (WrongKey, 401),
    (AccessDenied, 403),
    (NotThere, 404),
    (BadInput, 400),
    (NotEnoughWriting, 409),
    (Busy, 429),
)
"""The first that fits; any other error of ours is the server's own, 500."""

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
    """`{error: {message, type, code, param}}`."""
    kind, code = KINDS.get(status, ("server_error", "server_error") if status >= 500 else KINDS[400])
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


def error_of(error: Exception) -> tuple[int, dict[str, Any]]:
    """Status and body of any error; the words of one that was not raised for a person stay in the log."""
    status = status_of(error)
    if isinstance(error, TwinError):
        return status, error_body(status, str(error))
    log.error("a request failed", exc_info=error)
    return 500, error_body(500, "the server failed at this request; its log says why")


def shape_errors(app: FastAPI) -> None:
    """Give every error of the API the same shape."""

    @app.exception_handler(TwinError)
    async def _ours(request: Request, error: TwinError) -> JSONResponse:
        status, body = error_of(error)
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
        status, body = error_of(error)
        return JSONResponse(body, status)


class BodyLimit:
    """Refuse a body that says it is too large, and cut off one that turns out to be."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES, max_upload_bytes: int = MAX_UPLOAD_BYTES) -> None:
        self._usual = max_bytes, RequestBodyLimitMiddleware(app, max_bytes)
        # A form has lines of its own around the file.
        most = max_upload_bytes + max_bytes
        self._uploads = most, RequestBodyLimitMiddleware(app, most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        max_bytes, app = self._uploads if scope.get("path") == UPLOADS else self._usual
        length = Headers(scope=scope).get("content-length", "0") if scope["type"] == "http" else "0"
        if length.isdecimal() and int(length) > max_bytes:
            message = f"the request is larger than {max_bytes // 1_000} kB"
            await JSONResponse(error_body(413, message), 413)(scope, receive, send)
        else:
            await app(scope, receive, send)


CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'self'; form-action 'self'"
)
"""Nothing is loaded from or sent to anywhere else. Gradio compiles its templates in the browser: hence `unsafe`."""


class NothingFromOutside:
    """Tell the browser to load nothing from elsewhere, and to tell linked sites nothing."""

    HEADERS = (
        (b"content-security-policy", CONTENT_POLICY.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    )

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to every answer."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self.HEADERS]
            await send(message)

        await self._app(scope, receive, with_headers)


class OwnPagesOnly:
    """Where no key is needed, a web page from elsewhere must not ask in its visitor's place."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what a browser says comes from another site's page."""
        headers = Headers(scope=scope) if scope["type"] in ("http", "websocket") else Headers()
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            message = "requests from other sites' pages are refused here"
            await JSONResponse(error_body(403, message), 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
