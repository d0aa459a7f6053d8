"""Pieces of HTML that the app shows. What a model, a page or a person wrote is escaped; only http(s) links are kept."""

import re
from collections.abc import Sequence
from html import escape

from twin_assets.content.web import host_of
from twin_assets.documents import ModelManifest
from twin_assets.operations.status import model_row
from twin_assets.serving.drafting import DraftSource
from twin_assets.serving.model_choice import UNTRAINED

NO_AUTHOR = """<div class="twin-empty"><h2>No author yet</h2>
<p>An author is somebody whose own writing this twin learns from. Add one here, or in a terminal:</p>
<pre>twin author add me --name "My Name" --consent "My Name"
twin source add me blog https://example.org/feed.xml
twin run me</pre>
<p><code>make demo</code> does all of it with a sample author.</p></div>"""

NO_SOURCES = (
    '<p class="twin-quiet">The sources of the draft will be listed here: title, link and the passage itself.</p>'
)


def status(text: str, kind: str = "") -> str:
    """A line that says what is going on. kind: `busy`, `done` or `failed`."""
    return f'<p class="twin-status {escape(kind)}" role="status">{escape(text)}</p>' if text else ""


def warnings(texts: Sequence[str]) -> str:
    """What to know before trusting the draft; the warning that the model is untrained gets a label."""
    items = "".join(f"<li>{_labelled(text)}</li>" for text in texts)
    return f'<ul class="twin-warnings">{items}</ul>' if texts else ""


def _labelled(text: str) -> str:
    label, _, rest = text.partition(": ")
    shown = f"<b>{label}</b> {escape(rest)}" if label == UNTRAINED else escape(text)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", shown)


def sources(found: Sequence[DraftSource], copied: str = "") -> str:
    """The passages that the model was shown, in that order, with how much the draft copies from each.

    copied: one line on how much it copies from all of the author's writing, once there is a draft.
    """
    if not found:
        return '<p class="twin-quiet">No passage was shown to the model.</p>'
    line = f'<p class="twin-quiet">{escape(copied[:1].upper() + copied[1:])}.</p>' if copied else ""
    return line + "".join(
        f'<article class="twin-source"><h4><span>{number}</span>{linked(source.title or "untitled", source.url)}</h4>'
        f"{_copied_from(source)}<p>{escape(source.text)}</p></article>"
        for number, source in enumerate(found, 1)
    )


def _copied_from(source: DraftSource) -> str:
    said = source.copied_text
    return f'<p class="twin-quiet">{escape(said[:1].upper() + said[1:])}.</p>' if source.copied_share else ""


def linked(title: str, url: str) -> str:
    """A title that links to its page, with the page's host; plain text if the URL is not http(s)."""
    if not host_of(url):
        return escape(title)
    shown = f'<a href="{escape(url)}" target="_blank" rel="noopener noreferrer">{escape(title)}</a>'
    return f"{shown}<small>{escape(host_of(url) or '')}</small>"


def models(versions: Sequence[ModelManifest]) -> str:
    """The versions, newest first, with their measures and gates."""
    if not versions:
        return (
            '<p class="twin-quiet">Nothing is trained yet: drafts come from the untrained base model. '
            "<code>twin run ID</code> trains and evaluates a version.</p>"
        )
    rows = "".join(_model_row(manifest) for manifest in reversed(versions))
    head = "".join(f"<th>{name}</th>" for name in ("version", "stage", "bits per byte", "gates", "trained"))
    return (
        f'<div class="twin-scroll"><table class="twin-models"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _model_row(manifest: ModelManifest) -> str:
    note = f"<small>{escape(manifest.reason)}</small>" if manifest.reason else ""
    cells = (
        f"<b>{escape(manifest.version)}</b><small>{escape(manifest.base.name)}, dataset "
        f"{escape(manifest.dataset.version)}</small>",
        f'<span class="twin-stage {escape(manifest.stage)}">{escape(manifest.stage)}</span>{note}',
        _bits(manifest),
        _gates(manifest),
        f"{manifest.created_at:%Y-%m-%d %H:%M}",
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _bits(manifest: ModelManifest) -> str:
    row = model_row(manifest)
    base, adapter = row["bits_per_byte_base"], row["bits_per_byte_adapter"]
    if base is None or adapter is None:
        return '<span class="twin-quiet">not measured</span>'
    return f"{adapter:.3f}<small>base {base:.3f}</small>"


def _gates(manifest: ModelManifest) -> str:
    if not manifest.gates:
        return '<span class="twin-quiet">not evaluated</span>'
    return "".join(
        f'<div class="twin-gate {"passed" if gate.passed else "failed"}">{"✓" if gate.passed else "✗"} '
        f"{escape(gate.name)}<small>{escape(gate.text)}</small></div>"
        for gate in manifest.gates
    )
