"""The app: Gradio in the API's process; tabs to draft, to say what is collected and what of it is used, and to decide
which model drafts.

Authors' names and drafts are in no part of the page that is the same for everybody: they are asked for once it is open,
in the name of whoever opened it. Gradio's own API pages, run history and analytics are off, fonts are the system's.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI, Request

from twin_assets.language.generation import Sampling
from twin_assets.serving.access import Access, Caller
from twin_assets.serving.app import fragments
from twin_assets.serving.app.actions import PRODUCTION, Desk, Sheet, Wish, first
from twin_assets.serving.app.documents_actions import DocumentsDesk
from twin_assets.serving.app.documents_tab import DocumentsTab
from twin_assets.serving.app.login import add_login, logged_in
from twin_assets.serving.app.sources_actions import SourcesDesk
from twin_assets.serving.app.sources_tab import AuthorForm, SourcesTab
from twin_assets.serving.failures import MAX_UPLOAD_BYTES

CSS = Path(__file__).parent / "look.css"
CONCURRENT_DRAFTS = 4
DAY_S = 24 * 3600
SOURCES = "sources"
FORMATS = [("as asked", "any"), ("article", "article"), ("post", "post"), ("code", "code")]

HEAD = """<header class="twin-head"><h1>LLM Twin</h1><p>drafts in an author's own voice, from what they have already
written</p>{way_out}</header>"""

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


def mount_app(api: FastAPI, desk: Desk, sources: SourcesDesk, documents: DocumentsDesk, access: Access) -> None:
    """Put the app at `/` of the API; behind a login where other machines can reach it."""

    async def user(request: Request) -> str | None:
        return await logged_in(request, access)

    if not access.local:
        add_login(api, access)
    gr.mount_gradio_app(
        api,
        Page(desk, sources, documents, with_login=not access.local).blocks,
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
    """Layout and wiring; what happens is the desks'."""

    def __init__(self, desk: Desk, sources: SourcesDesk, documents: DocumentsDesk, with_login: bool) -> None:
        self._desk = desk
        self._sources_desk = sources
        # An upload that nobody took over is deleted within two days.
        with gr.Blocks(title="LLM Twin", analytics_enabled=False, delete_cache=(DAY_S, DAY_S)) as self.blocks:
            gr.HTML(HEAD.format(way_out='<a href="/logout">log out</a>' if with_login else ""))
            self.stored = gr.State(None)
            with gr.Column(visible=False) as self.nobody:
                gr.HTML(fragments.NOBODY)
                self.first_author = None if with_login else AuthorForm("first-author")
            with gr.Column(visible=False) as self.room:
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
        return self._desk.caller(request.username)

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
                            0, 1.5, value=Sampling().temperature, step=0.05, label="Temperature: 0 is the safest word"
                        )
                        self.seed = gr.Number(label="Seed: the same gives the same draft", precision=0, value=None)
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
                self._judge()
            with gr.Column(scale=2, elem_classes="twin-side"):
                gr.HTML("<h3>Drawn from</h3>")
                self.drawn_from = gr.HTML(fragments.NO_SOURCES, elem_id="sources")

    def _judge(self) -> None:
        with gr.Row():
            self.good = gr.Button("Sounds like me", interactive=False, size="md", elem_id="good")
            self.bad = gr.Button("Not me", interactive=False, size="md", elem_id="bad")
            self.save = gr.Button("Save my edit", interactive=False, size="md", elem_id="save")
        self.consent = gr.Checkbox(
            label="Later versions may learn from this edit which wording I prefer", value=False, elem_id="consent"
        )
        self.kept = gr.HTML(elem_id="kept")

    def _models(self) -> None:
        self.table = gr.HTML(elem_id="models")
        with gr.Row():
            self.candidate = gr.Dropdown(label="Version", choices=[], interactive=True, elem_id="candidate")
            self.reason = gr.Textbox(label="Reason", placeholder="reads like me", elem_id="reason")
        with gr.Row():
            self.approve = gr.Button("Approve: draft with this version", variant="primary", elem_id="approve")
            self.reject = gr.Button("Reject: never promote it", elem_id="reject")
        self.decided = gr.HTML(elem_id="decided")

    def _wire(self) -> None:
        # Private: the page calls them, and nothing else is meant to.
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        choice = [self.version, self.table, self.candidate]
        opened = [self.nobody, self.room, self.author, *choice]
        self.blocks.load(self._open, None, opened, **quiet)
        self.author.input(self._show_author, self.author, choice, **quiet)
        self.author.input(self.sources.show, self.author, self.sources.shown, **quiet)
        self.sources_tab.select(self.sources.show, self.author, self.sources.shown, **quiet)
        self.sources.wire(quiet)
        for event in (self.author.input, self.documents_tab.select):
            event(self.documents.show, self.documents.entered, self.documents.shown, **quiet)
        self.documents.wire(quiet)
        for form in (self.first_author, self.sources.form):
            if form is not None:
                outcome = [form.said, self.sources.said, self.tabs, *opened]
                form.add.click(self._add_author, form.entered, outcome, **quiet).then(
                    self.sources.show, self.author, self.sources.shown, **quiet
                )
        self.models_tab.select(self._show_author, self.author, choice, **quiet)

        sheet = [self.status, self.warnings, self.text, self.drawn_from, self.stored]
        buttons = [self.good, self.bad, self.save]
        entered = [self.author, self.version, self.format, self.prompt, self.links, self.temperature, self.seed]
        drafting = gr.on(
            [self.go.click, self.prompt.submit],
            self._draft,
            entered,
            [*sheet, *buttons, self.kept],
            concurrency_limit=CONCURRENT_DRAFTS,
            **quiet,
        )
        # Only once the draft has ended: what it last said could else come after "stopped".
        self.stop.click(None, None, None, cancels=[drafting], **quiet).then(
            lambda: fragments.status("stopped"), None, self.status, **quiet
        )

        self.good.click(self._rate_good, self.stored, self.kept, **quiet)
        self.bad.click(self._rate_bad, self.stored, self.kept, **quiet)
        self.save.click(self._save_edit, [self.stored, self.text, self.consent], self.kept, **quiet)

        decision = [self.author, self.candidate, self.reason]
        for button, decide in ((self.approve, self._approve), (self.reject, self._reject)):
            button.click(decide, decision, self.decided, **quiet).then(self._show_author, self.author, choice, **quiet)

    def _open(self, request: gr.Request) -> list[Update]:
        return self._opened(first(self._desk.authors(self._who(request))), request)

    def _opened(self, author: str | None, request: gr.Request) -> list[Update]:
        authors = self._desk.authors(self._who(request))
        return [
            gr.update(visible=not authors),
            gr.update(visible=bool(authors)),
            gr.update(choices=authors, value=author),
            *self._show_author(author, request),
        ]

    def _add_author(self, author: str, name: str, consent: str, agreed: bool, request: gr.Request) -> list[Any]:
        author = author.strip()
        done = self._sources_desk.add_author(self._who(request), author, name, consent, agreed=agreed)
        if not done.worked:
            return [done.said, *[gr.skip()] * 8]
        return ["", done.said, gr.update(selected=SOURCES), *self._opened(author, request)]

    def _show_author(self, author: str | None, request: gr.Request) -> list[Update]:
        who = self._who(request)
        candidates = self._desk.candidates(who, author)
        return [
            gr.update(choices=self._desk.versions(who, author), value=PRODUCTION),
            gr.update(value=self._desk.models(who, author)),
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
        seed: float | None,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        wish = Wish(author, version, format_, prompt, links, temperature, seed)
        for sheet in self._desk.draft(self._who(request), wish):
            yield (*_shown(sheet), *[gr.update(interactive=sheet.stored is not None)] * 3, "")

    def _rate_good(self, stored: Any, request: gr.Request) -> str:
        return self._desk.rate(self._who(request), stored, "good")

    def _rate_bad(self, stored: Any, request: gr.Request) -> str:
        return self._desk.rate(self._who(request), stored, "bad")

    def _save_edit(self, stored: Any, text: str, consented: bool, request: gr.Request) -> str:
        return self._desk.save_edit(self._who(request), stored, text, consented)

    def _approve(self, author: str | None, version: str | None, reason: str, request: gr.Request) -> Iterator[str]:
        yield from self._desk.approve(self._who(request), author, version, reason)

    def _reject(self, author: str | None, version: str | None, reason: str, request: gr.Request) -> Iterator[str]:
        yield from self._desk.reject(self._who(request), author, version, reason)


def _shown(sheet: Sheet) -> tuple[Any, ...]:
    return sheet.status, sheet.warnings, sheet.text, sheet.sources, sheet.stored
