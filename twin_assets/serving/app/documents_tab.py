"""The Writing tab: layout and wiring; what happens is `DocumentsDesk`'s."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from twin_assets.serving.access import Caller
from twin_assets.serving.app import fragments
from twin_assets.serving.app.documents_actions import (
    ANY,
    CATEGORIES,
    LEFT_OUT,
    LEFT_OUT_OF,
    VISIBILITIES,
    Chosen,
    DocumentsDesk,
    Find,
)

CHOOSE = """element.addEventListener('click', event => {
  const row = event.target.closest('[data-document]');
  if (!row) return;
  element.querySelectorAll('[aria-current]').forEach(other => other.removeAttribute('aria-current'));
  row.setAttribute('aria-current', 'true');
  trigger('select', {document: row.dataset.document});
});"""
SHOW_CHOSEN = """() => {
  const chosen = document.querySelector('#document');
  if (chosen.getBoundingClientRect().top > window.innerHeight / 2) chosen.scrollIntoView({behavior: 'smooth'});
}"""
LATEST: dict[str, Any] = {"trigger_mode": "always_last"}
"""Of what a person enters while an earlier entry is worked on, the last is what they mean."""

Entered = dict[Any, Any]
"""Value by component, as Gradio passes a set of them."""
Who = Callable[[gr.Request], Caller]


@dataclass(frozen=True)
class Place:
    """Where a person is: the page of an author's list, and the document they chose."""

    author: str | None = None
    number: int = 0
    document_id: str | None = None


class DocumentsTab:
    """Built inside the tab; `show` fills it for an author."""

    def __init__(self, desk: DocumentsDesk, who: Who, author: gr.Dropdown) -> None:
        self._desk, self._who, self._author = desk, who, author
        self.place = gr.State(Place())
        with gr.Row():
            self.title = gr.Textbox(label="Title", placeholder="words of it", max_lines=1, elem_id="find-title")
            self.platform = gr.Dropdown(label="Platform", choices=[("every platform", ANY)], value=ANY)
            self.category = gr.Dropdown(label="Kind", choices=CATEGORIES, value=ANY, elem_id="find-kind")
            self.visibility = gr.Dropdown(label="Visibility", choices=VISIBILITIES, value=ANY)
            self.left_out = gr.Dropdown(label="Use", choices=LEFT_OUT, value=ANY, elem_id="find-left-out")
        with gr.Row():
            with gr.Column(scale=8, min_width=480):
                self.list = gr.HTML(elem_id="documents", js_on_load=CHOOSE)
                with gr.Row(elem_classes="twin-pages"):
                    self.newer = gr.Button("Newer", size="sm", interactive=False, elem_id="newer")
                    self.position = gr.HTML(elem_id="position")
                    self.older = gr.Button("Older", size="sm", interactive=False, elem_id="older")
            with gr.Column(scale=5, min_width=320, elem_classes="twin-side twin-chosen", elem_id="document"):
                self.heading = gr.HTML(Chosen().heading, elem_id="document-heading")
                self.use = gr.Radio(
                    label="Use it for", choices=list(LEFT_OUT_OF), visible=False, interactive=True, elem_id="use"
                )
                self.said = gr.HTML(elem_id="use-said")
                self.beginning = gr.HTML(elem_id="beginning")
        self.find = [self.title, self.platform, self.category, self.visibility, self.left_out]
        self.entered = {author, self.place, *self.find}
        self.listed = [self.place, self.list, self.newer, self.position, self.older]
        self.chosen = [self.heading, self.use, self.said, self.beginning]
        self.shown = [self.platform, *self.listed, *self.chosen]

    def wire(self, quiet: dict[str, Any]) -> None:
        """What each field, row and button does. quiet: what every event of the page has in common."""
        # A textbox has an `input` for keys, and none for what is pasted.
        entries = [self.title.change, *(choice.input for choice in self.find[1:])]
        gr.on(entries, self._first_page, self.entered, self.listed, **quiet, **LATEST)
        self.newer.click(self._newer, self.entered, self.listed, **quiet)
        self.older.click(self._older, self.entered, self.listed, **quiet)
        row = self.list.select(self._choose, [self._author, self.place], [self.place, *self.chosen], **quiet, **LATEST)
        row.then(None, None, None, js=SHOW_CHOSEN, **quiet)
        use = [self._author, self.place, self.use]
        said = self.use.input(self._use_for, use, [self.said, self.use], **quiet, **LATEST)
        said.then(self._same_page, self.entered, self.listed, **quiet)

    def show(self, entered: Entered, request: gr.Request) -> list[Any]:
        """The page that the author was on, with the document they chose; for another author the first, with none."""
        who, author, place = self._who(request), entered[self._author], self._place(entered)
        platforms = self._desk.platforms(who, author)
        if entered[self.platform] not in [value for _, value in platforms]:
            entered = {**entered, self.platform: ANY}
        return [
            gr.update(choices=platforms, value=entered[self.platform]),
            *self._same_page(entered, request),
            *_chosen(self._desk.choose(who, author, place.document_id)),
        ]

    def _place(self, entered: Entered) -> Place:
        author, place = entered[self._author], entered[self.place]
        return place if place.author == author else Place(author)

    def _first_page(self, entered: Entered, request: gr.Request) -> list[Any]:
        return self._page(entered, request, 0)

    def _newer(self, entered: Entered, request: gr.Request) -> list[Any]:
        return self._page(entered, request, self._place(entered).number - 1)

    def _older(self, entered: Entered, request: gr.Request) -> list[Any]:
        return self._page(entered, request, self._place(entered).number + 1)

    def _same_page(self, entered: Entered, request: gr.Request) -> list[Any]:
        return self._page(entered, request, self._place(entered).number)

    def _page(self, entered: Entered, request: gr.Request, number: int) -> list[Any]:
        place, find = self._place(entered), Find(*(entered[field] for field in self.find))
        page = self._desk.page(self._who(request), place.author, find, number, place.document_id)
        return [
            replace(place, number=page.number),
            page.html,
            gr.update(interactive=page.has_newer),
            page.position,
            gr.update(interactive=page.has_older),
        ]

    def _choose(self, author: str | None, place: Place, event: gr.EventData, request: gr.Request) -> list[Any]:
        chosen = self._desk.choose(self._who(request), author, event.document)
        return [replace(place, author=author, document_id=chosen.id), *_chosen(chosen)]

    def _use_for(
        self, author: str | None, place: Place, use: str | None, request: gr.Request
    ) -> Iterator[tuple[str, Any]]:
        who = self._who(request)
        yield fragments.status("keeping that …", "busy"), gr.skip()
        done = self._desk.use_for(who, author, place.document_id, use)
        # What could not be changed is shown as it is.
        yield done.said, gr.skip() if done.worked else self._desk.choose(who, author, place.document_id).use


def _chosen(chosen: Chosen) -> list[Any]:
    return [chosen.heading, gr.update(visible=chosen.id is not None, value=chosen.use), "", chosen.beginning]
