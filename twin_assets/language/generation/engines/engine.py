"""What computes: an engine has one base model's weights and runs sequences through it, each with its own adapter.

An engine is used by one thread at a time. It knows tokens and logits, nothing of text, sampling or queues.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from twin_assets.errors import TwinError
from twin_assets.language.generation.sampling import Logits
from twin_assets.language.prompts import Window


class CannotApply(TwinError):
    """An adapter that an engine cannot apply; torch can."""


class Adapter(Protocol):
    """An adapter's weights as its engine holds them."""

    n_bytes: int


class Cache(Protocol):
    """What an engine remembers of one sequence. length: tokens it has read."""

    length: int


CacheT = TypeVar("CacheT", bound=Cache)
AdapterT = TypeVar("AdapterT", bound=Adapter)


class Engine(Protocol[CacheT, AdapterT]):
    """One base model.

    Logits that it gives belong to whoever asked, who may change them.

    name: in words, with the precision. bytes_per_token: what a sequence's cache takes. turn: tokens for one adapter
    before another may have its turn; more than one where changing adapters costs time.
    """

    name: str
    vocabulary: int
    weights_bytes: int
    bytes_per_token: int
    turn: int

    def load(self, folder: Path) -> AdapterT:
        """Read a LoRA adapter. Raises NotThere without one, CannotApply for one that this engine cannot apply."""

    def unload(self, adapter: AdapterT) -> None:
        """Forget an adapter; no sequence may be using it."""

    def cache(self, max_tokens: int) -> CacheT:
        """The cache of a new sequence of at most `max_tokens`."""

    def forget(self, cache: CacheT) -> None:
        """A sequence has ended; its cache is not used again."""

    def extend(self, cache: CacheT, ids: Sequence[int], adapter: AdapterT | None) -> Logits:
        """Read tokens, at least one, into a sequence; the logits (vocabulary) of what comes after them."""

    def step(self, caches: Sequence[CacheT], tokens: Sequence[int], adapter: AdapterT | None) -> Logits:
        """Read one token into each of several sequences with the same adapter; logits (sequences, vocabulary)."""

    def score(self, windows: Sequence[Window], adapter: AdapterT | None) -> list[float]:
        """Negative log-likelihood in nats of each window's masked tokens."""

    def close(self) -> None:
        """Let go of the weights."""


AnyEngine = Engine[Any, Any]
"""An engine whose caches and adapters are its own affair."""
