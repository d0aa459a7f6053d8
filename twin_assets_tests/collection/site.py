"""A real HTTP server on loopback that a test fills with pages, and that remembers what was asked of it."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Page:
    body: bytes
    content_type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: str | None = None


@dataclass(frozen=True)
class Request:
    """What an API was asked: path without its query, the query's first values, and what came with it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Site:
    """pages: path -> Page, or a function that makes one per request. api: answers what no page does."""

    def __init__(self) -> None:
        self.pages: dict[str, Page | Callable[[], Page]] = {}
        self.api: Callable[[Request], Page] | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append((self.path, dict(self.headers)))
                found = site.pages.get(self.path) or site._from_api(self)
                page = found() if callable(found) else found
                unchanged = page.etag is not None and self.headers.get("If-None-Match") == page.etag
                self.send_response(304 if unchanged else page.status)
                if page.etag:
                    self.send_header("ETag", page.etag)
                for name, value in page.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", page.content_type)
                self.send_header("Content-Length", "0" if unchanged else str(len(page.body)))
                self.end_headers()
                if not unchanged:
                    with suppress(ConnectionError):  # a client that has read enough hangs up
                        self.wfile.write(page.body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def _from_api(self, handler: BaseHTTPRequestHandler) -> Page:
        if self.api is None:
            return Page(b"not here", status=404)
        parts = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        return self.api(Request(handler.command, parts.path, query, dict(handler.headers), body))

    def paths(self) -> list[str]:
        """Paths asked for, robots.txt aside."""
        return [path for path, _ in self.asked if path != "/robots.txt"]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def article(title: str, text: str) -> Page:
    body = f"""<!doctype html><html lang="en"><head><title>{title}</title></head><body>
<nav><a href="/">Home</a> <a href="/about">About</a></nav>
<article><h1>{title}</h1>{"".join(f"<p>{paragraph}</p>" for paragraph in text.split("|"))}</article>
<footer>Copyright, cookies, share this</footer></body></html>"""
    return Page(body.encode())


def rss(entries: list[tuple[str, str, str]], base: str) -> Page:
    """entries: (path, title, html)."""
    items = "".join(
        f"<item><title>{title}</title><link>{base}{path}</link><guid>{base}{path}</guid>"
        f"<pubDate>Tue, 02 Jan 2024 10:00:00 GMT</pubDate>"
        f"<content:encoded><![CDATA[{html}]]></content:encoded></item>"
        for path, title, html in entries
    )
    body = (
        '<?xml version="1.0"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/">'
        f"<channel><title>Blog</title>{items}</channel></rss>"
    )
    return Page(body.encode(), "application/rss+xml")


def sitemap(urls: list[tuple[str, str | None]]) -> Page:
    entries = "".join(
        f"<url><loc>{url}</loc>{f'<lastmod>{modified}</lastmod>' if modified else ''}</url>" for url, modified in urls
    )
    body = f'<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{entries}</urlset>'
    return Page(body.encode(), "application/xml")
