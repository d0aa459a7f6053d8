"""Callbacks between training steps: they watch the budget, ask for validation, and report progress."""

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from twin_assets.orchestration.progress import Tell
from twin_assets.training.result import CURVE_POINTS

PROGRESS_INTERVAL_S = 5.0

SAVES_PER_BUDGET = 10
"""At least this many checkpoints are saved under a budget in minutes, whose steps may be fewer than save_steps."""


class Spent(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Counts the time and tokens that all attempts of a training have spent, and ends it when its minutes are over.

    Each checkpoint holds these counts, under the name of this class (see `ExportableState`). What a killed attempt did
    after its last checkpoint is done again, so it is not counted.
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
        """Seconds of training since the first step of the first attempt, without pauses between attempts."""
        return self.seconds_before + (time.monotonic() - self._started if self._started is not None else 0.0)

    @property
    def share(self) -> float:
        """The share of the minutes that has been used, 0 to 1; always 0 without a limit."""
        return min(1.0, self.seconds / (self.max_minutes * 60)) if self.max_minutes else 0.0

    def state(self) -> dict[str, Any]:
        """The state that a checkpoint keeps."""
        used = {"seconds_before": self.seconds, "n_tokens": self.n_tokens, "n_learned": self.n_learned}
        return {"args": {"max_minutes": self.max_minutes}, "attributes": used}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Continue the clock from the last checkpoint."""
        self._started = time.monotonic()
        self._saved_at = self._logged_at = self.share

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Stop at the limit, save checkpoints often enough, and always log the last step."""
        if self.share >= 1:
            control.should_training_stop = True
        elif self.share - self._saved_at >= 1 / SAVES_PER_BUDGET:
            control.should_save = True
        if control.should_training_stop or state.global_step >= state.max_steps:
            control.should_log = True
        if self.share - self._logged_at >= 1 / CURVE_POINTS:
            control.should_log = True
            self._logged_at = self.share

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Remember when the last checkpoint was saved."""
        self._saved_at = self.share


class Validate(TrainerCallback):  # type: ignore[misc]
    """Has the validation windows scored every `every_steps` steps."""

    def __init__(self, every_steps: int) -> None:
        self._every = every_steps

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask the trainer to evaluate, which it does after logging the step and before saving."""
        if state.global_step % self._every == 0:
            control.should_evaluate = True


class Progress(TrainerCallback):  # type: ignore[misc]
    """Tells the step, the loss, the speed and the time left, every few seconds."""

    def __init__(self, tell: Tell, max_minutes: float | None = None) -> None:
        self._tell = tell
        self._max_s = max_minutes * 60 if max_minutes else float("inf")
        self._told_at = 0.0
        self._start = (0, 0.0)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start measuring this attempt's speed."""
        self._start = (state.global_step, time.monotonic())

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any
    ) -> None:
        """Report progress if there is a new loss and the last report is old enough."""
        now = time.monotonic()
        if "loss" not in logs or now - self._told_at < PROGRESS_INTERVAL_S:
            return
        self._told_at = now
        first, began = self._start
        seconds_a_step = (now - began) / max(1, state.global_step - first)
        left = min((state.max_steps - state.global_step) * seconds_a_step, self._max_s - (now - began))
        self._tell(
            f"training: step {state.global_step} of {state.max_steps}, loss {logs['loss']:.3f}, "
            f"{seconds_a_step:.2f} s a step, at most {max(0.0, left):.0f} s left"
        )
