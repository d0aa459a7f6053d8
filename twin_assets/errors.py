"""The one exception tree.

TwinError                     every error this package raises on purpose; its text says what to do next
├── BadInput                  something the user gave is not usable (a source, a recipe, a name)
│   ├── BadSource             a source that no crawler can read
│   ├── BadItem               one document of a source; the others go on
│   └── BadRecipe             a recipe with an unknown key, a wrong value, or a model that is not there
├── NotThere                  an author, version, table or model that does not exist
├── NotEnoughWriting          too few documents for what was asked
├── AccessDenied              a key that may not see this author
└── Busy                      more is asked for at once than can be done; later it can
"""


class TwinError(Exception):
    """Base of all errors that are meant to be read by a person."""


class BadInput(TwinError):
    """Something the user gave is not usable."""


class BadSource(BadInput):
    """A source that cannot be read at all."""


class BadItem(BadInput):
    """One item of a source that cannot become a document; the others go on."""


class BadRecipe(BadInput):
    """A recipe with an unknown key, a wrong value, or a base model that is not there."""


class NotThere(TwinError):
    """An author, version, table or model that does not exist."""


class NotEnoughWriting(TwinError):
    """Too few documents for what was asked."""


class AccessDenied(TwinError):
    """A key that may not see this author."""


class Busy(TwinError):
    """More is asked for at once than can be done; worth trying again after `retry_after_s` seconds."""

    def __init__(self, text: str, retry_after_s: int) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
