"""Dates as feeds, front matter and exports of real sites write them."""

import warnings
from datetime import UTC, datetime

import pytest

from twin_assets.content.metadata.dates import is_ambiguous, parse_date


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("Mon, 05 Feb 2024 20:30:00 PST", "2024-02-06T04:30"),
        ("Fri, 05 Jul 2024 20:30:00 PDT", "2024-07-06T03:30"),
        ("Mon, 05 Feb 2024 20:30:00 EST", "2024-02-06T01:30"),
        ("Mon, 05 Feb 2024 20:30:00 CET", "2024-02-05T19:30"),
        ("Mon, 05 Feb 2024 20:30:00 UT", "2024-02-05T20:30"),
        ("Wed, 07 Feb 2024 20:30:00 GMT+0100", "2024-02-07T19:30"),
        ("Wed, 07 Feb 2024 20:30:00 GMT -05:00", "2024-02-08T01:30"),
        ("2024-02-07 20:30 UTC+5:30", "2024-02-07T15:00"),
        ("Wed Feb 07 2024 20:30:00 GMT+0100 (Central European Standard Time)", "2024-02-07T19:30"),
        ("Wed, 07 Feb 2024 20:30:00 -0800 (PST)", "2024-02-08T04:30"),
        ("Wed, 07 Feb 2024 20:30:00 -0000", "2024-02-07T20:30"),
        ("Wed Feb 07 20:30:00 +0000 2024", "2024-02-07T20:30"),
        ("Wed Feb 07 20:30:00 -0800 2024", "2024-02-08T04:30"),
        ("2024-02-07T20:30:00+01:00[Europe/Berlin]", "2024-02-07T19:30"),
        ("2024-07-07 20:30:00 America/New_York", "2024-07-08T00:30"),
        ("2024-02-07 20:30:00.10 -5", "2024-02-08T01:30:00.100"),
        ("2024-02-07T20:30:00Z", "2024-02-07T20:30"),
        ("20240207", "2024-02-07"),
        ("2024-02", "2024-02-01"),
        ("1970-03-01", "1970-03-01"),
    ],
)
def test_a_time_is_read_in_the_zone_that_it_names(text, utc):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_date(text) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


def test_a_zone_that_nobody_knows_warns_on_no_terminal():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_date("Mon, 05 Feb 2024 20:30:00 QQT") == datetime(2024, 2, 5, 20, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "0000-00-00 00:00:00",
        "0000-00-00",
        "Mon, 30 Nov -0001 00:00:00 +0000",
        "-0001-11-30T00:00:00+00:00",
        "0001-01-01T00:00:00Z",
        "9999-12-31",
        "2024-02-30",
        "2024-13-45",
        "2024-03-01 25:00:00",
        "10:30",
        "May",
        "1",
        "true",
        "soon",
    ],
)
def test_what_is_no_date_of_a_publication_is_none(text):
    assert parse_date(text) is None
    assert parse_date(text, "de") is None


@pytest.mark.parametrize(
    ("text", "language", "day"),
    [
        ("05.04.2024", "de", "2024-04-05"),
        ("05.04.2024 20:30", "de-AT", "2024-04-05T20:30"),
        ("5.4.24", "ru", "2024-04-05"),
        ("05/04/2024", "fr", "2024-04-05"),
        ("05/04/2024", "en-GB", "2024-04-05"),
        ("05/04/2024", "pt_BR", "2024-04-05"),
        ("05-04-2024", "nl", "2024-04-05"),
        ("05/04/2024", "en", "2024-05-04"),
        ("05/04/2024", "en-US", "2024-05-04"),
        ("05.04.2024", None, "2024-04-05"),
        ("05.04.2024", "not a language", "2024-04-05"),
        ("05/04/2024", None, "2024-05-04"),
        ("2024-04-05", "de", "2024-04-05"),
        ("2024-04-05T10:11:12Z", "fr", "2024-04-05T10:11:12"),
        ("5. Februar 2024", "de", "2024-02-05"),
        ("5 février 2024", "fr", "2024-02-05"),
        ("5 de mayo de 2024", "es", "2024-05-05"),
        ("25.12.2024", "en", "2024-12-25"),
    ],
)
def test_the_day_stands_where_the_texts_language_puts_it(text, language, day):
    assert parse_date(text, language) == datetime.fromisoformat(day).replace(tzinfo=UTC)


def test_only_a_date_in_numbers_that_can_be_read_both_ways_is_ambiguous():
    assert is_ambiguous("05.04.2024")
    assert not any(map(is_ambiguous, ("25.04.2024", "2024-04-05", "5 April 2024", "2024.04.05")))
