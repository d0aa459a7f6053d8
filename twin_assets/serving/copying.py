"""How much of a draft is copied word for word from its sources, as figures and as a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from twin_assets.language.recitation import Copied, copied


@dataclass(frozen=True)
class Originals:
    """What a draft is compared with. by_source: texts by chunk id. own: the author's own among them, and the examples.

    A passage of the author's own counts as its whole document, since the model may know more of it than it was shown.
    """

    by_source: Mapping[str, Sequence[str]] = field(default_factory=dict)
    own: Sequence[str] = ()

    def of_source(self, draft: str, chunk_id: str) -> Copied:
        """What the draft copies from one of its sources."""
        return copied(draft, self.by_source.get(chunk_id, ()))

    def of_own(self, draft: str) -> Copied:
        """What the draft copies from the author's own writing that was found for it."""
        return copied(draft, self.own)


def copied_text(share: float, longest_run: int, where: str) -> str:
    """One line for a person: how much of the draft is copied from `where`, in runs of at least 8 words."""
    if not share:
        return f"none of the draft is word for word from {where}"
    percent = "less than 1%" if share < 0.005 else f"{share:.0%}"
    return f"{percent} of the draft is word for word from {where}, at most {longest_run} words in a row"
