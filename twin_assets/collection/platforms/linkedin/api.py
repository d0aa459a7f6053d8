"""LinkedIn's Member Data Portability API: what a member in the EEA or Switzerland may read of their own account.

There are two listings. A snapshot is the whole history, made by an offline system that can lag by weeks; the change log
has each event within minutes, and drops it after 28 days. Neither gives its true length (`total` is made up).

See: https://learn.microsoft.com/en-us/linkedin/dma/member-data-portability/shared/member-snapshot-api, and beside it
`member-changelog-api` and `member-authorization-management-api`.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urljoin

from twin_assets.collection.platforms.linkedin.export import Row, column
from twin_assets.content.web import StatusError, WebClient, host_of
from twin_assets.errors import BadItem, BadSource

BASE = "https://api.linkedin.com"
VERSION = "202312"
"""The only API version that LinkedIn accepts; it answers any other with 426."""
CHANGES_PER_PAGE = 50
"""The most events that the change log returns at once."""
MAX_PAGES = 1_000

ACCESS_STEPS = (
    "make an app at https://www.linkedin.com/developers/apps on LinkedIn's own page 'Member Data Portability (Member) "
    "Default Company', request the product 'Member Data Portability API (Member)', and make a token with the scope "
    "r_dma_portability_self_serve at https://www.linkedin.com/developers/tools/oauth/token-generator. This is open to "
    "members in the EEA and Switzerland; everybody can import the archive of their data instead"
)
_SAYS_NOTHING_THERE = "no data found"
_ADVICE: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: f"the token has expired or was revoked; {ACCESS_STEPS}",
    HTTPStatus.FORBIDDEN: f"the token's app lacks the product, or the token the scope; {ACCESS_STEPS}",
    HTTPStatus.UPGRADE_REQUIRED: "LinkedIn gave up this version of its API: set the source's option `version` to the "
    "one that its documentation names, or update twin_assets",
    HTTPStatus.TOO_MANY_REQUESTS: "too many requests; nothing is lost, collect again later, and less often",
}


class MemberApi:
    """The API for one member. token: that of the member's own app. base, version: others are for tests."""

    def __init__(self, http: WebClient, token: str, base: str = BASE, version: str = VERSION) -> None:
        self._http, self._base = http, base
        self._headers = {
            "Authorization": f"Bearer {token}",
            "LinkedIn-Version": version,
            "X-Restli-Protocol-Version": "2.0.0",
        }

    def snapshot(self, domain: str) -> Iterator[Row]:
        """Every row of a domain; none when LinkedIn has no data there, or has not made it yet. Raises BadSource."""
        url: str | None = self._url("memberSnapshotData", q="criteria", domain=domain)
        seen: set[str] = set()
        while url:
            if url in seen or len(seen) >= MAX_PAGES:
                raise BadSource(f"LinkedIn's listing of {domain} repeats itself at {url}: collect again later")
            seen.add(url)
            page = self._ask(url)
            if page is None:
                return
            yield from _snapshot_rows(page, domain)
            url = self._next(page)

    def changes(self, since_ms: int) -> Iterator[dict[str, Any]]:
        """The change log from a time on (inclusive, epoch milliseconds), oldest first. Raises BadSource."""
        start = 0
        for _ in range(MAX_PAGES):
            url = self._url(
                "memberChangeLogs", q="memberAndApplication", startTime=since_ms, count=CHANGES_PER_PAGE, start=start
            )
            page = self._ask(url) or {}
            found = _dicts(page.get("elements"))
            yield from found
            start += len(found)
            if not found or (len(found) < CHANGES_PER_PAGE and not self._next(page)):
                return

    @cached_property
    def generated_since(self) -> datetime | None:
        """When LinkedIn began to make this member's data; None if it had not, in which case it is asked to."""
        page = self._ask(self._url("memberAuthorizations", q="memberAndApplication")) or {}
        begun = [when(found.get("regulatedAt")) for found in _dicts(page.get("elements"))]
        if not any(begun):
            self._ask(self._url("memberAuthorizations"), method="POST", body={})
        return min((time for time in begun if time), default=None)

    def _url(self, resource: str, **query: str | int) -> str:
        return f"{self._base}/rest/{resource}" + (f"?{urlencode(query)}" if query else "")

    def _next(self, page: dict[str, Any]) -> str | None:
        paging = page.get("paging")
        links = _dicts(paging.get("links")) if isinstance(paging, dict) else []
        href = next((str(link.get("href")) for link in links if link.get("rel") == "next" and link.get("href")), None)
        url = urljoin(self._base, href) if href else None
        if url and host_of(url) != host_of(self._base):
            raise BadSource(f"LinkedIn's listing continues at {url}, another host: the token is not sent there")
        return url

    def _ask(self, url: str, method: str = "GET", body: Any = None) -> dict[str, Any] | None:
        """The object in a response; None when LinkedIn says that there is no data."""
        try:
            response = self._http.api(url, method=method, headers=self._headers, json=body)
        except StatusError as error:
            if error.status == HTTPStatus.NOT_FOUND and _SAYS_NOTHING_THERE in _message(error.body).lower():
                return None
            raise BadSource(_refused(error)) from error
        except BadItem as error:
            raise BadSource(f"{error}: nothing is taken as deleted; collect again later") from error
        if not response.body.strip():
            return {}
        try:
            found = json.loads(response.text)
        except (ValueError, RecursionError) as error:
            raise BadSource(
                f"{url} did not answer with JSON (got {response.described()}): collect again later"
            ) from error
        return found if isinstance(found, dict) else {}


def when(epoch_ms: object) -> datetime | None:
    """A time from the API in whole seconds, as in snapshots and archives; None for an invalid one."""
    if not isinstance(epoch_ms, int) or isinstance(epoch_ms, bool) or epoch_ms <= 0:
        return None
    try:
        return datetime.fromtimestamp(epoch_ms // 1_000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _snapshot_rows(page: dict[str, Any], domain: str) -> Iterator[Row]:
    for element in _dicts(page.get("elements")):
        if element.get("snapshotDomain", domain) == domain:
            for row in _dicts(element.get("snapshotData")):
                yield {column(name): str(value).strip() for name, value in row.items() if value is not None}


def _refused(error: StatusError) -> str:
    said = _message(error.body)
    advice = _ADVICE.get(error.status, "LinkedIn failed; nothing is taken as deleted, collect again later")
    return f"{error}{f' ({said})' if said else ''}: {advice}"


def _message(body: bytes) -> str:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return str(found.get("message", ""))[:200] if isinstance(found, dict) else ""


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
