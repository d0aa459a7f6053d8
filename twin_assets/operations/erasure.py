"""Erasing an author: everything of theirs under `data/`, in the stores and in Dagster, and nothing of others.

The profile goes first, so that no sensor asks for new work. A marker is written before it and removed after the last
step: the same command finishes an erasure that was killed, since each step deletes what it finds. Dagster has no single
call for this: `delete_run` leaves the freed pages of the run's own database, each asset's copy of its last
materialization, evaluated checks, ticks and their logs. So this module knows Dagster's tables.
"""

import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import dagster as dg
import sqlalchemy as db
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES
from dagster._core.instance import RUNLESS_RUN_ID
from dagster._core.scheduler.instigation import SensorInstigatorData
from dagster._core.storage.compute_log_manager import ComputeLogManager
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.event_log import schema as event_log
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._core.storage.runs import schema as runs_log
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.schedules import schema as schedules_log
from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage
from dagster._core.storage.tags import MULTIDIMENSIONAL_PARTITION_PREFIX, PARTITION_NAME_TAG

from twin_assets.documents import AUTHOR_ID
from twin_assets.errors import BadInput, TwinError
from twin_assets.orchestration.partitions import authors
from twin_assets.orchestration.progress import Tell
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets.stores.trees import remove_tree

T = TypeVar("T")

EVENTS, EVENT_TAGS = event_log.SqlEventLogStorageTable, event_log.AssetEventTagsTable
ASSETS, CHECKS = event_log.AssetKeyTable, event_log.AssetCheckExecutionsTable
TICKS, EVALUATIONS = schedules_log.JobTickTable, schedules_log.AssetDaemonAssetEvaluationsTable
BACKFILLS = runs_log.BulkActionsTable

AUTHOR_TAGS = (PARTITION_NAME_TAG, f"{MULTIDIMENSIONAL_PARTITION_PREFIX}author", "twin/author")
SQLITE = b"SQLite format 3\0"
COMPUTE_LOGS = "compute_logs"
"""The folder of the runs' own logs, which are deleted with their runs."""
MAX_VARIABLES = 500
"""The most ids in one SQL statement; SQLite takes some thousands."""
LOCK_S = 60.0
"""A database that another process writes to is waited for this long."""
TELL_S = 2.0
"""Progress is told this often, in seconds."""

Step = tuple[str, int]
"""What was removed, and how many."""


