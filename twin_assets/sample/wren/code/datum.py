"""Heights and what they are above.

Two numbers can both be in millimetres, both be correct, and be nearly two
metres apart. The tide is measured from chart datum, the low mark the harbour
chart is drawn from. The land survey counts from a zero 1.874 m higher. So
every name here ends in its datum and its unit, and the conversion is done at
the door and nowhere else.
"""

LAND_ZERO_ABOVE_CD_MM = 1874

TAPE_TRUE_AT_DEGC = 20.0  # it says so on the tape, in type the size of a crumb
STEEL_PPM_PER_DEGC = 11.5

GAUGE_2_HIGH_MM = 31  # give or take 2, April 2021. Written down here and not taken off: see grey book.


def land_from_cd_mm(level_cd_mm):
    """A harbour level as the land survey would say it."""
    return level_cd_mm - LAND_ZERO_ABOVE_CD_MM


def cd_from_land_mm(height_land_mm):
    """A surveyed height as the harbour chart would say it."""
    return height_land_mm + LAND_ZERO_ABOVE_CD_MM


def mm_from_cm(value_cm):
    """The survey sheets are in centimetres, which was obvious on the bench in 2012."""
    return value_cm * 10


def level_cd_mm(raw_counts, scale_mm_per_count, offset_cd_mm):
    """Counts times millimetres a count, plus millimetres. It is ugly and can be checked by eye."""
    return raw_counts * scale_mm_per_count + offset_cd_mm


def true_length_mm(tape_reads_mm, tape_degc):
    """What a steel tape should have said.

    Cold steel is short, so its marks lie too close together and it reads
    long. Five metres at 3 degrees is 1.0 mm, which is a quarter of all that
    I allow the gauge to be wrong by.
    """
    return tape_reads_mm * (1 + STEEL_PPM_PER_DEGC * 1e-6 * (tape_degc - TAPE_TRUE_AT_DEGC))


def level_from_tape_cd_mm(mark_cd_mm, tape_reads_mm, tape_degc):
    """Water level from a tape let down from a mark on the quay."""
    return mark_cd_mm - true_length_mm(tape_reads_mm, tape_degc)


def allowed_misclosure_mm(there_and_back_m):
    """How nearly a line of levels must come back to nought: 4 mm by the root of the kilometres."""
    return 4.0 * (there_and_back_m / 1000) ** 0.5


def misclosure_mm(rises_mm):
    """Add up the rises all the way round. You finish where you began, so it ought to be nought."""
    return sum(rises_mm)


def offset_from_staff(gauge_cd_mm, staff_cd_mm):
    """The lie and how sure I am of it, from readings taken at the same moments.

    The eye is the worse instrument by every measure except the one that
    counts: it was looking at the water.
    """
    if len(gauge_cd_mm) != len(staff_cd_mm) or len(gauge_cd_mm) < 2:
        raise ValueError(f"offset: wanted pairs, got {len(gauge_cd_mm)} from the gauge, {len(staff_cd_mm)} by eye")
    n = len(gauge_cd_mm)
    differences_mm = [gauge - staff for gauge, staff in zip(gauge_cd_mm, staff_cd_mm, strict=True)]
    mean_mm = sum(differences_mm) / n
    spread_mm = (sum((d - mean_mm) ** 2 for d in differences_mm) / (n - 1)) ** 0.5
    return mean_mm, spread_mm / n**0.5
