"""All exceptions of this package, in one tree.

TwinError                     every error that this package raises on purpose; its text says what to do next
├── BadInput                  something the user gave is not usable (a source, a recipe, a name)
│   ├── BadSource             a source that no crawler can read
│   ├── BadItem               one item of a source that is not usable; the other items are still read
│   └── BadRecipe             a recipe with an unknown key, a wrong value, or a model that cannot be found
├── NotThere                  an author, version, table or model that does not exist
├── NotEnoughWriting          too few documents for what was asked
├── AccessDenied              an API key that does not give access to this author
└── Busy                      too much is asked for at once; it can be tried again later
"""


class TwinError(Exception):
    """Base class of all errors; their texts are written for people."""


class BadInput(TwinError):
    """The user gave something that is not usable."""


class BadSource(BadInput):
    """A source cannot be read at all."""


class BadItem(BadInput):
    """One item of a source cannot become a document; the other items are still read."""


class BadRecipe(BadInput):
    """A recipe has an unknown key, a wrong value, or a base model that cannot be found."""


class NotThere(TwinError):
    """An author, version, table or model does not exist."""


class NotEnoughWriting(TwinError):
    """There are too few documents for what was asked."""


class AccessDenied(TwinError):
    """An API key does not give access to this author."""


class Busy(TwinError):
    """Too much is asked for at once; the caller may try again after `retry_after_s` seconds."""

    def __init__(self, text: str, retry_after_s: int) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
