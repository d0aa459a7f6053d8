"""The assets `raw/<platform>`, one per registered crawler, made by a factory."""

from collections.abc import Iterator

import dagster as dg

from twin_assets.collection.crawl import CrawlReport, crawl
from twin_assets.collection.inbox import archive_notice, import_waiting
from twin_assets.collection.registry import Crawler, crawlers
from twin_assets.content.web import WebClient
from twin_assets.orchestration.metadata_markdown import table
from twin_assets.orchestration.partitions import author_of, authors
from twin_assets.stores import Stores, open_stores

CODE_VERSION = "1"
SHOWN_FAILURES = 50
SHOWN_DOCUMENTS = 5

CHECKS = {
    "sources_answered": "Every source of the platform could be read as a whole.",
    "items_read": "Every item of every source could be read.",
    "not_empty": "A source that was read holds something.",
    "no_sudden_drop": "No more documents are gone than a source may lose between two crawls.",
}

Results = Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]


def raw_asset(crawler: Crawler) -> dg.AssetsDefinition:
    """The raw asset of a crawler's platform."""
    platform = crawler.platform

    @dg.asset(
        key=["raw", platform],
        partitions_def=authors,
        group_name="collection",
        kinds={"python", "sqlite"},
        owners=["team:twin"],
        code_version=CODE_VERSION,
        pool=f"crawl_{platform}",
        retry_policy=dg.RetryPolicy(max_retries=1, delay=30),
        description=f"An author's writing on {platform}, as it is there now. Reads {crawler.accepted}.",
        check_specs=[
            dg.AssetCheckSpec(name, asset=["raw", platform], description=text, partitions_def=authors)
            for name, text in CHECKS.items()
        ],
    )
    def raw(context: dg.AssetExecutionContext) -> Results:
        stores, author = open_stores(), author_of(context)
        before = _alive(stores, author, platform)
        reports = list(_crawl_all(context, stores, author, crawler))
        yield from _check_results(platform, reports, before, stores.settings.max_drop)
        failed = [report for report in reports if report.error]
        if failed and len(failed) == len(reports) and not any(report.writes for report in reports):
            # Nothing was written: the author's documents have not changed, so neither has the asset.
            raise dg.Failure(
                _failures(failed), metadata=_metadata(stores, author, platform, reports), allow_retries=False
            )
        yield dg.MaterializeResult(
            metadata=_metadata(stores, author, platform, reports),
            data_version=dg.DataVersion(stores.warehouse.raw_data_version(author, platform)),
        )
        if failed:
            raise dg.Failure(_failures(failed), allow_retries=False)

    return raw


def _alive(stores: Stores, author: str, platform: str) -> int:
    """How many documents of the platform are not tombstones."""
    return sum(row["deleted_at"] is None for row in stores.warehouse.fingerprints(author, platform))


def _crawl_all(
    context: dg.AssetExecutionContext, stores: Stores, author: str, crawler: Crawler
) -> Iterator[CrawlReport]:
    """Crawl each source of the platform, then import the inbox; a source that fails does not stop the next."""
    reports = _reports(context, stores, author, crawler)
    for report in reports:
        context.log.info(_line(report))
        for failure in report.failed[:SHOWN_FAILURES]:
            context.log.warning(f"{failure['item']} {failure['reason']}")
        yield report
    for source in stores.warehouse.profile(author).sources:
        if source.platform == crawler.platform and (notice := archive_notice(stores, author, source)):
            context.log.info(f"{source.id}: {notice}")


def _reports(context: dg.AssetExecutionContext, stores: Stores, author: str, crawler: Crawler) -> Iterator[CrawlReport]:
    sources = [s for s in stores.warehouse.profile(author).sources if s.platform == crawler.platform]
    if not sources:
        context.log.info(f"{author} has no {crawler.platform} source: nothing to do")
    with WebClient(stores.settings, stores.settings.web_cache(author)) as http:
        for source in sources:
            yield crawl(author, source, crawler, stores.warehouse, http, context.log.info)
    yield from import_waiting(stores, author, crawler.platform, context.log.info)


