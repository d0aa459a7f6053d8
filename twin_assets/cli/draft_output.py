"""How a draft is printed in the terminal, by `twin draft` and by the demo."""

import json
from collections.abc import Sequence
from typing import cast

import click

from twin_assets.documents import Category
from twin_assets.serving.drafting import Draft, Drafter, DraftSpec, Event, Piece, Status
from twin_assets.stores import Stores


def print_draft(
    stores: Stores,
    author: str,
    prompt: str,
    *,
    category: Category | None = None,
    version: str | None = None,
    links: Sequence[str] = (),
    as_json: bool = False,
) -> None:
    """Print a draft on stdout as it is written, then its sources; status and warnings go to stderr.

    as_json: one JSON document and nothing else on stdout.
    """
    event: Event | None = None
    for event in Drafter(stores).stream(DraftSpec(author, prompt, version, category, tuple(links))):
        if isinstance(event, Status):
            click.echo(click.style(f"{event.text} …", dim=True), err=True)
        elif isinstance(event, Piece) and not as_json:
            click.echo(event.text, nl=False)
    draft = cast(Draft, event)
    if as_json:
        click.echo(json.dumps({"text": draft.text, **draft.about()}, ensure_ascii=False))
    else:
        _print_about(draft)


def _print_about(draft: Draft) -> None:
    click.echo("\n")
    for number, source in enumerate(draft.sources, 1):
        click.echo(f"  [{number}] {source.title}  {source.url}".rstrip())
        if source.copied_share:
            click.echo(click.style(f"      {source.copied_text}", dim=True))
    click.echo(click.style(f"  {draft.copied_text}", dim=True))
    on = f" on dataset {draft.dataset_version}" if draft.dataset_version else ""
    click.echo(click.style(f"  by {draft.model_version}{on}", dim=True))
    for warning in draft.warnings:
        click.echo(click.style("  ! ", fg="yellow") + warning, err=True)
