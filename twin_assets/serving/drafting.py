"""A draft, from request to stored interaction; plain Python that a notebook, the terminal, the API and the app share.

A draft is a stream of events: what is being waited for, what it stands on, pieces of text, the finished draft. Whatever
takes long before the first token (loading a model, reading a link) happens in a thread that reports, so that nobody
waits in silence. Everything is looked up per request: a new version or new embeddings need no restart. What the model
saw is kept in an interaction, and so is how it ended.
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
    room,
    write_instruction,
)
from twin_assets.language.recitation import Copied
from twin_assets.orchestration.progress import Tell, silent
from twin_assets.serving.context import Found, Linked, example_pieces, link_passages, retrieve, whole_documents
from twin_assets.serving.copying import Originals, copied_text
from twin_assets.serving.interactions import Record
from twin_assets.serving.model_choice import Voice, choose_voice, earlier_voices
from twin_assets.serving.writing import MAX_TRIES, Again, Waiting, Writing
from twin_assets.stores import Stores

T = TypeVar("T")

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
    """A passage that the model was shown. score: the search's; None for a linked page. text: its first characters.

    copied_share: of the draft's words, those in runs of at least 8 that stand in the source's whole document, 0 to 1.
    longest_run: the longest such run, in words. Both are 0 until there is a draft.
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
        """What the draft copies from it, in words."""
        return copied_text(self.copied_share, self.longest_run, f"“{self.title}”" if self.title else "this")


@dataclass(frozen=True)
class Draft:
    """A finished draft. id: of the interaction that was stored, to be rated and edited by.

    prompt_tokens: of the prompt, which each of the `tries` read. draft_tokens: drawn in all tries together.
    copied: what stands word for word in the author's own writing that was found for it.
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
        """What it copies from the author's own writing, in words."""
        return copied_text(self.copied.share, self.copied.longest_run, "the author's own writing that was found for it")

    def about(self) -> dict[str, Any]:
        """Everything but the text and its counts, for JSON: the API's `twin` field."""
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


Event = Status | Basis | Piece | Draft
DraftStream = Generator[Event, None, None]
"""Closing it ends the work; the interaction of a draft that was not finished is kept as cancelled."""


@dataclass(frozen=True)
class _Prepared:
    """All that a draft is made from. voice: which model does draft. query: what passages were looked for by."""

    voice: Voice
    session: Session
    request: DraftRequest
    prompt: EncodedPrompt
    sampling: Sampling
    sources: tuple[DraftSource, ...]
    originals: Originals
    query: str
    warnings: tuple[str, ...]


