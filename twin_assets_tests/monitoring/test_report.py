from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin_assets.documents import AuthorProfile, BaseModelRef, Consent, DatasetRef, Interaction, ModelManifest, Source
from twin_assets.monitoring.report import MonitoringReport, markdown, monitor

NOW = datetime(2024, 5, 1, tzinfo=UTC)


def days(n: float) -> datetime:
    return NOW - timedelta(days=n)


def author(*sources: str) -> AuthorProfile:
    return AuthorProfile(
        id="ada",
        name="Ada",
        consent=Consent(who="Ada"),
        sources=[Source(id=name, platform="files", where="/x") for name in sources],
    )


def document(source: str = "one", age: float | None = 1, n_words: int = 100, category: str = "article") -> dict:
    return {
        "source_id": source,
        "category": category,
        "published_at": None if age is None else days(age),
        "n_words": n_words,
    }


def draft(n_words: int = 50, age: float = 1, **more) -> Interaction:
    fields = {"id": "i", "author": "ada", "model_version": "v1", "prompt": "p", "draft": "word " * n_words}
    return Interaction(**fields | {"created_at": days(age)} | more)


PRODUCTION = ModelManifest(
    author="ada", version="tiny-1", recipe_name="tiny", recipe={}, recipe_hash="r", path="/m", weights_sha256="0",
    base=BaseModelRef(name="b", revision="1"), prompt_version="1", prompt_template="ours", code_version="1",
    dataset=DatasetRef(table="instruction_dataset-00001", version="1", data_version="d"), created_at=days(4),
)  # fmt: skip


def report(profile=None, crawls=None, documents=(), interactions=(), production=None) -> MonitoringReport:
    return monitor(profile or author(), crawls or {}, documents, interactions, production, NOW)


def test_each_source_has_its_own_age_counts_and_last_crawl():
    crawls = {"one": {"finished_at": days(0.5), "failed": [{"item": "a", "reason": "no"}], "error": None}}
    found = report(author("one", "two"), crawls, [document("one", 3), document("one", 7), document("two", 40)])
    one, two = found.sources
    assert (one.documents, one.newest_document_age_days, one.crawl_age_days, one.failed_items) == (2, 3, 0.5, 1)
    assert (two.documents, two.newest_document_age_days, two.crawl_age_days) == (1, 40, None)
    assert (found.documents, found.newest_document_age_days) == (3, 3)


@pytest.mark.parametrize(
    ("crawl", "healthy"),
    [
        ({"finished_at": days(1), "failed": [], "error": None}, True),
        ({"finished_at": days(1), "failed": [{"item": "a", "reason": "no"}], "error": None}, False),
        ({"finished_at": days(1), "failed": [], "error": "answered 404"}, False),
        (None, False),
    ],
)
def test_a_source_is_healthy_when_its_last_crawl_ended_without_an_error_or_a_failed_item(crawl, healthy):
    found = report(author("one"), {"one": crawl} if crawl else {})
    assert [one.source_id for one in found.unhealthy] == ([] if healthy else ["one"])


def test_a_crawl_that_runs_is_as_old_as_its_beginning():
    crawls = {"one": {"started_at": days(0.25), "finished_at": None, "failed": []}}
    found = report(author("one"), crawls)
    assert found.sources[0].crawl_age_days == 0.25
    assert found.unhealthy == []


def test_documents_of_a_removed_source_count_and_have_no_line():
    found = report(author("one"), {}, [document("one"), document("removed")])
    assert (found.documents, len(found.sources)) == (2, 1)


def test_documents_without_a_date_have_no_age():
    assert report(author("one"), {}, [document(age=None)]).newest_document_age_days is None


def test_usage_is_of_the_last_thirty_days():
    interactions = [
        draft(rating="good"), draft(rating="bad"), draft(edited="better"), draft(), draft(age=31, rating="good"),
    ]  # fmt: skip
    usage = report(interactions=interactions).usage
    assert (usage.total, usage.recent, usage.rated_good, usage.rated_bad, usage.edited) == (5, 4, 1, 1, 1)


