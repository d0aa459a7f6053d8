"""Search in an author's own writing: one function for the terminal, the API and the drafts that need passages."""

from dataclasses import dataclass, field

from twin_assets.documents import Category
from twin_assets.errors import TwinError
from twin_assets.language.detection import detect_language
from twin_assets.language.embedding import Embedder, load_embedder
from twin_assets.language.search import Hit, SearchFilter, load_reranker, search
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets.stores.features import TableHandle


@dataclass(frozen=True)
class SearchResult:
    """The hits for a query, best first, and what a person should know about them.

    embedder: the model that embedded the query.
    """

    hits: list[Hit]
    embedder: Embedder
    warnings: list[str] = field(default_factory=list)


def search_writing(
    stores: Stores, author: str, query: str, k: int, category: Category | str | None = None, *, quotable_only: bool
) -> SearchResult:
    """The author's k best passages for `query`, from the newest embeddings; without any embeddings, a warning.

    quotable_only: pass over what drafts may not quote. Raises TwinError when the model that made the embeddings
    cannot be loaded.
    """
    table = stores.features.table(author, "embeddings")
    embedder, warnings = _embedder_of(table, stores.settings)
    if not table.exists:
        warnings.append(f"nothing {author} wrote is indexed yet: `twin run {author} --until embeddings`")
        return SearchResult([], embedder, warnings)
    if (language := _unknown_language(query, embedder)) is not None:
        known = ", ".join(sorted(embedder.languages or ()))
        warnings.append(
            f"the text looks like {language!r} and the embedding model {embedder.identity} knows {known} only: "
            "passages are found by their words more than by their meaning"
        )
    reranker = load_reranker(stores.settings)
    wanted = SearchFilter(category=category, quotable_only=quotable_only)
    hits = search(table, embedder, query, k, wanted, reranker=reranker)
    if not hits and quotable_only:
        warnings.append("no passage was found that may be quoted: a draft has only the model to go by")
    return SearchResult(hits, embedder, warnings)


def _unknown_language(text: str, embedder: Embedder) -> str | None:
    """The language of `text` if it is one that the embedding model does not know, else None."""
    language = detect_language(text) if embedder.languages else None
    return language if language and embedder.languages and language not in embedder.languages else None


def _embedder_of(table: TableHandle, settings: Settings) -> tuple[Embedder, list[str]]:
    """The model that made the table's vectors, with a warning if the settings name a different one.

    Raises TwinError when that model cannot be loaded.
    """
    configured = load_embedder(settings)
    made_by = table.publication.about.get("embedding_model") if table.publication else None
    if made_by in (None, configured.identity):
        return configured, []
    name, _, revision = str(made_by).rpartition("@")
    earlier = load_embedder(settings.model_copy(update={"embedding_model": name, "embedding_revision": revision}))
    again = f"run `twin run {table.author} --until embeddings` to embed them with {configured.identity}"
    if not _usable(earlier, str(made_by)):
        raise TwinError(
            f"{table.author}'s passages were embedded by {made_by}, which cannot be loaded, and queries embedded by "
            f"another model would not match them: {again}"
        )
    return earlier, [f"passages are still found with {made_by}, but the settings name another model: {again}"]


def _usable(embedder: Embedder, identity: str) -> bool:
    """True if the model can be loaded and is the one with this identity."""
    try:
        return embedder.identity == identity and embedder.dimension > 0
    except (OSError, ValueError):
        return False
