"""Preference pairs: an edit that the author made, and allowed to be learned from, is chosen over the draft."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from twin_assets.documents import Interaction, digest
from twin_assets.schemas import PREFERENCE_PAIRS, from_dicts

if TYPE_CHECKING:
    import pyarrow as pa

PREFERENCES_VERSION = "1"


def preference_rows(interactions: Iterable[Interaction]) -> "pa.Table":
    """One pair per consented edit that changed something. An edit is never an answer to imitate on its own."""
    rows: list[dict[str, object]] = [
        {
            "pair_id": one.id,
            "example_id": f"interaction:{one.id}",
            "instruction": one.prompt,
            "passages": [],
            "chosen": one.edited,
            "rejected": one.draft,
            "input_hash": digest([one.prompt, one.draft, one.edited], 32),
            "made_by": PREFERENCES_VERSION,
        }
        for one in sorted(interactions, key=lambda one: one.id)
        if one.consented and one.edited and one.edited.strip() != one.draft.strip()
    ]
    return from_dicts(rows, PREFERENCE_PAIRS)
