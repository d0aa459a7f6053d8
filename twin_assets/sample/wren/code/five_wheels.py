"""The tide at Skerrow, as five bicycle wheels and a plank.

Each wheel turns at a fixed rate, set by the moon, the sun and the earth, and
never altered. What has to be measured here is how large each one is and where
its mark stood when we began. Then it is only turning and adding.

Five leave about 80 mm. The tables use 37, which leave 60. What remains is
weather, and there is no wheel for that.
"""

from datetime import datetime, timedelta, timezone
from math import cos, pi
from typing import NamedTuple

BEGAN_UTC = datetime(2024, 1, 1, tzinfo=timezone.utc)
MEAN_CD_MM = 2100


class Wheel(NamedTuple):
    name: str
    turn_h: float
    size_mm: float
    top_h: float  # hours after we began that its mark first stood at the top


WHEELS = (
    Wheel("M2", 12.4206, 1320, 7.19),  # the moon
    Wheel("S2", 12.0000, 480, 5.10),  # the sun
    Wheel("N2", 12.6583, 270, 1.59),  # the moon's near and far
    Wheel("K1", 23.9345, 110, 9.40),  # daily
    Wheel("O1", 25.8193, 90, 20.15),  # daily
)


def level_cd_mm(when_utc, wheels=WHEELS):
    """How high all the hands point, added up."""
    hours = (when_utc - BEGAN_UTC).total_seconds() / 3600
    return MEAN_CD_MM + sum(w.size_mm * cos(2 * pi * (hours - w.top_h) / w.turn_h) for w in wheels)


def turning_points(start_utc, hours=25, step_min=1):
    """High and low waters as (time, level, 'high' or 'low'), to the minute."""
    steps = [start_utc + timedelta(minutes=m) for m in range(0, hours * 60 + 1, step_min)]
    levels = [level_cd_mm(when) for when in steps]
    found = []
    for i in range(1, len(steps) - 1):
        if levels[i - 1] < levels[i] >= levels[i + 1]:
            found.append((steps[i], levels[i], "high"))
        elif levels[i - 1] > levels[i] <= levels[i + 1]:
            found.append((steps[i], levels[i], "low"))
    return found


def days_to_part(a, b):
    """How long before two wheels can be told apart.

    M2 and S2 want 14.77 days. From a week of data the sum will still give a
    size for each, to three places, and they will be nonsense.
    """
    return 1 / abs(1 / a.turn_h - 1 / b.turn_h) / 24


def range_mm(moon=WHEELS[0], sun=WHEELS[1], together=True):
    """Twice the two hands: 3.6 m at springs, 1.7 m at neaps."""
    return 2 * (moon.size_mm + sun.size_mm if together else abs(moon.size_mm - sun.size_mm))


def leavings_mm(measured):
    """Measured less predicted, for (time, level) pairs. Subtract what you know, and look at the crumbs.

    If these come out dead flat, somebody is plotting the prediction against
    itself. I have made that plot, and was pleased with it for an evening.
    """
    crumbs = [None if level is None else level - level_cd_mm(when) for when, level in measured]
    known = [crumb for crumb in crumbs if crumb is not None]
    if len(known) > 10 and max(known) - min(known) < 0.5:
        raise ValueError("leavings: dead flat, which the sea is not. Is this the prediction against itself?")
    return crumbs


def main():
    for when, level, which in turning_points(datetime(2024, 8, 5, tzinfo=timezone.utc)):
        print(f"{when:%Y-%m-%d %H:%M}Z  {which:4}  {level / 1000:.2f} m")


if __name__ == "__main__":
    main()