class Drafter:
    """Drafts for every author with the few models that fit in memory. Safe to use from several threads."""

    def __init__(self, stores: Stores, backend: Backend | None = None) -> None:
        """backend: what models run on; None is what the settings name."""
        self._stores = stores
        self._backend = backend or open_backend(stores)
        self._places = threading.BoundedSemaphore(stores.settings.max_open_drafts)

    def stream(self, ask: Ask, stop: threading.Event | None = None) -> DraftStream:
        """The draft's events. `stop` ends it between two tokens, from any thread.

        Raises BadInput and NotThere here, before the first event; what turns up later is raised by the stream: Busy
        when too many drafts are under way.
        """
        if not ask.prompt.strip():
            raise BadInput("the prompt is empty: say what to write about")
        if len(ask.links) > MAX_LINKS:
            raise BadInput(f"{len(ask.links)} links are too many: at most {MAX_LINKS}")
        voice = choose_voice(self._stores, self._stores.warehouse.profiles.get(ask.author), ask.version)
        return self._events(ask, voice, stop or threading.Event())

    def rate(self, author: str, interaction_id: str, rating: Literal["good", "bad"]) -> None:
        """Keep what the author thinks of a draft. Raises NotThere."""
        self._stores.warehouse.interactions.change(author, interaction_id, {"rating": rating})

    def edit(self, author: str, interaction_id: str, text: str, consented: bool) -> None:
        """Keep how the author would have it; it may be learned from only by consent. Raises NotThere."""
        changes = {"edited": text, "consented": consented}
        self._stores.warehouse.interactions.change(author, interaction_id, changes)

    def _events(self, ask: Ask, voice: Voice, stop: threading.Event) -> DraftStream:
        started = time.monotonic()
        record = Record(self._stores.warehouse, _opened(ask, voice))
        writing: Writing | None = None
        holder = _Holder()
        placed = self._places.acquire(blocking=False)
        try:
            if not placed:
                most = self._stores.settings.max_open_drafts
                raise Busy(
                    f"as many drafts as may be ({most}) are being written or wait: try again in a moment",
                    retry_after_s=5,
                )
            prepared = yield from _reported(lambda tell: self._prepare(ask, voice, holder, tell))
            record.saw(_seen(ask, prepared))
            yield Basis(prepared.sources, prepared.warnings)
            writing = _writing(ask, prepared, stop)
            with closing(writing.pieces()) as pieces:
                for piece in pieces:
                    yield Piece(piece) if isinstance(piece, str) else _waiting(piece)
            if stop.is_set():
                record.cancelled(_written(writing, started))
                return
            draft = _finished(record.id, ask, prepared, writing)
            about = {"copied_share": draft.copied.share, "warnings": list(draft.warnings)}
            record.done({**_written(writing, started), **about})
        except (GeneratorExit, KeyboardInterrupt):
            record.cancelled(_written(writing, started))
            raise
        except Exception as error:
            record.failed(error, _written(writing, started))
            raise
        finally:
            holder.close()
            if placed:
                self._places.release()
        yield draft

    def _prepare(self, ask: Ask, asked_voice: Voice, holder: "_Holder", tell: Tell) -> _Prepared:
        voice, session = self._load(ask, asked_voice, tell)
        holder.hold(session)
        tell("looking through what has been written")
        query = " ".join([*(prompt for prompt, _ in ask.history[-1:]), ask.prompt])
        found = retrieve(self._stores, ask.author, query)
        linked = link_passages(ask.links, query, found.embedder, self._stores.settings, tell)
        _, prompt_tokens = room(voice.context_tokens, voice.answer_tokens, session.context_tokens)
        examples: tuple[str, ...] = ()
        if voice.manifest is None:
            examples = example_pieces(self._stores, ask.author, ask.category, session.tokenizer, prompt_tokens)
        request = DraftRequest(
            instruction=write_instruction(ask.category, ask.prompt) if ask.category else ask.prompt,
            passages=(
                *map(voice.passages.shortened, linked.passages),
                *voice.passages.shown(hit.passage for hit in found.hits),
            ),
            history=ask.history,
            examples=examples,
        )
        prompt = encode_prompt(session.tokenizer, request, prompt_tokens)
        sampling = ask.sampling.for_category(ask.category)
        return _Prepared(
            voice=voice,
            session=session,
            request=request,
            prompt=prompt,
            sampling=replace(sampling, max_new_tokens=min(sampling.max_new_tokens, voice.answer_tokens)),
            sources=_sources(prompt.kept_passages, found),
            originals=self._originals(ask.author, prompt, found, linked),
            query=query,
            warnings=(*voice.warnings, *ask.warnings, *linked.warnings, *found.warnings, *_dropped(prompt, request)),
        )

    def _originals(self, author: str, prompt: EncodedPrompt, found: Found, linked: Linked) -> Originals:
        """What the draft will be compared with: shown passages, whole documents of the author's, example pieces."""
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

    def _load(self, ask: Ask, voice: Voice, tell: Tell) -> tuple[Voice, Session]:
        """The model that was asked for; where that is production and cannot be loaded, what was before it."""
        try:
            return voice, self._session(voice, tell)
        except Busy:
            raise
        except Exception as error:
            if ask.version is not None:
                raise
            for earlier in earlier_voices(self._stores, voice, error):
                try:
                    return earlier, self._session(earlier, tell)
                except Exception as another:
                    tell(f"{earlier.version} cannot be loaded either: {another}")
            raise

    def _session(self, voice: Voice, tell: Tell) -> Session:
        tell(f"loading {voice.base.name}" + (f" with {voice.manifest.id}" if voice.manifest else ""))
        return self._backend.open(voice.manifest or voice.base, tell)


