"""The REST API: OpenAI-shaped drafts, the models a key may use, search, sources. Each request is allowed anew.

A draft is made in worker threads, token by token, and ends when its client is gone. While it waits for something, a
stream carries comments, which clients skip and proxies count as life.
"""

import json
import threading
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, FastAPI, Query, Request
from fastapi.concurrency import iterate_in_threadpool, run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse

from twin_assets.documents import AuthorProfile, Category
from twin_assets.errors import NotThere
from twin_assets.serving.access import Access, Caller
from twin_assets.serving.api.chat import ChatRequest, Chunks, completion
from twin_assets.serving.context import retrieve
from twin_assets.serving.drafting import Ask, Basis, Draft, Drafter, Event, Piece, Status
from twin_assets.serving.failures import error_of, shape_errors
from twin_assets.serving.model_choice import parse_model
from twin_assets.stores import Stores

MAX_HITS = 50
DEFAULT_HITS = 10
MAX_QUERY = 2_000

PATIENCE_S = 3.0
"""How long a stream waits for its first piece before it answers 200: an error until then has a status of its own."""

OTHER_THREADS = 40
"""Worker threads for everything but drafts: as many as anyio has for all."""

CLIENT_CLOSED = 499
"""What nginx logs when a client went away; nobody receives it."""


