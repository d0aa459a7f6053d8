"""Report on one author on one day: how fresh the sources are, how drafts are used, and whether their length fits.

These are pure functions: values from the stores go in, and the report comes out. It contains no text of a document or a
draft.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from twin_assets.documents import AuthorProfile, Interaction, ModelManifest, Source, Stored
from twin_assets.orchestration.crawl_schedule import overdue_since
from twin_assets.orchestration.metadata_markdown import table

RECENT = timedelta(days=30)
"""Drafts of this period are counted as recent."""
GRACE = timedelta(hours=1)
"""A crawl may start this much after it is due, because other crawls of its platform may run before it."""


class SourceHealth(Stored):
    """One source's last crawl and newest document. Ages are in days, and None if there is none.

    A crawl's age is counted from its end, or from its start while it is running.
    """

    source_id: str
    platform: str
    crawl_age_days: float | None
    newest_document_age_days: float | None
    documents: int
    failed_items: int
    error: str | None
    overdue_hours: float | None = None
    """For how long a crawl has been due by the source's cron without starting; None until GRACE has passed."""


class Usage(Stored):
    """How many drafts were asked for in all, and those of the last 30 days by how they ended and were rated."""

    total: int
    recent: int
    rated_good: int
    rated_bad: int
    edited: int
    cancelled: int = 0
    failed: int = 0


class DraftLength(Stored):
    """The median length of finished recent drafts and of the author's prose, in words. ratio: drafts over author."""

    drafts: int
    draft_median: float
    author_median: float
    ratio: float


class MonitoringReport(Stored):
    """The report that the warehouse keeps for each author and day."""

    documents: int
    newest_document_age_days: float | None
    sources: list[SourceHealth]
    usage: Usage
    production: str | None
    production_age_days: float | None
    draft_length: DraftLength | None

    @property
    def overdue(self) -> list[SourceHealth]:
        """Sources that were not crawled when their cron schedule asked for it."""
        return [one for one in self.sources if one.overdue_hours is not None]

    @property
    def unhealthy(self) -> list[SourceHealth]:
        """Sources that were never crawled, or whose last crawl failed, as a whole or for some items."""
        return [one for one in self.sources if one.error or one.failed_items or one.crawl_age_days is None]


def monitor(
    profile: AuthorProfile,
    crawls: Mapping[str, Mapping[str, Any]],
    documents: Iterable[Mapping[str, Any]],
    interactions: Sequence[Interaction],
    production: ModelManifest | None,
    now: datetime,
) -> MonitoringReport:
    """Make the report of one author at `now`.

    crawls: the latest crawl by source id. documents: `source_id, category, published_at, n_words` of each.
    """
    rows = list(documents)
    return MonitoringReport(
        documents=len(rows),
        newest_document_age_days=_age(_newest(rows), now),
        sources=[
            _source(
                source,
                crawls.get(source.id),
                [row for row in rows if row["source_id"] == source.id],
                profile.created_at,
                now,
            )
            for source in profile.sources
        ],
        usage=_usage(interactions, now),
        production=production.version if production else None,
        production_age_days=_age(production.created_at, now) if production else None,
        draft_length=_draft_length(
            [one for one in interactions if one.outcome == "done" and now - one.created_at <= RECENT],
            [row["n_words"] for row in rows if row["category"] != "code"],
        ),
    )


def _source(
    source: Source, crawl: Mapping[str, Any] | None, rows: list[Mapping[str, Any]], added_at: datetime, now: datetime
) -> SourceHealth:
    crawl = crawl or {}
    since = overdue_since(source, crawl.get("started_at"), added_at, now - GRACE)
    return SourceHealth(
        source_id=source.id,
        platform=source.platform,
        crawl_age_days=_age(crawl.get("finished_at") or crawl.get("started_at"), now),
        newest_document_age_days=_age(_newest(rows), now),
        documents=len(rows),
        failed_items=len(crawl.get("failed") or []),
        error=crawl.get("error"),
        overdue_hours=round((now - since) / timedelta(hours=1), 1) if since else None,
    )


def _newest(rows: Sequence[Mapping[str, Any]]) -> datetime | None:
    return max((row["published_at"] for row in rows if row["published_at"]), default=None)


def _age(when: datetime | None, now: datetime) -> float | None:
    if when is None:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=now.tzinfo)
    return round((now - when) / timedelta(days=1), 2)


def _usage(interactions: Sequence[Interaction], now: datetime) -> Usage:
    recent = [one for one in interactions if now - one.created_at <= RECENT]
    return Usage(
        total=len(interactions),
        recent=len(recent),
        rated_good=sum(one.rating == "good" for one in recent),
        rated_bad=sum(one.rating == "bad" for one in recent),
        edited=sum(one.edited is not None for one in recent),
        cancelled=sum(one.outcome == "cancelled" for one in recent),
        failed=sum(one.outcome == "failed" for one in recent),
    )


def _draft_length(recent: Sequence[Interaction], author_words: Sequence[int]) -> DraftLength | None:
    if not recent or not author_words:
        return None
    drafts, author = median(len(one.draft.split()) for one in recent), median(author_words)
    return DraftLength(
        drafts=len(recent),
        draft_median=drafts,
        author_median=author,
        ratio=round(drafts / author, 3) if author else 0.0,
    )


def markdown(report: MonitoringReport) -> str:
    """The report as markdown."""
    sources = [
        [
            one.source_id,
            one.documents,
            _days(one.newest_document_age_days),
            _days(one.crawl_age_days),
            "" if one.overdue_hours is None else f"{one.overdue_hours:.0f} hours",
            one.failed_items,
            one.error,
        ]
        for one in report.sources
    ]
    usage = report.usage
    parts = [
        f"**{report.documents} documents**"
        + (f", the newest {_days(newest)} old." if (newest := report.newest_document_age_days) is not None else "."),
        table(["source", "documents", "newest", "last crawl", "overdue", "failed items", "error"], sources),
        f"Drafts in 30 days: {usage.recent} ({usage.rated_good} good, {usage.rated_bad} bad, {usage.edited} edited; "
        f"{usage.cancelled} cancelled, {usage.failed} failed); {usage.total} in all.",
        f"In production: {report.production or 'nothing yet'}"
        + (f", {_days(report.production_age_days)} old." if report.production else "."),
    ]
    if length := report.draft_length:
        parts.append(
            f"Drafts have {length.draft_median:g} words, the author's prose {length.author_median:g} (medians)."
        )
    return "\n\n".join(parts)


def _days(age: float | None) -> str:
    return "never" if age is None else f"{age:.1f} days"
