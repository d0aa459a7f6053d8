"""Drafts in the shape of OpenAI's chat completions, whole or as a stream.

A draft is made in worker threads, token by token, and ends when its client is gone. While it waits, a stream carries
comments: clients skip them, and proxies take them as a sign that the connection is alive.
"""

import json
import threading
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import iterate_in_threadpool, run_in_threadpool
from fastapi.responses import JSONResponse, Response, StreamingResponse

from twin_assets.serving.api.dependencies import Asking, ServedHere
from twin_assets.serving.api.openai_chat import ChatRequest, Chunks, completion
from twin_assets.serving.drafting import Ask, Basis, Draft, Drafter, Event, Piece, Status
from twin_assets.serving.failures import error_of

router = APIRouter()

QUIET_START_S = 3.0
"""How long a stream waits for its first piece before it answers 200; an error until then has a status of its own."""

CLIENT_CLOSED = 499
"""The status that nginx logs when a client has gone away; nobody receives it."""


@router.post("/v1/chat/completions", response_model=None)
async def chat(who: Asking, served: ServedHere, body: ChatRequest, request: Request) -> Response:
    """A draft."""
    ask = body.ask()
    await run_in_threadpool(served.access.profile, who, ask.author)
    if not body.stream:
        return await _whole(served.drafter, ask, body.model, request)
    include_usage = bool(body.stream_options and body.stream_options.include_usage)
    return await _streamed(served.drafter, ask, Chunks(f"chatcmpl-{uuid.uuid4()}", body.model, include_usage))


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
                waiting = isinstance(event, Status) and time.monotonic() - started < QUIET_START_S
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
