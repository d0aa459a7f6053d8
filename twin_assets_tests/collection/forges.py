"""What the servers have in common that speak as GitHub and GitLab do."""

import json
from hashlib import sha1
from typing import Any

from twin_assets.collection.crawl import CrawlReport, crawl
from twin_assets.collection.registry import Crawler
from twin_assets.content.web import WebClient
from twin_assets.documents import Source
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets_tests.collection.site import Page, Request

TOKEN = "ghp_Secret0123456789"
README = "# Tides\n\n[![build](https://ci/badge.svg)](https://ci)\n\nThe gauge and what it taught me.\n"
FILES = {
    "README.md": README,
    "docs/datum.md": "# The datum\n\nZero is a measurement.\n",
    "src/tide.py": "def level():\n    return 4.2\n",
    "LICENSE": "MIT License …",
    "vendor/lib.js": "var x = 1;\n",
    "src/tide_pb2.py": "x = 1\n",
    "img/pier.png": "PNG",
}


def git_sha(content: str) -> str:
    """A blob's name, as git gives it."""
    data = content.encode()
    return sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def answer(value: Any, status: int = 200, **headers: str) -> Page:
    """A value as JSON; headers with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Page(json.dumps(value).encode(), "application/json; charset=utf-8", status, named)


class ForgeServer:
    """Answers a forge's requests. failures: path -> pages given before the real answer, the last one for good."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.failures: dict[str, list[Page]] = {}
        self.per_page = 100

    def __call__(self, request: Request) -> Page:
        if waiting := self.failures.get(request.path):
            return waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return self.respond(request)

    def respond(self, request: Request) -> Page:
        raise NotImplementedError

    def page(self, request: Request, rows: list[dict[str, Any]]) -> Page:
        """One page of a listing, naming the next in the header that each library reads."""
        number = int(request.query.get("page", 1))
        start = (number - 1) * self.per_page
        if start + self.per_page >= len(rows):
            return answer(rows[start:])
        link = f'<{self.url}{request.path}?page={number + 1}>; rel="next"'
        return answer(rows[start : start + self.per_page], Link=link, X_Next_Page=str(number + 1))


def crawl_forge(crawler: Crawler, source: Source, stores: Stores, settings: Settings) -> CrawlReport:
    """A crawl into the test's warehouse."""
    with WebClient(settings) as http:
        return crawl("ada", source, crawler, stores.warehouse, http)