def _line(report: CrawlReport) -> str:
    counts = (
        f"{report.new} new, {report.changed} changed, {report.unchanged} unchanged, {report.gone} gone, "
        f"{len(report.failed)} failed, {len(report.skipped)} skipped"
    )
    return f"{report.source_id}: {report.error}" if report.error else f"{report.source_id}: {counts}"


def _failures(reports: list[CrawlReport]) -> str:
    return "; ".join(f"source {report.source_id}: {report.error}" for report in reports)


def _check_results(
    platform: str, reports: list[CrawlReport], before: int, max_drop: float
) -> Iterator[dg.AssetCheckResult]:
    key = dg.AssetKey(["raw", platform])
    errors = [report for report in reports if report.error]
    items = [failure for report in reports for failure in report.failed]
    gone = sum(report.gone for report in reports)
    read = [report for report in reports if not report.error]
    empty = [report for report in read if not (report.new + report.changed + report.unchanged + len(report.failed))]
    verdicts: list[tuple[str, bool, str]] = [
        ("sources_answered", not errors, _failures(errors) or f"{len(reports)} sources read"),
        ("items_read", not items, f"{len(items)} items failed" if items else "every item read"),
        ("not_empty", not empty, ", ".join(report.source_id for report in empty) or "every source holds something"),
        ("no_sudden_drop", not before or gone / before <= max_drop, f"{gone} of {before} documents are gone"),
    ]
    for name, passed, text in verdicts:
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name=name,
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"result": text},
        )


def _metadata(
    stores: Stores, author: str, platform: str, reports: list[CrawlReport]
) -> dict[str, dg.MetadataValue | int | str]:
    counts = {
        name: sum(getattr(report, name) for report in reports) for name in ("new", "changed", "unchanged", "gone")
    }
    return {
        "dagster/row_count": _alive(stores, author, platform),
        **counts,
        "failed": sum(len(report.failed) for report in reports),
        "left_out": sum(len(report.skipped) for report in reports),
        "requests": sum(report.requests for report in reports),
        "bytes_read": sum(report.bytes_read for report in reports),
        "preview": dg.MetadataValue.md(_preview(stores, author, platform)),
        "sources": dg.MetadataValue.md(_sources_table(reports)),
        "archives": dg.MetadataValue.md(_archives_table(stores, author, platform)),
        "not_read": dg.MetadataValue.md(_failure_table(reports)),
        "warehouse": str(stores.settings.warehouse_path) if not stores.settings.mongodb_uri else "MongoDB",
    }


def _preview(stores: Stores, author: str, platform: str) -> str:
    rows = stores.warehouse.newest_documents(author, platform, SHOWN_DOCUMENTS)
    names = ("title", "category", "published_at", "url")
    return table(names, [[row.get(name) for name in names] for row in rows]) if rows else "Nothing collected yet."


def _sources_table(reports: list[CrawlReport]) -> str:
    if not reports:
        return "No source on this platform."
    names = ("source_id", "new", "changed", "unchanged", "gone")
    rows = [[*(getattr(report, name) for name in names), len(report.failed), len(report.skipped)] for report in reports]
    return table(["source", "new", "changed", "unchanged", "gone", "failed", "skipped"], rows)


def _archives_table(stores: Stores, author: str, platform: str) -> str:
    sources = [source for source in stores.warehouse.profile(author).sources if source.platform == platform]
    notices = [[source.id, notice] for source in sources if (notice := archive_notice(stores, author, source))]
    return table(["source", "export"], notices) if notices else "Nothing here comes by an export archive."


def _failure_table(reports: list[CrawlReport]) -> str:
    rows = [row for report in reports for row in (*report.failed, *report.skipped)]
    if not rows:
        return "Everything was read."
    more = f"\n\n… and {len(rows) - SHOWN_FAILURES} more" if len(rows) > SHOWN_FAILURES else ""
    return table(["item", "why"], [[row["item"], row["reason"]] for row in rows[:SHOWN_FAILURES]]) + more


assets = [raw_asset(crawler) for crawler in crawlers().values()]

jobs = [
    dg.define_asset_job(
        f"collect_{asset.key.path[-1]}",
        selection=dg.AssetSelection.assets(asset),
        description=f"Collect an author's {asset.key.path[-1]} sources.",
    )
    for asset in assets
]
