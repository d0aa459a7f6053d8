"""The one way to a URL that comes from outside: http(s) only, public addresses only, bounded, polite.

The address is checked where it counts: an audit hook on `socket.connect` sees every connection that any library makes
while a guard is open, at each redirect, after DNS has answered. A check of the name before the request would lose to
DNS rebinding.
"""

import ipaddress
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from twin_assets.errors import BadItem
from twin_assets.settings import Settings

if TYPE_CHECKING:
    import httpx

USER_AGENT = "twin_assets/0.1 (collects its operator's own writing)"
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_RETRY_AFTER_S = 60.0
ATTEMPTS = 4

_guarded: ContextVar[bool] = ContextVar("guarded", default=False)


class AddressRefused(BadItem):
    """A connection to an address that is not public."""


class _TryAgain(Exception):
    """A signal to tenacity, never seen outside."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


@cache
def _install_hook() -> None:
    """Audit hooks stay for the process's life; this one does nothing outside a guard."""
    sys.addaudithook(_on_event)


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect" or not _guarded.get():
        return
    connecting, address = arguments
    if connecting.family not in (socket.AF_INET, socket.AF_INET6):
        raise AddressRefused("only internet addresses may be fetched")
    ip = ipaddress.ip_address(str(address[0]).split("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None) or ip
    if not mapped.is_global or mapped.is_multicast:
        raise AddressRefused(
            f"{address[0]} is not a public address: nothing is fetched from it "
            "(TWIN_ALLOW_PRIVATE_ADDRESSES=true allows it, for an intranet)"
        )


@contextmanager
def only_public_addresses(active: bool = True) -> Iterator[None]:
    """Refuse connections to private, loopback, link-local and metadata addresses made in here, by any library."""
    _install_hook()
    token = _guarded.set(active)
    try:
        yield
    finally:
        _guarded.reset(token)


@dataclass(frozen=True)
class Answer:
    """What a URL gave. validators: what to send next time to get a 304 when nothing changed."""

    url: str
    status: int
    content_type: str
    body: bytes
    encoding: str
    validators: dict[str, str] = field(default_factory=dict)

    @property
    def unchanged(self) -> bool:
        """The server says that nothing changed since the validators."""
        return self.status == HTTPStatus.NOT_MODIFIED

    @property
    def text(self) -> str:
        """The body decoded by its declared charset, wrong bytes replaced."""
        try:
            return self.body.decode(self.encoding, errors="replace")
        except (LookupError, UnicodeError):
            # A charset that does not exist, such as MySQL's utf8mb4, or that is none of text.
            return self.body.decode("utf-8", errors="replace")

    def described(self) -> str:
        """`text/html, 14 kB`, for errors."""
        return f"{self.content_type or 'no content type'}, {max(1, len(self.body) // 1000)} kB"


def host_of(url: str) -> str | None:
    """The host of an http(s) URL; None for anything else, such as what only looks like one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.hostname if parts.scheme in ("http", "https") else None


class WebClient:
    """A guarded httpx client for one crawl; it waits `request_interval_s` between two requests to one host."""

    def __init__(self, settings: Settings) -> None:
        import httpx

        self._settings = settings
        self._client = httpx.Client(
            headers={"User-Agent": USER_AGENT},
            timeout=settings.request_timeout_s,
            follow_redirects=True,
            max_redirects=10,
        )
        self._last_request: dict[str, float] = {}
        self._robots: dict[str, Any] = {}
        self.requests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, url: str, validators: Mapping[str, str] | None = None) -> Answer:
        """The answer to a GET; 304 only when validators were given.

        Raises BadItem, naming the URL: not http(s), refused address, disallowed by robots.txt, unreachable, an error
        status, or more than `max_response_bytes` after decompression.
        """
        if not host_of(url):
            raise BadItem(f"{url} is no http(s) URL")
        if not self._allowed(url):
            raise BadItem(f"{url} is disallowed by the site's robots.txt: ask its owner, or give an export instead")
        return self._fetch(url, _conditions(validators))

    def _allowed(self, url: str) -> bool:
        from protego import Protego

        parts = urlsplit(url)
        home = f"{parts.scheme}://{parts.netloc}"
        if home not in self._robots:
            try:
                self._robots[home] = Protego.parse(self._fetch(f"{home}/robots.txt", {}, attempts=1).text)
            except BadItem:
                # RFC 9309, section 2.3.1.3: an unavailable robots.txt allows everything.
                self._robots[home] = Protego.parse("")
        return bool(self._robots[home].can_fetch(url, USER_AGENT))

    def _fetch(self, url: str, headers: Mapping[str, str], attempts: int = ATTEMPTS) -> Answer:
        retrying = Retrying(
            retry=retry_if_exception_type(_TryAgain), stop=stop_after_attempt(attempts), wait=_wait, reraise=True
        )
        try:
            return retrying(self._once, url, headers)
        except _TryAgain as error:
            raise BadItem(f"{url} {error} ({attempts} tries)") from error

    def _once(self, url: str, headers: Mapping[str, str]) -> Answer:
        import httpx

        self._wait_for_turn(url)
        try:
            with (
                only_public_addresses(not self._settings.allow_private_addresses),
                self._client.stream("GET", url, headers=dict(headers)) as response,
            ):
                return self._read(url, response)
        except httpx.TooManyRedirects as error:
            raise BadItem(f"{url} redirects in a circle") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            # UnicodeError: a host name that IDNA does not allow.
            raise BadItem(f"{url} leads to something that is no http(s) URL") from error
        except httpx.DecodingError as error:
            raise BadItem(f"{url} sent a body that is not compressed the way it says: tell the site's owner") from error
        except httpx.TransportError as error:
            raise _TryAgain(f"could not be reached: {error}") from error

    def _read(self, url: str, response: "httpx.Response") -> Answer:
        if response.status_code in RETRIED_STATUS:
            reason = f"answered {response.status_code} {response.reason_phrase}"
            raise _TryAgain(reason, _retry_after_s(response.headers.get("Retry-After")))
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            raise BadItem(f"{url} answered {response.status_code} {response.reason_phrase}")
        limit = self._settings.max_response_bytes
        body = bytearray()
        for block in response.iter_bytes():
            body += block
            if len(body) > limit:
                raise BadItem(f"{url} is larger than {limit // 1_000_000} MB (TWIN_MAX_RESPONSE_BYTES): left out")
        names = {"ETag": "etag", "Last-Modified": "last_modified"}
        return Answer(
            url=str(response.url),
            status=response.status_code,
            content_type=response.headers.get("Content-Type", "").split(";")[0].strip().lower(),
            body=bytes(body),
            encoding=response.charset_encoding or "utf-8",
            validators={name: response.headers[header] for header, name in names.items() if header in response.headers},
        )

    def _wait_for_turn(self, url: str) -> None:
        host = urlsplit(url).netloc
        wait_s = self._last_request.get(host, 0.0) + self._settings.request_interval_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        self._last_request[host] = time.monotonic()
        self.requests += 1


def _conditions(validators: Mapping[str, str] | None) -> dict[str, str]:
    headers = {"etag": "If-None-Match", "last_modified": "If-Modified-Since"}
    return {headers[name]: value for name, value in (validators or {}).items() if name in headers}


def _retry_after_s(value: str | None) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date (RFC 9110, section 10.2.3)."""
    if not value:
        return None
    if value.strip().isdecimal():
        return min(float(value), MAX_RETRY_AFTER_S)
    from email.utils import parsedate_to_datetime

    try:
        return min(max(0.0, parsedate_to_datetime(value).timestamp() - time.time()), MAX_RETRY_AFTER_S)
    except ValueError:
        return None


_backoff = wait_random_exponential(multiplier=0.5, max=10)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    after_s = error.after_s if isinstance(error, _TryAgain) else None
    return _backoff(state) if after_s is None else after_s
