"""Author profiles. People change them at the same time, so each change applies to the profile as it is stored."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from twin_assets.documents import AuthorProfile
from twin_assets.errors import BadInput, NotThere, TwinError
from twin_assets.stores.warehouse.connection import ATTEMPTS, Repository


class Profiles(Repository):
    """The profiles of all authors, on the author's id."""

    collection = "author_profiles"

    def add(self, profile: AuthorProfile) -> None:
        """Write a new author's profile. Raises BadInput, and changes nothing, when the id is taken."""
        with self._writing() as rows:
            new = {"$setOnInsert": _with_revision(profile)}
            taken = rows.update_one({"_id": profile.id}, new, upsert=True).matched_count
        if taken:
            raise BadInput(f"author {profile.id} already exists: choose another id, or add sources to this one")

    def change(self, author: str, change: Callable[[AuthorProfile], None]) -> AuthorProfile:
        """Apply `change` to the stored profile in such a way that no two changes undo each other.

        change: alters the profile it is given. It is called again when another change comes first; when it raises, the
        stored profile stays as it was. Returns the profile as written. Raises NotThere for an author who is unknown or
        has been erased.
        """
        for _ in range(ATTEMPTS):
            with self._writing() as rows:
                row = self._row(author)
                profile = _profile(row)
                change(profile)
                # Profiles that an earlier version of this project wrote have no revision: None matches them.
                as_read = {"_id": author, "revision": row.get("revision")}
                if rows.replace_one(as_read, {"_id": author, **_with_revision(profile)}).matched_count:
                    return profile
        raise TwinError(f"others keep changing the profile of {author}: nothing was changed, try again")

    def get(self, author: str) -> AuthorProfile:
        """The author's profile. Raises NotThere, naming the known authors, for an unknown one."""
        return _profile(self._row(author))

    def all(self) -> list[AuthorProfile]:
        """Every author's profile, ordered by id."""
        return [_profile(row) for row in self._rows.find().sort("_id", 1)]

    def after(self, author: str, limit: int) -> list[AuthorProfile]:
        """At most `limit` profiles of the authors whose ids come after this one, ordered by id."""
        rows = self._rows.find({"_id": {"$gt": author}}).sort("_id", 1).limit(limit)
        return [_profile(row) for row in rows]

    def trains_on_private(self, author: str) -> bool:
        """True if the author lets private documents into training; False for an unknown author."""
        return bool((self._rows.find_one({"_id": author}) or {}).get("train_private"))

    def _row(self, author: str) -> dict[str, Any]:
        row = self._rows.find_one({"_id": author})
        if row is None:
            known = ", ".join(profile.id for profile in self.all()) or "none yet"
            raise NotThere(f"no author {author!r} (known: {known}): add one with `twin author add`")
        return row


def _profile(row: dict[str, Any]) -> AuthorProfile:
    return AuthorProfile.model_validate({k: v for k, v in row.items() if k not in ("_id", "revision")})


def _with_revision(profile: AuthorProfile) -> dict[str, Any]:
    """A profile as it is stored. Each write gives it another `revision`, even when an erased author is added again."""
    return {**profile.model_dump(), "revision": uuid4().hex}
