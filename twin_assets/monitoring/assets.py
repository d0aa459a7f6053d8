"""The monitoring pipeline's asset: one report per author and day, kept in the warehouse."""

from collections.abc import Iterator

import dagster as dg

from twin_assets.documents import utcnow
from twin_assets.monitoring.report import MonitoringReport, markdown, monitor
from twin_assets.orchestration.partitions import author_of, authors
from twin_assets.stores import Stores, open_stores

COLUMNS = ("source_id", "category", "published_at", "n_words")


@dg.asset(
    deps=["cleaned_documents", "production_model"],
    partitions_def=authors,
    group_name="monitoring",
    kinds={"python"},
    owners=["team:twin"],
    code_version="1",
    check_specs=[
        dg.AssetCheckSpec(
            "sources_healthy",
            asset="monitoring_report",
            description="Every source was crawled, and its last crawl ended without an error or a failed item.",
            partitions_def=authors,
        ),
        dg.AssetCheckSpec(
            "sources_fresh",
            asset="monitoring_report",
            description="Every source that has a cron schedule was crawled when it was last due.",
            partitions_def=authors,
        ),
    ],
)
def monitoring_report(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    """A daily report: how fresh the sources are, how drafts are used and rated, how old the production model is."""
    stores, author, now = open_stores(), author_of(context), utcnow()
    report = monitor(
        stores.warehouse.profiles.get(author),
        stores.warehouse.crawls.for_author(author),
        stores.features.table(author, "cleaned_documents").rows(COLUMNS),
        stores.warehouse.interactions.for_author(author),
        stores.models.production(author),
        now,
    )
    stores.warehouse.monitoring_reports.save(author, now.date().isoformat(), report.model_dump())
    _collect_old_datasets(stores, author)
    yield dg.MaterializeResult(
        metadata=_metadata(report), check_results=[_sources_healthy(report), _sources_fresh(report)]
    )


def _collect_old_datasets(stores: Stores, author: str) -> None:
    """Delete the author's datasets that are no longer needed, as `delete_old_snapshots` decides.

    A dataset run does the same, but it has to keep the dataset that it replaces, which may be read for another day. For
    an author whose writing no longer changes, no further run would delete it.
    """
    with stores.features.writing(author, "instruction_dataset"):
        stores.features.delete_old_snapshots(author, "instruction_dataset", stores.models.dataset_tables(author))


def _metadata(report: MonitoringReport) -> dict[str, dg.MetadataValue | int | float]:
    numbers = {
        "newest_document_age_days": report.newest_document_age_days,
        "production_age_days": report.production_age_days,
        "draft_length_ratio": report.draft_length.ratio if report.draft_length else None,
    }
    return {
        "report": dg.MetadataValue.md(markdown(report)),
        "documents": report.documents,
        "failed_items": sum(one.failed_items for one in report.sources),
        "drafts_in_30_days": report.usage.recent,
        "rated_good": report.usage.rated_good,
        "rated_bad": report.usage.rated_bad,
        **{name: value for name, value in numbers.items() if value is not None},
    }


def _sources_healthy(report: MonitoringReport) -> dg.AssetCheckResult:
    unhealthy = [one.source_id for one in report.unhealthy]
    return dg.AssetCheckResult(
        check_name="sources_healthy",
        passed=not unhealthy,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"result": f"look at {', '.join(unhealthy)}" if unhealthy else "all sources are healthy"},
    )


def _sources_fresh(report: MonitoringReport) -> dg.AssetCheckResult:
    late = ", ".join(f"{one.source_id} by {one.overdue_hours:.0f} hours" for one in report.overdue)
    return dg.AssetCheckResult(
        check_name="sources_fresh",
        passed=not report.overdue,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "result": f"late: {late}; is the daemon running (`dagster dev`)?" if late else "no source is overdue",
            "late": len(report.overdue),
            "most_hours": max((one.overdue_hours or 0.0 for one in report.overdue), default=0.0),
        },
    )


assets = [monitoring_report]

jobs = [
    dg.define_asset_job(
        "monitoring",
        selection=dg.AssetSelection.assets(monitoring_report),
        description="Make the report on one author's sources, drafts and model.",
    )
]