class _Holder:
    """Holds a draft's session, which a thread opens, until the draft ends, which may be before the thread is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._closed = False

    def hold(self, session: Session) -> None:
        """Keep it; one that comes after the end is closed at once."""
        with self._lock:
            self._session = session
            closed = self._closed
        if closed:
            session.close()

    def close(self) -> None:
        """Let go of what is held, or will be."""
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


def _writing(ask: Ask, prepared: _Prepared, stop: threading.Event) -> Writing:
    def draw(sampling: Sampling, on_token: Callable[[], None]) -> PieceStream:
        return prepared.session.stream(prepared.prompt, sampling, stop, on_token)

    return Writing(draw, prepared.sampling, asked(prepared.request.instruction), ask.category, stop)


def _waiting(event: Again | Waiting) -> Status:
    if isinstance(event, Waiting):
        return Status("the model begins to write")
    return Status(f"the model wrote next to nothing: trying again ({event.number} of {MAX_TRIES})")


def _opened(ask: Ask, voice: Voice) -> Interaction:
    return Interaction(
        id=str(uuid.uuid4()),
        author=ask.author,
        model_version=voice.version,
        prompt=ask.prompt,
        outcome="open",
        category=ask.category,
        links=list(ask.links),
        sampling=asdict(ask.sampling),
        prompt_version=PROMPT_VERSION,
    )


def _seen(ask: Ask, prepared: _Prepared) -> dict[str, Any]:
    """Fields of the interaction: what the model sees, from now on."""
    prompt = prepared.prompt
    scores = {source.chunk_id: source.score for source in prepared.sources}
    passages = [
        SeenPassage(**vars(one), score=scores[one.chunk_id], linked=scores[one.chunk_id] is None)
        for one in prompt.kept_passages
    ]
    return {
        "model_version": prepared.voice.version,
        "query": prepared.query,
        "instruction": prepared.request.instruction,
        "sources": [one.chunk_id for one in passages],
        "passages": [one.model_dump() for one in passages],
        "examples": list(prompt.kept_examples),
        "history": [list(turn) for turn in ask.history[prompt.dropped_turns :]],
        "prompt_text": prompt.text,
        "prompt_tokens": len(prompt.ids),
        "sampling": asdict(prepared.sampling),
        "warnings": list(prepared.warnings),
    }


def _written(writing: Writing | None, started: float) -> dict[str, Any]:
    """Fields of the interaction: what was written until now. started: by time.monotonic()."""
    total = {"total_ms": _ms(time.monotonic() - started)}
    if writing is None:
        return total
    first = writing.first_token_s
    return {
        **total,
        "first_token_ms": None if first is None else _ms(first - started),
        "draft": writing.text,
        "draft_tokens": writing.n_tokens,
        "tries": writing.n_tries,
        "finish_reason": writing.finish_reason,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _finished(interaction_id: str, ask: Ask, prepared: _Prepared, writing: Writing) -> Draft:
    voice, originals = prepared.voice, prepared.originals
    return Draft(
        id=interaction_id,
        author=ask.author,
        text=writing.text,
        sources=tuple(_compared(source, writing.text, originals) for source in prepared.sources),
        model_version=voice.version,
        dataset_version=voice.dataset_version,
        warnings=(*prepared.warnings, *_emptiness(writing, voice)),
        finish_reason=writing.finish_reason,
        prompt_tokens=len(prepared.prompt.ids),
        draft_tokens=writing.n_tokens,
        tries=writing.n_tries,
        copied=originals.of_own(writing.text),
    )


def _compared(source: DraftSource, text: str, originals: Originals) -> DraftSource:
    found = originals.of_source(text, source.chunk_id)
    return replace(source, copied_share=found.share, longest_run=found.longest_run)


def _emptiness(writing: Writing, voice: Voice) -> list[str]:
    if not writing.is_empty:
        return []
    wrote = "next to nothing" if writing.text else "nothing"
    tries = f"in {writing.n_tries} tries" if writing.n_tries > 1 else "at temperature 0, where every try is the same"
    other = "a trained version" if voice.manifest is None else "another version"
    return [f"the model wrote {wrote} {tries}: ask in other words or at a higher temperature, or try {other}"]


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
