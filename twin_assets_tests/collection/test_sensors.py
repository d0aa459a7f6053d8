"""What starts a crawl, and what does not start a second one."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_assets.collection import inbox
from twin_assets.collection.assets import assets, jobs
from twin_assets.collection.sensors import crawl_due
from twin_assets.documents import AuthorProfile, Consent, Source, utcnow
from twin_assets.orchestration.crawl_schedule import due_at
from twin_assets.orchestration.partitions import authors
from twin_assets_tests.benchmarks.fuzz import LAYOUTS

LONG_AGO = utcnow() - timedelta(days=30)
definitions = dg.Definitions(assets=assets, jobs=jobs, sensors=[crawl_due])


def source(name: str = "files-writing", platform: str = "files", cron: str | None = None) -> Source:
    return Source(id=name, platform=platform, where="/nowhere", cron=cron)


@pytest.fixture
def instance():
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def author(project):
    """author(*sources, name=…) saves a profile that is a month old."""

    def save(*sources: Source, name: str = "ada") -> None:
        profile = AuthorProfile(
            id=name, name=name, consent=Consent(who=name), sources=list(sources), created_at=LONG_AGO
        )
        project.warehouse.add_profile(profile)

    return save


@pytest.fixture
def tick(project, instance):
    """tick() -> run requests of one evaluation of the sensor."""

    def evaluate() -> list[dg.RunRequest]:
        repository = definitions.get_repository_def()
        context = dg.build_sensor_context(instance=instance, repository_def=repository)
        # The daemon's own context brings this along.
        with dg.partition_loading_context(dynamic_partitions_store=instance):
            return list(crawl_due.evaluate_tick(context).run_requests or [])

    return evaluate


@pytest.fixture
def crawled(project):
    """crawled(source_id, ago) notes that a crawl began then."""
    return lambda name="files-writing", ago=timedelta(0), author="ada": project.warehouse.save_crawl(
        author, name, {"started_at": utcnow() - ago}
    )


def test_a_source_that_is_due_by_its_cron_starts_a_crawl_of_its_platform(author, tick):
    author(source(cron="0 6 * * *"), source("blog-x", "blog"))
    [request] = tick()
    assert (request.job_name, request.partition_key) == ("collect_files", "ada")
    assert request.tags["twin/author"] == "ada"


def test_a_tick_that_sees_the_same_asks_under_the_same_key(author, tick, project):
    author(source(cron="0 6 * * *"), source("blog-x", "blog"))
    project.warehouse.ask_for_crawl("ada", "blog-x")
    first, second = tick(), tick()
    assert len(first) == 2
    assert [request.run_key for request in first] == [request.run_key for request in second]


def test_a_source_that_was_crawled_since_is_not_due(author, tick, crawled):
    author(source(cron="0 6 1 1 *"))
    crawled()
    assert tick() == []


def test_a_source_without_a_cron_waits_until_it_is_asked_for(author, tick, project):
    author(source())
    assert tick() == []
    project.warehouse.ask_for_crawl("ada", "files-writing")
    [request] = tick()
    assert request.job_name == "collect_files"
    project.warehouse.crawl_begins("ada", "files-writing")
    assert tick() == []


def test_asking_again_after_a_crawl_is_another_run(author, tick, project):
    author(source())
    keys = []
    for _ in range(2):
        project.warehouse.ask_for_crawl("ada", "files-writing")
        [request] = tick()
        keys.append(request.run_key)
        project.warehouse.crawl_begins("ada", "files-writing")
    assert len(set(keys)) == 2


def test_two_sources_of_one_platform_are_one_run(author, tick):
    author(source("files-a", cron="0 6 * * *"), source("files-b", cron="0 7 * * *"))
    assert len(tick()) == 1


def test_authors_have_runs_of_their_own_and_become_partitions(author, tick, instance):
    for name in ("ada", "bob"):
        author(source(cron="0 6 * * *"), name=name)
    assert [request.partition_key for request in tick()] == ["ada", "bob"]
    assert set(instance.get_dynamic_partitions(str(authors.name))) == {"ada", "bob"}


def test_while_a_crawl_is_queued_or_running_nothing_more_is_asked_for(author, tick, instance):
    author(source(cron="* * * * *"), source("blog-x", "blog", cron="* * * * *"))
    job = definitions.resolve_job_def("collect_files")
    run = instance.create_run_for_job(job, tags={"dagster/partition": "ada"}, status=dg.DagsterRunStatus.STARTED)
    assert [request.job_name for request in tick()] == ["collect_blog"]
    instance.report_run_failed(run)
    assert len(tick()) == 2


@pytest.fixture
def ended(instance):
    """ended(request, status) notes that the run that was asked for ended so, and left everything where it was."""

    def end(request: dg.RunRequest, status: dg.DagsterRunStatus = dg.DagsterRunStatus.FAILURE) -> None:
        job = definitions.resolve_job_def(request.job_name)
        tags = {**request.tags, "dagster/partition": request.partition_key}
        instance.create_run_for_job(job, tags=tags, status=status)

    return end


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_an_export_whose_run_ended_before_it_was_read_is_asked_for_again_under_another_key(
    author, tick, drop, ended, status
):
    author()
    drop("a.zip", LAYOUTS["medium"])
    [first], [seen_again] = tick(), tick()
    assert first.run_key == seen_again.run_key
    ended(first, status)
    [second] = tick()
    assert (second.job_name, second.partition_key) == ("collect_medium", "ada")
    assert second.run_key != first.run_key


def test_an_export_that_no_run_comes_to_read_is_refused_with_the_reason_and_tried_again_once_it_is_moved_back(
    author, tick, drop, ended
):
    author()
    dropped = drop("a.zip", LAYOUTS["medium"])
    tried = set()
    for _ in range(3):
        [request] = tick()
        ended(request)
        tried.add(request.run_key)
    assert len(tried) == 3
    assert tick() == []
    refused = dropped.parent / inbox.REFUSED
    assert "3 runs of collect_medium ended too early" in (refused / "a.zip.why.txt").read_text()

    (refused / "a.zip").rename(dropped)
    [again] = tick()
    assert again.run_key not in tried


def test_an_export_that_was_read_and_is_moved_back_is_read_again(author, tick, drop, ended):
    author()
    dropped = drop("a.zip", LAYOUTS["medium"])
    [first] = tick()
    ended(first, dg.DagsterRunStatus.SUCCESS)
    inbox.set_aside(dropped, inbox.IMPORTED).rename(dropped)
    [second] = tick()
    assert second.run_key != first.run_key


def test_an_export_that_cannot_be_read_does_not_hold_up_the_next_one(author, tick, drop, ended):
    author()
    first = drop("b.zip", LAYOUTS["medium"], age=200)
    second = drop("a.zip", LAYOUTS["medium"], age=100)
    for _ in range(3):
        ended(tick()[0])
    assert tick() == []
    assert (first.exists(), second.exists()) == (False, True)
    assert len(tick()) == 1


CRON = Source(id="s", platform="files", where="/x", cron="0 6 * * *")
NOON = datetime(2024, 5, 3, 12, tzinfo=UTC)
TICK = datetime(2024, 5, 3, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        (None, NOON, TICK),
        (TICK - timedelta(seconds=1), NOON, TICK),
        (TICK, NOON, None),
        (TICK + timedelta(seconds=1), NOON, None),
        (NOON, TICK + timedelta(days=1), TICK + timedelta(days=1)),
        (NOON, TICK + timedelta(days=1, seconds=-1), None),
    ],
)
def test_due_is_the_latest_tick_that_no_crawl_began_after(last, now, due):
    assert due_at(CRON, last, LONG_AGO.replace(year=2020), now) == due


def test_a_new_source_is_first_due_at_the_tick_after_it_came():
    assert due_at(CRON, None, NOON, NOON + timedelta(hours=1)) is None


def test_a_crawl_that_died_without_a_trace_does_not_hold_the_name_of_the_next():
    """The first missed tick would name every later run, and a run key is used only once."""
    days = [due_at(CRON, TICK - timedelta(days=1), LONG_AGO, NOON + timedelta(days=n)) for n in range(3)]
    assert len(set(days)) == 3


MINUTES = st.integers(0, 60 * 24 * 400)


@given(
    cron=st.sampled_from(["0 6 * * *", "*/5 * * * *", "@daily", "0 0 29 2 *", "30 4 * * 1"]), ago=MINUTES, at=MINUTES
)
def test_what_is_due_came_after_the_last_crawl_and_is_not_in_the_future(cron, ago, at):
    now = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=at)
    last = now - timedelta(minutes=ago)
    due = due_at(CRON.model_copy(update={"cron": cron}), last, last, now)
    assert due is None or last < due <= now
    if cron == "*/5 * * * *" and ago >= 5:
        assert due is not None
