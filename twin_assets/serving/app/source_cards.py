"""The HTML of an author's sources. What a source, a page or a person wrote is escaped."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from html import escape

from twin_assets.documents import AuthorProfile, Proof
from twin_assets.operations.collection_status import CollectionResult, Overview, SourceStatus

BY_HAND = ""
WHEN = [
    ("by hand", BY_HAND),
    ("every hour", "0 * * * *"),
    ("every day at six (UTC)", "0 6 * * *"),
    ("every Monday at six (UTC)", "0 6 * * 1"),
]

SHOWN_ITEMS = 50
PICKED_UP_WITHIN = timedelta(minutes=2)
"""The time within which a running daemon begins a requested crawl; after that, something is wrong."""

PROOFS = {"token": "a token", "rel_me": "rel=me links"}
PILLS = {"never": "not collected yet", "broken off": "interrupted", "done": "collected"}
NO_SOURCE = '<p class="twin-quiet">No source yet: say below where the writing is.</p>'


def overview(profile: AuthorProfile, shown: Overview, now: datetime, *, operator: bool) -> str:
    """The author's consent, what is waiting for a daemon, each source, and the inbox."""
    cards = "".join(_card(one, now, shown.daemon_runs) for one in shown.sources)
    return f"{_consent(profile)}{_daemon(profile, shown, operator)}{cards or NO_SOURCE}{_inbox(shown, operator)}"


def _consent(profile: AuthorProfile) -> str:
    consent = profile.consent
    return (
        f'<p class="twin-quiet">{escape(consent.who)} stated on {consent.when:%Y-%m-%d} that the writing collected '
        f"here is {escape(profile.name)}’s own.</p>"
    )


def _daemon(profile: AuthorProfile, shown: Overview, operator: bool) -> str:
    """What to do if something is waiting for a daemon and none is running; empty otherwise."""
    waits = shown.inbox or any(one.phase == "waiting" or one.source.cron for one in shown.sources)
    if shown.daemon_runs or not waits:
        return ""
    start = "start one with <code>dagster dev</code>" if operator else "ask this server’s operator to start one"
    now = f" Without one, <code>twin collect {escape(profile.id)}</code> collects at once." if operator else ""
    return (
        '<ul class="twin-warnings"><li>Requested and due crawls and the inbox wait for a Dagster daemon, and none is '
        f"running: {start}.{now}</li></ul>"
    )


def _card(one: SourceStatus, now: datetime, daemon_runs: bool) -> str:
    source = one.source
    pill = f'<span class="twin-phase {escape(one.phase.replace(" ", "-"))}">{PILLS.get(one.phase, one.phase)}</span>'
    head = f"<header><h4><span>{escape(source.platform)}</span>{escape(one.place)}</h4>{pill}</header>"
    facts = [_when(source.cron), _proof(source.proof)]
    if source.token_env:
        facts.append(f"token from {escape(source.token_env)}")
    body = f'<p class="twin-quiet">{" · ".join(facts)}</p>{_phase(one, now, daemon_runs)}'
    if one.crawl and one.phase != "waiting":
        body += _items(one.crawl)
    if one.export:
        body += f"<p>Last export read: {_export_text(one.export)}</p>{_items(one.export)}"
    if one.notice:
        body += f'<p class="twin-notice">{escape(one.notice[:1].upper() + one.notice[1:])}</p>'
    return f'<article class="twin-place" data-source="{escape(source.id)}">{head}{body}</article>'


def _when(cron: str | None) -> str:
    known = {line: words for words, line in WHEN}
    return escape(known.get(cron or "", f"at cron {cron} (UTC)"))


def _proof(proof: Proof | None) -> str:
    if proof is None:
        return "unproven: only the author’s consent says that it is theirs"
    return f"proven by {PROOFS[proof.kind]} on {escape(proof.url)} ({proof.at:%Y-%m-%d})"


def _phase(one: SourceStatus, now: datetime, daemon_runs: bool) -> str:
    """The sentence that says how the collection stands."""
    if one.phase == "waiting" and one.asked_at:
        return f"<p>{_waiting_text(now - one.asked_at, daemon_runs)}</p>"
    if one.crawl is None:
        return ""
    when = ago(one.crawl.at, now)
    if one.phase == "collecting":
        return f"<p>Started {when}: {_counts(one.crawl)} so far</p>"
    if one.phase == "broken off":
        return f"<p>Interrupted; started {when}, {_counts(one.crawl)}. Collect again, and it continues from there.</p>"
    error = f'<p class="twin-status failed">{escape(one.crawl.error)}</p>' if one.crawl.error else ""
    return f"{error}<p>Last crawl {when}: {_counts(one.crawl)}</p>"


def _waiting_text(waited: timedelta, daemon_runs: bool) -> str:
    if not daemon_runs:
        return "Requested; starts once a daemon is running."
    if waited > PICKED_UP_WITHIN:
        return "Requested minutes ago and not started: ask again, or look at its runs in the Dagster UI."
    return "Requested; starts within half a minute."


def _export_text(reading: CollectionResult) -> str:
    made = f" ({reading.at:%Y-%m-%d %H:%M})"
    return f"{escape(reading.file or 'archive')}{made}: {_counts(reading)}"


def _counts(reading: CollectionResult) -> str:
    return (
        f"{reading.new} new, {reading.changed} changed, {reading.unchanged} unchanged, {reading.gone} gone, "
        f"{len(reading.failed)} failed, {len(reading.skipped)} skipped"
    )


def _items(reading: CollectionResult) -> str:
    failed, skipped = _listed(reading.failed, "could not be read", "failed"), _listed(reading.skipped, "skipped", "")
    return failed + skipped + _listed(reading.notes, "collected in part", "")


def _listed(items: Sequence[Mapping[str, str]], what: str, kind: str) -> str:
    if not items:
        return ""
    rows = "".join(
        f"<li><b>{escape(row.get('item', ''))}</b> {escape(row.get('reason', ''))}</li>" for row in items[:SHOWN_ITEMS]
    )
    more = f"<li>… and {len(items) - SHOWN_ITEMS} more</li>" if len(items) > SHOWN_ITEMS else ""
    noun = "item" if len(items) == 1 else "items"
    summary = f"<summary>{len(items)} {noun} {what}</summary>"
    return f'<details class="twin-items {kind}">{summary}<ul>{rows}{more}</ul></details>'


def _inbox(shown: Overview, operator: bool) -> str:
    waits = "".join(f"<li>{escape(name)} is waiting to be read</li>" for name in shown.inbox)
    refused = "".join(f"<li><b>{escape(name)}</b> was refused: {escape(why)}</li>" for name, why in shown.refused)
    folder = f" <code>{escape(str(shown.inbox_folder))}</code>" if operator else ""
    if not waits and not refused:
        return f'<p class="twin-quiet">The inbox{folder} is empty.</p>'
    return f'<section class="twin-inbox"><h4>Inbox{folder}</h4><ul>{waits}{refused}</ul></section>'


def ago(then: datetime, now: datetime) -> str:
    """How long ago that was, in words."""
    seconds = max(0, int((now - then).total_seconds()))
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if (n := seconds // size) > 0:
            return f"{n} {unit}{'' if n == 1 else 's'} ago"
    return "just now"
