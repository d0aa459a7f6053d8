"""How long work tells its progress: one short sentence at a time, to whoever waits."""

from collections.abc import Callable

Tell = Callable[[str], None]
"""Called with a sentence such as "embedded 200 of 283 chunks", for a log, a terminal or a web page."""


def silent(_: str) -> None:
    """Tell nobody."""
