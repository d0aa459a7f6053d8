"""A draft, from request to stored interaction; plain Python that a notebook, the terminal, the API and the app share.

A draft is a stream of events: what is being waited for, what it stands on, pieces of text, the finished draft. Whatever
takes long before the first token (loading a model, reading a link) happens in a thread that reports, so that nobody
waits in silence. Everything is looked up per request: a new version or new embeddings need no restart.
"""

import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from queue import Empty, Queue
from typing import Any, Literal, TypeVar, cast

from twin_assets.documents import Category, Interaction
from twin_assets.errors import BadInput
from twin_assets.language.base_models import resolve_base
from twin_assets.language.generation import Generator as TextGenerator
from twin_assets.language.generation import Generators, PieceStream, Sampling
from twin_assets.language.prompts import DraftRequest, EncodedPrompt, Passage, encode_prompt, write_instruction
from twin_assets.serving.material import (
    Found,
    example_pieces,
    link_passages,
    retrieve,
)
from twin_assets.serving.voice import Voice, choose_voice
from twin_assets.stores import Stores

T = TypeVar("T")
Tell = Callable[[str], None]

PREVIEW_CHARACTERS = 200
MAX_LINKS = 5
HEARTBEAT_S = 2.0
"""A status at least this often while a draft is being prepared."""

AS_LONG_AS_TRAINED = Sampling(max_new_tokens=1_000_000)
"""A draft is as long as the model was taught answers to be, unless less is asked for."""


