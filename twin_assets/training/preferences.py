"""Preference pairs: the author's edit of a draft is chosen over the draft, if the author consents.

A pair's prompt is what the model saw: instruction, passages, earlier turns and example pieces. Nothing is learned from
linked pages, which others wrote: their passages are left out of the prompt, and a pair whose draft or edit copies one
is left out altogether. A draft is never `chosen`, whatever its rating.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from twin_assets.documents import Interaction, digest
from twin_assets.schemas import PREFERENCE_PAIRS, from_dicts

if TYPE_CHECKING:
    import pyarrow as pa

PREFERENCES_VERSION = "2"


def preference_rows(interactions: Iterable[Interaction]) -> "pa.Table":
    """One pair for each consented edit that changed something. An edit is only ever one side of a pair."""
    pairs = [one for one in sorted(interactions, key=lambda one: one.id) if _is_pair(one)]
    return from_dicts([_row(one) for one in pairs], PREFERENCE_PAIRS)


def _is_pair(one: Interaction) -> bool:
    if not (one.outcome == "done" and one.consented and one.edited and one.draft.strip()):
        return False
    return one.edited.strip() != one.draft.strip() and not _copies_a_link(one, [one.draft, one.edited])


def _copies_a_link(one: Interaction, texts: Sequence[str]) -> bool:
    from twin_assets.language.recitation import copied

    linked = [passage.text for passage in one.passages if passage.linked]
    return bool(linked) and any(copied(text, linked).share for text in texts)


def _row(one: Interaction) -> dict[str, object]:
    seen: dict[str, object] = {
        "instruction": one.instruction or one.prompt,
        "passages": [
            passage.model_dump(include={"chunk_id", "title", "url", "text"})
            for passage in one.passages
            if not passage.linked
        ],
        "history": [{"prompt": prompt, "draft": draft} for prompt, draft in one.history],
        "examples": one.examples,
        "chosen": one.edited,
        "rejected": one.draft,
    }
    return {
        "pair_id": one.id,
        "example_id": f"interaction:{one.id}",
        **seen,
        "input_hash": digest(seen, 32),
        "made_by": PREFERENCES_VERSION,
    }
