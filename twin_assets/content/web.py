"""The only way to fetch a URL that comes from outside: http(s) only, public addresses only, bounded, cached, polite.

The address is checked at the moment of connecting: an audit hook on `socket.connect` sees every connection that any
library makes while a guard is open, at each redirect, after DNS has answered. Checking the name before the request
would not stop DNS rebinding.

Responses are cached by RFC 9111 (hishel) and revalidated each time, so that an unchanged page costs a 304 and its body
is still at hand. A request that carries a token is not cached: its headers would be written to disk.
"""

import ipaddress
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from twin_assets.content.retries import ATTEMPTS, RetryableError, retry_after_s, with_retries
from twin_assets.errors import BadItem, BadSource
from twin_assets.settings import Settings

if TYPE_CHECKING:
    import httpx

USER_AGENT = "twin_assets/0.1 (collects its operator's own writing)"
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_RETRY_AFTER_S = 60.0
"""A request is not retried when the server asks for a longer pause than this; the next crawl tries again."""
MAX_CACHE_BYTES = 500_000_000
MAX_ERROR_BYTES = 100_000
"""The most that is read of an error's body, in which APIs say what was wrong."""
SECRET_HEADERS = frozenset({"authorization", "private-token", "cookie"})

CHALLENGE = re.compile(rb"/cdn-cgi/challenge-platform/|_cf_chl_opt|captcha-delivery|px-captcha|<title>Just a moment")

_guarded: ContextVar[bool] = ContextVar("guarded", default=False)


class AddressRefused(BadItem):
    """A connection to an address that is not public was refused."""


class StatusError(BadItem):
    """An error status. body: the start of the response's body, in which APIs say what was wrong."""

    def __init__(self, message: str, status: int, body: bytes) -> None:
        super().__init__(message)
        self.status, self.body = status, body


class _TemporaryError(RetryableError):
    """A failure that may pass, such as an error status or a broken connection."""

    def __init__(self, reason: str, after_s: float | None = None, status: int | None = None, body: bytes = b"") -> None:
        super().__init__(reason, after_s)
        self.status, self.body = status, body


@cache
def _install_hook() -> None:
    """Install the audit hook, which stays for the life of the process and does nothing outside a guard."""
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
    """Refuse connections to private, loopback, link-local and metadata addresses in this block, by any library."""
    _install_hook()
    token = _guarded.set(active)
    try:
        yield
    finally:
        _guarded.reset(token)


@dataclass(frozen=True)
class Response:
    """An HTTP response. unchanged: the server says that nothing has changed since the last request."""

    url: str
    status: int
    content_type: str
    body: bytes
    encoding: str
    unchanged: bool = False

    @property
    def text(self) -> str:
        """The body decoded by its declared charset, wrong bytes replaced."""
        try:
            return self.body.decode(self.encoding, errors="replace")
        except (LookupError, UnicodeError):
            # The charset does not exist, such as MySQL's utf8mb4, or is not one of text.
            return self.body.decode("utf-8", errors="replace")

    def described(self) -> str:
        """The content type and size for error messages, such as `text/html, 14 kB`."""
        return f"{self.content_type or 'no content type'}, {max(1, len(self.body) // 1000)} kB"


