"""What happens between steps: the budget, what was used of it, and progress in words."""

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from twin_assets.orchestration.progress import Tell

SAY_EVERY_S = 5.0

LINES = 100
"""Points of the loss curve, about."""

SAVES_PER_BUDGET = 10
"""Under a budget in minutes a checkpoint is made at least so often: save_steps may be more than all its steps."""


class Spent(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Time and tokens that a training took so far, over all its attempts, and its end when the minutes are over.

    Each checkpoint holds it (see `ExportableState`); what a killed attempt did after its last one is done again, and so
    not counted.
    """

    def __init__(self, max_minutes: float | None = None) -> None:
        self.max_minutes = max_minutes
        self.seconds_before = 0.0
        self.n_tokens = 0
        self.n_learned = 0
        self._started: float | None = None
        self._saved_at = self._logged_at = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of training, from the first step of the first attempt."""
        return self.seconds_before + (time.monotonic() - self._started if self._started is not None else 0.0)

    @property
    def share(self) -> float:
        """Share of the minutes that is used, 0 to 1; 0 without a limit."""
        return min(1.0, self.seconds / (self.max_minutes * 60)) if self.max_minutes else 0.0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        used = {"seconds_before": self.seconds, "n_tokens": self.n_tokens, "n_learned": self.n_learned}
        return {"args": {"max_minutes": self.max_minutes}, "attributes": used}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """The clock goes on from where the last checkpoint was."""
        self._started = time.monotonic()
        self._saved_at = self._logged_at = self.share

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop at the limit, keep checkpoints coming, and log the last step whatever the interval."""
        if self.share >= 1:
            control.should_training_stop = True
        elif self.share - self._saved_at >= 1 / SAVES_PER_BUDGET:
            control.should_save = True
        if control.should_training_stop or state.global_step >= state.max_steps:
            control.should_log = True
        if self.share - self._logged_at >= 1 / LINES:
            control.should_log = True
            self._logged_at = self.share

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Remember how long ago the last checkpoint was."""
        self._saved_at = self.share


class Validate(TrainerCallback):  # type: ignore[misc]
    """Has the validation windows scored every so many steps."""

    def __init__(self, every_steps: int) -> None:
        self._every = every_steps

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for it; the trainer does it after it has logged the step and before it saves."""
        if state.global_step % self._every == 0:
            control.should_evaluate = True


class Progress(TrainerCallback):  # type: ignore[misc]
    """One line every few seconds: step, loss, speed, and when it will be done."""

    def __init__(self, tell: Tell, max_minutes: float | None = None) -> None:
        self._tell = tell
        self._max_s = max_minutes * 60 if max_minutes else float("inf")
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
        left = min((state.max_steps - state.global_step) * seconds_a_step, self._max_s - (now - began))
        self._tell(
            f"training: step {state.global_step} of {state.max_steps}, loss {logs['loss']:.3f}, "
            f"{seconds_a_step:.2f} s a step, at most {max(0.0, left):.0f} s left"
        )
