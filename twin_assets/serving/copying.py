"""How much of a draft stands word for word in what it draws on, and how that is said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from twin_assets.language.recitation import Copied, copied


@dataclass(frozen=True)
class Originals:
    """What a draft is compared with. by_source: texts by chunk id. own: the author's writing among them, and examples.

    A source of the author's own is its whole document: the model may know more of it than it was shown.
    """

    by_source: Mapping[str, Sequence[str]] = field(default_factory=dict)
    own: Sequence[str] = ()

    def of_source(self, draft: str, chunk_id: str) -> Copied:
        """What the draft copies from one source."""
        return copied(draft, self.by_source.get(chunk_id, ()))

    def of_own(self, draft: str) -> Copied:
        """What it copies from the author's own writing, as far as that was found for it."""
        return copied(draft, self.own)


def copied_text(share: float, longest_run: int, where: str) -> str:
    """One line for a person: how much of the draft is copied, in runs of at least 8 words. where: from what."""
    if not share:
        return f"none of the draft is word for word from {where}"
    percent = "less than 1%" if share < 0.005 else f"{share:.0%}"
    return f"{percent} of the draft is word for word from {where}, at most {longest_run} words in a row"
