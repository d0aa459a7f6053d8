"""The oldest piece of signal processing on the island, as a sum.

Under the Gauge House is a pipe 300 mm across with a float in it, and at the
bottom a hole 30 mm across. Water squeezed through a hole needs a push that
grows as the square of the flow. The push is a difference in level, and that
is the error of gauge No. 1 while the tide is moving.

In March 2022 the hole was 9 mm across, with mussels round it, and nobody had
touched a line of code.
"""

from math import sqrt

PIPE_MM = 300
HOLE_MM = 30
GRAVITY_MM_S2 = 9810
SQUEEZE = 0.62  # a jet through a sharp hole is narrower than the hole: 0.62 of it, give or take 0.02
SPRING_RATE_MM_S = 0.29  # half tide on a big spring


def lag_mm(rate_mm_s, hole_mm=HOLE_MM, pipe_mm=PIPE_MM):
    """How far the water in the pipe trails the water in the harbour.

    Positive on the flood means that the gauge reads low by this much.
    """
    jet_mm_s = rate_mm_s * (pipe_mm / hole_mm) ** 2 / SQUEEZE
    push_mm = jet_mm_s**2 / (2 * GRAVITY_MM_S2)
    return push_mm if rate_mm_s >= 0 else -push_mm


def hole_for_lag_mm(error_mm, rate_mm_s=SPRING_RATE_MM_S, pipe_mm=PIPE_MM):
    """The same sum turned round: what size of hole would explain this error?

    It is cheaper than a diver, and should be done before sending for one.
    """
    jet_mm_s = sqrt(2 * GRAVITY_MM_S2 * abs(error_mm))
    return pipe_mm * sqrt(abs(rate_mm_s) / (SQUEEZE * jet_mm_s))


def water_or_clock(error_at_springs_mm, error_at_neaps_mm, rate_ratio=0.5):
    """Which of the two is late.

    Both read low on the flood and high on the ebb, so one tide cannot tell
    them apart. A slow clock errs in proportion to the rate: half the rate,
    half the error. A blocked hole goes as the square: half the rate, a
    quarter. I patted the clock twice before I looked at neaps.
    """
    if not error_at_springs_mm:
        return "neither"
    fell_to = abs(error_at_neaps_mm / error_at_springs_mm)
    clock, water = rate_ratio, rate_ratio**2
    return "clock" if abs(fell_to - clock) < abs(fell_to - water) else "water"


def smooth(levels_mm, hole_mm, step_s=1.0, start_mm=None):
    """The pipe itself, a step at a time: what the float sees of a rough harbour."""
    inside_mm = levels_mm[0] if start_mm is None else start_mm
    area_ratio = (hole_mm / PIPE_MM) ** 2
    seen_mm = []
    for outside_mm in levels_mm:
        head_mm = outside_mm - inside_mm
        step_mm = SQUEEZE * area_ratio * sqrt(2 * GRAVITY_MM_S2 * abs(head_mm)) * step_s
        step_mm = min(step_mm, abs(head_mm))  # water does not overshoot a hole
        inside_mm += step_mm if head_mm > 0 else -step_mm
        seen_mm.append(inside_mm)
    return seen_mm


def main():
    for hole_mm in (30, 20, 12, 9):
        print(f"hole {hole_mm:2d} mm: {lag_mm(SPRING_RATE_MM_S, hole_mm):5.1f} mm late at springs")
    print(f"15 mm of error wants a hole of {hole_for_lag_mm(15):.1f} mm. The diver said 9.")


if __name__ == "__main__":
    main()
