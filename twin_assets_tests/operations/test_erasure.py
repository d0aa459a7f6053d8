"""Two authors in one real project; one is erased, and then every byte of it is searched for what was theirs."""

import re
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as db
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.storage.compute_log_manager import ComputeIOType

from twin_assets.content.web import WebClient
from twin_assets.documents import (
    AuthorProfile,
    BaseModelRef,
    Consent,
    DatasetRef,
    Interaction,
    ModelManifest,
    RecipeChoice,
    utcnow,
)
from twin_assets.errors import BadInput, NotThere, TwinError
from twin_assets.language.embedding import load_embedder
from twin_assets.language.search import search
from twin_assets.operations import runs as running
from twin_assets.operations import usage
from twin_assets.operations.erasure import EVALUATIONS, check_erasable, erase, erasing, is_being_erased
from twin_assets.operations.sources import add_source
from twin_assets.operations.staleness import out_of_date
from twin_assets.operations.status import author_status
from twin_assets.orchestration.partitions import author_recipe
from twin_assets.stores import Stores, open_stores
from twin_assets.stores.models import sha256_of_files
from twin_assets_tests.collection.site import Page, Site
from twin_assets_tests.end_to_end.conftest import Project, kill_group, write_notes

ADA, BEN = "adelheid-quast", "benedikt-moor"
SAID = {ADA: "Otters sleep in the third drawer of the harbour office", BEN: "Herons read the tide tables at noon"}
VERSION = "tiny-cpu-0123456789"
REPOSITORY = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("twin_assets.definitions"), "__repository__")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Project:
    """A project with all that two authors leave in it; never disturbed."""
    project = Project(tmp_path_factory.mktemp("both"), TWIN_ALLOW_PRIVATE_ADDRESSES="true")
    adapter = untrained_adapter(tiny_model, tmp_path_factory.mktemp("adapter"))
    with project_environment(project), project.instance() as instance:
        stores = open_stores()
        for author in (BEN, ADA):
            collect_and_make_features(instance, stores, author, project.home / "writing" / author)
            draft_and_promote(instance, stores, author, tiny_model, adapter)
            keep_by_hand(project.data, author)
            read_the_web(stores, author)
            leave_traces_of_sensors(instance, author)
    return project


@pytest.fixture
def project(both: Project, tmp_path: Path) -> Iterator[Project]:
    """A copy for one test."""
    copied = both.copy(tmp_path / "project", TWIN_ALLOW_PRIVATE_ADDRESSES="true")
    with project_environment(copied):
        yield copied
    copied.kill_everything()


@pytest.fixture
def instance(project: Project) -> Iterator[dg.DagsterInstance]:
    with project.instance() as opened:
        yield opened


@contextmanager
def project_environment(project: Project) -> Iterator[None]:
    """Within it, this process works in the project."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in project.environment.items():
            patch.setenv(name, value)
        open_stores.cache_clear()
        yield
    open_stores.cache_clear()


def untrained_adapter(base: Path, folder: Path) -> Path:
    """An adapter that loads."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    lora = LoraConfig(r=2, target_modules="all-linear")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora).save_pretrained(folder)
    return folder


def collect_and_make_features(instance: dg.DagsterInstance, stores: Stores, author: str, folder: Path) -> None:
    write_notes(folder, 4)
    (folder / "said.md").write_text(f"---\ntitle: {SAID[author]}\n---\n{SAID[author]}, and nobody minds.\n")
    name = author.replace("-", " ").title()
    stores.warehouse.add_profile(
        AuthorProfile(id=author, name=name, consent=Consent(who=name), recipes=[RecipeChoice(name="tiny-cpu")])
    )
    add_source(stores, author, "files", str(folder))
    outcomes = running.run_graph(instance, stores, author, [], "instruction_dataset", lambda _: None)
    assert {outcome.status for outcome in outcomes} == {"ran"}
    stores.warehouse.ask_for_crawl(author, "files-writing")
    stores.warehouse.save_crawl_state(author, "files-writing", {"last": SAID[author]})
    stores.warehouse.save_import(author, "files-writing", utcnow(), {"file": SAID[author]})
    stores.warehouse.save_monitoring_report(author, "2026-11-24", {"note": SAID[author]})


