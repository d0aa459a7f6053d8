"""API and app in one uvicorn process. What promotes and collects is handed in, with the project's Dagster instance."""

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
from twin_assets.serving.app.actions import Desk, Promote
from twin_assets.serving.app.documents_actions import DocumentsDesk
from twin_assets.serving.app.sources_actions import SourcesDesk
from twin_assets.serving.drafting import Drafter
from twin_assets.serving.failures import BodyLimit, NothingFromOutside, OwnPagesOnly
from twin_assets.stores import Stores

if TYPE_CHECKING:
    from fastapi import FastAPI

SHUTDOWN_S = 1
"""How long open streams may go on once the server is told to end; the app's page always has one open."""


def _no_alarm_at_the_end(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's log is worth reading: that streams were cut off when the server ended is not."""
    ended = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not ended and "timeout graceful shutdown" not in record.getMessage()


def build_app(stores: Stores, host: str, promote: Promote, collecting: Collector) -> "FastAPI":
    """The whole ASGI application, as it is served on `host`. Raises BadInput where keys are needed and missing."""
    from twin_assets.serving.app.page import mount_app

    access = Access(stores.warehouse, host)
    access.check_binding(host)
    drafter = Drafter(stores)
    app = build_api(stores, drafter, access)
    if access.local:
        # DNS rebinding: a page from elsewhere whose name has come to mean this machine keeps its own name as Host.
        app.add_middleware(OwnPagesOnly)
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[host, "localhost", "127.0.0.1", "[::1]"])
    app.add_middleware(BodyLimit)
    app.add_middleware(NothingFromOutside)
    desk, sources = Desk(stores, drafter, access, promote), SourcesDesk(collecting, access)
    mount_app(app, desk, sources, DocumentsDesk(stores, collecting, access), access)
    return app


def serve(stores: Stores, host: str, port: int, promote: Promote, collecting: Collector) -> None:
    """Serve until told to end. Raises TwinError for an address that cannot be had, BadInput for one that needs keys."""
    import uvicorn

    Access(stores.warehouse, host).check_binding(host)
    with _listen(host, port) as listener:
        app = build_app(stores, host, promote, collecting)
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_S)
        logging.getLogger("uvicorn.error").addFilter(_no_alarm_at_the_end)
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
            f"cannot listen on {host}:{port} ({reason}): end what runs there, or choose another port with "
            "`twin serve --port`"
        ) from error
