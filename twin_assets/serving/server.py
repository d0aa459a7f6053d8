"""API and app in one uvicorn process. Promotion and collection are passed in, as they need a Dagster instance."""

import asyncio
import logging
import os
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.middleware.trustedhost import TrustedHostMiddleware

from twin_assets.errors import TwinError
from twin_assets.operations.collector import Collector
from twin_assets.serving.access import Access
from twin_assets.serving.api.application import build_api
from twin_assets.serving.app.documents_actions import DocumentsActions
from twin_assets.serving.app.draft_actions import DraftActions, Promote
from twin_assets.serving.app.sources_actions import SourcesActions
from twin_assets.serving.drafting import Drafter
from twin_assets.serving.middleware import BodyLimit, SameOriginOnly, SecurityHeaders
from twin_assets.stores import Stores

if TYPE_CHECKING:
    from fastapi import FastAPI

SHUTDOWN_S = 1
"""How long open streams may continue once the server is told to end; the app's page always keeps one open."""


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """False for uvicorn's complaints that streams were cut off when the server ended."""
    ended = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not ended and "timeout graceful shutdown" not in record.getMessage()


def build_app(stores: Stores, host: str, promote: Promote, collector: Collector) -> "FastAPI":
    """The whole ASGI application as it is served on `host`. Raises BadInput if it needs keys and there are none."""
    from twin_assets.serving.app.page import mount_app

    access = Access(stores.warehouse, host)
    access.check_binding(host)
    drafter = Drafter(stores)
    app = build_api(stores, drafter, access)
    if access.local:
        # Against DNS rebinding: a foreign page whose name resolves to this machine still sends that name as Host.
        app.add_middleware(SameOriginOnly)
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[host, "localhost", "127.0.0.1", "[::1]"])
    app.add_middleware(BodyLimit)
    app.add_middleware(SecurityHeaders)
    drafts, sources = DraftActions(stores, drafter, access, promote), SourcesActions(collector, access)
    mount_app(app, drafts, sources, DocumentsActions(stores, collector, access), access)
    return app


def serve(stores: Stores, host: str, port: int, promote: Promote, collector: Collector) -> None:
    """Serve until told to end. Raises TwinError if the address is taken, BadInput if it needs keys and has none."""
    import uvicorn

    Access(stores.warehouse, host).check_binding(host)
    with _listen(host, port) as listener:
        app = build_app(stores, host, promote, collector)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_S)
        logging.getLogger("uvicorn.error").addFilter(_is_worth_logging)
        shown = f"[{host}]" if ":" in host else host
        sys.stderr.write(f"the app: http://{shown}:{listener.getsockname()[1]}   its API: …/v1   (Ctrl-C ends it)\n")
        sys.stderr.flush()
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
        sys.stderr.write("ended\n")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise TwinError(
            f"cannot listen on {host}:{port} ({reason}): stop the program that uses it, or choose another port with "
            "`twin serve --port`"
        ) from error
