"""A draft, from request to stored interaction; plain Python that a notebook, the terminal, the API and the app share.

A draft is a stream of events: what it waits for, what it is grounded in, pieces of text, the finished draft. Slow work
before the first token (loading a model, reading a link) happens in a thread that reports, so that nobody waits in
silence. Everything is looked up for each request, so a new version or new embeddings need no restart. An interaction
keeps what the model was shown and how the draft ended.
"""

import threading
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from queue import Empty, Queue
from typing import Any, Literal, TypeVar, cast

from twin_assets.documents import Category, Interaction, SeenPassage
from twin_assets.errors import BadInput, Busy
from twin_assets.language.generation import Backend, PieceStream, Sampling, Session, open_backend
from twin_assets.language.prompts import (
    PROMPT_VERSION,
    DraftRequest,
    EncodedPrompt,
    Passage,
    asked,
    encode_prompt,
    token_limits,
    write_instruction,
)
from twin_assets.language.recitation import Copied
from twin_assets.operations.search import SearchResult, search_writing
from twin_assets.orchestration.progress import Tell, silent
from twin_assets.serving.context import MAX_PASSAGES, LinkedPages, example_pieces, link_passages, whole_documents
from twin_assets.serving.copying import Originals, copied_text
from twin_assets.serving.draft_writer import MAX_TRIES, DraftWriter, Retry, Waiting
from twin_assets.serving.interactions import InteractionRecord
from twin_assets.serving.model_choice import DraftingModel, choose_model, earlier_models
from twin_assets.stores import Stores

T = TypeVar("T")

PREVIEW_CHARACTERS = 200
MAX_LINKS = 5
HEARTBEAT_S = 2.0
"""The longest time without a status while a draft is being prepared, in seconds."""

AS_LONG_AS_TRAINED = Sampling(max_new_tokens=1_000_000)
"""The default sampling: a draft may be as long as the answers the model was trained on."""


@dataclass(frozen=True)
class DraftSpec:
    """What to draft. version: None means production. category: the format. history: earlier (prompt, draft) turns."""

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
    """What the draft is waiting for."""

    text: str


@dataclass(frozen=True)
class Grounding:
    """What the draft is grounded in, known before its first word."""

    sources: "tuple[DraftSource, ...]"
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """The next characters of the draft."""

    text: str


@dataclass(frozen=True)
class DraftSource:
    """A passage that the model was shown. score: from the search; None for a linked page. text: its first characters.

    copied_share: the share of the draft's words, 0 to 1, that are in runs of at least 8 words copied from the source's
    whole document. longest_run: the longest such run, in words. Both are 0 until the draft is finished.
    """

    title: str
    url: str
    chunk_id: str
    score: float | None
    text: str
    copied_share: float = 0.0
    longest_run: int = 0

    @property
    def copied_text(self) -> str:
        """How much the draft copies from this source, as a sentence."""
        return copied_text(self.copied_share, self.longest_run, f"“{self.title}”" if self.title else "this")


@dataclass(frozen=True)
class Draft:
    """A finished draft. id: the stored interaction's, by which the draft is rated and edited.

    prompt_tokens: the prompt's length, which each of the `tries` read. draft_tokens: generated in all tries together.
    copied: what the draft copies word for word from the author's own writing that was found for it.
    """

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
    tries: int = 1
    copied: Copied = field(default_factory=Copied)

    @property
    def copied_text(self) -> str:
        """How much the draft copies from the author's own writing, as a sentence."""
        return copied_text(self.copied.share, self.copied.longest_run, "the author's own writing that was found for it")

    def about(self) -> dict[str, Any]:
        """Everything but the text and the token counts, for JSON: the API's `twin` field."""
        return {
            "interaction_id": self.id,
            "model_version": self.model_version,
            "dataset_version": self.dataset_version,
            "sources": [vars(source) for source in self.sources],
            "copied_share": self.copied.share,
            "longest_run": self.copied.longest_run,
            "tries": self.tries,
            "warnings": list(self.warnings),
        }


Event = Status | Grounding | Piece | Draft
DraftStream = Generator[Event, None, None]
"""The events of one draft; closing it stops the work and keeps the interaction as cancelled."""


