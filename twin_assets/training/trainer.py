"""trl's SFTTrainer with what a long run on someone's machine needs: a budget in minutes, and progress in words.

Imports torch and trl: only the training process imports this module.
"""

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTTrainer

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

SAY_EVERY_S = 5.0


class Budget(TrainerCallback):  # type: ignore[misc]
    """Ends the training, cleanly, when its minutes are over."""

    def __init__(self, max_minutes: float | None) -> None:
        self.max_s = max_minutes * 60 if max_minutes else None
        self._started = time.monotonic()

    @property
    def used(self) -> float:
        """Share of the time that is gone, 0 to 1; 0 without a limit."""
        return min(1.0, (time.monotonic() - self._started) / self.max_s) if self.max_s else 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """The time counts from the first step; what a killed attempt used is not counted again."""
        self._started = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop at the limit."""
        if self.used >= 1:
            control.should_training_stop = True


class Progress(TrainerCallback):  # type: ignore[misc]
    """One line every few seconds: step, loss, speed, and when it will be done."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._said = 0.0
        self._began = (0, 0.0)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Speed is of this attempt only."""
        self._began = (state.global_step, time.monotonic())

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        """Say how far it is, when there is something new and the last line is old enough."""
        now = time.monotonic()
        if "loss" not in logs or now - self._said < SAY_EVERY_S:
            return
        self._said = now
        first, began = self._began
        seconds_a_step = (now - began) / max(1, state.global_step - first)
        left = (state.max_steps - state.global_step) * seconds_a_step
        self._tell(
            f"training: step {state.global_step} of {state.max_steps}, loss {logs['loss']:.3f}, "
            f"{seconds_a_step:.2f} s a step, at most {left:.0f} s left"
        )


class VoiceTrainer(SFTTrainer):  # type: ignore[misc]
    """Learns from windows that are encoded already: `input_ids` and `labels`."""

    def __init__(self, *, budget: Budget, **arguments: Any) -> None:
        self._budget = budget
        super().__init__(**arguments)

    def create_scheduler(self, num_training_steps: int, optimizer: "Optimizer | None" = None) -> "LRScheduler":
        """The recipe's own schedule; under a budget in minutes a cosine over whichever budget is further used.

        Else a training that time ends would stop at full learning rate.
        """
        if self._budget.max_s is None:
            return super().create_scheduler(num_training_steps, optimizer)  # type: ignore[no-any-return]

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / max(1.0, self.args.warmup_steps))
            used = max(step / num_training_steps, self._budget.used)
            return float(warm * 0.5 * (1 + math.cos(math.pi * min(1.0, used))))

        scheduler = LambdaLR(optimizer or self.optimizer, factor)
        self.lr_scheduler = scheduler
        return scheduler
