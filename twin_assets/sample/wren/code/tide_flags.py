"""Flags for the tide readings. A flag is an opinion and it sits beside the number.

No function in this file changes a level, and none removes one. Somebody tidy
deleted 211 readings between 1994 and 2003, one of them on the night of the
worst gale of the decade, and I am not going to be the second.

These are the tide flags. The mast has a table of its own, in which 16 is a gull.
"""

GOOD, UNTESTED, SUSPECT, BAD, MISSING = 1, 2, 3, 4, 9

MEANING = {
    GOOD: "passed every test",
    UNTESTED: "less than a day old",
    SUSPECT: "failed one test, no known cause",
    BAD: "a cause is known and written down",
    MISSING: "no reading came",
}

LOWEST_CD_MM, HIGHEST_CD_MM = -300, 5200
FASTEST_MM_PER_6_MIN = 140  # a big spring moves 104 mm in six minutes
STUCK_FOR = 10  # an hour without a millimetre of change: even slack water fidgets


def test_range(levels_cd_mm, i):
    """Inside the wall and above the mud."""
    return LOWEST_CD_MM <= levels_cd_mm[i] <= HIGHEST_CD_MM


def test_rate(levels_cd_mm, i):
    """No faster than the moon can pull it. Squalls can, so this makes a 3 and never a 4."""
    if i == 0 or levels_cd_mm[i - 1] is None:
        return True
    return abs(levels_cd_mm[i] - levels_cd_mm[i - 1]) <= FASTEST_MM_PER_6_MIN


def test_stuck(levels_cd_mm, i):
    """A line as flat as a shelf is a shelf."""
    last = levels_cd_mm[max(0, i - STUCK_FOR + 1) : i + 1]
    return len(last) < STUCK_FOR or len(set(last)) > 1


TESTS = (test_range, test_rate, test_stuck)


def flag(levels_cd_mm):
    """A (flag, reason) for each six-minute level. None is a gap and stays one."""
    flags = []
    for i, level_cd_mm in enumerate(levels_cd_mm):
        if level_cd_mm is None:
            flags.append((MISSING, ""))
            continue
        failed = [test.__name__.removeprefix("test_") for test in TESTS if not test(levels_cd_mm, i)]
        flags.append((SUSPECT, "+".join(failed)) if failed else (GOOD, ""))
    return flags


def condemn(flagged, reason, initials, day_utc):
    """The gate between 3 and 4. No program may open it: it wants a person, a reason and a date."""
    was, why = flagged
    if was == MISSING:
        raise ValueError("condemn: there is no reading here to call bad")
    if not (reason.strip() and initials.strip() and day_utc.strip()):
        raise ValueError("condemn: wanted a reason, initials and a date, and one of them is empty")
    if reason.strip().lower() in {"looks odd", "odd", "outlier"}:
        raise ValueError(f"condemn: {reason!r} is a 3 for ever, find the cause first")
    note = f"{reason.strip()} ({initials.strip()} {day_utc.strip()})"
    return BAD, f"{why}: {note}" if why else note


def only_the_ones(levels_cd_mm, flags):
    """For those who want only the ones. The rest is still in the file for those who distrust me."""
    return [
        level_cd_mm if which == GOOD else None
        for level_cd_mm, (which, _) in zip(levels_cd_mm, flags, strict=True)
    ]


if __name__ == "__main__":
    calm_evening = [2310, 2322, 2452, 2594, 2401, 2355, None, 2370]
    for level, (which, why) in zip(calm_evening, flag(calm_evening), strict=True):
        print(f"{level!s:>5}  {which}  {MEANING[which]}  {why}")
