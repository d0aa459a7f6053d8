"""The Sources tab and the form for a new author: layout and wiring; what happens is `SourcesDesk`'s."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from twin_assets.errors import BadInput
from twin_assets.operations.collector import NewSource
from twin_assets.serving.access import Caller
from twin_assets.serving.app import fragments
from twin_assets.serving.app.source_cards import BY_HAND, WHEN
from twin_assets.serving.app.sources_actions import EVERY, TELL, SourcesDesk

LOOK_AGAIN_S = 2.0

Update = dict[str, Any]
Who = Callable[[gr.Request], Caller]


class AuthorForm:
    """Fields of a new profile; `elem_id` tells two of them on one page apart."""

    def __init__(self, elem_id: str) -> None:
        with gr.Column(elem_id=elem_id):
            with gr.Row():
                name = gr.Textbox(label="Name", placeholder="My Name", elem_classes="twin-name")
                slug = gr.Textbox(label="Id: a-z, 0-9 and -", placeholder="me", elem_classes="twin-id")
            agreed = gr.Checkbox(
                label="The writing that will be collected is the author's own, and they agree to its use here",
                elem_classes="twin-agreed",
            )
            consent = gr.Textbox(
                label="Who states this? Kept with today's date", placeholder="My Name", elem_classes="twin-consent"
            )
            self.add = gr.Button("Add this author", variant="primary", elem_classes="twin-add-author")
            self.said = gr.HTML()
        self.entered = [slug, name, consent, agreed]


class SourcesTab:
    """Built inside the tab; `show` fills it for an author."""

    def __init__(self, desk: SourcesDesk, who: Who, author: gr.Dropdown, with_login: bool) -> None:
        self._desk, self._who, self._author = desk, who, author
        self.list = gr.HTML(elem_id="source-list")
        with gr.Column(visible=False) as self.with_sources:
            self.source = gr.Dropdown(label="Source", choices=[], interactive=True, elem_id="source")
            with gr.Row():
                self.collect = gr.Button("Collect now", variant="primary", elem_id="collect", scale=3)
                self.remove = gr.Button("Remove", elem_id="remove", scale=1)
        self.said = gr.HTML(elem_id="source-said")
        self._where(with_login)
        self._upload()
        self.form = None if with_login else self._author_form()
        self.timer = gr.Timer(LOOK_AGAIN_S, active=False)
        self.shown = [self.list, self.with_sources, self.source, self.timer]

    def _where(self, with_login: bool) -> None:
        gr.HTML("<h3>Add a source</h3>", elem_classes="twin-section")
        kinds = "URL or handle" if with_login else "URL, handle, folder or zip"
        self.where = gr.Textbox(
            label=f"Where do you write? {kinds}", placeholder="https://example.org", max_lines=1, elem_id="where"
        )
        with gr.Row():
            platforms = self._desk.platforms(of_this_machine=not with_login)
            self.platform = gr.Dropdown(label="Platform", choices=platforms, value=TELL, elem_id="platform")
            self.cron = gr.Dropdown(label="Collect", choices=WHEN, value=BY_HAND, elem_id="cron")
            self.token_env = gr.Textbox(
                label="Variable with its token",
                placeholder="GITHUB_TOKEN",
                visible=not with_login,
                elem_id="token-env",
            )
        self.add = gr.Button("Add this source", elem_id="add-source")
        self.added = gr.HTML(elem_id="source-added")

    def _upload(self) -> None:
        gr.HTML("<h3>Or send an export</h3>", elem_classes="twin-section")
        self.own_files = gr.Checkbox(
            label="It is no platform's export but a zip of my own markdown, HTML or code", elem_id="own-files"
        )
        self.upload = gr.UploadButton("Send a zip", file_types=[".zip"], elem_id="upload")
        self.received = gr.HTML(elem_id="received")

    @staticmethod
    def _author_form() -> AuthorForm:
        with gr.Accordion("Add another author", open=False, elem_id="more-authors"):
            return AuthorForm("another-author")

    def wire(self, quiet: dict[str, Any]) -> None:
        """What each button and the timer do. quiet: what every event of the page has in common."""
        place = [self.where, self.platform, self.cron, self.token_env]
        for event, act, entered, outcome in (
            (self.collect.click, self._collect, [self.source], [self.said]),
            (self.remove.click, self._remove, [self.source], [self.said]),
            (self.add.click, self._add, place, [self.added, self.where]),
            (self.where.submit, self._add, place, [self.added, self.where]),
            (self.upload.upload, self._receive, [self.upload, self.own_files], [self.received]),
        ):
            done = event(act, [self._author, *entered], outcome, **quiet)
            done.then(self.show, self._author, self.shown, **quiet)
        self.timer.tick(self.look_again, [self._author, self.source], self.shown, **quiet)

    def show(self, author: str | None, request: gr.Request) -> list[Update]:
        """The author's sources, with all of them chosen."""
        return self.look_again(author, EVERY, request)

    def look_again(self, author: str | None, chosen: str | None, request: gr.Request) -> list[Update]:
        """The author's sources as they stand now; the timer goes on as long as something is under way."""
        shown = self._desk.show(self._who(request), author)
        kept = chosen if chosen in [source_id for _, source_id in shown.sources] else None
        return [
            gr.update(value=shown.html),
            gr.update(visible=bool(shown.sources)),
            gr.update(choices=list(shown.sources), value=kept),
            gr.Timer(active=shown.under_way),
        ]

    def _collect(self, author: str | None, source_id: str | None, request: gr.Request) -> str:
        return self._desk.collect(self._who(request), author, source_id).said

    def _remove(self, author: str | None, source_id: str | None, request: gr.Request) -> str:
        return self._desk.remove(self._who(request), author, source_id).said

    def _add(
        self, author: str | None, where: str, platform: str, cron: str, token_env: str, request: gr.Request
    ) -> tuple[str, Any]:
        place = NewSource(where or "", platform or None, cron or None, (token_env or "").strip() or None)
        done = self._desk.add_source(self._who(request), author, place)
        return done.said, "" if done.worked else gr.skip()

    def _receive(self, author: str | None, file: str | None, own_files: bool, request: gr.Request) -> str:
        if not file:
            return fragments.status(str(BadInput("no file came")), "failed")
        return self._desk.receive(self._who(request), author, Path(file), own_files=own_files).said
