"""How `twin` starts Dagster runs: in its own process, one per platform, one for the features, one per recipe.

In a single run a failing platform would skip everything after it, and author and author x recipe assets cannot share a
run. What is up to date is skipped: `staleness` decides what is not.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import dagster as dg
from filelock import FileLock

from twin_assets.errors import BadInput
from twin_assets.operations.staleness import FEATURES_JOB, job_assets, out_of_date
from twin_assets.orchestration.partitions import add_partitions, author_recipe
from twin_assets.orchestration.run_launcher import cancel_own_runs, fail_dead_runs, own_process_tag
from twin_assets.settings import Settings
from twin_assets.stores import Stores

RECIPE_JOB = "recipe"
LAST_ASSET = "evaluation_report"
"""The asset up to which the graph is run unless another is named."""
PROGRESS_CONFIG: dict[str, Any] = {"loggers": {"progress": {}}}


@dataclass(frozen=True)
class Outcome:
    """The outcome of one part of the graph."""

    part: str
    status: Literal["ran", "skipped", "failed"]
    seconds: float = 0.0
    run_id: str | None = None
    text: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


TellOutcome = Callable[[Outcome], None]


@contextmanager
def dagster_instance() -> Iterator[dg.DagsterInstance]:
    """The project's Dagster instance, after marking dead runs as failed."""
    locks = Settings().data_dir / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    # Two processes that create the database at once would leave one with two alembic heads, which cannot be opened.
    with FileLock(locks / "dagster.lock"):
        opened = dg.DagsterInstance.get()
    with opened as instance:
        fail_dead_runs(instance)
        yield instance


def register(instance: dg.DagsterInstance, stores: Stores, recipes: Sequence[str] = ()) -> None:
    """Add every author in the warehouse, and these recipes, to Dagster as partitions."""
    add_partitions(instance, [profile.id for profile in stores.warehouse.profiles()], recipes)


def daemon_runs(instance: dg.DagsterInstance) -> bool:
    """True if a daemon is running that follows schedules, sensors and automation; `dagster dev` starts one."""
    from dagster._daemon.controller import all_daemons_live

    return all_daemons_live(instance)


def run_job(
    instance: dg.DagsterInstance,
    part: str,
    job: str,
    partition: str,
    assets: Sequence[str] = (),
    config: dict[str, Any] | None = None,
) -> Outcome:
    """Execute a job for one partition in this process; a failure is an outcome, not an exception."""
    from twin_assets.definitions import defs

    started = time.monotonic()
    job_definition = defs.resolve_job_def(job)

    def execute() -> dg.ExecuteInProcessResult:
        return job_definition.execute_in_process(
            instance=instance,
            partition_key=partition,
            raise_on_error=False,
            asset_selection=[dg.AssetKey(asset.split("/")) for asset in assets] or None,
            run_config=PROGRESS_CONFIG | (config or {}),
            tags=own_process_tag() | run_tags(partition),
        )

    result = _until_interrupted(instance, execute)
    seconds = round(time.monotonic() - started, 1)
    if result.success:
        return Outcome(part, "ran", seconds, result.run_id)
    return Outcome(part, "failed", seconds, result.run_id, _first_error(result))


def run_tags(partition: str) -> dict[str, str]:
    """The tags that name a run's author and, if it has one, its recipe."""
    if isinstance(partition, dg.MultiPartitionKey):
        return {f"twin/{name}": key for name, key in partition.keys_by_dimension.items()}
    return {"twin/author": partition}


