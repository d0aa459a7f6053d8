"""What every request passes before a route sees it: size limits, security headers, and a check of its origin."""

from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twin_assets.serving.error_responses import error_body

MAX_BODY_BYTES = 1_000_000
MAX_UPLOAD_BYTES = 2_000_000_000
"""The largest export archive that can be uploaded; a larger one goes into the inbox folder by hand."""
UPLOADS = "/gradio_api/upload"


class BodyLimit:
    """Refuses a body whose declared length is too large, and cuts off one that turns out to be too large."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES, max_upload_bytes: int = MAX_UPLOAD_BYTES) -> None:
        self._usual = max_bytes, RequestBodyLimitMiddleware(app, max_bytes)
        # A form adds lines of its own around the file.
        most = max_upload_bytes + max_bytes
        self._uploads = most, RequestBodyLimitMiddleware(app, most)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413, or pass the request on."""
        max_bytes, app = self._uploads if scope.get("path") == UPLOADS else self._usual
        length = Headers(scope=scope).get("content-length", "0") if scope["type"] == "http" else "0"
        if length.isdecimal() and int(length) > max_bytes:
            message = f"the request is larger than {max_bytes // 1_000} kB: send a smaller one"
            await JSONResponse(error_body(413, message), 413)(scope, receive, send)
        else:
            await app(scope, receive, send)


CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; frame-ancestors 'self'; form-action 'self'"
)
"""Pages load nothing from elsewhere and send nothing there. `unsafe`: Gradio compiles its templates in the browser."""


class SecurityHeaders:
    """Tells the browser to load nothing from elsewhere, and to send linked sites no referrer."""

    HEADERS = (
        (b"content-security-policy", CONTENT_POLICY.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-content-type-options", b"nosniff"),
    )

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to every response."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self.HEADERS]
            await send(message)

        await self._app(scope, receive, with_headers)


class SameOriginOnly:
    """Keeps foreign web pages from sending requests through their visitor's browser where no key is needed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 if the browser says that the request comes from another site's page."""
        headers = Headers(scope=scope) if scope["type"] in ("http", "websocket") else Headers()
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            message = "requests from other sites' pages are refused here"
            await JSONResponse(error_body(403, message), 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
