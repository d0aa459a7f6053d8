"""LinkedIn's change log of a member, reduced from events to the last state of each post and comment.

An event contains the whole resource or a patch of it, so events are applied in order and all resources kept until the
log's end; one person has some hundred events in 28 days.

See: https://learn.microsoft.com/en-us/linkedin/dma/member-data-portability/shared/member-changelog-api
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from twin_assets.collection.platforms.linkedin.api import when
from twin_assets.collection.platforms.linkedin.export import PostUrn, post_urn

Kind = Literal["post", "comment"]
_KINDS: dict[str, Kind] = {"ugcPosts": "post", "ugcPost": "post", "socialActions/comments": "comment"}


@dataclass(frozen=True)
class Logged:
    """A post or comment at the end of the log.

    number: LinkedIn's own. urn: that of the post, or of the post commented on. visibility: None when the log has only a
    patch without it. is_new: it was created within the log.
    """

    kind: Kind
    number: str
    urn: PostUrn | None
    text: str
    visibility: str | None
    published_at: datetime | None
    edited_at: datetime | None
    reshared: str | None
    is_new: bool
    is_deleted: bool
    is_companys: bool


@dataclass
class ChangeLog:
    """The state of reading a log.

    after_ms, seen: the latest `processedAt` so far, and the ids of the events at that time. `startTime` is inclusive,
    so these events come again and are ignored.
    """

    after_ms: int = 0
    seen: tuple[Any, ...] = ()
    logged: dict[tuple[Kind, str], Logged] = field(default_factory=dict)
    _resources: dict[tuple[Kind, str], dict[str, Any]] = field(default_factory=dict)

    def take(self, change: dict[str, Any]) -> None:
        """Apply one event. Other people's events, and those that LinkedIn rejected, are ignored."""
        if change.get("id") in self.seen:
            return
        self._advance(change)
        kind = _KINDS.get(str(change.get("resourceName")))
        is_own = bool(change.get("actor")) and change.get("actor") == change.get("owner")
        if kind and is_own and change.get("activityStatus") != "FAILURE":
            self._fold(kind, change)

    def _advance(self, change: dict[str, Any]) -> None:
        at = change.get("processedAt")
        if isinstance(at, int) and at >= self.after_ms:
            self.seen = (*(self.seen if at == self.after_ms else ()), change.get("id"))
            self.after_ms = at

    def _fold(self, kind: Kind, change: dict[str, Any]) -> None:
        activity = _activity(change)
        urn = _urn(change, activity) if kind == "post" else _commented(change, activity)
        number = urn.number if kind == "post" and urn else _own_number(change, activity)
        before = self.logged.get((kind, number))
        is_made = change.get("method") == "CREATE"
        resource = _after(self._resources.get((kind, number), {}), activity)
        self._resources[kind, number] = resource
        # `capturedAt` is the date in snapshots and archives, a little later than the resource's own.
        captured = when(change.get("capturedAt"))
        own = when(resource.get("firstPublishedAt")) or when(within(resource, "created", "time"))
        reshared = within(resource, "responseContext", "parent")
        self.logged[kind, number] = Logged(
            kind=kind,
            number=number,
            urn=urn or (before.urn if before else None),
            text=_words(kind, resource),
            visibility=_visibility(resource),
            published_at=(captured if is_made else None) or (before.published_at if before else None) or own,
            edited_at=None if is_made else captured,
            reshared=reshared if isinstance(reshared, str) else None,
            is_new=is_made or (before is not None and before.is_new),
            is_deleted=change.get("method") == "DELETE",
            is_companys=str(resource.get("author")).startswith(("urn:li:organization", "urn:li:company")),
        )


def _activity(change: dict[str, Any]) -> dict[str, Any]:
    found = change.get("activity") or change.get("processedActivity")
    return found if isinstance(found, dict) else {}


def _urn(change: dict[str, Any], activity: dict[str, Any]) -> PostUrn | None:
    named = (change.get("resourceId"), activity.get("id"), change.get("resourceUri"))
    return next((urn for name in named if (urn := post_urn(str(name)))), None)


def _commented(change: dict[str, Any], activity: dict[str, Any]) -> PostUrn | None:
    return post_urn(str(activity.get("object"))) or post_urn(str(change.get("resourceUri")))


def _own_number(change: dict[str, Any], activity: dict[str, Any]) -> str:
    numbers = re.findall(r"\d+", str(activity.get("id") or change.get("resourceId")))
    return numbers[-1] if numbers else str(change.get("id"))


def _after(resource: dict[str, Any], activity: dict[str, Any]) -> dict[str, Any]:
    """The resource after an event, whose activity is the whole resource or a patch.

    See: https://linkedin.github.io/rest.li/spec/protocol#partial-update
    """
    patch = activity.get("patch")
    return _patched(resource, patch) if isinstance(patch, dict) else activity


def _patched(resource: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    replaced, removed = patch.get("$set"), patch.get("$delete")
    result = resource | (replaced if isinstance(replaced, dict) else {})
    for name in removed if isinstance(removed, list) else []:
        result.pop(str(name), None)
    for name, inner in patch.items():
        if isinstance(inner, dict) and not name.startswith("$"):
            before = result.get(name)
            result[name] = _patched(before if isinstance(before, dict) else {}, inner)
    return result


def _words(kind: Kind, resource: dict[str, Any]) -> str:
    if kind == "comment":
        return _string(within(resource, "message", "text"))
    share = within(resource, "specificContent", "com.linkedin.ugc.ShareContent", "shareCommentary", "text")
    return _string(share) or _string(resource.get("commentary"))


def _visibility(resource: dict[str, Any]) -> str | None:
    told = resource.get("visibility")
    if resource.get("lifecycleState") == "DRAFT":
        return "DRAFT"
    return _string(next(iter(told.values()), "")) if isinstance(told, dict) else told if isinstance(told, str) else None


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def within(value: Any, *path: str) -> Any:
    """The value at a path in JSON; None where there is none. Any: JSON can be of any type."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