@dataclass(frozen=True)
class _Prepared:
    """All that a draft is made from. model: the one that is drafting. query: what the passages were searched with."""

    model: DraftingModel
    session: Session
    request: DraftRequest
    prompt: EncodedPrompt
    sampling: Sampling
    sources: tuple[DraftSource, ...]
    originals: Originals
    query: str
    warnings: tuple[str, ...]


class Drafter:
    """Drafts for every author, with the few models that fit in memory. Safe to use from several threads."""

    def __init__(self, stores: Stores, backend: Backend | None = None) -> None:
        """backend: what the models run on; None takes what the settings name."""
        self._stores = stores
        self._backend = backend or open_backend(stores)
        self._places = threading.BoundedSemaphore(stores.settings.max_open_drafts)

    def stream(self, spec: DraftSpec, stop: threading.Event | None = None) -> DraftStream:
        """The draft's events. Setting `stop`, from any thread, ends the draft between two tokens.

        Raises BadInput and NotThere here, before the first event. The stream itself raises what goes wrong later, such
        as Busy when too many drafts are being written.
        """
        if not spec.prompt.strip():
            raise BadInput("the prompt is empty: say what to write about")
        if len(spec.links) > MAX_LINKS:
            raise BadInput(f"{len(spec.links)} links are too many: give at most {MAX_LINKS}")
        model = choose_model(self._stores, self._stores.warehouse.profiles.get(spec.author), spec.version)
        return self._events(spec, model, stop or threading.Event())

    def rate(self, author: str, interaction_id: str, rating: Literal["good", "bad"]) -> None:
        """Store what the author thinks of a draft. Raises NotThere."""
        self._stores.warehouse.interactions.change(author, interaction_id, {"rating": rating})

    def edit(self, author: str, interaction_id: str, text: str, consented: bool) -> None:
        """Store how the author would word it; models may learn from it only if they consented. Raises NotThere."""
        changes = {"edited": text, "consented": consented}
        self._stores.warehouse.interactions.change(author, interaction_id, changes)

    def _events(self, spec: DraftSpec, model: DraftingModel, stop: threading.Event) -> DraftStream:
        started = time.monotonic()
        record = InteractionRecord(self._stores.warehouse, _interaction(spec, model))
        writer: DraftWriter | None = None
        holder = _SessionHolder()
        has_place = self._places.acquire(blocking=False)
        try:
            if not has_place:
                most = self._stores.settings.max_open_drafts
                raise Busy(
                    f"as many drafts as are allowed ({most}) are being written or waiting: try again in a moment",
                    retry_after_s=5,
                )
            prepared = yield from _reported(lambda tell: self._prepare(spec, model, holder, tell))
            record.add_context(_context_fields(spec, prepared))
            yield Grounding(prepared.sources, prepared.warnings)
            writer = _writer(spec, prepared, stop)
            with closing(writer.pieces()) as pieces:
                for piece in pieces:
                    yield Piece(piece) if isinstance(piece, str) else _status_of(piece)
            if stop.is_set():
                record.cancelled(_written(writer, started))
                return
            draft = _finished(record.id, spec, prepared, writer)
            about = {"copied_share": draft.copied.share, "warnings": list(draft.warnings)}
            record.done({**_written(writer, started), **about})
        except (GeneratorExit, KeyboardInterrupt):
            record.cancelled(_written(writer, started))
            raise
        except Exception as error:
            record.failed(error, _written(writer, started))
            raise
        finally:
            holder.close()
            if has_place:
                self._places.release()
        yield draft

    def _prepare(self, spec: DraftSpec, requested: DraftingModel, holder: "_SessionHolder", tell: Tell) -> _Prepared:
        model, session = self._load(spec, requested, tell)
        holder.hold(session)
        tell("searching the author's writing")
        query = " ".join([*(prompt for prompt, _ in spec.history[-1:]), spec.prompt])
        found = search_writing(self._stores, spec.author, query, MAX_PASSAGES, quotable_only=True)
        linked = link_passages(spec.links, query, found.embedder, self._stores.settings, tell)
        _, prompt_tokens = token_limits(model.context_tokens, model.answer_tokens, session.context_tokens)
        examples: tuple[str, ...] = ()
        if model.manifest is None:
            examples = example_pieces(
                self._stores, spec.author, spec.category, session.tokenizer, prompt_tokens, model.context.examples
            )
        request = DraftRequest(
            instruction=write_instruction(spec.category, spec.prompt) if spec.category else spec.prompt,
            passages=(
                *map(model.context.shortened, linked.passages),
                *model.context.shown(hit.passage for hit in found.hits),
            ),
            history=spec.history,
            examples=examples,
        )
        prompt = encode_prompt(session.tokenizer, request, prompt_tokens)
        sampling = spec.sampling.for_category(spec.category)
        return _Prepared(
            model=model,
            session=session,
            request=request,
            prompt=prompt,
            sampling=replace(sampling, max_new_tokens=min(sampling.max_new_tokens, model.answer_tokens)),
            sources=_sources(prompt.kept_passages, found),
            originals=self._originals(spec.author, prompt, found, linked),
            query=query,
            warnings=(
                *model.warnings,
                *spec.warnings,
                *linked.warnings,
                *found.warnings,
                *_dropped(prompt, request),
            ),
        )

    def _originals(self, author: str, prompt: EncodedPrompt, found: SearchResult, linked: LinkedPages) -> Originals:
        """What the draft will be compared with: the passages shown, whole documents of the author's, the examples."""
        documents = whole_documents(self._stores, author, found.hits)
        by_source = {
            passage.chunk_id: (passage.text, *([documents[passage.chunk_id]] if passage.chunk_id in documents else []))
            for passage in prompt.kept_passages
        }
        from_links = {passage.chunk_id for passage in linked.passages}
        own = dict.fromkeys(
            text for chunk_id, texts in by_source.items() if chunk_id not in from_links for text in texts
        )
        return Originals(by_source, (*own, *prompt.kept_examples))

    def _load(self, spec: DraftSpec, model: DraftingModel, tell: Tell) -> tuple[DraftingModel, Session]:
        """The requested model; if that is production and cannot be loaded, the version in production before it."""
        try:
            return model, self._session(model, tell)
        except Busy:
            raise
        except Exception as error:
            if spec.version is not None:
                raise
            for earlier in earlier_models(self._stores, model, error):
                try:
                    return earlier, self._session(earlier, tell)
                except Exception as another:
                    tell(f"{earlier.version} cannot be loaded either: {another}")
            raise

    def _session(self, model: DraftingModel, tell: Tell) -> Session:
        tell(f"loading {model.base.name}" + (f" with {model.manifest.id}" if model.manifest else ""))
        return self._backend.open(model.manifest or model.base, tell)


