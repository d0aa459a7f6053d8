"""Sensors serve authors in turn: a tick serves as many as fit its time, and the next one continues after them.

Dagster cuts a sensor's tick off after a minute, and a tick that is cut off has no effect. The cursor is the id of the
author served last, or empty when all have been served.
"""

import time
from collections.abc import Iterator

import dagster as dg

from twin_assets.documents import AuthorProfile
from twin_assets.stores.warehouse import Warehouse

TICK_S = 10.0
"""A tick takes no further author after this many seconds."""
PAGE = 1_000
"""This many profiles are read at once, and a tick serves at most as many authors."""


def profiles_in_turn(context: dg.SensorEvaluationContext, warehouse: Warehouse) -> Iterator[AuthorProfile]:
    """The profiles for this tick, at least one if there are any; the cursor moves with each one served."""
    began = time.monotonic()
    page = warehouse.profiles_after(context.cursor or "", PAGE) or warehouse.profiles_after("", PAGE)
    for n, profile in enumerate(page):
        if n and time.monotonic() - began >= TICK_S:
            return
        yield profile
        context.update_cursor(profile.id)
    if len(page) < PAGE:
        context.update_cursor("")
