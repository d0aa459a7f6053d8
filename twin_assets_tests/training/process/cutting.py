"""Interrupts a training between any two steps, as a kill would."""

from collections.abc import Callable
from typing import Any

import pytest


class CutOffError(Exception):
    """Stands in for a kill."""


def cut_off_at(patch: pytest.MonkeyPatch, step: int | None, after_each: Callable[[], object] = lambda: None) -> None:
    """Let the trainer die at the beginning of the step after `step`; `after_each` is called at the end of every step.

    This patches transformers' Trainer, so that it works with every trainer built on it.
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
