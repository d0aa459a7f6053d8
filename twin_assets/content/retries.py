"""Retries, after the pause that a server asks for, or else with random exponential backoff."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")

ATTEMPTS = 4
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0


class RetryableError(Exception):
    """A failure that is worth a retry. after_s: the pause that the server asks for, if it names one."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


def with_retries(attempt: Callable[[], T], attempts: int = ATTEMPTS) -> T:
    """The result of the first attempt that succeeds. Raises the last RetryableError after `attempts` of them."""
    # Not at the top: tenacity loads tornado where that is installed, and every process loads this module.
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

    backoff = wait_random_exponential(multiplier=FIRST_PAUSE_S, max=LONGEST_PAUSE_S)

    def pause(state: "RetryCallState") -> float:
        error = state.outcome.exception() if state.outcome else None
        after_s = error.after_s if isinstance(error, RetryableError) else None
        return backoff(state) if after_s is None else after_s

    again = retry_if_exception_type(RetryableError)
    return Retrying(retry=again, stop=stop_after_attempt(attempts), wait=pause, reraise=True)(attempt)


def retry_after_s(value: str | None) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date (RFC 9110, section 10.2.3); None without one."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
