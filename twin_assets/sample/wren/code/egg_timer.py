"""Two sorts of time, which I took for one until the end of 2016.

There is the time of day, which is an agreement between people and may be
altered by vote, by a correction, or by me. And there is how long something
took, which nobody voted on. Stamps come from the first and intervals from the
second: never the difference of two stamps where a decision hangs on it.

That night an answer from gauge No. 2 arrived 0.9 seconds before the question,
and a program of mine turned the gauge off for it.
"""

import time
from datetime import date, datetime, timedelta, timezone

# The last days that had a second too many. 27 of them, and no more by 2035.
LEAP_DAYS = tuple(
    date(year, 6, 30) for year in (1972, 1981, 1982, 1983, 1985, 1992, 1993, 1994, 1997, 2012, 2015)
) + tuple(
    date(year, 12, 31)
    for year in (1972, 1973, 1974, 1975, 1976, 1977, 1978, 1979, 1987, 1989, 1990, 1995, 1998, 2005, 2008, 2016)
)  # fmt: skip


def stamp_utc(when=None):
    """The time of day, for stamping. The Z is there so that no one need take my word for it."""
    when = when or datetime.now(timezone.utc)
    if when.utcoffset() is None:
        raise ValueError("stamp: the time has no zone, and I will not guess one")
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class EggTimer:
    """How long something took. It cannot tell you the date and it never runs backwards."""

    def __init__(self, clock=time.monotonic):
        self.clock = clock
        self.began_s = clock()

    def elapsed_s(self):
        """Seconds since the egg went in."""
        return self.clock() - self.began_s


def seconds_between(start_utc, end_utc):
    """True seconds from one stamp to another, with the leap seconds put back.

    For history only. It was written to mend the record of 31 December 2016.
    """
    plain_s = (end_utc - start_utc).total_seconds()
    return plain_s + sum(start_utc.date() <= day < end_utc.date() for day in LEAP_DAYS)


def seconds_in_day(day):
    """86,400, and now and again one more."""
    return 86_400 + (day in LEAP_DAYS)


def next_start_utc(now_utc, every_s=360):
    """When the next interval begins. The length of the nap changes: the hour of rising does not."""
    midnight = now_utc.replace(hour=0, minute=0, second=0, microsecond=0)
    gone_s = (now_utc - midnight).total_seconds()
    return midnight + timedelta(seconds=(gone_s // every_s + 1) * every_s)


def nap_s(now_utc, every_s=360):
    """How long to sleep. `sleep 300` after a reading of 2.3 s is every 302.3 s, and by supper it shows."""
    return (next_start_utc(now_utc, every_s) - now_utc).total_seconds()


def clock_error_level_mm(clock_error_s, rate_mm_s=0.29):
    """What a wrong clock does to a level at half tide on a big spring. 94 s is 27 mm."""
    return clock_error_s * rate_mm_s


def age_shown(age_s):
    """How the screen shows a figure: grey past 15 minutes, a dash past the hour. A blank sends you to the window."""
    if age_s < 0:
        return "dash"  # a reading from the future is no reading
    return "black" if age_s <= 900 else "grey" if age_s <= 3600 else "dash"
