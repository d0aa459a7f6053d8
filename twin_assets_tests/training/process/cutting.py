"""Trainings that are cut off, as a kill would do it: between any two steps."""

from collections.abc import Callable
from typing import Any

import pytest


class CutOffError(Exception):
    """Stands for the kill."""


def cut_off_at(patch: pytest.MonkeyPatch, step: int | None, after_each: Callable[[], object] = lambda: None) -> None:
    """Let the trainer die at the beginning of the step after `step`; `after_each` is called at the end of every step.

    In the batches' place and not in the trainer's, so that older trainers can be cut off, too.
    """
    from transformers import Trainer

    real = Trainer.training_step
    done = {"step": -1}

    def dies(self: Any, *arguments: Any, **more: Any) -> Any:
        if step is not None and self.state.global_step >= step:
            raise CutOffError
        result = real(self, *arguments, **more)
        if done["step"] != self.state.global_step:
            done["step"] = self.state.global_step
            after_each()
        return result

    patch.setattr(Trainer, "training_step", dies)