def draft_and_promote(instance: dg.DagsterInstance, stores: Stores, author: str, base: Path, adapter: Path) -> None:
    draft = {"prompt": SAID[author], "draft": SAID[author], "edited": f"{SAID[author]}!", "consented": True}
    stores.warehouse.save_interaction(Interaction(id=f"of-{author}", author=author, model_version=VERSION, **draft))
    running.register(instance, stores, ["tiny-cpu"])
    pairs = running.run_job(instance, "pairs", "recipe", author_recipe(author, "tiny-cpu"), ["preference_pairs"])
    assert pairs.status == "ran"
    training = stores.settings.data_dir / "training" / author / VERSION
    shutil.copytree(adapter, training / "adapter")
    (training / "metrics.jsonl").write_text(SAID[author])
    path = stores.models.upload(author, "tiny-cpu", VERSION, training, ["adapter", "metrics.jsonl"])
    dataset = stores.features.table(author, "instruction_dataset").pinned
    stores.models.publish(
        ModelManifest(
            author=author, version=VERSION, recipe_name="tiny-cpu", recipe={}, recipe_hash="0", path=path,
            base=BaseModelRef(name=str(base), revision=sha256_of_files(base)), prompt_template="ours",
            weights_sha256=sha256_of_files(adapter), prompt_version="1",
            dataset=DatasetRef(table=dataset.table, version="00001", data_version=dataset.data_version),
            code_version="1", tracking_run=f"https://wandb.example/{author}",
        )
    )  # fmt: skip
    assert running.promote(instance, author, VERSION, author, SAID[author]).status == "ran"
    assert usage.exclude(instance, stores, author, next(stores.warehouse.documents(author)).id, ["training"])


