"""Sensors serve authors in turn: a tick looks at as many as fit its time, the next one goes on after them.

A sensor's tick is cut off by Dagster after a minute, and one that never came to its end would serve nobody. The cursor
is the id of the author served last, or empty when all were.
"""

import time
from collections.abc import Iterator

import dagster as dg

from twin_assets.documents import AuthorProfile
from twin_assets.stores.warehouse import Warehouse

TICK_S = 10.0
"""Seconds after which a tick takes no further author."""
PAGE = 1_000
"""Profiles read at once, and authors of one tick at most."""


def profiles_in_turn(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> Iterator[AuthorProfile]:
    """The profiles of this tick's authors, at least one if there is any; the cursor follows what was served."""
    began = time.monotonic()
    page = warehouse.profiles.after(context.cursor or "", PAGE) or warehouse.profiles.after("", PAGE)
    for n, profile in enumerate(page):
        if n and time.monotonic() - began >= TICK_S:
            return
        yield profile
        context.update_cursor(profile.id)
    if len(page) < PAGE:
        context.update_cursor("")
