"""Child processes for training and evaluation, on Dagster Pipes: how they are started, and what they do first.

A child ends with its run, so that a trainer never runs beside its successor. On Linux a signal ends it (prctl
PR_SET_PDEATHSIG); elsewhere a thread watches the parent's id. The parent's id is passed as an argument, because a child
could not notice otherwise that its parent died while it was starting. The text of an error that is meant for a person
comes back to the parent, and fails the run.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from twin_assets.errors import TwinError

if TYPE_CHECKING:
    import dagster as dg
    from dagster_pipes import PipesContext

    from twin_assets.settings import Settings

PR_SET_PDEATHSIG = 1
WATCH_S = 1.0
ERROR = "error"


def child_command(module: str, launcher: Sequence[str] = ()) -> list[str]:
    """The command that runs `module` as a child of this process. launcher: starts it instead of plain Python."""
    return [*(launcher or [sys.executable]), "-m", module, str(os.getpid())]


def run_child(
    context: "dg.AssetExecutionContext", settings: "Settings", module: str, extras: Mapping[str, Any]
) -> None:
    """Run `module` to its end; its logs are streamed into the run.

    Raises dagster.Failure, without retries, with the text of a TwinError that the child raised, and
    DagsterPipesExecutionError when it died in any other way.
    """
    import dagster as dg

    done = dg.PipesSubprocessClient().run(
        command=child_command(module), context=context, env=settings.library_environment(), extras=dict(extras)
    )
    errors = [message[ERROR] for message in done.get_custom_messages() if ERROR in message]
    if errors:
        raise dg.Failure(errors[0], allow_retries=False)


@contextmanager
def pipes_child() -> Iterator["PipesContext"]:
    """The child's side of `run_child`, around its `main`."""
    end_with_parent(int(sys.argv[1]))
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:
        try:
            yield pipes
        except TwinError as error:
            pipes.report_custom_message({ERROR: str(error)})


def end_with_parent(parent: int) -> None:
    """Tie this child's life to its parent's; call it first, with the id that `child_command` passes last."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(1)
