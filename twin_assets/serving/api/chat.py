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

from twin_assets.serving.api.dependencies import CurrentCaller, State
from twin_assets.serving.api.openai_chat import ChatRequest, Chunks, completion
from twin_assets.serving.drafting import Draft, Drafter, DraftSpec, Event, Grounding, Piece, Status
from twin_assets.serving.error_responses import error_response

router = APIRouter()

QUIET_START_S = 3.0
"""How long a stream waits for its first piece before it answers 200; an error until then gets a status of its own."""

CLIENT_CLOSED = 499
"""The status that nginx logs when a client has gone away; nobody receives it."""


@router.post("/v1/chat/completions", response_model=None)
async def chat(caller: CurrentCaller, state: State, body: ChatRequest, request: Request) -> Response:
    """Write a draft."""
    spec = body.draft_spec()
    await run_in_threadpool(state.access.profile, caller, spec.author)
    if not body.stream:
        return await _whole(state.drafter, spec, body.model, request)
    include_usage = bool(body.stream_options and body.stream_options.include_usage)
    return await _streamed(state.drafter, spec, Chunks(f"chatcmpl-{uuid.uuid4()}", body.model, include_usage))


@asynccontextmanager
async def _drafting(drafter: Drafter, spec: DraftSpec) -> AsyncIterator[AsyncIterator[Event]]:
    """The draft's events; leaving the context stops the work, between two tokens."""
    stop = threading.Event()
    stream = await run_in_threadpool(drafter.stream, spec, stop)
    try:
        yield iterate_in_threadpool(stream)
    finally:
        stop.set()
        stream.close()


async def _whole(drafter: Drafter, spec: DraftSpec, model: str, request: Request) -> Response:
    async with _drafting(drafter, spec) as events:
        async for event in events:
            if isinstance(event, Draft):
                return JSONResponse(completion(event, model))
            if await request.is_disconnected():
                break
    return Response(status_code=CLIENT_CLOSED)


async def _streamed(drafter: Drafter, spec: DraftSpec, chunks: Chunks) -> Response:
    """The response, once its stream has begun: an error before that is raised here."""
    lines = _lines(drafter, spec, chunks)
    first = await anext(lines)

    async def body() -> AsyncIterator[str]:
        yield first
        async for line in lines:
            yield line

    return StreamingResponse(body(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def _lines(drafter: Drafter, spec: DraftSpec, chunks: Chunks) -> AsyncIterator[str]:
    """Server-sent events. An error before the first one is raised; a later one is sent as an event, as OpenAI does."""
    sent = False
    started = time.monotonic()
    try:
        async with _drafting(drafter, spec) as events:
            async for event in events:
                waiting = isinstance(event, Status) and time.monotonic() - started < QUIET_START_S
                if waiting or isinstance(event, Grounding):
                    continue
                yield _event(event, chunks)
                sent = True
    except Exception as error:
        if not sent:
            raise
        yield _data(error_response(error)[1])


def _event(event: Status | Piece | Draft, chunks: Chunks) -> str:
    if isinstance(event, Status):
        return f": {' '.join(event.text.split())}\n\n"
    if isinstance(event, Piece):
        return _data(chunks.piece(event.text))
    return "".join(_data(chunk) for chunk in chunks.last(event)) + "data: [DONE]\n\n"


def _data(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
