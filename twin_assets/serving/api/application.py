"""The REST API as one FastAPI application: one router for each topic, and the errors in one shape.

The routers take what they work with from `app.state` (see `dependencies`), so that each file reads by itself.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI

from twin_assets.serving.access import Access
from twin_assets.serving.api import chat, health, models, search, sources, unknown_paths
from twin_assets.serving.api.dependencies import ApiState
from twin_assets.serving.drafting import Drafter
from twin_assets.serving.error_responses import add_error_handlers
from twin_assets.stores import Stores

OTHER_THREADS = 40
"""The number of worker threads for everything but drafts: what anyio allows for all work by default."""

ROUTERS = (health.router, models.router, search.router, sources.router, chat.router, unknown_paths.router)
"""In this order: the last one answers whatever the others do not know."""


def build_api(stores: Stores, drafter: Drafter, access: Access) -> FastAPI:
    """The API without any web page. Swagger's pages are left out because they load their scripts from elsewhere."""

    @asynccontextmanager
    async def enough_threads(_: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = _threads(stores.settings.max_open_drafts)
        yield

    api = FastAPI(title="twin_assets", docs_url=None, redoc_url=None, lifespan=enough_threads)
    api.state.api = ApiState(stores, drafter, access)
    add_error_handlers(api)
    for router in ROUTERS:
        api.include_router(router)
    return api


def _threads(max_open_drafts: int) -> int:
    """The number of worker threads the server may have.

    A draft keeps one thread busy while it waits for a token, and may need a second one for a moment.
    """
    return 2 * max_open_drafts + OTHER_THREADS