def keep_by_hand(data: Path, author: str) -> None:
    """What wandb and the author themselves put beside the stores."""
    import wandb

    wandb_home = data / "wandb" / author
    wandb_home.mkdir(parents=True)
    settings = wandb.Settings(console="off", silent=True, disable_git=True)
    wandb.init(dir=str(wandb_home), mode="offline", config={"said": SAID[author]}, settings=settings).finish()
    inbox = data / "inbox" / author
    inbox.mkdir(parents=True)
    with zipfile.ZipFile(inbox / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("posts.csv", f"{SAID[author]}\n" * 50)


def read_the_web(stores: Stores, author: str) -> None:
    site = Site()
    site.pages["/"] = Page(f"<p>{SAID[author]}</p>".encode(), etag='"1"')
    with WebClient(stores.settings, stores.settings.web_cache(author)) as web:
        web.get(f"{site.url}/")
    site.close()


def leave_traces_of_sensors(instance: dg.DagsterInstance, author: str) -> None:
    """Ticks with their logs, one of them purged since, and an evaluation, as a daemon keeps them."""
    sensor = RemoteInstigatorOrigin(REPOSITORY, f"training_due_{author[:1]}")
    turn = SensorInstigatorData(cursor=author)
    instance.add_instigator_state(InstigatorState(sensor, InstigatorType.SENSOR, InstigatorStatus.RUNNING, turn))
    log_key = ["__repository__", "crawl_due", author]
    instance.create_tick(
        TickData(
            "origin", "crawl_due", InstigatorType.SENSOR, TickStatus.SUCCESS, utcnow().timestamp(),
            run_ids=[], run_keys=[f"{author}|files|2026-11-24"], selector_id="selector", log_key=log_key,
        )
    )  # fmt: skip
    of_purged_tick = [*log_key[:2], f"{author}-1"]
    for key in (log_key, of_purged_tick):
        with instance.compute_log_manager.open_log_stream(key, ComputeIOType.STDERR) as log:
            log.write(f"{author}: {SAID[author]}.zip is no zip archive")
    evaluation = {"evaluation_id": 1, "asset_key": f'["{author}"]', "asset_evaluation_body": f'["{author}|tiny-cpu"]'}
    with instance.schedule_storage.connect() as connection:
        connection.execute(db.insert(EVALUATIONS).values(evaluation))


def holding(data: Path, author: str) -> set[str]:
    """Files under `data` that hold what the author said, their name or id, or are called by it.

    A database and its log are one file.
    """
    words = (SAID[author], author, author.replace("-", " ").title())
    pattern = re.compile("|".join(map(re.escape, words)).encode())
    while True:
        files = [path for path in data.rglob("*") if path.is_file()]
        # SQLite's log goes when a connection closes, and what it held is in the database then: look again.
        with suppress(FileNotFoundError):
            found = [
                path for path in files if author in str(path.relative_to(data)) or pattern.search(path.read_bytes())
            ]
            return {str(path.relative_to(data)).removesuffix("-wal").removesuffix("-shm") for path in found}


def erased(instance: dg.DagsterInstance, stores: Stores) -> dict[str, int]:
    return erase(instance, stores, ADA, lambda _: None).removed


def test_nothing_of_an_erased_author_is_in_any_byte(project, instance):
    before = holding(project.data, ADA)
    places = {path.split("/")[0] for path in before}
    assert places == {"cache", "dagster", "features", "inbox", "locks", "models", "training", "wandb", "warehouse"}
    assert {"dagster/history/runs/.db", "dagster/history/runs/index.db", "dagster/history/runs.db"} <= before
    removed = erased(instance, project.stores)
    assert holding(project.data, ADA) == set()
    assert (removed["raw_documents"], removed["interactions"], removed["runs"]) == (5, 1, 4)
    assert {"feature_files", "model_files", "wandb_files", "inbox_files", "cache_files", "events", "ticks"} <= set(
        removed
    )


def test_the_other_author_keeps_everything(project, instance):
    stores = project.stores
    status, files, runs = author_status(stores, BEN), holding(project.data, BEN), instance.get_runs_count()
    stale = out_of_date(instance, BEN)
    assert last_cleaned(instance) == ADA
    erased(instance, stores)
    stores = project.stores
    assert author_status(stores, BEN) == status
    # Databases are rewritten: a write-ahead log that held something of theirs may be empty now.
    assert {path for path in files - holding(project.data, BEN) if not path.endswith("-wal")} == set()
    assert instance.get_runs_count() == runs - 4
    assert out_of_date(instance, BEN) == stale
    assert last_cleaned(instance) == BEN
    assert instance.get_dynamic_partitions("author") == [BEN]
    hits = search(stores.features.table(BEN, "embeddings"), load_embedder(stores.settings), SAID[BEN], 1)
    assert SAID[BEN] in hits[0].text


def last_cleaned(instance: dg.DagsterInstance) -> str | None:
    """Whose documents were cleaned last."""
    event = instance.get_latest_materialization_event(dg.AssetKey("cleaned_documents"))
    return event.asset_materialization.partition if event and event.asset_materialization else None


def test_an_erased_author_can_begin_anew(project, instance, tmp_path):
    erased(instance, project.stores)
    open_stores.cache_clear()
    stores = open_stores()
    collect_and_make_features(instance, stores, ADA, tmp_path / "writing")
    assert [profile.id for profile in stores.warehouse.profiles()] == [ADA, BEN]


@pytest.mark.parametrize("n_steps", range(0, 30, 3))
def test_an_erasure_that_stops_after_any_step_is_ended_by_the_next(project, instance, n_steps):
    assert len(list(islice(begun(instance, project.stores), n_steps))) == n_steps
    erased(instance, project.stores)
    assert holding(project.data, ADA) == set()
    assert author_status(project.stores, BEN)["chunks"] >= 5


def begun(instance: dg.DagsterInstance, stores: Stores) -> Iterator[tuple[str, int]]:
    (stores.settings.data_dir / f"{ADA}.erasing").write_text("[]")
    return erasing(instance, stores, ADA, lambda _: None)


def test_an_erasure_that_was_killed_is_ended_by_the_same_command(project):
    process = project.start("author", "erase", ADA, "--yes")
    project.until(lambda: "raw documents" in project.said(), 60, every_s=0.002)
    kill_group(process)
    assert is_being_erased(project.stores, ADA), "killed too late"
    said = project.twin("author", "erase", ADA, "--yes").stderr
    assert f"still at wandb, to be deleted there: https://wandb.example/{ADA}" in said
    assert holding(project.data, ADA) == set()
    assert not is_being_erased(project.stores, ADA)


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
@pytest.mark.parametrize(
    "tags",
    [
        {"dagster/partition": ADA},
        {"dagster/partition": f"{ADA}|tiny-cpu", "dagster/partition/author": ADA},
        {"twin/author": ADA},
    ],
)
def test_an_author_with_a_run_under_way_is_not_erased(project, instance, tags, status):
    before = holding(project.data, ADA)
    origin = RemoteJobOrigin(REPOSITORY, "train")
    instance.add_run(dg.DagsterRun("train", run_id="0000-1", status=status, tags=tags, remote_job_origin=origin))
    with pytest.raises(BadInput, match=r"a run of .* is under way: train 0000-1 .*Terminate in the Dagster UI"):
        erased(instance, project.stores)
    assert before <= holding(project.data, ADA)
    assert not is_being_erased(project.stores, ADA)


def test_a_run_that_begins_meanwhile_stops_the_erasure_until_it_ends(project, instance):
    stores = project.stores
    steps = begun(instance, stores)
    next(steps)
    run = dg.DagsterRun("features", run_id="0000-1", status=dg.DagsterRunStatus.STARTED, tags={"twin/author": ADA})
    instance.add_run(run)
    with pytest.raises(BadInput, match="under way"):
        list(steps)
    instance.report_run_failed(run)
    erased(instance, stores)
    assert holding(project.data, ADA) == set()


def test_a_database_that_is_held_open_in_a_transaction_is_named_with_the_way_out(project, instance, monkeypatch):
    monkeypatch.setattr("twin_assets.operations.erasure.LOCK_S", 0.2)
    writer = sqlite3.connect(project.stores.settings.web_cache(BEN), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(
        TwinError, match=r"http/benedikt-moor\.db could not be rewritten.*locked\): end `twin serve`, `dagster dev`"
    ):
        erased(instance, project.stores)
    assert is_being_erased(project.stores, ADA)
    writer.execute("ROLLBACK")
    erased(instance, project.stores)
    assert holding(project.data, ADA) == set()


@pytest.mark.parametrize("author", ["..", "../adelheid-quast", "*", "", "adelheid-quast/"])
def test_what_is_no_id_is_refused_before_anything_is_touched(project, instance, author):
    with pytest.raises(BadInput, match="is not an author id"):
        erase(instance, project.stores, author, lambda _: None)


def test_an_unknown_author_is_an_error_also_after_their_erasure(project, instance):
    erased(instance, project.stores)
    for unknown in ("nobody", ADA):
        with pytest.raises(NotThere, match=f"no author '{unknown}'"):
            check_erasable(instance, project.stores, unknown)


def test_an_author_whose_id_begins_like_the_erased_ones_is_another(project, instance):
    stores = project.stores
    other = f"{ADA}-2"
    stores.warehouse.add_profile(AuthorProfile(id=other, name="Other", consent=Consent(who="Other")))
    stores.settings.web_cache(other).write_bytes(b"kept")
    erased(instance, stores)
    assert stores.warehouse.profile(other).name == "Other"
    assert stores.settings.web_cache(other).read_bytes() == b"kept"


@pytest.mark.parametrize("author", ["http", "instructions", "embedding", "models"])
def test_an_author_called_like_a_cache_leaves_it_to_the_others(stores, dagster_instance, author):
    settings = stores.settings
    mine, theirs = (
        [settings.web_cache(one), settings.instruction_cache(one), settings.cache_dir / "models" / one / "v1" / "w"]
        for one in (author, "ben")
    )
    theirs.append(settings.cache_dir / "embedding" / "0123.onnx")
    mine.append(settings.cache_dir / author / "v0" / ".complete")  # where earlier versions copied models to
    for path in [*mine, *theirs]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("kept")
    stores.warehouse.add_profile(AuthorProfile(id=author, name="Ada", consent=Consent(who="Ada")))
    assert erase(dagster_instance, stores, author, lambda _: None).removed["cache_files"] == 4
    assert [path for path in mine if path.exists()] == []
    assert [path.read_text() for path in theirs] == ["kept"] * 4


def test_progress_is_told(project, instance):
    said: list[str] = []
    erase(instance, project.stores, ADA, said.append)
    assert "raw documents: 5" in said
    assert "runs: 4" in said
