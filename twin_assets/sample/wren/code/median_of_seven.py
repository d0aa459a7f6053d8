"""The level at gauge No. 3, from looks one second apart.

The radar stands on an arm over the ferry berth and believes whatever is under
it: the sea, the ramp of the Constance, a gull. So the bottom step is a median
of seven, which three liars out of seven cannot shift. From there on up it is
means, because means add and medians do not.

Beside each figure goes a count of the looks that disagreed. The count is how
I found the gull.
"""

from statistics import fmean, median, pstdev

LOOKS = 7
SPOILT_BEYOND_MM = 100
INTERVAL_S = 360


def middle_of_seven(levels_cd_mm):
    """The middle of seven looks, and how many of them were looking at something else."""
    if len(levels_cd_mm) != LOOKS:
        raise ValueError(f"median: wanted {LOOKS} looks, got {len(levels_cd_mm)}")
    middle_cd_mm = median(levels_cd_mm)
    spoilt = sum(abs(level - middle_cd_mm) > SPOILT_BEYOND_MM for level in levels_cd_mm)
    return middle_cd_mm, spoilt


def six_minutes(levels_cd_mm):
    """One stored reading from six minutes of looks: look often, store seldom.

    The looks come one a second. Whole sevens are used and the odd three at
    the end of 360 are left on the plate. The scatter costs four bytes and says
    how rough the water was inside the interval: it would have told me about
    the 370-second slosh in an afternoon.
    """
    if len(levels_cd_mm) < LOOKS:
        raise ValueError(f"gauge 3: wanted {INTERVAL_S} samples, got {len(levels_cd_mm)}, look at berth box cable")
    middles = []
    spoilt = 0
    for start in range(0, len(levels_cd_mm) - LOOKS + 1, LOOKS):
        middle_cd_mm, bad = middle_of_seven(levels_cd_mm[start : start + LOOKS])
        middles.append(middle_cd_mm)
        spoilt += bad
    return {
        "level_cd_mm": round(fmean(middles)),
        "scatter_mm": round(pstdev(middles), 1),
        "n": len(middles) * LOOKS,
        "spoilt": spoilt,
    }


def cost_of_one_ramp_mm(ramp_above_sea_mm=2400):
    """What one look at the ramp does to a mean of seven. It is 343 mm, and I paid it for three years."""
    return ramp_above_sea_mm / LOOKS


def alias_period_s(true_period_s, sample_every_s):
    """The slow wave that is not there.

    370 s of slosh looked at every 360 s is a tide of 3.7 hours. I drew a
    diagram of the currents that caused it.
    """
    if true_period_s == sample_every_s:
        raise ValueError("alias: the two periods are the same, so the wave will stand still for ever")
    return true_period_s * sample_every_s / abs(true_period_s - sample_every_s)


def main():
    calm = [2104, 2106, 2103, 2105, 2107, 2104, 2105]
    ramp = [2104, 2106, 4503, 2105, 2107, 2104, 2105]
    for name, looks in (("calm", calm), ("ramp down", ramp)):
        middle_cd_mm, spoilt = middle_of_seven(looks)
        print(f"{name}: mean {fmean(looks):.0f} mm, middle {middle_cd_mm} mm, spoilt {spoilt}")
    print(f"alias of the draw: {alias_period_s(370, 360) / 3600:.1f} h")


if __name__ == "__main__":
    main()
