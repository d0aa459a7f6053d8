"""What the Writing tab does: find one of an author's documents, say what it may be used for; no layout.

Every function asks `access` again, and an id that is not of the author's own documents is answered as one that is
nobody's. Lists come in pages and without texts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twin_assets.documents import Category, RawDocument, Use, Visibility
from twin_assets.errors import BadInput, NotThere
from twin_assets.operations.collector import Collector, Exclusion
from twin_assets.serving.access import Access, Caller
from twin_assets.serving.app import document_list, fragments
from twin_assets.serving.app.actions import Choices, Done, done, in_words
from twin_assets.stores.warehouse import DocumentFilter, ListedDocument, Warehouse

PER_PAGE = 25
MAX_TITLE = 200

ANY = ""
"""The value of a choice that lets all pass."""
CATEGORIES: Choices = [("every kind", ANY), *((str(one), str(one)) for one in Category)]
VISIBILITIES: Choices = [("public and private", ANY), ("public", "public"), ("private", "private")]
LEFT_OUT: Choices = [("used or left out", ANY), ("left out of something", "yes"), ("left out of nothing", "no")]

LEFT_OUT_OF: Mapping[str, tuple[Use, ...]] = {
    "training and quoting": (),
    "training only": ("quoting",),
    "quoting only": ("training",),
    "nothing": ("quoting", "training"),
}
"""What a document may be used for, in words, and what it is left out of then."""


@dataclass(frozen=True)
class Find:
    """What a person looks for, as the page sends it."""

    title: str | None = None
    platform: str | None = None
    category: str | None = None
    visibility: str | None = None
    left_out: str | None = None

    def filter(self) -> DocumentFilter:
        """As the warehouse knows it; what is none of the choices lets all pass."""
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
class Listed:
    """A page of the list; number: counted from 0, the last one where fewer are left."""

    html: str = ""
    number: int = 0
    position: str = ""
    has_newer: bool = False
    has_older: bool = False


@dataclass(frozen=True)
class Chosen:
    """One document. id: None when there is none, and `heading` says why; use: one of LEFT_OUT_OF."""

    heading: str = document_list.NONE_CHOSEN
    id: str | None = None
    use: str | None = None
    beginning: str = ""


class DocumentsDesk:
    """The tab's actions for one server."""

    def __init__(self, warehouse: Warehouse, collecting: Collector, access: Access) -> None:
        self._warehouse = warehouse
        self._collecting = collecting
        self._access = access

    def platforms(self, who: Caller, author: str | None) -> Choices:
        """What may be chosen of the author's platforms."""
        known: list[str] = []
        if author:
            self._access.profile(who, author)
            known = self._warehouse.platforms(author)
        return [("every platform", ANY), *((name, name) for name in known)]

    def page(self, who: Caller, author: str | None, find: Find, number: int = 0, chosen: str | None = None) -> Listed:
        """A page of the author's documents, newest first. chosen: the id of the document that is marked on it."""
        if not author:
            return Listed()
        self._access.profile(who, author)
        wanted = find.filter()
        total = self._warehouse.count_listed(author, wanted)
        if total == 0:
            nothing = wanted == DocumentFilter()
            return Listed(document_list.NOTHING_COLLECTED if nothing else document_list.NOTHING_FITS)
        number = min(max(number, 0), (total - 1) // PER_PAGE)
        first = number * PER_PAGE
        rows = self._warehouse.list_documents(author, wanted, skip=first, limit=PER_PAGE)
        last = first + len(rows)
        return Listed(
            html=document_list.page(rows, self._openings(rows), chosen),
            number=number,
            position=f"{first + 1:,} to {last:,} of {total:,}",
            has_newer=number > 0,
            has_older=last < total,
        )

    def _openings(self, rows: Sequence[ListedDocument]) -> dict[str, str]:
        untitled = [row.id for row in rows if not row.title]
        return {found.id: document_list.opening(found) for found in self._warehouse.documents_by_id(untitled)}

    def choose(self, who: Caller, author: str | None, document_id: str | None) -> Chosen:
        """How a document begins, and what it may be used for."""
        if not document_id:
            return Chosen()
        try:
            document = self._document(who, author, document_id)
            profile = self._access.profile(who, document.author)
        except Exception as error:
            return Chosen(fragments.status(in_words(error), "failed"))
        return Chosen(
            heading=document_list.heading(document, profile),
            id=document.id,
            use=next(use for use, left_out in LEFT_OUT_OF.items() if set(left_out) == set(document.left_out)),
            beginning=document_list.beginning(document),
        )

    def use_for(self, who: Caller, author: str | None, document_id: str | None, use: str | None) -> Done:
        """Let a document be used for what is said and for nothing else."""

        def use_for() -> str:
            document = self._document(who, author, document_id)
            left_out_of = LEFT_OUT_OF.get(use or "")
            if left_out_of is None:
                raise BadInput(f"choose what it may be used for: {', '.join(LEFT_OUT_OF)}")
            return _said(who, document, self._collecting.exclude(document.author, document.id, left_out_of))

        return done(use_for)

    def _document(self, who: Caller, author: str | None, document_id: str | None) -> RawDocument:
        """One of the author's documents that is still there. Raises NotThere."""
        profile = self._access.profile(who, author or "")
        found = next(self._warehouse.documents_by_id([document_id or ""]), None)
        if found is None or found.author != profile.id or found.deleted_at is not None:
            raise NotThere("there is no such document any more: look at the list again")
        return found


def _said(who: Caller, document: RawDocument, left_out: Exclusion) -> str:
    """What happens next, as `twin document leave-out` says it."""
    title = document_list.title_of(document)
    if not left_out.changed:
        return f"“{title}” is so already: nothing changed"
    becomes = f"left out of {' and '.join(left_out.uses)}" if left_out.uses else "used again for training and quoting"
    said = f"“{title}” will be {becomes} after the next features run; {_next(who, document.author, left_out)}"
    if "training" not in left_out.uses:
        return said
    return f"{said}. A model that was trained before keeps what it learned from it until you train again"


def _next(who: Caller, author: str, left_out: Exclusion) -> str:
    if left_out.daemon_runs:
        return "the daemon starts it now"
    if not who.is_operator:
        return "no daemon runs: ask this server’s operator to start it"
    return f"start it: twin run {author} --until instruction_dataset"
