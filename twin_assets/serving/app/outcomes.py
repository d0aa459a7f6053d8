"""What became of an action: a status line, whether it worked, and an error in words that a person may see."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from twin_assets.errors import TwinError
from twin_assets.serving.app import fragments

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ActionResult:
    """The outcome of something a person asked for. message: a status line, as HTML."""

    message: str
    worked: bool


def run_action(act: Callable[[], str]) -> ActionResult:
    """Run `act`, which returns what to tell the person; any error becomes the message instead."""
    try:
        return ActionResult(fragments.status(act(), "done"), worked=True)
    except Exception as error:
        return ActionResult(fragments.status(error_text(error), "failed"), worked=False)


def error_text(error: Exception) -> str:
    """An error in words for a person: ours as it is; any other goes to the log, and the person is told so."""
    if isinstance(error, TwinError):
        return str(error)
    log.error("the app failed", exc_info=error)
    return "something failed that should not have; the server's log says what"
