"""A process started for a Dagster run ends when that run's process does: no trainer lives on to meet its successor.

Linux does it by a signal (prctl PR_SET_PDEATHSIG); elsewhere a thread watches the parent's id. The parent's id travels
as an argument, because a child whose parent died while it was starting cannot tell.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
WATCH_S = 1.0


def child_command(module: str, launcher: Sequence[str] = ()) -> list[str]:
    """The command that runs `module` as a child of this process; launcher: what to start it with instead of Python."""
    return [*(launcher or [sys.executable]), "-m", module, str(os.getpid())]


def end_with_parent(parent: int) -> None:
    """Call first thing in a child, with the id that `child_command` put last; ends here when the parent is gone."""
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
