"""Which windows each step learns from, and at what learning rate: functions of the step alone.

Nothing here depends on what the process did earlier, so an interrupted training continues as if nothing had happened.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, n: int) -> tuple[int, ...]:
    import numpy as np

    return tuple(np.random.default_rng([seed, epoch]).permutation(n).tolist())


@dataclass(frozen=True)
class StepOrder:
    """The windows of every step of a training: each epoch contains each window once, in its own random order.

    batch: the number of windows in a step; the last step of an epoch may have fewer.
    """

    n_windows: int
    batch: int
    n_steps: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """How many steps it takes to see each window once."""
        return math.ceil(self.n_windows / self.batch)

    def of_step(self, step: int) -> list[int]:
        """The indexes of a step's windows. step: counted from 0 over all epochs."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return list(_permutation(self.seed, epoch, self.n_windows)[place * self.batch : (place + 1) * self.batch])

    def __len__(self) -> int:
        return self.n_steps

    def __iter__(self) -> Iterator[list[int]]:
        return map(self.of_step, range(self.n_steps))


def seed_of_step(seed: int, step: int) -> int:
    """The seed of a step's random numbers, which dropout uses."""
    return (seed * 1_000_003 + step) % 2**63


def share_of_rate(scheduler: str, warmup: float, progress: float, ahead: float) -> float:
    """The learning rate of the next step as a share of the recipe's, 0 to 1.

    scheduler: `cosine`, `linear` or `constant_with_warmup`. progress: the share of the budget, in steps or minutes,
    that has been used. ahead: the share that the next step is likely to use; it keeps the first step's rate above 0.
    """
    left = max(0.0, 1 - progress)
    after_warmup = {"cosine": 0.5 * (1 - math.cos(math.pi * left)), "linear": left, "constant_with_warmup": 1.0}
    return min(1.0, (progress + ahead) / warmup if warmup else 1.0) * after_warmup[scheduler]