def _until_interrupted(
    instance: dg.DagsterInstance, execute: Callable[[], dg.ExecuteInProcessResult]
) -> dg.ExecuteInProcessResult:
    """The result of `execute`; Ctrl-C or SIGTERM ends this process at once and marks its runs as cancelled.

    In the main thread Dagster would treat the signal as an error of the step and retry it, so the run gets a thread of
    its own. Ending at any moment is safe: a run that is killed and started again has the same result.
    """
    if threading.current_thread() is not threading.main_thread():
        return execute()
    result: Future[dg.ExecuteInProcessResult] = Future()

    def run() -> None:
        try:
            result.set_result(execute())
        except BaseException as error:
            result.set_exception(error)

    before = {signum: signal.signal(signum, signal.default_int_handler) for signum in (signal.SIGINT, signal.SIGTERM)}
    # During a step Dagster redirects stderr to a file that another process shows; Ctrl-C ends that process too.
    terminal = os.dup(2)
    threading.Thread(target=run, name="dagster-run", daemon=True).start()
    try:
        return result.result()
    except KeyboardInterrupt:
        cancel_own_runs(instance)
        os.write(terminal, b"\ninterrupted: what was done is kept, and the same command continues from there\n")
        os._exit(130)
    finally:
        os.close(terminal)
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _first_error(result: dg.ExecuteInProcessResult) -> str:
    """The message of the innermost error, which is the one that helps a person."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data and data.user_failure_data.description:
                return data.user_failure_data.description
            error = data.error
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None:
                return error.message.strip().partition(": ")[2] or error.message.strip()
    return "see the run in the Dagster UI"


def collect(
    instance: dg.DagsterInstance, stores: Stores, author: str, tell: TellOutcome, platform: str | None = None
) -> list[Outcome]:
    """Run the collection, one run per platform of the author's; a platform that fails does not stop the others."""
    platforms = sorted({source.platform for source in stores.warehouse.profile(author).sources})
    if not platforms:
        raise BadInput(f"{author} has no source yet: add one with `twin source add {author} PLATFORM WHERE`")
    if platform is not None and platform not in platforms:
        raise BadInput(f"{author} has no {platform} source (platforms: {', '.join(platforms)})")
    outcomes = []
    for name in [platform] if platform else platforms:
        outcome = run_job(instance, f"raw/{name}", f"collect_{name}", author)
        tell(outcome)
        outcomes.append(outcome)
    return outcomes


def run_features(
    instance: dg.DagsterInstance, author: str, tell: TellOutcome, until: str = "instruction_dataset"
) -> list[Outcome]:
    """Run the feature assets up to `until` that are out of date, in one run."""
    stale = out_of_date(instance, author)
    assets = [asset for asset in _up_to(until, job_assets(FEATURES_JOB)) if asset in stale]
    if assets:
        outcome = run_job(instance, "features", FEATURES_JOB, author, assets)
    else:
        outcome = Outcome("features", "skipped", text="up to date")
    tell(outcome)
    return [outcome]


def run_recipe(
    instance: dg.DagsterInstance, stores: Stores, author: str, recipe: str, tell: TellOutcome, until: str = LAST_ASSET
) -> list[Outcome]:
    """Train and evaluate a recipe, unless the registry has a version for this dataset, evaluated by today's code.

    Raises BadRecipe.
    """
    from twin_assets.evaluation.assets import is_judged
    from twin_assets.training.identity import identity_of, known_revision, resolved_recipe, trained_version

    resolved = resolved_recipe(stores, author, recipe)
    register(instance, stores, [recipe])
    dataset = stores.features.table(author, "instruction_dataset").pinned
    identity = identity_of(resolved, dataset, known_revision(resolved.base, stores.settings))
    manifest = trained_version(stores, author, resolved, identity)
    if manifest and (until != LAST_ASSET or is_judged(stores, manifest)):
        outcome = Outcome(f"recipe {recipe}", "skipped", text=f"{manifest.version} holds this dataset")
    else:
        assets = _up_to(until, job_assets(RECIPE_JOB))
        outcome = run_job(instance, f"recipe {recipe}", RECIPE_JOB, author_recipe(author, recipe), assets)
    tell(outcome)
    return [outcome]


def run_graph(
    instance: dg.DagsterInstance, stores: Stores, author: str, recipes: Sequence[str], until: str, tell: TellOutcome
) -> list[Outcome]:
    """Run the graph up to `until`, an asset or `raw` for collection alone; it goes on with what succeeded."""
    features_assets, recipe_assets = job_assets(FEATURES_JOB), job_assets(RECIPE_JOB)
    known = ["raw", *features_assets, *recipe_assets]
    if until not in known:
        raise BadInput(f"{until!r} is not an asset that `twin run` can stop after: use one of {', '.join(known)}")
    register(instance, stores)
    outcomes = collect(instance, stores, author, tell)
    if until == "raw" or not any(True for _ in stores.warehouse.fingerprints(author)):
        return outcomes
    features = run_features(instance, author, tell, until if until in features_assets else features_assets[-1])
    outcomes += features
    if until in recipe_assets and features[0].status != "failed":
        for recipe in recipes:
            outcomes += run_recipe(instance, stores, author, recipe, tell, until)
    return outcomes


def _up_to(until: str, assets: list[str]) -> list[str]:
    return assets[: assets.index(until) + 1]


def promote(instance: dg.DagsterInstance, author: str, version: str | None, who: str, reason: str) -> Outcome:
    """Execute `production_model`, the only place that moves the alias."""
    config = {"ops": {"production_model": {"config": {"version": version, "who": who, "reason": reason}}}}
    return run_job(instance, "production_model", "promote", author, config=config)
