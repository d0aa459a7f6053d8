"""How work that takes long says where it is: a short sentence at a time, to whoever waits."""

from collections.abc import Callable

Tell = Callable[[str], None]
"""tell("embedded 200 of 283 chunks"): a log, a terminal, a web page or nobody may listen."""


def silent(_: str) -> None:
    """Tells nobody."""
