"""The Writing tab: layout and wiring; what happens is in `DocumentsActions`."""

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
    ChosenDocument,
    DocumentsActions,
    FilterForm,
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
LATEST_ONLY: dict[str, Any] = {"trigger_mode": "always_last"}
"""Event options: of the entries a person makes while an earlier one is being worked on, only the last counts."""

Entered = dict[Any, Any]
"""The value of each component, as Gradio passes a set of components."""
CallerOf = Callable[[gr.Request], Caller]


@dataclass(frozen=True)
class Selection:
    """What a person is looking at: a page of an author's list, and the document they chose."""

    author: str | None = None
    number: int = 0
    document_id: str | None = None


class DocumentsTab:
    """The tab's components, built inside the tab; `show` fills them for an author."""

    def __init__(self, actions: DocumentsActions, who: CallerOf, author: gr.Dropdown) -> None:
        self._actions, self._who, self._author = actions, who, author
        self.selection = gr.State(Selection())
        with gr.Row():
            self.title = gr.Textbox(
                label="Title", placeholder="words from the title", max_lines=1, elem_id="find-title"
            )
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
                self.heading = gr.HTML(ChosenDocument().heading, elem_id="document-heading")
                self.use = gr.Radio(
                    label="Use it for", choices=list(LEFT_OUT_OF), visible=False, interactive=True, elem_id="use"
                )
                self.message = gr.HTML(elem_id="use-said")
                self.beginning = gr.HTML(elem_id="beginning")
        self.filters = [self.title, self.platform, self.category, self.visibility, self.left_out]
        self.entered = {author, self.selection, *self.filters}
        self.listed = [self.selection, self.list, self.newer, self.position, self.older]
        self.chosen = [self.heading, self.use, self.message, self.beginning]
        self.shown = [self.platform, *self.listed, *self.chosen]

    def wire(self, event_options: dict[str, Any]) -> None:
        """Connect the fields, rows and buttons. event_options: what every event of the page has in common."""
        # `input` of a textbox fires for keys, but not for pasted text.
        entries = [self.title.change, *(choice.input for choice in self.filters[1:])]
        gr.on(entries, self._first_page, self.entered, self.listed, **event_options, **LATEST_ONLY)
        self.newer.click(self._newer, self.entered, self.listed, **event_options)
        self.older.click(self._older, self.entered, self.listed, **event_options)
        row = self.list.select(
            self._choose, [self._author, self.selection], [self.selection, *self.chosen], **event_options, **LATEST_ONLY
        )
        row.then(None, None, None, js=SHOW_CHOSEN, **event_options)
        use = [self._author, self.selection, self.use]
        changed = self.use.input(self._use_for, use, [self.message, self.use], **event_options, **LATEST_ONLY)
        changed.then(self._same_page, self.entered, self.listed, **event_options)

    def show(self, entered: Entered, request: gr.Request) -> list[Any]:
        """The page and document chosen for this author; for another author, the first page and no document."""
        who, author, selection = self._who(request), entered[self._author], self._selection(entered)
        platforms = self._actions.platforms(who, author)
        if entered[self.platform] not in [value for _, value in platforms]:
            entered = {**entered, self.platform: ANY}
        return [
            gr.update(choices=platforms, value=entered[self.platform]),
            *self._same_page(entered, request),
            *_chosen(self._actions.choose(who, author, selection.document_id)),
        ]

    def _selection(self, entered: Entered) -> Selection:
        author, selection = entered[self._author], entered[self.selection]
        return selection if selection.author == author else Selection(author)

    def _first_page(self, entered: Entered, request: gr.Request) -> list[Any]:
        return self._page(entered, request, 0)

    def _newer(self, entered: Entered, request: gr.Request) -> list[Any]:
        return self._page(entered, request, self._selection(entered).number - 1)

    def _older(self, entered: Entered, request: gr.Request) -> list[Any]:
        return self._page(entered, request, self._selection(entered).number + 1)

    def _same_page(self, entered: Entered, request: gr.Request) -> list[Any]:
        return self._page(entered, request, self._selection(entered).number)

    def _page(self, entered: Entered, request: gr.Request, number: int) -> list[Any]:
        selection, form = self._selection(entered), FilterForm(*(entered[field] for field in self.filters))
        page = self._actions.page(self._who(request), selection.author, form, number, selection.document_id)
        return [
            replace(selection, number=page.number),
            page.html,
            gr.update(interactive=page.has_newer),
            page.position,
            gr.update(interactive=page.has_older),
        ]

    def _choose(self, author: str | None, selection: Selection, event: gr.EventData, request: gr.Request) -> list[Any]:
        chosen = self._actions.choose(self._who(request), author, event.document)
        return [replace(selection, author=author, document_id=chosen.id), *_chosen(chosen)]

    def _use_for(
        self, author: str | None, selection: Selection, use: str | None, request: gr.Request
    ) -> Iterator[tuple[str, Any]]:
        who = self._who(request)
        yield fragments.status("saving …", "busy"), gr.skip()
        result = self._actions.use_for(who, author, selection.document_id, use)
        # If the change failed, show the use as it is stored.
        yield (
            result.message,
            gr.skip() if result.worked else self._actions.choose(who, author, selection.document_id).use,
        )


def _chosen(chosen: ChosenDocument) -> list[Any]:
    return [chosen.heading, gr.update(visible=chosen.id is not None, value=chosen.use), "", chosen.beginning]
