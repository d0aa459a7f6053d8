"""The HTML of an author's documents: a page of the list, and the chosen document. What people wrote is escaped."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape

from twin_assets.content.extraction import html_to_markdown
from twin_assets.documents import AuthorProfile, Category, RawDocument
from twin_assets.serving.app import fragments
from twin_assets.stores.warehouse import ListedDocument

BEGINNING = 1_500
"""How many characters of a document its author sees here."""
OPENING = 90
"""How many characters stand in for the title of a document without one, such as a post."""
MARKUP = 100_000
"""How many characters of HTML are read to show a beginning; a page's markup may be many times as long as its text."""

NOTHING_COLLECTED = '<p class="twin-quiet">Nothing is collected yet: see “Sources”.</p>'
NO_MATCH = '<p class="twin-quiet">No document matches: change or clear a filter.</p>'
NONE_CHOSEN = '<p class="twin-quiet">Choose a document to read how it begins and to say what it may be used for.</p>'
HEAD = "".join(f"<th>{name}</th>" for name in ("title", "platform", "kind", "date", "visibility", "left out of"))


def page(rows: Sequence[ListedDocument], openings: Mapping[str, str], chosen: str | None) -> str:
    """One page of the list. openings: the first words of each document without a title, by its id."""
    body = "".join(_row(row, row.title or openings.get(row.id, ""), row.id == chosen) for row in rows)
    return (
        f'<div class="twin-scroll"><table class="twin-models twin-documents"><thead><tr>{HEAD}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(row: ListedDocument, title: str, chosen: bool) -> str:
    cells = (
        f'<button type="button">{escape(title or "untitled")}</button>',
        escape(row.platform),
        escape(row.category),
        _date(row.published_at),
        "private" if row.visibility == "private" else '<span class="twin-quiet">public</span>',
        "".join(f'<span class="twin-use">{escape(use)}</span>' for use in row.left_out),
    )
    current = ' aria-current="true"' if chosen else ""
    return f'<tr data-document="{escape(row.id)}"{current}>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def heading(document: RawDocument, profile: AuthorProfile) -> str:
    """The title with its link, where the document is from, and what it means if it is private."""
    facts = [document.platform, document.category, document.visibility]
    if document.published_at:
        facts.append(_date(document.published_at))
    about = f'<p class="twin-quiet">{escape(" · ".join(facts))}</p>'
    if document.visibility == "private":
        train = "models learn from it" if profile.train_private else "models do not learn from it"
        about += f'<p class="twin-notice">Private writing is never quoted, and {train}, as this profile says.</p>'
    title = fragments.linked(title_of(document), document.url or "")
    return f'<article class="twin-place"><h4>{title}</h4>{about}</article>'


def beginning(document: RawDocument) -> str:
    """The beginning of the document, as its author wrote it."""
    kind = "code" if document.category == Category.CODE else "prose"
    return f'<div class="twin-beginning {kind}">{escape(_cut(_text(document), BEGINNING))}</div>'


def title_of(document: RawDocument) -> str:
    """A document's title, or its first words."""
    return document.title or opening(document) or "untitled"


def opening(document: RawDocument) -> str:
    """The first words of a document, on one line."""
    return _cut(" ".join(_text(document).split()), OPENING)


def _text(document: RawDocument) -> str:
    is_html = document.content_type == "text/html"
    return html_to_markdown(document.content[:MARKUP]) if is_html else document.content.strip()


def _cut(text: str, n: int) -> str:
    return text if len(text) <= n else f"{text[: n - 1].rstrip()}…"


def _date(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d}" if when else ""