def host_of(url: str) -> str | None:
    """The host of an http(s) URL; None for anything else, also for what only looks like one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.hostname if parts.scheme in ("http", "https") else None


class WebClient:
    """A guarded httpx client for one crawl, which waits `request_interval_s` between two requests to one host.

    cache: a file that keeps responses between crawls, one per author, so that erasing an author means deleting it.
    """

    def __init__(self, settings: Settings, cache: Path | None = None) -> None:
        import httpx

        self.settings = settings
        self._plain = httpx.Client(**_options(settings))
        self._client = _cached_client(settings, cache) if cache else self._plain
        self._last_request: dict[str, float] = {}
        self._robots: dict[str, Any] = {}
        self.requests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._plain.close()

    def get(self, url: str) -> Response:
        """Fetch a page or feed, if the site's robots.txt allows it.

        Raises BadItem, naming the URL, when it is not http(s), leads to a refused address, is disallowed by robots.txt,
        cannot be reached, or gives more than `max_response_bytes` after decompression; StatusError for an error status.
        """
        _check_http(url)
        if not self._allowed(url):
            raise BadItem(f"{url} is disallowed by the site's robots.txt: ask its owner, or give an export instead")
        return self._fetch("GET", url, {})

    def api(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, json: Any = None
    ) -> Response:
        """Call an API, which is subject to its own terms and not to robots.txt. Raises as `get` does.

        headers: may carry a token, which is sent to this URL's host only and appears in no error. json: a body to send.
        """
        _check_http(url)
        if carries_secret(headers or {}):
            check_encrypted(url, self.settings)
        return self._fetch(method, url, dict(headers or {}), json=json)

    def _allowed(self, url: str) -> bool:
        from protego import Protego

        parts = urlsplit(url)
        home = f"{parts.scheme}://{parts.netloc}"
        if home not in self._robots:
            try:
                self._robots[home] = Protego.parse(self._fetch("GET", f"{home}/robots.txt", {}, attempts=1).text)
            except BadItem:
                # RFC 9309, section 2.3.1.3: an unavailable robots.txt allows everything.
                self._robots[home] = Protego.parse("")
        return bool(self._robots[home].can_fetch(url, USER_AGENT))

    def _fetch(
        self, method: str, url: str, headers: Mapping[str, str], *, json: Any = None, attempts: int = ATTEMPTS
    ) -> Response:
        try:
            return with_retries(lambda: self._once(method, url, headers, json), attempts)
        except _TemporaryError as error:
            reason = f"{url} {error} ({attempts} tries)"
            raise StatusError(reason, error.status, error.body) if error.status else BadItem(reason) from error

    def _once(self, method: str, url: str, headers: Mapping[str, str], json: Any) -> Response:
        import httpx

        self.wait_for_turn(url)
        # hishel stores a request's headers, whatever they say about caching: a request with a token bypasses it.
        client = self._plain if carries_secret(headers) else self._client
        # A cached page is revalidated: whoever pressed "collect" wants to see their last edit.
        fresh = {"Cache-Control": "no-cache"}
        try:
            with (
                only_public_addresses(not self.settings.allow_private_addresses),
                client.stream(method, url, headers=fresh | dict(headers), json=json) as response,
            ):
                return self._read(url, response)
        except httpx.TooManyRedirects as error:
            raise BadItem(f"{url} redirects in a circle") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            # UnicodeError: a host name that IDNA does not allow.
            raise BadItem(f"{url} leads to something that is not an http(s) URL") from error
        except httpx.DecodingError as error:
            raise BadItem(
                f"{url} sent a body that is not compressed as its header says: tell the site's owner"
            ) from error
        except httpx.TransportError as error:
            raise _TemporaryError(f"could not be reached: {error}") from error

    def _read(self, url: str, response: "httpx.Response") -> Response:
        status, answered = response.status_code, f"answered {response.status_code} {response.reason_phrase}"
        if status >= HTTPStatus.BAD_REQUEST:
            said = _start_of(response)
            pause_s = retry_after_s(response.headers.get("Retry-After"))
            if status in RETRIED_STATUS and (pause_s or 0) <= MAX_RETRY_AFTER_S:
                raise _TemporaryError(answered, pause_s, status, said)
            if status in (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS) and CHALLENGE.search(said):
                answered += ": it asks visitors to prove that they are human; use the platform's export, or its feed"
            later = f" and asks for a pause of {pause_s / 60:.0f} minutes: collect again then" if pause_s else ""
            raise StatusError(f"{url} {answered}{later}", status, said)
        limit = self.settings.max_response_bytes
        body = bytearray()
        for block in response.iter_bytes():
            body += block
            if len(body) > limit:
                raise BadItem(f"{url} is larger than {limit // 1_000_000} MB (TWIN_MAX_RESPONSE_BYTES): skipped")
        caching = response.extensions.get("caching")
        return Response(
            url=str(response.url),
            status=status,
            content_type=response.headers.get("Content-Type", "").split(";")[0].strip().lower(),
            body=bytes(body),
            encoding=response.charset_encoding or "utf-8",
            unchanged=bool(caching and caching["from_cache"]),
        )

    def wait_for_turn(self, url: str) -> None:
        """Wait until a request to the URL's host is due; public for libraries that send their requests themselves."""
        host = urlsplit(url).netloc
        wait_s = self._last_request.get(host, 0.0) + self.settings.request_interval_s - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        self._last_request[host] = time.monotonic()
        self.requests += 1


def _refuse_login(request: "httpx.Request") -> None:
    """Refuse a URL with a login, also in links and redirects: it would be written to the cache."""
    if request.url.userinfo:
        shown = request.url.copy_with(userinfo=b"")
        raise BadItem(f"{shown} was given with a user name or password, which would be stored: give it without them")


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "event_hooks": {"request": [_refuse_login]},
        "headers": {"User-Agent": USER_AGENT},
        "timeout": settings.request_timeout_s,
        "follow_redirects": True,
        "max_redirects": 10,
    }


def _cached_client(settings: Settings, cache: Path) -> "httpx.Client":
    from hishel import CacheOptions, SqliteStorage
    from hishel.httpx import CacheClient

    cache.parent.mkdir(parents=True, exist_ok=True)
    storage = SqliteStorage(database_path=cache, max_size=MAX_CACHE_BYTES)
    return CacheClient(storage=storage, rfc=CacheOptions(shared=False), **_options(settings))


def carries_secret(headers: Mapping[str, str]) -> bool:
    """True if the headers contain a token or a cookie."""
    return bool(SECRET_HEADERS & {name.lower() for name in headers})


def check_encrypted(url: str, settings: Settings) -> None:
    """Raise BadSource for a URL that would get the token unencrypted, unless private addresses are allowed."""
    if urlsplit(url).scheme.lower() != "https" and not settings.allow_private_addresses:
        raise BadSource(f"{url} would get the token unencrypted: give an https URL, or remove the token")


def _check_http(url: str) -> None:
    if not host_of(url):
        raise BadItem(f"{url} is not an http(s) URL")


def _start_of(response: "httpx.Response") -> bytes:
    body = bytearray()
    for block in response.iter_bytes():
        body += block
        if len(body) >= MAX_ERROR_BYTES:
            break
    return bytes(body[:MAX_ERROR_BYTES])
