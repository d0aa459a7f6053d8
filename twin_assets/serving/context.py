"""The context of a draft besides search hits: linked pages, and pieces of the author's that show how they write.

All of it is data in the prompt, never an instruction, and only what the author allows to be quoted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twin_assets.content.chunking import Chunker, Tokens
from twin_assets.content.extraction import extract_page
from twin_assets.content.web import Response, WebClient
from twin_assets.documents import Category
from twin_assets.errors import BadItem
from twin_assets.language.embedding import Embedder
from twin_assets.language.prompts import Passage
from twin_assets.language.search import Hit
from twin_assets.orchestration.progress import Tell
from twin_assets.settings import Settings
from twin_assets.stores import Stores

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_PASSAGES = 3
"""The number of passages in a prompt, the same as in a row of the dataset."""

LINK_TIMEOUT_S = 10.0
MAX_LINK_BYTES = 5_000_000
MAX_LINK_CHUNKS = 200

EXAMPLE_CANDIDATES = 12
EXAMPLE_BYTES = 1_000
EXAMPLE_SHARE = 3
"""Examples take at most one part in EXAMPLE_SHARE of the prompt; the rest is for passages."""


def whole_documents(stores: Stores, author: str, hits: Sequence[Hit]) -> dict[str, str]:
    """The full documents that the hits come from, by the hits' chunk ids; a deleted document is left out."""
    table = stores.features.table(author, "cleaned_documents")
    if not hits or not table.exists:
        return {}
    wanted = {hit.document_id for hit in hits}
    texts = {row["document_id"]: row["text"] for row in table.rows_in(["document_id", "text"], "document_id", wanted)}
    return {hit.chunk_id: texts[hit.document_id] for hit in hits if hit.document_id in texts}


def link_passages(
    links: Sequence[str], query: str, embedder: Embedder, settings: Settings, tell: Tell
) -> "LinkedPages":
    """The parts of the linked pages that answer `query` best. A link that fails becomes a warning."""
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
                warnings.append(f"a link was not used: {error}")
            else:
                passages += _best_parts(link, title, text, query, embedder, settings.chunk_tokens)
    return LinkedPages(passages, warnings)


@dataclass(frozen=True)
class LinkedPages:
    """Passages from linked pages, and a warning for each link that failed."""

    passages: list[Passage]
    warnings: list[str]


def _page(answer: Response) -> tuple[str, str]:
    """Title and text of the page behind a link. Raises BadItem if it has no text."""
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
    similarity = [float(vector @ wanted) for vector in vectors]
    best = sorted(range(len(chunks)), key=lambda n: -similarity[n])[:MAX_PASSAGES]
    return [
        Passage(f"{link}#{chunk.position:04d}", f"{title} (linked page)", link, chunk.text.strip())
        for chunk in (chunks[n] for n in best)
    ]


def example_pieces(
    stores: Stores,
    author: str,
    category: Category | None,
    tokenizer: "PreTrainedTokenizerBase",
    room_tokens: int,
    most: int,
) -> tuple[str, ...]:
    """The beginnings of a few of the author's newest pieces of `category`, for a model that was not trained on them.

    Without a category: posts and articles. room_tokens: the prompt's length; the examples take a share of it.
    most: how many pieces at most.
    """
    if most <= 0:
        return ()
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
        piece = first_paragraphs(texts[document_id], EXAMPLE_BYTES)
        length = len(tokenizer(piece, add_special_tokens=False)["input_ids"])
        if piece and length <= room:
            chosen.append(piece)
            room -= length
        if len(chosen) == most:
            break
    return tuple(chosen)


def first_paragraphs(text: str, max_bytes: int) -> str:
    """The first paragraphs of a text, at most `max_bytes`; empty if the first one alone is longer."""
    kept = ""
    for paragraph in text.strip().split("\n\n"):
        longer = f"{kept}\n\n{paragraph}" if kept else paragraph
        if len(longer.encode()) > max_bytes:
            break
        kept = longer
    return kept