def test_drafts_are_measured_against_the_authors_prose_without_code():
    documents = [document(n_words=100), document(n_words=300), document(n_words=9_000, category="code")]
    length = report(documents=documents, interactions=[draft(50), draft(150), draft(9, age=99)]).draft_length
    assert (length.drafts, length.draft_median, length.author_median, length.ratio) == (2, 100, 200, 0.5)


def test_drafts_that_were_cancelled_or_failed_are_counted_and_have_no_length():
    unfinished = [draft(3, outcome=outcome) for outcome in ("cancelled", "failed", "failed", "open")]
    found = report(documents=[document()], interactions=[draft(50), *unfinished, draft(age=31, outcome="failed")])
    assert (found.draft_length.drafts, found.draft_length.draft_median) == (1, 50)
    assert (found.usage.recent, found.usage.cancelled, found.usage.failed) == (5, 1, 2)
    assert "1 cancelled, 2 failed" in markdown(found)
    assert report(documents=[document()], interactions=unfinished).draft_length is None


def test_a_report_that_was_saved_before_outcomes_were_counted_can_still_be_read():
    saved = report().model_dump()
    for name in ("cancelled", "failed"):
        del saved["usage"][name]
    assert MonitoringReport.model_validate(saved) == report()


def test_without_drafts_or_prose_there_is_no_length_to_compare():
    assert report(documents=[document()]).draft_length is None
    assert report(documents=[document(category="code")], interactions=[draft()]).draft_length is None


def test_the_age_of_the_production_model_is_told():
    found = report(production=PRODUCTION)
    assert (found.production, found.production_age_days) == ("tiny-1", 4)
    assert "In production: tiny-1, 4.0 days old." in markdown(found)


def test_a_time_that_names_no_zone_is_utc():
    crawls = {"one": {"finished_at": days(2).replace(tzinfo=None), "failed": []}}
    assert report(author("one"), crawls).sources[0].crawl_age_days == 2


def test_nothing_at_all_is_a_report_too():
    text = markdown(report())
    assert text.startswith("**0 documents**.\n")
    assert "Drafts in 30 days: 0" in text
    assert "In production: nothing yet." in text


@given(error=st.text(max_size=60))
def test_no_error_text_breaks_the_table_or_is_markup(error):
    crawls = {"one": {"finished_at": days(1), "failed": [], "error": error}}
    lines = markdown(report(author("one"), crawls)).split("\n")
    [row] = [line for line in lines if line.startswith("| one |")]
    assert row.replace("\\|", "").count("|") == 8
    assert "<" not in row.replace("&lt;", "")


def test_no_text_of_a_draft_is_in_the_report():
    found = report(interactions=[draft(edited="the secret edit", prompt="the secret prompt")])
    assert "secret" not in markdown(found) + found.model_dump_json()
    assert "word" not in found.model_dump_json()


@pytest.mark.parametrize(
    ("cron", "started_hours_ago", "overdue"),
    [
        (None, 500, None),
        ("0 6 * * *", 17, None),
        ("0 6 * * *", 18.1, 18.0),
        ("0 6 * * *", 100, 90.0),
        ("0 0 * * *", 30, 24.0),
        ("30 23 * * *", 24, None),
        ("0 6 * * *", None, 714.0),
    ],
    ids=[
        "no cron", "crawled since", "missed", "missed for days", "asked for just now, and missed the day before",
        "asked for half an hour ago", "never crawled",
    ],
)  # fmt: skip
def test_a_source_is_overdue_when_its_cron_asked_and_no_crawl_began(cron, started_hours_ago, overdue):
    profile = author("one").model_copy(update={"created_at": days(30)})
    profile.sources[0].cron = cron
    started = None if started_hours_ago is None else NOW - timedelta(hours=started_hours_ago)
    found = report(profile, {"one": {"started_at": started, "finished_at": started, "failed": []}} if started else {})
    assert found.sources[0].overdue_hours == overdue
    assert found.overdue == ([] if overdue is None else found.sources)


def test_a_source_that_was_just_added_is_not_overdue():
    profile = author("one").model_copy(update={"created_at": NOW - timedelta(hours=2)})
    profile.sources[0].cron = "0 6 * * *"
    assert report(profile).overdue == []
