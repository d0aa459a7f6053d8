"""Dates as feeds, front matter and exports write them: dateutil reads them, dateparser and Babel know the customs.

What is no date in which somebody can have published gives None, and never a guess: year 1 and 9999 are what programs
write for "none" and "never". See: https://dateutil.readthedocs.io/, https://dateparser.readthedocs.io/
"""

import re
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Any

FIRST_YEAR = 1900
"""An earlier year is a mistake, or stands for an unknown one."""
YEARS_AHEAD = 2
"""A post may be scheduled, but a year further ahead than this stands for "never"."""

_SIGNED_GMT = re.compile(r"\b(?:GMT|UTC)\s?(?=[+-]\d)", re.IGNORECASE)
_COMMENT = re.compile(r"\s*\([^()]*\)\s*$")
_REGION = re.compile(r"\s*\[?\b([A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z_-]+)+)\]?\s*$")
_NO_YEAR = re.compile(r"-000[1-9]\b|(?<![+-])\b0000\b(?!-\d\d:)")
_NUMERIC = re.compile(r"(?<![\d./-])(\d{1,2})([./-])(\d{1,2})\2(?:\d{4}|\d{2})(?![\d./-])")
_WORD = re.compile(r"[^\W\d_]{3}|[年월년日]")


def parse_date(value: object, language: str | None = None) -> datetime | None:
    """Parse a date or time; UTC when it has no zone, None when it is not a date, or not one of a publication.

    language: that of the text around it, such as `de` or `en-GB`: it decides whether 05.04.2024 is in April, and what
    the months are called. Without one, dots put the day first and slashes the month.
    """
    if value is None or value == "":
        return None
    try:
        parsed = value if isinstance(value, datetime) else _parsed(str(value).strip(), language)
        if parsed is None or not FIRST_YEAR <= parsed.year <= datetime.now(UTC).year + YEARS_AHEAD:
            return None
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, ArithmeticError):  # such as for a year of 400 digits
        return None


def is_ambiguous(text: str) -> bool:
    """True for a date such as 05/04/2024, whose language decides which number is the day."""
    found = _NUMERIC.search(text)
    return bool(found and int(found[1]) <= 12 and int(found[3]) <= 12)


def undated_note(value: object) -> str:
    """A sentence for the crawl's report on a date that `parse_date` cannot take."""
    return f"gives the date {str(value)[:40]!r}, which is none: it is collected without a date; correct it there"


def _parsed(text: str, language: str | None) -> datetime | None:
    from dateutil import tz

    # dateutil reads `GMT+1` as POSIX does: as a zone in which it is earlier than in Greenwich.
    text = _SIGNED_GMT.sub("", _COMMENT.sub("", text))
    if _NO_YEAR.search(text):
        return None
    region = _REGION.search(text)
    zone = tz.gettz(region[1]) if region else None
    if region and zone:
        text = text[: region.start()]
    parsed = _with_dateutil(text, day_first=_is_day_first(text, language)) or _with_dateparser(text, language)
    return parsed.replace(tzinfo=zone) if parsed and zone and parsed.tzinfo is None else parsed


def _with_dateutil(text: str, *, day_first: bool) -> datetime | None:
    from dateutil import parser

    def parse(year: int) -> datetime:
        return parser.parse(text, default=datetime(year, 1, 1), dayfirst=day_first, tzinfos=_zone)

    try:
        parsed = parse(1970)
        # A time or a month without a year takes the default's, which differs from one default to the other.
        return parsed if parsed.year != 1970 or parse(1972) == parsed else None
    except (ValueError, ArithmeticError):
        return None


def _zone(name: str | None, offset_s: int | None) -> tzinfo | int | None:
    """What dateutil asks for: the offset of a zone, as the text states it or by the zone's name."""
    return offset_s if offset_s is not None or not name else _named_zone(name)


@cache
def _named_zone(name: str) -> tzinfo | None:
    """The zone behind an abbreviation such as PST; None for a name that stands for none."""
    from dateparser.timezone_parser import pop_tz_offset_from_string

    zone: tzinfo | None = pop_tz_offset_from_string(f"20:30 {name}")[1]
    return zone


def _with_dateparser(text: str, language: str | None) -> datetime | None:
    """Read a date with the names of months in another language than English."""
    import dateparser

    if not language or not re.search(r"\d", text) or not _WORD.search(text) or len(text) > 60:
        return None
    settings: Any = {"PARSERS": ["absolute-time"], "REQUIRE_PARTS": ["day", "month", "year"]}
    try:
        parsed: datetime | None = dateparser.parse(
            text, languages=[re.split("[-_]", language.lower())[0]], settings=settings
        )
    except ValueError:  # a language that dateparser does not know
        return None
    return parsed


def _is_day_first(text: str, language: str | None) -> bool:
    found = _NUMERIC.search(text)
    if not found:
        return False
    pattern = _short_date(language) if language else None
    if pattern is None or pattern.startswith("y"):
        return found[2] == "."
    return pattern.index("d") < pattern.index("M")


@cache
def _short_date(language: str) -> str | None:
    """How a language writes a date in numbers, such as `dd.MM.yy`; None for a language that Babel does not know."""
    from babel import Locale, UnknownLocaleError

    try:
        return str(Locale.parse(language.replace("-", "_")).date_formats["short"].pattern)
    except (ValueError, UnknownLocaleError):
        return None