@dataclass(frozen=True)
class Erasure:
    """How many of each kind were removed. elsewhere: what is stored by others, and only a person can delete."""

    author: str
    removed: dict[str, int]
    elsewhere: list[str]

    def as_dict(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


def erase(instance: dg.DagsterInstance, stores: Stores, author: str, tell: Tell) -> Erasure:
    """Remove everything of the author's; after a kill, call it again to finish.

    Raises BadInput for an invalid id and while a run of theirs is under way, NotThere for an unknown author, and
    TwinError when another process keeps a database open.
    """
    check_erasable(instance, stores, author)
    marker = _marker(stores, author)
    if not marker.exists():
        marker.write_text(json.dumps(_elsewhere(stores, author)))
    elsewhere: list[str] = json.loads(marker.read_text())
    removed: Counter[str] = Counter()
    for what, count in erasing(instance, stores, author, tell):
        removed[what] += count
        if count:
            tell(f"{what.replace('_', ' ')}: {count}")
    marker.unlink()
    return Erasure(author, {what: count for what, count in removed.items() if count}, elsewhere)


def is_being_erased(stores: Stores, author: str) -> bool:
    """True if an erasure of this author was begun and has not finished."""
    return _marker(stores, author).exists()


def check_erasable(instance: dg.DagsterInstance, stores: Stores, author: str) -> None:
    """Raise BadInput for an invalid id and while a run is under way, and NotThere for an unknown author."""
    if not AUTHOR_ID.fullmatch(author):
        raise BadInput(f"{author!r} is not an author id: see `twin author list`")
    if not is_being_erased(stores, author):
        stores.warehouse.profile(author)
    _check_nothing_runs(instance, author)


def erasing(instance: dg.DagsterInstance, stores: Stores, author: str, tell: Tell) -> Iterator[Step]:
    """Perform the steps, yielding each when it is done; any of them can be repeated."""
    settings = stores.settings
    yield from stores.warehouse.erase(author, ["author_profiles"]).items()
    yield from stores.models.erase(author).items()
    yield "feature_files", stores.features.erase(author)
    yield from stores.warehouse.erase(author).items()
    yield "runs", _erase_runs(instance, author, tell)
    for folder in _folders_of_authors(settings):
        yield f"{folder.name}_files", remove_tree(folder / author)
    yield "cache_files", sum(remove_tree(path) for path in _cached(settings.cache_dir, author))
    instance.delete_dynamic_partition(str(authors.name), author)
    # Until here automation could start another run; from now on it does not know the author.
    yield "runs", _erase_runs(instance, author, tell)
    yield "events", _erase_events(instance.event_log_storage, author)
    yield "ticks", _erase_ticks(instance, author)
    yield "logs", _erase_old_logs(settings.dagster_dir, author)
    yield "backfills", _erase_backfills(instance.run_storage, author)
    yield "databases_vacuumed", _vacuum([settings.data_dir, settings.dagster_dir], tell)


def _marker(stores: Stores, author: str) -> Path:
    return stores.settings.data_dir / f"{author}.erasing"


def _elsewhere(stores: Stores, author: str) -> list[str]:
    """The URLs of tracking runs on wandb's server."""
    runs = (manifest.tracking_run or "" for manifest in stores.models.versions(author))
    return sorted({run for run in runs if run.startswith("http")})


def _folders_of_authors(settings: Settings) -> list[Path]:
    """The folders with a subfolder per author: inbox, locks, training, wandb, and any that is added later."""
    others = {settings.dagster_dir, settings.cache_dir, settings.warehouse_path.parent}
    return sorted(path for path in settings.data_dir.iterdir() if path.is_dir() and path not in others)


def _cached(cache: Path, author: str) -> list[Path]:
    """The author's caches: models from a remote registry, web responses, and any that is added later."""
    # Older copies of models are directly under the author's name, which may also be the name of a cache.
    copies = [path.parent for path in cache.glob(f"{author}/*/.complete")]
    return [*copies, *(path for pattern in (f"*/{author}", f"*/{author}.*") for path in cache.glob(pattern))]


def _names(author: str, texts: Iterable[str | None]) -> bool:
    """True if one of the texts contains the author's id as a word, alone or in keys such as `ada|tiny-cpu`."""
    return any(text and re.search(rf"(?<![\w-]){author}(?![\w-])", text) for text in texts)


def _runs(instance: dg.DagsterInstance, author: str, under_way: bool = False) -> list[dg.DagsterRun]:
    """The author's runs, found by any of the tags that name an author."""
    statuses = list(NOT_FINISHED_STATUSES) if under_way else []
    filters = [dg.RunsFilter(tags={tag: author}, statuses=statuses) for tag in AUTHOR_TAGS]
    return list({run.run_id: run for one in filters for run in instance.get_runs(one)}.values())


def _check_nothing_runs(instance: dg.DagsterInstance, author: str) -> None:
    if runs := _runs(instance, author, under_way=True):
        named = ", ".join(f"{run.job_name} {run.run_id[:8]} ({run.status.value})" for run in runs)
        raise BadInput(
            f"a run of {author} is under way: {named}. Wait for its end, or end it (Ctrl-C where it was started, "
            f"Terminate in the Dagster UI), then: twin author erase {author}"
        )


def _erase_runs(instance: dg.DagsterInstance, author: str, tell: Tell) -> int:
    """Erase the author's runs, each run's record last: after a kill, it is needed to find the rest.

    Raises BadInput when a run has begun in the meantime, which would write what is deleted here.
    """
    _check_nothing_runs(instance, author)
    runs = _runs(instance, author)
    for run in _with_progress(runs, "runs", tell):
        instance.compute_log_manager.delete_logs(prefix=[run.run_id])
        events = instance.event_log_storage
        events.delete_events(run.run_id)
        if isinstance(events, SqlEventLogStorage):
            with events.index_connection() as connection:
                connection.execute(db.delete(CHECKS).where(CHECKS.c.run_id == run.run_id))
        if isinstance(events, SqliteEventLogStorage):
            for shard in Path(events.path_for_shard(run.run_id)).parent.glob(f"{run.run_id}.db*"):
                shard.unlink()
        instance.run_storage.delete_run(run.run_id)
    return len(runs)


def _erase_events(storage: EventLogStorage, author: str) -> int:
    """Erase events outside of the author's runs: reported ones, and assets' copies of the last materialization."""
    if not isinstance(storage, SqlEventLogStorage):
        return 0
    with storage.run_connection(RUNLESS_RUN_ID) as connection:
        count = _delete_events(connection, author)
    with storage.index_connection() as connection:
        count += _delete_events(connection, author)
        connection.execute(db.delete(CHECKS).where(_theirs(CHECKS.c.partition, author)))
        copies = (ASSETS.c.last_materialization, ASSETS.c.cached_status_data)
        named = [row[0] for row in connection.execute(db.select(ASSETS.c.id, *copies)) if _names(author, row[1:])]
        # Dagster then finds the last materialization among the events, and computes the status again.
        connection.execute(db.update(ASSETS).where(ASSETS.c.id.in_(named)).values({copy.name: None for copy in copies}))
    return count


def _delete_events(connection: db.Connection, author: str) -> int:
    theirs = _theirs(EVENTS.c.partition, author)
    ids = db.select(EVENTS.c.id).where(theirs)
    connection.execute(db.delete(EVENT_TAGS).where(EVENT_TAGS.c.event_id.in_(ids)))
    return connection.execute(db.delete(EVENTS).where(theirs)).rowcount


def _theirs(partition: "db.Column[str]", author: str) -> "db.ColumnElement[bool]":
    """Matches an author's partition, and those of author and recipe, whose key begins with the author."""
    return db.or_(partition == author, partition.startswith(f"{author}|", autoescape=True))


def _erase_ticks(instance: dg.DagsterInstance, author: str) -> int:
    """Erase ticks and evaluations that name the author, and what sensors logged; the next tick does not need them.

    A sensor whose cursor is removed begins again with the first author.
    """
    storage = instance.schedule_storage
    if not isinstance(storage, SqlScheduleStorage):
        return 0
    for state in instance.all_instigator_state():
        data = state.instigator_data
        if isinstance(data, SensorInstigatorData) and _names(author, [data.last_run_key, data.cursor]):
            instance.update_instigator_state(state.with_data(data._replace(last_run_key=None, cursor=None)))
    with storage.connect() as connection:
        for (body,) in connection.execute(db.select(TICKS.c.tick_body)):
            if log_key := json.loads(body).get("log_key"):
                _erase_log(instance.compute_log_manager, log_key, author)
        count = _delete_named(connection, TICKS, TICKS.c.tick_body, author)
        return count + _delete_named(connection, EVALUATIONS, EVALUATIONS.c.asset_evaluation_body, author)


def _erase_log(logs: ComputeLogManager, log_key: list[str], author: str) -> None:
    written = logs.get_log_data(log_key)
    if _names(author, [(text or b"").decode(errors="replace") for text in (written.stdout, written.stderr)]):
        logs.delete_logs(log_key=log_key)


def _erase_old_logs(folder: Path, author: str) -> int:
    """Erase what sensors logged in ticks that have been purged: Dagster keeps `<repository>/<sensor>/<tick>.err`."""
    logs = [path for ending in ("err", "out") for path in folder.glob(f"*/*/*.{ending}")]
    named = [
        path
        for path in logs
        if path.parent.name != COMPUTE_LOGS and _names(author, [path.read_text(encoding="utf-8", errors="replace")])
    ]
    for path in named:
        path.unlink()
    return len(named)


def _erase_backfills(storage: RunStorage, author: str) -> int:
    """Erase finished backfills that name the author, even among others, whose runs stay."""
    if not isinstance(storage, SqlRunStorage):
        return 0
    finished = BACKFILLS.c.status.in_([status.value for status in BULK_ACTION_TERMINAL_STATUSES])
    with storage.connect() as connection:
        return _delete_named(connection, BACKFILLS, BACKFILLS.c.body, author, finished)


def _delete_named(
    connection: db.Connection, table: db.Table, body: "db.Column[str]", author: str, *where: "db.ColumnElement[bool]"
) -> int:
    rows = connection.execute(db.select(table.c.id, body).where(*where))
    named = [row_id for row_id, text in rows if _names(author, [text])]
    for start in range(0, len(named), MAX_VARIABLES):
        connection.execute(db.delete(table).where(table.c.id.in_(named[start : start + MAX_VARIABLES])))
    return len(named)


def _vacuum(roots: Sequence[Path], tell: Tell) -> int:
    """Rewrite every SQLite file, so that no freed page and no write-ahead log contains what was deleted."""
    files = sorted({path.resolve() for root in roots for path in root.rglob("*") if _is_sqlite(path)})
    for path in _with_progress(files, "databases vacuumed", tell):
        try:
            with closing(sqlite3.connect(path, timeout=LOCK_S, isolation_level=None)) as connection:
                connection.execute("VACUUM")
                busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                reason = "it is being read" if busy else ""
        except sqlite3.DatabaseError as error:
            reason = str(error)
        if reason:
            raise TwinError(
                f"{path} could not be rewritten and may still contain deleted text ({reason}): end `twin serve`, "
                "`dagster dev` and whatever else uses it, then repeat the command"
            )
    return len(files)


def _is_sqlite(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def _with_progress(items: Sequence[T], what: str, tell: Tell) -> Iterator[T]:
    """The items, telling every TELL_S seconds how many are done."""
    told_at = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - told_at > TELL_S:
            told_at = time.monotonic()
            tell(f"{what}: {done} of {len(items)}")
        yield item
