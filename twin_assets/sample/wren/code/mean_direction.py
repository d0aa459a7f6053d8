"""Averages of things that come round again.

A compass has a seam in it, at north, where 360 is sewn to 0. Average the labels
and 350 and 10 make 180, which put a south wind on the board at the head of the
pier while Aldous stood beside it with a northerly in his face. So average the
arrows.
"""

from math import atan2, cos, degrees, hypot, radians, sin

VARIABLE_BELOW = 0.3
GULL = 16  # the mast's own table of flags. There were nine between June and August 2023.
RESTLESS_DEG = 60


def mean_direction(dirs_deg):
    """The mean direction, and how far the readings agree: 1 when all do, 0 when they cancel."""
    if not dirs_deg:
        raise ValueError("direction: no readings, and the mean of nothing is not north")
    n = sum(cos(radians(d)) for d in dirs_deg) / len(dirs_deg)
    e = sum(sin(radians(d)) for d in dirs_deg) / len(dirs_deg)
    return degrees(atan2(e, n)) % 360, hypot(n, e)


def on_the_board(dirs_deg):
    """What is chalked up. A steady day here agrees to 0.97. Under 0.3 there is no answer to give."""
    mean_deg, agreement = mean_direction(dirs_deg)
    if agreement < VARIABLE_BELOW:
        return "variable"
    points = "N NNE NE ENE E ESE SE SSE S SSW SW WSW W WNW NW NNW".split()
    return points[round(mean_deg / 22.5) % 16]


def mean_round(values, turn):
    """The mean of anything with a seam: hours of the day, days of the year, the phase of a tide."""
    mean_deg, agreement = mean_direction([value * 360 / turn for value in values])
    return mean_deg * turn / 360 % turn, agreement


def mean_time_of_day(times):
    """The mean of 'HH:MM' times. Mine was fiction on any night that high water fell near midnight."""
    minutes = [int(hours) * 60 + int(rest) for hours, rest in (time.split(":") for time in times)]
    mean_min, _ = mean_round(minutes, 24 * 60)
    return f"{round(mean_min) // 60 % 24:02d}:{round(mean_min) % 60:02d}"


def difference_deg(a_deg, b_deg):
    """From b to a by the short way round, between -180 and 180."""
    return (a_deg - b_deg + 180) % 360 - 180


def swing_deg(dirs_deg):
    """How far a vane wandered from its own mean, both sides together."""
    mean_deg, _ = mean_direction(dirs_deg)
    away = [difference_deg(d, mean_deg) for d in dirs_deg]
    return max(away) - min(away)


def gull_on_the_cups(speeds_mps, dirs_deg):
    """Flag 16 if the cups are stopped and the vane is restless. Otherwise nothing.

    A calm stops both. A gull sits on the cups and looks at the mainland, and
    the washing is horizontal on every line in the village.
    """
    stopped = all(speed == 0.0 for speed in speeds_mps)
    return GULL if stopped and swing_deg(dirs_deg) > RESTLESS_DEG else None


def main():
    for dirs_deg in ([350, 10], [225, 231, 219, 240], [0, 90, 180, 270]):
        mean_deg, agreement = mean_direction(dirs_deg)
        print(f"{dirs_deg}: labels {sum(dirs_deg) / len(dirs_deg):.0f}, arrows {mean_deg:.0f}, "
              f"agreement {agreement:.2f}, board says {on_the_board(dirs_deg)}")


if __name__ == "__main__":
    main()
