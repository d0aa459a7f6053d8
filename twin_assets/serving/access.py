"""Who may use what: a key gives access to its own author and nothing else; on this machine alone, no key is needed.

Another author's model gets the same answer as one that does not exist, so that a key does not reveal who else is here.
"""

import hashlib
import hmac
import ipaddress
import secrets
from dataclasses import dataclass

from twin_assets.documents import AuthorProfile
from twin_assets.errors import AccessDenied, BadInput, NotThere
from twin_assets.stores.warehouse import Warehouse

PREFIX = "twin_"
"""The start of every key, which makes one that leaked into a file or a log easy to find."""


class WrongKey(AccessDenied):
    """A key is needed and missing, or the key belongs to no author."""


@dataclass(frozen=True)
class Caller:
    """Who sent a request. author: whose key it is; None is the operator at this machine, who may use every author."""

    author: str | None = None

    @property
    def is_operator(self) -> bool:
        """True for the operator at this machine."""
        return self.author is None

    def may_use(self, author: str) -> bool:
        """True if the caller may use this author's models and writing."""
        return self.author in (None, author)


OPERATOR = Caller()


def new_key() -> tuple[str, str]:
    """A key and its SHA-256: the key is shown once, and the profile keeps the hash."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, sha256_of(token)


def sha256_of(token: str) -> str:
    """A key's hash; unsalted SHA-256 is enough for 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_loopback(host: str) -> bool:
    """True if a server bound to `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Access:
    """The access rules of one server. Profiles are read on each request, so key changes count at once."""

    def __init__(self, warehouse: Warehouse, host: str) -> None:
        self._warehouse = warehouse
        self.local = is_loopback(host)

    def check_binding(self, host: str) -> None:
        """Raises BadInput if `host` can be reached from elsewhere and no author has a key."""
        if not self.local and not any(profile.api_keys for profile in self._warehouse.profiles.all()):
            raise BadInput(
                f"listening on {host or 'every address'} lets other machines in, and no author has an API key: make "
                "one with `twin key add ID`, or listen on 127.0.0.1"
            )

    def caller(self, token: str | None) -> Caller:
        """Who sends this key. Raises WrongKey.

        On this machine no key is needed. As long as no author has one, any key is accepted there, since some clients
        insist on sending one.
        """
        if not token:
            if self.local:
                return OPERATOR
            raise WrongKey("an API key is needed: send `Authorization: Bearer twin_…` (`twin key add ID` makes one)")
        profiles = self._warehouse.profiles.all()
        if owner := self._owner(profiles, token):
            return Caller(owner)
        if self.local and not any(profile.api_keys for profile in profiles):
            return OPERATOR
        raise WrongKey("this API key belongs to no author here: `twin key add ID` makes a new one")

    def is_key_of(self, author: str, token: str) -> bool:
        """True if this is one of the author's keys."""
        return self._owner(self._warehouse.profiles.all(), token) == author

    def profiles(self, caller: Caller) -> list[AuthorProfile]:
        """The authors whom the caller may use, ordered by id."""
        return [profile for profile in self._warehouse.profiles.all() if caller.may_use(profile.id)]

    def profile(self, caller: Caller, author: str) -> AuthorProfile:
        """An author whom the caller may use. Raises NotThere, with the same text whether the author exists or not."""
        found = next((profile for profile in self.profiles(caller) if profile.id == author), None)
        if found is None:
            raise NotThere(f"there is no author {author!r}, or this key may not use them: see /v1/models")
        return found

    @staticmethod
    def _owner(profiles: list[AuthorProfile], token: str) -> str | None:
        """Whose key it is; each comparison takes the same time for any key."""
        wanted = sha256_of(token)
        keys = [(key.sha256, profile.id) for profile in profiles for key in profile.api_keys]
        return next((owner for sha256, owner in keys if hmac.compare_digest(sha256, wanted)), None)
