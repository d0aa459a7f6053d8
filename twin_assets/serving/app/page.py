"""The app: Gradio in the API's process, with tabs to draft, to manage sources, to say what documents are used for, and
to decide which model drafts.

The page as it is served holds no author's name or draft: it asks for them once it is open, on behalf of whoever opened
it. Gradio's own API pages, run history and analytics are off, and the fonts are the system's.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI, Request

from twin_assets.language.generation import Sampling
from twin_assets.serving.access import Access, Caller
from twin_assets.serving.app import fragments
from twin_assets.serving.app.documents_actions import DocumentsActions
from twin_assets.serving.app.documents_tab import DocumentsTab
from twin_assets.serving.app.draft_actions import PRODUCTION, Choices, DraftActions, DraftForm, DraftView
from twin_assets.serving.app.login import add_login, logged_in
from twin_assets.serving.app.sources_actions import SourcesActions
from twin_assets.serving.app.sources_tab import AuthorForm, SourcesTab
from twin_assets.serving.middleware import MAX_UPLOAD_BYTES

CSS = Path(__file__).parent / "look.css"
CONCURRENT_DRAFTS = 4
DAY_S = 24 * 3600
SOURCES = "sources"
FORMATS = [("as asked", "any"), ("article", "article"), ("post", "post"), ("code", "code")]

HEAD = """<header class="twin-head"><h1>LLM Twin</h1><p>drafts in an author's own voice, from what they have already
written</p>{logout}</header>"""

Update = dict[str, Any]


def theme() -> gr.themes.Base:
    """Quiet colours and the system's own fonts."""
    fonts = [gr.themes.Font(name) for name in ("system-ui", "sans-serif")]
    mono = [gr.themes.Font(name) for name in ("ui-monospace", "monospace")]
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal, neutral_hue=gr.themes.colors.stone, font=fonts, font_mono=mono
    ).set(
        body_background_fill="#faf8f4",
        body_text_color_subdued="#6b675f",
        body_text_color_subdued_dark="#a8a39a",
        block_label_text_color="#6b675f",
        block_title_text_color="#57534b",
        color_accent="#1f5c57",
        link_text_color="#1f5c57",
        link_text_color_hover="#17463f",
        link_text_color_visited="#1f5c57",
        link_text_color_dark="#7cc9c0",
        link_text_color_visited_dark="#7cc9c0",
        input_background_fill="#ffffff",
        input_border_width="1px",
        input_border_color="#ddd8cd",
        input_border_color_focus="#1f5c57",
        checkbox_background_color_selected="#1f5c57",
        checkbox_border_color_selected="#1f5c57",
        checkbox_label_background_fill="#f4f1ea",
        checkbox_label_background_fill_selected="#e3efed",
        button_secondary_background_fill="#efece4",
        button_secondary_background_fill_hover="#e5e1d6",
        button_large_text_weight="500",
        button_medium_text_weight="500",
        body_background_fill_dark="#171614",
        block_border_width="1px",
        block_radius="10px",
        input_radius="8px",
        button_large_radius="8px",
        button_primary_background_fill="#1f5c57",
        button_primary_background_fill_hover="#17463f",
        button_primary_background_fill_dark="#2b7a73",
        button_primary_text_color="#ffffff",
    )


def mount_app(
    api: FastAPI, drafts: DraftActions, sources: SourcesActions, documents: DocumentsActions, access: Access
) -> None:
    """Mount the app at `/` of the API, behind a login if other machines can reach it."""

    async def user(request: Request) -> str | None:
        return await logged_in(request, access)

    if not access.local:
        add_login(api, access)
    gr.mount_gradio_app(
        api,
        Page(drafts, sources, documents, with_login=not access.local).blocks,
        path="/",
        auth_dependency=None if access.local else user,
        theme=theme(),
        css_paths=[CSS],
        max_file_size=MAX_UPLOAD_BYTES,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
    )


