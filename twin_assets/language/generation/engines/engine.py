"""The interface of an engine, which holds one base model's weights and runs sequences through them, with adapters.

An engine is used by one thread at a time. It deals with tokens and logits, not with text, sampling or queues.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from twin_assets.errors import TwinError
from twin_assets.language.generation.sampling import Logits
from twin_assets.language.prompts import Window


class UnsupportedAdapter(TwinError):
    """An engine cannot apply an adapter, but torch can."""


class Adapter(Protocol):
    """An adapter's weights in the form that its engine uses."""

    n_bytes: int


class Cache(Protocol):
    """The keys and values of one sequence. length: how many tokens it has read."""

    length: int


CacheT = TypeVar("CacheT", bound=Cache)
AdapterT = TypeVar("AdapterT", bound=Adapter)


class Engine(Protocol[CacheT, AdapterT]):
    """Runs one base model. The caller may change the logits that it gets.

    name: a description with the precision. bytes_per_token: the size of a sequence's cache. tokens_per_turn: how many
    tokens sequences with one adapter get before another adapter's turn; more than 1 if changing adapters costs time.
    """

    name: str
    vocabulary: int
    weights_bytes: int
    bytes_per_token: int
    tokens_per_turn: int

    def load(self, folder: Path) -> AdapterT:
        """Read a LoRA adapter. Raises NotThere if there is none, UnsupportedAdapter if the engine cannot apply it."""

    def unload(self, adapter: AdapterT) -> None:
        """Unload an adapter, which no sequence may be using."""

    def cache(self, max_tokens: int) -> CacheT:
        """Make the cache of a new sequence of at most `max_tokens`."""

    def forget(self, cache: CacheT) -> None:
        """Free the cache of a sequence that has ended."""

    def extend(self, cache: CacheT, ids: Sequence[int], adapter: AdapterT | None) -> Logits:
        """Read one or more tokens into a sequence, and return the logits after them, shape (vocabulary,)."""

    def step(self, caches: Sequence[CacheT], tokens: Sequence[int], adapter: AdapterT | None) -> Logits:
        """Read one token into each of several sequences with one adapter; logits, shape (sequences, vocabulary)."""

    def score(self, windows: Sequence[Window], adapter: AdapterT | None) -> list[float]:
        """The negative log-likelihood of each window's masked tokens, in nats."""

    def close(self) -> None:
        """Free the weights."""


AnyEngine = Engine[Any, Any]
"""An engine with caches and adapters of any type."""
