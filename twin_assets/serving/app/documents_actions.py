"""The actions of the Writing tab: find one of an author's documents and say what it may be used for; without layout.

Every action checks access itself, and the id of another author's document gets the same answer as one that does not
exist. Lists come in pages and without texts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twin_assets.documents import Category, RawDocument, Use, Visibility
from twin_assets.errors import BadInput, NotThere
from twin_assets.operations.collector import Collector
from twin_assets.operations.usage import START_FEATURES, document_of
from twin_assets.serving.access import Access, Caller
from twin_assets.serving.app import document_list, fragments
from twin_assets.serving.app.draft_actions import Choices
from twin_assets.serving.app.outcomes import ActionResult, error_text, run_action
from twin_assets.stores import Stores
from twin_assets.stores.warehouse import DocumentFilter, ListedDocument

NO_SUCH_DOCUMENT = "this document no longer exists: choose one from the list"

PER_PAGE = 25
MAX_TITLE = 200

ANY = ""
"""The value of a choice that filters nothing out."""
CATEGORIES: Choices = [("every kind", ANY), *((str(one), str(one)) for one in Category)]
VISIBILITIES: Choices = [("public and private", ANY), ("public", "public"), ("private", "private")]
LEFT_OUT: Choices = [("used or left out", ANY), ("left out of something", "yes"), ("left out of nothing", "no")]

LEFT_OUT_OF: Mapping[str, tuple[Use, ...]] = {
    "training and quoting": (),
    "training only": ("quoting",),
    "quoting only": ("training",),
    "nothing": ("quoting", "training"),
}
"""What a document may be used for, in words, and what it is then left out of."""


@dataclass(frozen=True)
class FilterForm:
    """What a person is looking for, as the page sends it."""

    title: str | None = None
    platform: str | None = None
    category: str | None = None
    visibility: str | None = None
    left_out: str | None = None

    def filter(self) -> DocumentFilter:
        """The same as the warehouse's filter; a value that is not among the choices filters nothing out."""
        title = "".join(letter for letter in (self.title or "")[:MAX_TITLE] if letter.isprintable())
        visibilities: dict[str | None, Visibility] = {"public": "public", "private": "private"}
        return DocumentFilter(
            title=title.strip(),
            platform=self.platform or None,
            category=Category(self.category) if self.category in set(Category) else None,
            visibility=visibilities.get(self.visibility),
            left_out={"yes": True, "no": False}.get(self.left_out or ANY),
        )


@dataclass(frozen=True)
class ListPage:
    """A page of the list. number: from 0; the last page's if a later one was asked for."""

    html: str = ""
    number: int = 0
    position: str = ""
    has_newer: bool = False
    has_older: bool = False


@dataclass(frozen=True)
class ChosenDocument:
    """One document. id: None if there is none, and `heading` says why. use: a key of LEFT_OUT_OF."""

    heading: str = document_list.NONE_CHOSEN
    id: str | None = None
    use: str | None = None
    beginning: str = ""


class DocumentsActions:
    """The tab's actions, for one server."""

    def __init__(self, stores: Stores, collector: Collector, access: Access) -> None:
        self._stores = stores
        self._warehouse = stores.warehouse
        self._collector = collector
        self._access = access

    def platforms(self, who: Caller, author: str | None) -> Choices:
        """The author's platforms to choose from."""
        known: list[str] = []
        if author:
            self._access.profile(who, author)
            known = self._warehouse.documents.platforms(author)
        return [("every platform", ANY), *((name, name) for name in known)]

    def page(
        self, who: Caller, author: str | None, form: FilterForm, number: int = 0, chosen: str | None = None
    ) -> ListPage:
        """A page of the author's documents, newest first. chosen: the id of the document to mark as chosen."""
        if not author:
            return ListPage()
        self._access.profile(who, author)
        wanted = form.filter()
        total = self._warehouse.documents.count(author, wanted)
        if total == 0:
            nothing = wanted == DocumentFilter()
            return ListPage(document_list.NOTHING_COLLECTED if nothing else document_list.NO_MATCH)
        number = min(max(number, 0), (total - 1) // PER_PAGE)
        first = number * PER_PAGE
        rows = self._warehouse.documents.page(author, wanted, skip=first, limit=PER_PAGE)
        last = first + len(rows)
        return ListPage(
            html=document_list.page(rows, self._openings(rows), chosen),
            number=number,
            position=f"{first + 1:,} to {last:,} of {total:,}",
            has_newer=number > 0,
            has_older=last < total,
        )

    def _openings(self, rows: Sequence[ListedDocument]) -> dict[str, str]:
        untitled = [row.id for row in rows if not row.title]
        return {found.id: document_list.opening(found) for found in self._warehouse.documents.by_id(untitled)}

    def choose(self, who: Caller, author: str | None, document_id: str | None) -> ChosenDocument:
        """How a document begins, and what it may be used for."""
        if not document_id:
            return ChosenDocument()
        try:
            document = self._document(who, author, document_id)
            profile = self._access.profile(who, document.author)
        except Exception as error:
            return ChosenDocument(fragments.status(error_text(error), "failed"))
        return ChosenDocument(
            heading=document_list.heading(document, profile),
            id=document.id,
            use=next(use for use, left_out in LEFT_OUT_OF.items() if set(left_out) == set(document.left_out)),
            beginning=document_list.beginning(document),
        )

    def use_for(self, who: Caller, author: str | None, document_id: str | None, use: str | None) -> ActionResult:
        """Let a document be used for `use`, a key of LEFT_OUT_OF, and for nothing else."""

        def use_for() -> str:
            document = self._document(who, author, document_id)
            left_out_of = LEFT_OUT_OF.get(use or "")
            if left_out_of is None:
                raise BadInput(f"choose what it may be used for: {', '.join(LEFT_OUT_OF)}")
            left_out = self._collector.exclude(document.author, document.id, left_out_of)
            name = f"“{document_list.title_of(document)}”"
            return ". ".join(left_out.sentences(name, _next_step(who, document.author)))

        return run_action(use_for)

    def _document(self, who: Caller, author: str | None, document_id: str | None) -> RawDocument:
        """One of the author's documents that still exists at its source. Raises NotThere."""
        profile = self._access.profile(who, author or "")
        try:
            document = document_of(self._stores, profile.id, document_id or "")
        except NotThere as error:
            raise NotThere(NO_SUCH_DOCUMENT) from error
        if document.deleted_at is not None:
            raise NotThere(NO_SUCH_DOCUMENT)
        return document


def _next_step(who: Caller, author: str) -> str:
    """What to do where no daemon starts the features run."""
    if not who.is_operator:
        return "no daemon is running: ask this server’s operator to start it"
    return START_FEATURES.format(author=author)