class _SessionHolder:
    """Holds the session that a thread opens for a draft, until the draft ends; it may end before the thread does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._closed = False

    def hold(self, session: Session) -> None:
        """Keep the session; if the draft has already ended, close it at once."""
        with self._lock:
            self._session = session
            closed = self._closed
        if closed:
            session.close()

    def close(self) -> None:
        """Close the session that is held, and any that arrives later."""
        with self._lock:
            self._closed, session = True, self._session
        if session is not None:
            session.close()


def draft(
    stores: Stores,
    author: str,
    prompt: str,
    *,
    version: str | None = None,
    category: Category | None = None,
    links: Sequence[str] = (),
    sampling: Sampling = AS_LONG_AS_TRAINED,
    tell: Tell = silent,
) -> Draft:
    """One finished draft, by production or else the untrained base, unless a version is named."""
    spec = DraftSpec(author, prompt, version, category, tuple(links), sampling=sampling)
    for event in Drafter(stores).stream(spec):
        if isinstance(event, Status):
            tell(event.text)
    return cast(Draft, event)


def _reported(work: Callable[[Tell], T]) -> Generator[Status, None, T]:
    """Do `work` in a thread; yield what it tells at once, and every HEARTBEAT_S how long that step has taken so far."""
    told: Queue[str | None] = Queue()
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work(told.put))
        except BaseException as error:
            result.set_exception(error)
        told.put(None)

    # A daemon thread, so that a server which is told to end does not wait for a model to load.
    threading.Thread(target=run, name="prepare-draft", daemon=True).start()
    latest, since = "preparing", time.monotonic()
    while True:
        try:
            text = told.get(timeout=HEARTBEAT_S)
        except Empty:
            yield Status(f"{latest} … {time.monotonic() - since:.0f} s")
            continue
        if text is None:
            return result.result()
        latest, since = text, time.monotonic()
        yield Status(text)


def _writer(spec: DraftSpec, prepared: _Prepared, stop: threading.Event) -> DraftWriter:
    def draw(sampling: Sampling, on_token: Callable[[], None]) -> PieceStream:
        return prepared.session.stream(prepared.prompt, sampling, stop, on_token)

    return DraftWriter(draw, prepared.sampling, asked(prepared.request.instruction), spec.category, stop)


def _status_of(event: Retry | Waiting) -> Status:
    if isinstance(event, Waiting):
        return Status("the model is beginning to write")
    return Status(f"the model wrote next to nothing: trying again ({event.number} of {MAX_TRIES})")


def _interaction(spec: DraftSpec, model: DraftingModel) -> Interaction:
    return Interaction(
        id=str(uuid.uuid4()),
        author=spec.author,
        model_version=model.version,
        prompt=spec.prompt,
        outcome="open",
        category=spec.category,
        links=list(spec.links),
        sampling=asdict(spec.sampling),
        prompt_version=PROMPT_VERSION,
    )


def _context_fields(spec: DraftSpec, prepared: _Prepared) -> dict[str, Any]:
    """The fields of the interaction that say what the model is shown."""
    prompt = prepared.prompt
    scores = {source.chunk_id: source.score for source in prepared.sources}
    passages = [
        SeenPassage(**vars(one), score=scores[one.chunk_id], linked=scores[one.chunk_id] is None)
        for one in prompt.kept_passages
    ]
    return {
        "model_version": prepared.model.version,
        "query": prepared.query,
        "instruction": prepared.request.instruction,
        "sources": [one.chunk_id for one in passages],
        "passages": [one.model_dump() for one in passages],
        "examples": list(prompt.kept_examples),
        "history": [list(turn) for turn in spec.history[prompt.dropped_turns :]],
        "prompt_text": prompt.text,
        "prompt_tokens": len(prompt.ids),
        "sampling": asdict(prepared.sampling),
        "warnings": list(prepared.warnings),
    }


def _written(writer: DraftWriter | None, started: float) -> dict[str, Any]:
    """The fields of the interaction that say what has been written so far. started: by time.monotonic()."""
    total = {"total_ms": _ms(time.monotonic() - started)}
    if writer is None:
        return total
    first = writer.first_token_s
    return {
        **total,
        "first_token_ms": None if first is None else _ms(first - started),
        "draft": writer.text,
        "draft_tokens": writer.n_tokens,
        "tries": writer.n_tries,
        "finish_reason": writer.finish_reason,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _finished(interaction_id: str, spec: DraftSpec, prepared: _Prepared, writer: DraftWriter) -> Draft:
    model, originals = prepared.model, prepared.originals
    return Draft(
        id=interaction_id,
        author=spec.author,
        text=writer.text,
        sources=tuple(_compared(source, writer.text, originals) for source in prepared.sources),
        model_version=model.version,
        dataset_version=model.dataset_version,
        warnings=(*prepared.warnings, *_empty_draft_warning(writer, model)),
        finish_reason=writer.finish_reason,
        prompt_tokens=len(prepared.prompt.ids),
        draft_tokens=writer.n_tokens,
        tries=writer.n_tries,
        copied=originals.of_own(writer.text),
    )


def _compared(source: DraftSource, text: str, originals: Originals) -> DraftSource:
    found = originals.of_source(text, source.chunk_id)
    return replace(source, copied_share=found.share, longest_run=found.longest_run)


def _empty_draft_warning(writer: DraftWriter, model: DraftingModel) -> list[str]:
    if not writer.is_empty:
        return []
    wrote = "next to nothing" if writer.text else "nothing"
    tries = f"in {writer.n_tries} tries" if writer.n_tries > 1 else "at temperature 0, where every try is the same"
    other = "a trained version" if model.manifest is None else "another version"
    return [f"the model wrote {wrote} {tries}: ask in other words or at a higher temperature, or try {other}"]


def _sources(kept: Sequence[Passage], found: SearchResult) -> tuple[DraftSource, ...]:
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