class Page:
    """The page's layout and wiring; what happens is in the actions of its tabs."""

    def __init__(
        self, drafts: DraftActions, sources: SourcesActions, documents: DocumentsActions, with_login: bool
    ) -> None:
        self._drafts = drafts
        self._source_actions = sources
        # Gradio deletes an upload that no action took over within two days.
        with gr.Blocks(title="LLM Twin", analytics_enabled=False, delete_cache=(DAY_S, DAY_S)) as self.blocks:
            gr.HTML(HEAD.format(logout='<a href="/logout">log out</a>' if with_login else ""))
            self.stored = gr.State(None)
            with gr.Column(visible=False) as self.no_author:
                gr.HTML(fragments.NO_AUTHOR)
                self.first_author = None if with_login else AuthorForm("first-author")
            with gr.Column(visible=False) as self.workspace:
                with gr.Row():
                    self.author = gr.Dropdown(label="Author", choices=[], interactive=True, elem_id="author")
                    self.version = gr.Dropdown(label="Model", choices=[("production", PRODUCTION)], value=PRODUCTION)
                with gr.Tabs() as self.tabs:
                    with gr.Tab("Write"):
                        self._write()
                    with gr.Tab("Sources", id=SOURCES) as self.sources_tab:
                        self.sources = SourcesTab(sources, self._who, self.author, with_login)
                    with gr.Tab("Writing") as self.documents_tab:
                        self.documents = DocumentsTab(documents, self._who, self.author)
                    with gr.Tab("Models") as self.models_tab:
                        self._models()
            self._wire()

    def _who(self, request: gr.Request) -> Caller:
        return self._drafts.caller(request.username)

    def _write(self) -> None:
        with gr.Row():
            with gr.Column(scale=3):
                self.prompt = gr.Textbox(
                    label="What should it be about?",
                    placeholder="Why I check a gauge by hand before I believe it",
                    lines=2,
                    max_lines=8,
                    elem_id="prompt",
                )
                self.format = gr.Radio(label="Format", choices=FORMATS, value="any", elem_id="format")
                with gr.Accordion("Links and settings", open=False):
                    self.links = gr.Textbox(
                        label="Pages to draw on", placeholder="https://… one per line, at most five", lines=2
                    )
                    with gr.Row():
                        self.temperature = gr.Slider(
                            0,
                            1.5,
                            value=Sampling().temperature,
                            step=0.05,
                            label="Temperature (0: the likeliest words)",
                        )
                        # gr.Number would become 0, and every draft the same one, as soon as this part is opened.
                        self.seed = gr.Textbox(label="Seed (same seed, same draft)", placeholder="random")
                with gr.Row():
                    self.go = gr.Button("Draft", variant="primary", elem_id="go", scale=3)
                    self.stop = gr.Button("Stop", elem_id="stop", scale=1)
                self.status = gr.HTML(elem_id="status")
                self.warnings = gr.HTML(elem_id="warnings")
                self.text = gr.Textbox(
                    label="Draft: change what you would say differently",
                    lines=10,
                    max_lines=40,
                    interactive=True,
                    buttons=["copy"],
                    elem_id="draft",
                )
                self._feedback()
            with gr.Column(scale=2, elem_classes="twin-side"):
                gr.HTML("<h3>Drawn from</h3>")
                self.drawn_from = gr.HTML(fragments.NO_SOURCES, elem_id="sources")

    def _feedback(self) -> None:
        with gr.Row():
            self.good = gr.Button("Sounds like me", interactive=False, size="md", elem_id="good")
            self.bad = gr.Button("Not me", interactive=False, size="md", elem_id="bad")
            self.save = gr.Button("Save my edit", interactive=False, size="md", elem_id="save")
        self.consent = gr.Checkbox(
            label="Later versions may learn from this edit which wording I prefer", value=False, elem_id="consent"
        )
        self.feedback_status = gr.HTML(elem_id="kept")

    def _models(self) -> None:
        self.table = gr.HTML(elem_id="models")
        with gr.Row():
            self.candidate = gr.Dropdown(label="Version", choices=[], interactive=True, elem_id="candidate")
            self.reason = gr.Textbox(label="Reason", placeholder="reads like me", elem_id="reason")
        with gr.Row():
            self.approve = gr.Button("Approve: draft with this version", variant="primary", elem_id="approve")
            self.reject = gr.Button("Reject: never promote it", elem_id="reject")
        self.decision_status = gr.HTML(elem_id="decided")

    def _wire(self) -> None:
        # Private: only the page calls these events.
        event_options: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        choice = [self.version, self.table, self.candidate]
        opened = [self.no_author, self.workspace, self.author, *choice]
        self.blocks.load(self._open, None, opened, **event_options)
        self.author.input(self._show_author, self.author, choice, **event_options)
        self.author.input(self.sources.show, self.author, self.sources.shown, **event_options)
        self.sources_tab.select(self.sources.show, self.author, self.sources.shown, **event_options)
        self.sources.wire(event_options)
        for event in (self.author.input, self.documents_tab.select):
            event(self.documents.show, self.documents.entered, self.documents.shown, **event_options)
        self.documents.wire(event_options)
        for form in (self.first_author, self.sources.form):
            if form is not None:
                outcome = [form.message, self.sources.message, self.tabs, *opened]
                form.add.click(self._add_author, form.entered, outcome, **event_options).then(
                    self.sources.show, self.author, self.sources.shown, **event_options
                )
        self.models_tab.select(self._show_author, self.author, choice, **event_options)

        view = [self.status, self.warnings, self.text, self.drawn_from, self.stored]
        buttons = [self.good, self.bad, self.save]
        entered = [self.author, self.version, self.format, self.prompt, self.links, self.temperature, self.seed]
        drafting = gr.on(
            [self.go.click, self.prompt.submit],
            self._draft,
            entered,
            [*view, *buttons, self.feedback_status],
            concurrency_limit=CONCURRENT_DRAFTS,
            **event_options,
        )
        # After the draft has ended: otherwise its last status could replace "stopped".
        self.stop.click(None, None, None, cancels=[drafting], **event_options).then(
            lambda: fragments.status("stopped"), None, self.status, **event_options
        )

        self.good.click(self._rate_good, self.stored, self.feedback_status, **event_options)
        self.bad.click(self._rate_bad, self.stored, self.feedback_status, **event_options)
        self.save.click(self._save_edit, [self.stored, self.text, self.consent], self.feedback_status, **event_options)

        decision = [self.author, self.candidate, self.reason]
        for button, decide in ((self.approve, self._approve), (self.reject, self._reject)):
            button.click(decide, decision, self.decision_status, **event_options).then(
                self._show_author, self.author, choice, **event_options
            )

    def _open(self, request: gr.Request) -> list[Update]:
        return self._opened(_first_author(self._drafts.authors(self._who(request))), request)

    def _opened(self, author: str | None, request: gr.Request) -> list[Update]:
        authors = self._drafts.authors(self._who(request))
        return [
            gr.update(visible=not authors),
            gr.update(visible=bool(authors)),
            gr.update(choices=authors, value=author),
            *self._show_author(author, request),
        ]

    def _add_author(self, author: str, name: str, consent: str, agreed: bool, request: gr.Request) -> list[Any]:
        author = author.strip()
        result = self._source_actions.add_author(self._who(request), author, name, consent, agreed=agreed)
        if not result.worked:
            return [result.message, *[gr.skip()] * 8]
        return ["", result.message, gr.update(selected=SOURCES), *self._opened(author, request)]

    def _show_author(self, author: str | None, request: gr.Request) -> list[Update]:
        who = self._who(request)
        candidates = self._drafts.candidates(who, author)
        return [
            gr.update(choices=self._drafts.versions(who, author), value=PRODUCTION),
            gr.update(value=self._drafts.models(who, author)),
            gr.update(choices=candidates, value=candidates[0] if candidates else None),
        ]

    def _draft(
        self,
        author: str | None,
        version: str | None,
        format_: str | None,
        prompt: str,
        links: str,
        temperature: float,
        seed: str | None,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        form = DraftForm(author, version, format_, prompt, links, temperature, seed)
        for view in self._drafts.draft(self._who(request), form):
            yield (*_shown(view), *[gr.update(interactive=view.stored is not None)] * 3, "")

    def _rate_good(self, stored: Any, request: gr.Request) -> str:
        return self._drafts.rate(self._who(request), stored, "good")

    def _rate_bad(self, stored: Any, request: gr.Request) -> str:
        return self._drafts.rate(self._who(request), stored, "bad")

    def _save_edit(self, stored: Any, text: str, consented: bool, request: gr.Request) -> str:
        return self._drafts.save_edit(self._who(request), stored, text, consented)

    def _approve(self, author: str | None, version: str | None, reason: str, request: gr.Request) -> Iterator[str]:
        yield from self._drafts.approve(self._who(request), author, version, reason)

    def _reject(self, author: str | None, version: str | None, reason: str, request: gr.Request) -> Iterator[str]:
        yield from self._drafts.reject(self._who(request), author, version, reason)


def _shown(view: DraftView) -> tuple[Any, ...]:
    return view.status, view.warnings, view.text, view.sources, view.stored


def _first_author(authors: Choices) -> str | None:
    return authors[0][1] if authors else None
