"""What a draft draws on: passages of the author's own writing, pages they link to, pieces that show their voice.

All of it is data in the prompt, never an instruction, and only what the author lets be quoted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twin_assets.content.chunking import Chunker, Tokens
from twin_assets.content.extraction import extract_page
from twin_assets.content.web import Response, WebClient
from twin_assets.documents import Category
from twin_assets.errors import BadItem, TwinError
from twin_assets.language.detection import detect_language
from twin_assets.language.embedding import Embedder, load_embedder
from twin_assets.language.prompts import Passage
from twin_assets.language.search import Hit, load_reranker, search
from twin_assets.orchestration.progress import Tell
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets.stores.features import TableHandle

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PASSAGES = 3
"""As many as a row of the dataset shows."""

LINK_TIMEOUT_S = 10.0
MAX_LINK_BYTES = 5_000_000
MAX_LINK_CHUNKS = 200

EXAMPLES = 3
EXAMPLE_CANDIDATES = 12
EXAMPLE_BYTES = 1_000
EXAMPLE_SHARE = 3
"""Examples take at most a third of the prompt's room; the rest is for passages."""


@dataclass(frozen=True)
class Found:
    """Hits for a query, and what a person should know about them."""

    hits: list[Hit]
    embedder: Embedder
    warnings: list[str] = field(default_factory=list)


def retrieve(
    stores: Stores, author: str, query: str, k: int = PASSAGES, category: Category | str | None = None
) -> Found:
    """The author's passages for `query`, best first, from the newest embeddings; only what may be quoted."""
    table = stores.features.table(author, "embeddings")
    embedder, warnings = embedder_of(table, stores.settings)
    if not table.exists:
        warnings.append(f"nothing {author} wrote is indexed yet: `twin run {author} --until embeddings`")
        return Found([], embedder, warnings)
    if (language := unknown_language(query, embedder)) is not None:
        known = ", ".join(sorted(embedder.languages or ()))
        warnings.append(
            f"the prompt looks like {language!r} and the embedding model {embedder.identity} knows {known} only: "
            "passages are found by their words more than by their meaning"
        )
    reranker = load_reranker(stores.settings)
    hits = search(table, embedder, query, k, category=category, quotable_only=True, reranker=reranker)
    if not hits:
        warnings.append("no passage was found that may be quoted: the draft stands on the model alone")
    return Found(hits, embedder, warnings)


def whole_documents(stores: Stores, author: str, hits: Sequence[Hit]) -> dict[str, str]:
    """Text of the documents that the hits are parts of, by the hits' chunk ids; without those that are gone by now."""
    table = stores.features.table(author, "cleaned_documents")
    if not hits or not table.exists:
        return {}
    wanted = {hit.document_id for hit in hits}
    texts = {row["document_id"]: row["text"] for row in table.rows_in(["document_id", "text"], "document_id", wanted)}
    return {hit.chunk_id: texts[hit.document_id] for hit in hits if hit.document_id in texts}


def unknown_language(text: str, embedder: Embedder) -> str | None:
    """The language of `text` when the embedding model is known not to know it."""
    language = detect_language(text) if embedder.languages else None
    return language if language and embedder.languages and language not in embedder.languages else None


def embedder_of(table: TableHandle, settings: Settings) -> tuple[Embedder, list[str]]:
    """The model that made the table's vectors, with a warning when the settings name another by now.

    Raises TwinError when that model is not to be had any more.
    """
    configured = load_embedder(settings)
    made_by = table.publication.about.get("embedding_model") if table.publication else None
    if made_by in (None, configured.identity):
        return configured, []
    name, _, revision = str(made_by).rpartition("@")
    then = load_embedder(settings.model_copy(update={"embedding_model": name, "embedding_revision": revision}))
    again = f"run `twin run {table.author} --until embeddings` to embed them with {configured.identity}"
    if not _usable(then, str(made_by)):
        raise TwinError(
            f"{table.author}'s passages were embedded by {made_by}, which is not to be had any more, and queries by "
            f"another model would not match them: {again}"
        )
    return then, [f"passages are still found with {made_by}, and the settings name another model: {again}"]


