"""What may buzz in my pocket, and what may not.

In October 2023 the Gauge House sent 214 alarms. I did something about three. I
had trained myself as one trains a dog, with fifty false whistles for each true
one. So there are two gates here. The first is a latch, which makes one tide
one alarm. The second is three questions, and it wants three yeses.
"""

from collections import Counter
from dataclasses import dataclass, field

SOUND_AT_CD_MM = 4600
CLEAR_BELOW_CD_MM = 4500  # the gap of 100 mm is the whole idea: a latch has play in it
CLEAR_FOR_S = 600

BUZZ, WITH_TEA, LOG = "buzz", "with tea at eight", "log"


@dataclass
class Latch:
    """Sounds once at 4.60 m and does not clear until the water is below 4.50 m for ten minutes.

    With one line in place of two, a swell on a single high water rang 31
    times. I sent the harbour office bread.
    """

    sounding: bool = False
    below_since_s: float | None = None

    def see(self, now_s, level_cd_mm):
        """'sound' or 'clear' on the change, and otherwise nothing. now_s is from the egg timer."""
        if level_cd_mm is None:
            return None  # a gap is no evidence that the water went down
        if not self.sounding:
            if level_cd_mm >= SOUND_AT_CD_MM:
                self.sounding, self.below_since_s = True, None
                return "sound"
            return None
        if level_cd_mm >= CLEAR_BELOW_CD_MM:
            self.below_since_s = None
            return None
        if self.below_since_s is None:
            self.below_since_s = now_s
        if now_s - self.below_since_s >= CLEAR_FOR_S:
            self.sounding, self.below_since_s = False, None
            return "clear"
        return None


def where_it_goes(something_to_do, before_morning, falls_to_me):
    """Three yeses and it buzzes. Two, and I read it at eight. Fewer, and it may be counted and plotted."""
    yeses = sum(map(bool, (something_to_do, before_morning, falls_to_me)))
    return {3: BUZZ, 2: WITH_TEA}.get(yeses, LOG)


@dataclass
class Pocket:
    """Says a thing once an hour at most, and counts what it kept to itself."""

    quiet_for_s: float = 3600
    last_s: dict[str, float] = field(default_factory=dict)
    kept_back: Counter = field(default_factory=Counter)
    acted_on: Counter = field(default_factory=Counter)

    def tell(self, now_s, what):
        """The text to send, or nothing if I have been told."""
        if what in self.last_s and now_s - self.last_s[what] < self.quiet_for_s:
            self.kept_back[what] += 1
            return None
        self.last_s[what] = now_s
        again = self.kept_back.pop(what, 0)
        return f"{what} (and {again} more times)" if again else what

    def went_out(self, what):
        """I got up for it."""
        self.acted_on[what] += 1

    def to_take_out(self):
        """At the quarter's end: every alarm nobody acted on. The seat is not to be filled because it is empty."""
        return sorted(what for what in self.last_s if not self.acted_on[what])
