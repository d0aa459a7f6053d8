"""One thread per base model decides which sequences compute next; everybody else only hands in and waits.

Sequences with the same adapter are decoded together, one token each per pass; adapters take turns. A prompt is read in
pieces of PIECE tokens between two turns, so that a long one does not stop the drafts that are being written. A draft
whose reader has gone is dropped before its next token.
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

PIECE = 256
MAX_TOGETHER = 16
"""Sequences decoded at once; further ones wait."""

WAKE_S = 0.05
"""How often a reader that waits for a token looks whether it was told to stop."""

T = TypeVar("T")


class Closed(TwinError):
    """A scheduler that was closed takes no more work."""


log = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """One draft. max_new: tokens at most. end_ids: a token of these ends it and is not given out."""

    ids: Sequence[int]
    sampler: TokenSampler
    max_new: int
    end_ids: frozenset[int]
    adapter: Adapter | None
    out: "SimpleQueue[int | Exception | None]" = field(default_factory=SimpleQueue)
    """Tokens, then None, or the error that ended it."""
    cancelled: bool = False
    cache: Cache | None = None
    n_read: int = 0
    """Tokens of the prompt that the engine has read."""
    token: int = -1
    """Drawn last, and not read yet."""

    @property
    def size(self) -> int:
        """The longest that its sequence can become, in tokens."""
        return len(self.ids) + self.max_new


class Scheduler:
    """Runs one engine. memory_bytes: what the caches of all sequences under way may take."""

    def __init__(self, engine: AnyEngine, memory_bytes: int) -> None:
        self._engine = engine
        self._memory = memory_bytes
        self._inbox: Queue[Job | Callable[[], None] | None] = Queue()
        self._waiting: list[Job] = []
        self._active: list[Job] = []
        self._turn = 0
        self._handing_in = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="generation", daemon=True)
        self._thread.start()

    def tokens(self, job: Job, stop: threading.Event | None = None) -> Generator[int, None, None]:
        """Hand a job in; its tokens as they are drawn. Closing the iterator, or setting `stop`, cancels it."""
        self._hand_in(job)
        try:
            while stop is None or not stop.is_set():
                try:
                    token = job.out.get(timeout=WAKE_S if stop is not None else None)
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
        """Do something with the engine between two passes, and wait for its result."""
        result: Future[T] = Future()

        def act() -> None:
            try:
                result.set_result(work())
            except BaseException as error:
                result.set_exception(error)

        self._hand_in(act)
        return result.result()

    def _hand_in(self, item: Job | Callable[[], None]) -> None:
        """Raises Closed: what nobody takes any more would be waited for without end."""
        with self._handing_in:
            if self._is_closed:
                raise Closed("this base model has been unloaded: open a new session")
            self._inbox.put(item)

    def close(self) -> None:
        """End the thread and let go of the engine; jobs under way end without further tokens."""
        with self._handing_in:
            self._is_closed = True
            self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        while self._take():
            self._admit()
            if reading := next((job for job in self._active if job.n_read < len(job.ids)), None):
                self._guarded([reading], self._read_piece)
            if group := self._next_group():
                for _ in range(self._engine.turn):
                    self._guarded(group, self._decode)
                    group = [job for job in group if job in self._active and not job.cancelled]
                    if not group:
                        break
        for job in (*self._active, *self._waiting):
            job.out.put(None)
        self._engine.close()

    def _take(self) -> bool:
        """Everything that was handed in; waits where there is nothing else to do. False when told to end."""
        block = not self._active and not self._waiting
        while True:
            try:
                item = self._inbox.get(block)
            except Empty:
                return True
            block = False
            if item is None:
                return False
            if isinstance(item, Job):
                self._waiting.append(item)
            else:
                item()

    def _admit(self) -> None:
        """Drop what nobody reads any more, and begin what fits, in the order of coming; one always fits."""
        for job in [job for job in self._active if job.cancelled]:
            self._end(job)
        self._waiting = [job for job in self._waiting if not job.cancelled]
        while self._waiting and self._fits(self._waiting[0]):
            job = self._waiting.pop(0)
            job.cache = self._engine.cache(job.size)
            self._active.append(job)

    def _fits(self, job: Job) -> bool:
        if not self._active:
            return True
        tokens = sum(other.size for other in self._active) + job.size
        return len(self._active) < MAX_TOGETHER and tokens * self._engine.bytes_per_token <= self._memory

    def _next_group(self) -> list[Job]:
        """The sequences of the adapter whose turn it is."""
        writing = [job for job in self._active if job.n_read == len(job.ids)]
        adapters = list(dict.fromkeys(job.adapter for job in writing))
        if not adapters:
            return []
        self._turn = (self._turn + 1) % len(adapters)
        return [job for job in writing if job.adapter is adapters[self._turn]]

    def _guarded(self, jobs: list[Job], work: Callable[[list[Job]], None]) -> None:
        """Do `work`; an error ends the jobs that it was done for, and no others."""
        try:
            work(jobs)
        except Exception as error:
            log.exception("generation failed")
            for job in jobs:
                job.out.put(error)
                self._end(job)

    def _read_piece(self, jobs: list[Job]) -> None:
        """The next piece of a prompt; its last one gives the draft's first token."""
        (job,) = jobs
        assert job.cache is not None
        piece = job.ids[job.n_read : job.n_read + PIECE]
        logits = self._engine.extend(job.cache, piece, job.adapter)
        job.n_read += len(piece)
        if job.n_read == len(job.ids):
            self._give(job, job.sampler.next(logits))

    def _decode(self, jobs: list[Job]) -> None:
        """One token for each of the jobs."""
        logits = self._engine.step([job.cache for job in jobs], [job.token for job in jobs], jobs[0].adapter)
        for job, row in zip(jobs, logits, strict=True):
            self._give(job, job.sampler.next(row))

    def _give(self, job: Job, token: int) -> None:
        """Hand a token out, or end the draft."""
        job.token = token
        if token not in job.end_ids:
            job.out.put(token)
        if token in job.end_ids or len(job.sampler.drawn) >= job.max_new:
            job.out.put(None)
            self._end(job)

    def _end(self, job: Job) -> None:
        """Take a job out of those under way, if it is one of them, and free its place."""
        if job in self._active:
            self._active.remove(job)
            self._engine.forget(job.cache)