def build_api(stores: Stores, drafter: Drafter, access: Access) -> FastAPI:
    """The API without any web page. Swagger's pages stay out, since they load their scripts from elsewhere."""

    @asynccontextmanager
    async def enough_threads(_: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = _threads(stores.settings.max_open_drafts)
        yield

    api = FastAPI(title="twin_assets", docs_url=None, redoc_url=None, lifespan=enough_threads)
    shape_errors(api)

    def caller(request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return access.caller(token.strip() if scheme.lower() == "bearer" else None)

    asking = Annotated[Caller, Depends(caller)]

    @api.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process answers; nothing is loaded or looked up."""
        return {"status": "ok"}

    @api.get("/v1/models")
    def models(who: asking) -> dict[str, Any]:
        """What the key may use as `model`."""
        rows = [row for profile in access.profiles(who) for row in _model_rows(stores, profile)]
        return {"object": "list", "data": rows}

    @api.get("/v1/models/{model}")
    def model(who: asking, model: str) -> dict[str, Any]:
        """One of them."""
        profile = access.profile(who, parse_model(model)[0])
        row = next((row for row in _model_rows(stores, profile) if row["id"] == model), None)
        if row is None:
            raise NotThere(f"there is no model {model!r}: see /v1/models")
        return row

    @api.get("/v1/authors/{author}/search")
    def search(
        who: asking,
        author: str,
        q: Annotated[str, Query(min_length=1, max_length=MAX_QUERY)],
        k: Annotated[int, Query(ge=1, le=MAX_HITS)] = DEFAULT_HITS,
        category: Category | None = None,
    ) -> dict[str, Any]:
        """The author's own passages, by meaning and by words; only what may be quoted."""
        access.profile(who, author)
        found = retrieve(stores, author, q, k, category)
        data = [vars(hit) | {"text": hit.text.strip()} for hit in found.hits]
        return {"object": "list", "data": data, "warnings": found.warnings}

    @api.get("/v1/authors/{author}/sources")
    def sources(who: asking, author: str) -> dict[str, Any]:
        """Where the author's writing comes from, and what the last crawl of each place did."""
        profile = access.profile(who, author)
        return {"object": "list", "data": _source_rows(stores, profile)}

    @api.post("/v1/authors/{author}/collect", status_code=202)
    def collect(who: asking, author: str, source: str | None = None) -> dict[str, Any]:
        """Ask for a crawl of one source, or of all: a running daemon begins within 30 seconds."""
        profile = access.profile(who, author)
        asked = [one.id for one in profile.sources if source in (None, one.id)]
        if not asked:
            known = ", ".join(one.id for one in profile.sources) or "none yet"
            raise NotThere(f"{author} has no source {source or 'to collect from'} (sources: {known})")
        for source_id in asked:
            stores.warehouse.crawl_requests.add(author, source_id)
        return {"object": "list", "data": [row for row in _source_rows(stores, profile) if row["id"] in asked]}

    @api.post("/v1/chat/completions", response_model=None)
    async def chat(who: asking, body: ChatRequest, request: Request) -> Response:
        """A draft."""
        ask = body.ask()
        await run_in_threadpool(access.profile, who, ask.author)
        if not body.stream:
            return await _whole(drafter, ask, body.model, request)
        include_usage = bool(body.stream_options and body.stream_options.include_usage)
        return await _streamed(drafter, ask, Chunks(f"chatcmpl-{uuid.uuid4()}", body.model, include_usage))

    @api.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    async def nothing(request: Request, path: str) -> Response:
        raise NotThere(f"there is no {request.method} /v1/{path} here")

    return api


def _threads(max_open_drafts: int) -> int:
    """How many worker threads the server may have.

    A draft keeps one busy for as long as it waits for a token, and may need another one for a moment.
    """
    return 2 * max_open_drafts + OTHER_THREADS


def _model_rows(stores: Stores, profile: AuthorProfile) -> list[dict[str, Any]]:
    """`<author>`, which always drafts, then each of its versions."""
    production = stores.models.production(profile.id)
    head = _row(profile.id, profile.id, profile.created_at.timestamp())
    head["twin"] = {"stage": "production" if production else "untrained", "version": production and production.version}
    rows = [head]
    for manifest in stores.models.versions(profile.id):
        row = _row(manifest.id, profile.id, manifest.created_at.timestamp())
        row["twin"] = {"stage": manifest.stage, "version": manifest.version, "recipe": manifest.recipe_name}
        rows.append(row)
    return rows


def _source_rows(stores: Stores, profile: AuthorProfile) -> list[dict[str, Any]]:
    """Each source with its last crawl; the name of its token's variable is the operator's affair."""
    asked = {
        one["source_id"]: one["asked_at"]
        for one in stores.warehouse.crawl_requests.all()
        if one["author"] == profile.id
    }
    crawls = stores.warehouse.crawls.for_author(profile.id)
    return [
        {
            **source.model_dump(mode="json", include={"id", "platform", "where", "cron"}),
            "object": "source",
            "asked_at": asked.get(source.id),
            "last_crawl": crawls.get(source.id),
        }
        for source in profile.sources
    ]


def _row(name: str, author: str, created: float) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": int(created), "owned_by": author}


@asynccontextmanager
async def _drafting(drafter: Drafter, ask: Ask) -> AsyncIterator[AsyncIterator[Event]]:
    """The draft's events; leaving ends the work, between two tokens."""
    stop = threading.Event()
    stream = await run_in_threadpool(drafter.stream, ask, stop)
    try:
        yield iterate_in_threadpool(stream)
    finally:
        stop.set()
        stream.close()


async def _whole(drafter: Drafter, ask: Ask, model: str, request: Request) -> Response:
    async with _drafting(drafter, ask) as events:
        async for event in events:
            if isinstance(event, Draft):
                return JSONResponse(completion(event, model))
            if await request.is_disconnected():
                break
    return Response(status_code=CLIENT_CLOSED)


async def _streamed(drafter: Drafter, ask: Ask, chunks: Chunks) -> Response:
    """A stream that has begun: an error that shows itself soon is raised here."""
    lines = _lines(drafter, ask, chunks)
    first = await anext(lines)

    async def body() -> AsyncIterator[str]:
        yield first
        async for line in lines:
            yield line

    return StreamingResponse(body(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def _lines(drafter: Drafter, ask: Ask, chunks: Chunks) -> AsyncIterator[str]:
    """Server-sent events. Until the first one is out an error is raised; later it is sent, as OpenAI does."""
    out = False
    started = time.monotonic()
    try:
        async with _drafting(drafter, ask) as events:
            async for event in events:
                waiting = isinstance(event, Status) and time.monotonic() - started < PATIENCE_S
                if waiting or isinstance(event, Basis):
                    continue
                yield _event(event, chunks)
                out = True
    except Exception as error:
        if not out:
            raise
        yield _data(error_of(error)[1])


def _event(event: Status | Piece | Draft, chunks: Chunks) -> str:
    if isinstance(event, Status):
        return f": {' '.join(event.text.split())}\n\n"
    if isinstance(event, Piece):
        return _data(chunks.piece(event.text))
    return "".join(_data(chunk) for chunk in chunks.last(event)) + "data: [DONE]\n\n"


def _data(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