@dataclass(frozen=True)
class Ask:
    """What is asked for. version: None is production. category: the format. history: earlier (prompt, draft) turns."""

    author: str
    prompt: str
    version: str | None = None
    category: Category | None = None
    links: tuple[str, ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    sampling: Sampling = AS_LONG_AS_TRAINED
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """What the draft waits for."""

    text: str


@dataclass(frozen=True)
class Basis:
    """What the draft stands on, known before its first word."""

    sources: "tuple[DraftSource, ...]"
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """The next characters of the draft."""

    text: str


@dataclass(frozen=True)
class DraftSource:
    """A passage that the model was shown. score: the search's; None for a linked page. text: its first characters."""

    title: str
    url: str
    chunk_id: str
    score: float | None
    text: str


@dataclass(frozen=True)
class Draft:
    """A finished draft. id: of the interaction that was stored, to be rated and edited by."""

    id: str
    author: str
    text: str
    sources: tuple[DraftSource, ...]
    model_version: str
    dataset_version: str | None
    warnings: tuple[str, ...]
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    draft_tokens: int

    def about(self) -> dict[str, Any]:
        """Everything but the text and its counts, for JSON: the API's `twin` field."""
        return {
            "interaction_id": self.id,
            "model_version": self.model_version,
            "dataset_version": self.dataset_version,
            "sources": [vars(source) for source in self.sources],
            "warnings": list(self.warnings),
        }


Event = Status | Basis | Piece | Draft
DraftStream = Generator[Event, None, None]
"""Closing it ends the work; nothing is stored of a draft that was not finished."""


@dataclass(frozen=True)
class _Prepared:
    generator: TextGenerator
    prompt: EncodedPrompt
    sampling: Sampling
    sources: tuple[DraftSource, ...]
    warnings: tuple[str, ...]


class Drafter:
    """Drafts for every author with the few models that fit in memory. Safe to use from several threads."""

    def __init__(self, stores: Stores, generators: Generators | None = None) -> None:
        self._stores = stores
        self._generators = generators or Generators(stores)

    def stream(self, ask: Ask, stop: threading.Event | None = None) -> DraftStream:
        """The draft's events. `stop` ends it between two tokens, from any thread.

        Raises BadInput and NotThere here, before the first event; what turns up later is raised by the stream.
        """
        if not ask.prompt.strip():
            raise BadInput("the prompt is empty: say what to write about")
        if len(ask.links) > MAX_LINKS:
            raise BadInput(f"{len(ask.links)} links are too many: at most {MAX_LINKS}")
        voice = choose_voice(self._stores, self._stores.warehouse.profile(ask.author), ask.version)
        return self._events(ask, voice, stop or threading.Event())

    def rate(self, author: str, interaction_id: str, rating: Literal["good", "bad"]) -> None:
        """Keep what the author thinks of a draft. Raises NotThere."""
        self._stores.warehouse.change_interaction(author, interaction_id, {"rating": rating})

    def edit(self, author: str, interaction_id: str, text: str, consented: bool) -> None:
        """Keep how the author would have it; it may be learned from only by consent. Raises NotThere."""
        changes = {"edited": text, "consented": consented}
        self._stores.warehouse.change_interaction(author, interaction_id, changes)

    def _events(self, ask: Ask, voice: Voice, stop: threading.Event) -> DraftStream:
        prepared = yield from _reported(lambda tell: self._prepare(ask, voice, tell))
        yield Basis(prepared.sources, prepared.warnings)
        n_tokens = 0

        def count() -> None:
            nonlocal n_tokens
            n_tokens += 1

        adapter = voice.manifest.id if voice.manifest else None
        pieces = prepared.generator.stream(prepared.prompt, prepared.sampling, adapter, stop, count)
        text = ""
        with closing(cast(PieceStream, pieces)):
            for piece in _trimmed(pieces):
                text += piece
                yield Piece(piece)
        if not stop.is_set():
            yield self._finished(ask, voice, prepared, text, n_tokens)

    def _prepare(self, ask: Ask, voice: Voice, tell: Tell) -> _Prepared:
        generator = self._generator(voice, tell)
        tell("looking through what has been written")
        query = " ".join([*(prompt for prompt, _ in ask.history[-1:]), ask.prompt])
        found = retrieve(self._stores, ask.author, query)
        linked = link_passages(ask.links, query, found.embedder, self._stores.settings, tell)
        room = min(voice.context_tokens, generator.context_tokens) - voice.answer_tokens
        examples: tuple[str, ...] = ()
        if voice.manifest is None:
            examples = example_pieces(self._stores, ask.author, ask.category, generator.tokenizer, room)
        request = DraftRequest(
            instruction=write_instruction(ask.category, ask.prompt) if ask.category else ask.prompt,
            passages=(*linked.passages, *(hit.passage for hit in found.hits)),
            history=ask.history,
            examples=examples,
        )
        prompt = encode_prompt(generator.tokenizer, request, room)
        sampling = replace(ask.sampling, max_new_tokens=min(ask.sampling.max_new_tokens, voice.answer_tokens))
        warnings = (*voice.warnings, *ask.warnings, *linked.warnings, *found.warnings, *_dropped(prompt, request))
        return _Prepared(generator, prompt, sampling, _sources(prompt.kept_passages, found), warnings)

    def _generator(self, voice: Voice, tell: Tell) -> TextGenerator:
        tell(f"loading {voice.base.name}" + (f" with {voice.manifest.id}" if voice.manifest else ""))
        # Making or downloading a base takes minutes and reports here; the generators then find it on this machine.
        resolve_base(voice.base, self._stores.settings, tell)
        if voice.manifest is not None:
            return self._generators.for_manifest(voice.manifest)
        return self._generators.for_base(voice.base)

    def _finished(self, ask: Ask, voice: Voice, prepared: _Prepared, text: str, n_tokens: int) -> Draft:
        warnings = prepared.warnings if text else (*prepared.warnings, "the model wrote nothing: ask in other words")
        draft = Draft(
            id=str(uuid.uuid4()),
            author=ask.author,
            text=text,
            sources=prepared.sources,
            model_version=voice.version,
            dataset_version=voice.dataset_version,
            warnings=warnings,
            finish_reason="length" if n_tokens >= prepared.sampling.max_new_tokens else "stop",
            prompt_tokens=len(prepared.prompt.ids),
            draft_tokens=n_tokens,
        )
        self._stores.warehouse.profile(ask.author)  # raises for one who was erased while the model wrote
        self._stores.warehouse.save_interaction(
            Interaction(
                id=draft.id,
                author=ask.author,
                model_version=voice.version,
                prompt=ask.prompt,
                draft=text,
                sources=[source.chunk_id for source in draft.sources],
            )
        )
        return draft


def draft(
    stores: Stores,
    author: str,
    prompt: str,
    *,
    version: str | None = None,
    category: Category | None = None,
    links: Sequence[str] = (),
    sampling: Sampling = AS_LONG_AS_TRAINED,
    tell: Tell = lambda _: None,
) -> Draft:
    """One finished draft; production, or the untrained base, unless a version is named. tell: hears of waiting."""
    ask = Ask(author, prompt, version, category, tuple(links), sampling=sampling)
    for event in Drafter(stores).stream(ask):
        if isinstance(event, Status):
            tell(event.text)
    return cast(Draft, event)


def _reported(work: Callable[[Tell], T]) -> Generator[Status, None, T]:
    """Do `work` in a thread; what it tells comes at once, and every HEARTBEAT_S how long that has taken so far."""
    said: Queue[str | None] = Queue()
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work(said.put))
        except BaseException as error:
            result.set_exception(error)
        said.put(None)

    # A daemon: a server that is told to end does not wait for a model to load.
    threading.Thread(target=run, name="prepare-draft", daemon=True).start()
    latest, since = "preparing", time.monotonic()
    while True:
        try:
            text = said.get(timeout=HEARTBEAT_S)
        except Empty:
            yield Status(f"{latest} … {time.monotonic() - since:.0f} s")
            continue
        if text is None:
            return result.result()
        latest, since = text, time.monotonic()
        yield Status(text)


def _trimmed(pieces: Iterator[str]) -> Iterator[str]:
    """The pieces without white space around the whole."""
    held, begun = "", False
    for piece in pieces:
        held += piece if begun else piece.lstrip()
        ready = held.rstrip()
        if ready:
            begun = True
            yield ready
            held = held[len(ready) :]


def _sources(kept: Sequence[Passage], found: Found) -> tuple[DraftSource, ...]:
    scores = {hit.chunk_id: hit.score for hit in found.hits}
    return tuple(
        DraftSource(passage.title, passage.url, passage.chunk_id, scores.get(passage.chunk_id), _preview(passage.text))
        for passage in kept
    )


def _preview(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= PREVIEW_CHARACTERS else line[: PREVIEW_CHARACTERS - 1] + "…"


def _dropped(prompt: EncodedPrompt, request: DraftRequest) -> list[str]:
    dropped = []
    if prompt.dropped_passages:
        dropped.append(
            f"{prompt.dropped_passages} of {len(request.passages)} passages did not fit into the model's context"
        )
    if prompt.dropped_turns:
        dropped.append(f"the oldest {prompt.dropped_turns} of {len(request.history)} turns did not fit")
    return dropped
