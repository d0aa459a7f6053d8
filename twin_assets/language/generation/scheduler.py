"""Continuous batching: one thread per base model decides which sequences are computed next.

Sequences with the same adapter are decoded together, one token each per pass, and adapters take turns. Prompts are read
in chunks of PROMPT_CHUNK tokens between two turns, so that a long one does not stop the drafts that are being written.
A draft whose reader has gone is dropped before its next token.
"""

import logging
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, Queue, SimpleQueue
from typing import TypeVar

from twin_assets.errors import TwinError
from twin_assets.language.generation.engines.engine import Adapter, AnyEngine, Cache
from twin_assets.language.generation.sampling import TokenSampler

PROMPT_CHUNK = 256

MAX_BATCH = 16
"""The most sequences that run at once; further ones wait."""

POLL_S = 0.05
"""How often a reader that waits for a token checks whether it should stop."""

T = TypeVar("T")


class Closed(TwinError):
    """The scheduler has been closed and takes no more work."""


log = logging.getLogger(__name__)


@dataclass(eq=False)
class DraftJob:
    """One draft. max_new: the most tokens to draw. end_ids: tokens that end the draft and are not returned."""

    ids: Sequence[int]
    sampler: TokenSampler
    max_new: int
    end_ids: frozenset[int]
    adapter: Adapter | None
    out: "SimpleQueue[int | Exception | None]" = field(default_factory=SimpleQueue)
    """The drawn tokens, then None or the error that ended the draft."""
    cancelled: bool = False
    cache: Cache | None = None
    n_read: int = 0
    """How many tokens of the prompt the engine has read."""
    token: int = -1
    """The token drawn last, which the engine has not read yet."""

    @property
    def size(self) -> int:
        """The longest that the sequence can become, in tokens."""
        return len(self.ids) + self.max_new


class Scheduler:
    """Runs one engine. memory_bytes: what the caches of all running sequences may take together."""

    def __init__(self, engine: AnyEngine, memory_bytes: int) -> None:
        self._engine = engine
        self._memory = memory_bytes
        self._inbox: Queue[DraftJob | Callable[[], None] | None] = Queue()
        self._waiting: list[DraftJob] = []
        self._active: list[DraftJob] = []
        self._turn = 0
        self._submitting = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="generation", daemon=True)
        self._thread.start()

    def tokens(self, job: DraftJob, stop: threading.Event | None = None) -> Generator[int, None, None]:
        """Submit a job and yield its tokens as they are drawn. Closing the iterator, or setting `stop`, cancels it."""
        self._submit(job)
        try:
            while stop is None or not stop.is_set():
                try:
                    token = job.out.get(timeout=POLL_S if stop is not None else None)
                except Empty:
                    continue
                if isinstance(token, Exception):
                    raise token
                if token is None:
                    return
                yield token
        finally:
            job.cancelled = True

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` on the scheduler's thread between two passes, and wait for its result."""
        result: Future[T] = Future()

        def act() -> None:
            try:
                result.set_result(work())
            except BaseException as error:
                result.set_exception(error)

        self._submit(act)
        return result.result()

    def _submit(self, item: DraftJob | Callable[[], None]) -> None:
        """Put work into the inbox. Raises Closed after `close`, because nothing would ever take it out."""
        with self._submitting:
            if self._is_closed:
                raise Closed("this base model has been unloaded: open a new session")
            self._inbox.put(item)

    def close(self) -> None:
        """End the thread and close the engine; running jobs end without further tokens."""
        with self._submitting:
            self._is_closed = True
            self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        while self._take():
            self._admit()
            if reading := next((job for job in self._active if job.n_read < len(job.ids)), None):
                self._run_safely([reading], self._read_chunk)
            if group := self._next_group():
                for _ in range(self._engine.tokens_per_turn):
                    self._run_safely(group, self._decode)
                    group = [job for job in group if job in self._active and not job.cancelled]
                    if not group:
                        break
        for job in (*self._active, *self._waiting):
            job.out.put(None)
        self._engine.close()

    def _take(self) -> bool:
        """Take everything out of the inbox, and wait for it if there are no jobs. False after `close`."""
        block = not self._active and not self._waiting
        while True:
            try:
                item = self._inbox.get(block)
            except Empty:
                return True
            block = False
            if item is None:
                return False
            if isinstance(item, DraftJob):
                self._waiting.append(item)
            else:
                item()

    def _admit(self) -> None:
        """Drop cancelled jobs, and start waiting ones in order as long as they fit; one always fits."""
        for job in [job for job in self._active if job.cancelled]:
            self._end(job)
        self._waiting = [job for job in self._waiting if not job.cancelled]
        while self._waiting and self._fits(self._waiting[0]):
            job = self._waiting.pop(0)
            job.cache = self._engine.cache(job.size)
            self._active.append(job)

    def _fits(self, job: DraftJob) -> bool:
        if not self._active:
            return True
        tokens = sum(other.size for other in self._active) + job.size
        return len(self._active) < MAX_BATCH and tokens * self._engine.bytes_per_token <= self._memory

    def _next_group(self) -> list[DraftJob]:
        """The sequences of the adapter whose turn it is."""
        writing = [job for job in self._active if job.n_read == len(job.ids)]
        adapters = list(dict.fromkeys(job.adapter for job in writing))
        if not adapters:
            return []
        self._turn = (self._turn + 1) % len(adapters)
        return [job for job in writing if job.adapter is adapters[self._turn]]

    def _run_safely(self, jobs: list[DraftJob], work: Callable[[list[DraftJob]], None]) -> None:
        """Do `work` for some jobs; an error ends these jobs and no others."""
        try:
            work(jobs)
        except Exception as error:
            log.exception("generation failed")
            for job in jobs:
                job.out.put(error)
                self._end(job)

    def _read_chunk(self, jobs: list[DraftJob]) -> None:
        """Read the next chunk of a job's prompt; after the last chunk, draw the draft's first token."""
        (job,) = jobs
        assert job.cache is not None
        chunk = job.ids[job.n_read : job.n_read + PROMPT_CHUNK]
        logits = self._engine.extend(job.cache, chunk, job.adapter)
        job.n_read += len(chunk)
        if job.n_read == len(job.ids):
            self._emit(job, job.sampler.next(logits))

    def _decode(self, jobs: list[DraftJob]) -> None:
        """Draw one token for each of the jobs."""
        logits = self._engine.step([job.cache for job in jobs], [job.token for job in jobs], jobs[0].adapter)
        for job, row in zip(jobs, logits, strict=True):
            self._emit(job, job.sampler.next(row))

    def _emit(self, job: DraftJob, token: int) -> None:
        """Pass a token to the reader, and end the draft if it is complete."""
        job.token = token
        if token not in job.end_ids:
            job.out.put(token)
        if token in job.end_ids or len(job.sampler.drawn) >= job.max_new:
            job.out.put(None)
            self._end(job)

    def _end(self, job: DraftJob) -> None:
        """Remove a job from the running ones, if it is one of them, and free its cache."""
        if job in self._active:
            self._active.remove(job)
            self._engine.forget(job.cache)