def _usable(embedder: Embedder, identity: str) -> bool:
    """Whether the model can be loaded and is the one that is meant."""
    try:
        return embedder.identity == identity and embedder.dimension > 0
    except (OSError, ValueError):
        return False


def link_passages(links: Sequence[str], query: str, embedder: Embedder, settings: Settings, tell: Tell) -> "Linked":
    """The parts of linked pages that answer `query` best. A link that fails is a warning."""
    limits = {
        "request_timeout_s": min(LINK_TIMEOUT_S, settings.request_timeout_s),
        "max_response_bytes": min(MAX_LINK_BYTES, settings.max_response_bytes),
    }
    passages: list[Passage] = []
    warnings: list[str] = []
    with WebClient(settings.model_copy(update=limits)) as web:
        for link in links:
            tell(f"reading {link}")
            try:
                title, text = _page(web.get(link))
            except BadItem as error:
                warnings.append(f"left out a link: {error}")
            else:
                passages += _best_parts(link, title, text, query, embedder, settings.chunk_tokens)
    return Linked(passages, warnings)


@dataclass(frozen=True)
class Linked:
    """Passages from linked pages, and the links that gave none."""

    passages: list[Passage]
    warnings: list[str]


def _page(answer: Response) -> tuple[str, str]:
    """Title and text of what a link gave. Raises BadItem when it is no text."""
    if answer.content_type in ("text/plain", "text/markdown"):
        return answer.url, answer.text
    page = extract_page(answer.text, answer.url) if "html" in answer.content_type else None
    if page is None:
        raise BadItem(f"{answer.url} has no text to read ({answer.described()})")
    return page.title or answer.url, page.text


def _best_parts(link: str, title: str, text: str, query: str, embedder: Embedder, max_tokens: int) -> list[Passage]:
    chunks = list(Chunker(Tokens(embedder.tokenizer), max_tokens).chunks(text, Category.ARTICLE))[:MAX_LINK_CHUNKS]
    if not chunks:
        return []
    wanted, *vectors = embedder.encode([query, *(chunk.text for chunk in chunks)])
    likeness = [float(vector @ wanted) for vector in vectors]
    best = sorted(range(len(chunks)), key=lambda n: -likeness[n])[:PASSAGES]
    return [
        Passage(f"{link}#{chunk.position:04d}", f"{title} (linked page)", link, chunk.text.strip())
        for chunk in (chunks[n] for n in best)
    ]


def example_pieces(
    stores: Stores, author: str, category: Category | None, tokenizer: "PreTrainedTokenizerBase", room_tokens: int
) -> tuple[str, ...]:
    """A few of the author's newest pieces of `category`, cut to fit a share of the room, for a base that knows nobody.

    Without a category: prose of any kind.
    """
    table = stores.features.table(author, "cleaned_documents")
    kinds = (category,) if category else (Category.POST, Category.ARTICLE)
    where = f"quotable = true AND category IN ({', '.join(repr(str(kind)) for kind in kinds)})"
    dated = [
        (str(row["published_at"] or ""), row["document_id"])
        for row in table.rows(["document_id", "published_at"], where)
    ]
    newest = [document_id for _, document_id in sorted(dated, reverse=True)[:EXAMPLE_CANDIDATES]]
    texts = {row["document_id"]: row["text"] for row in table.rows_in(["document_id", "text"], "document_id", newest)}
    room = room_tokens // EXAMPLE_SHARE
    chosen: list[str] = []
    for document_id in newest:
        piece = opening(texts[document_id], EXAMPLE_BYTES)
        length = len(tokenizer(piece, add_special_tokens=False)["input_ids"])
        if piece and length <= room:
            chosen.append(piece)
            room -= length
        if len(chosen) == EXAMPLES:
            break
    return tuple(chosen)


def opening(text: str, max_bytes: int) -> str:
    """The first paragraphs of a text, at most `max_bytes`; nothing when the first one alone is longer."""
    kept = ""
    for paragraph in text.strip().split("\n\n"):
        longer = f"{kept}\n\n{paragraph}" if kept else paragraph
        if len(longer.encode()) > max_bytes:
            break
        kept = longer
    return kept
