"""Every parser that reads what comes from outside, fed with damaged input: no crash, no hang, no document lost.

    python -m twin_assets_tests.benchmarks.fuzz 100000

Each input is a real layout (a feed, a sitemap, an export, a folder of files) of which one file is damaged: bytes
changed, cut out, doubled, swapped or replaced by what breaks parsers, by a generator whose seed is the input's number.
A parser may say that an item or a whole source cannot be read; any other exception, more than SLOW_S for one input, or
the loss of a document that lies in an undamaged file ends the run, naming the input.
"""

# ruff: noqa: E501  layouts are as wide as the platforms write them

import json
import random
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from twin_assets.collection.events import Failed, Found
from twin_assets.collection.platforms.blog import sitemap_urls
from twin_assets.collection.registry import ArchiveCrawler, crawlers
from twin_assets.content.archives import Archive, Entry
from twin_assets.content.feeds import read_feed
from twin_assets.content.web import Response, WebClient
from twin_assets.documents import Source
from twin_assets.errors import BadInput
from twin_assets.settings import Settings

SLOW_S = 5.0
"""Processor time; a page may make dateparser load every language it knows, once, which takes two seconds."""
NASTY = (
    b"\0", b'"', b"'", b"<![CDATA[", b"]]>", b"<!--", b"&#xD83D;", b"&#0;", b"\xff\xfe", b"\xed\xa0\x80", b"\r", b"---\n",
    b"+++\n", b"{", b"[" * 500, b"<div>" * 300, b"9" * 400, b"2024-99-99", b"\xe2\x80\xae", b"=1+1", b"\\u0000", b"\x1b[31m",
)  # fmt: skip

STORY = """<article class="h-entry"><header><h1 class="p-name">Story {n}</h1></header>
<section data-field="body" class="e-content"><section class="section section--body"><div><h3 class="graf--title">Story
{n}</h3><p>The tide turned at noon on day {n}, and nobody in the harbour had noticed it yet.</p></div></section></section>
<footer><p>By <a class="p-author h-card" href="https://medium.com/@ada">Ada</a> on <a><time class="dt-published"
datetime="2024-01-0{n}T10:00:00.000Z">x</time></a></p><p><a class="p-canonical"
href="https://medium.com/@ada/story-00000000000{n}">Canonical link</a></p></footer></article>"""
TWEET = {"id_str": "0", "full_text": "The gauge reads &lt;2 m again https://t.co/a", "created_at": "Wed Oct 10 20:19:24 +0000 2018",
         "entities": {"urls": [{"url": "https://t.co/a", "expanded_url": "https://ada.example/a"}]}}  # fmt: skip

Layout = dict[str, str]

LAYOUTS: dict[str, Layout] = {
    "linkedin": {
        "Shares.csv": "Date,ShareLink,ShareCommentary,SharedUrl,MediaUrl,Visibility\n"
        + "".join(
            f"2024-01-0{n} 10:00:00,https://www.linkedin.com/feed/update/urn%3Ali%3Ashare%3A700000000000000000{n},"
            f'"Line one of {n}"\n"Line ""two"""\n,,,MEMBER_NETWORK\n'
            for n in range(1, 6)
        ),
        "Comments.csv": "Date,Link,Message\n2024-01-01 10:00:00,https://www.linkedin.com/feed/update/x,\"It \\\"is\\\" so\"\n",
        **{
            f"Articles/a{n}.html": f"<html><head><title>T{n}</title></head><body><h1><a href='https://www.linkedin.com/pulse/"
            f"a{n}'>T{n}</a></h1><p class='created'>Created on 2024-01-0{n} 10:00</p><p class='published'>Published on "
            f"2024-01-0{n} 10:00</p><div><p>A paragraph about tides, number {n}.</p></div></body></html>"
            for n in range(1, 4)
        },
        "Profile.csv": "First Name,Last Name\nAda,Example\n",
    },
    "medium": {f"posts/2024-01-0{n}_Story-{n}-00000000000{n}.html": STORY.format(n=n) for n in range(1, 5)} | {"README.html": "x"},
    "substack": {
        "posts.csv": "post_id,post_date,is_published,email_sent_at,inbox_sent_at,type,audience,title,subtitle,podcast_url\n"
        + "".join(f'{n}.story-{n},2024-01-0{n}T10:00:00.000Z,true,,,newsletter,everyone,"Story, {n}",,\n' for n in range(1, 5)),
        **{f"posts/{n}.story-{n}.html": f"<p>The tide turned at noon, day {n}.</p><p>And back.</p>" for n in range(1, 5)},
    },
    "x": {
        "data/account.js": 'window.YTD.account.part0 = [{"account": {"username": "ada", "accountId": "1"}}]',
        "data/tweets.js": "window.YTD.tweets.part0 = "
        + json.dumps([{"tweet": {**TWEET, "id": str(n), "id_str": str(n)}} for n in range(1, 6)]),
        "data/note-tweet.js": "window.YTD.note_tweet.part0 = []",
    },
    "files": {
        "yaml.md": "---\ntitle: A\ndate: 2024-01-01\ntags: [a, b]\n---\n# A\n\nSome words of hers.\n",
        "toml.md": '+++\ntitle = "B"\ndate = 2024-01-01\n+++\nSome other words of hers.\n',
        "json.md": '{"title": "C", "date": "2024-01-01"}\n\nStill other words of hers.\n',
        "_posts/2024-01-31-d.md": "---\nlayout: post\n---\nWords under a dated name.\n",
        "e.html": "<html><body><article><h1>E</h1>" + "<p>A paragraph of some length about the tides.</p>" * 5 + "</article></body></html>",
        "f.py": "def f():\n    return 1\n",
    },
}  # fmt: skip

FEED = (
    '<?xml version="1.0"?><rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>'
    + "".join(
        f"<item><title>T{n}</title><link>https://a.example/{n}</link><guid>{n}</guid><pubDate>Tue, 02 Jan 2024 10:00:00 "
        f"GMT</pubDate><content:encoded><![CDATA[<p>Words {n} &amp; more</p>]]></content:encoded></item>"
        for n in range(5)
    )
    + "</channel></rss>"
)
SITEMAP = (
    '<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
    + "".join(f"<url><loc>https://a.example/{n}</loc><lastmod>2024-01-01</lastmod></url>" for n in range(9))
    + "</urlset>"
)


@dataclass
class Fuzzer:
    """Feeds one damaged input after the other; `http` is given to what must have one, and is not used."""

    http: WebClient
    folder: Path

    def inputs(self) -> dict[str, Callable[[random.Random], None]]:
        """Parsers by name."""
        exports = {name: self._export(name) for name in LAYOUTS if name != "files"}
        return {"feed": self._feed, "sitemap": self._sitemap, "files": self._files} | exports

    def _feed(self, drawn: random.Random) -> None:
        read_feed(_response(damaged(FEED.encode(), drawn), "application/rss+xml"))

    def _sitemap(self, drawn: random.Random) -> None:
        list(sitemap_urls(_response(damaged(SITEMAP.encode(), drawn), "application/xml"), self.http, depth=2))

    def _export(self, platform: str) -> Callable[[random.Random], None]:
        crawler = crawlers()[platform]
        assert isinstance(crawler, ArchiveCrawler)
        source = Source(id=platform, platform=platform, where="inbox", options={"comments": "yes", "responses": "yes"})

        def read(drawn: random.Random) -> None:
            hurt, members = _with_damage(LAYOUTS[platform], drawn)
            entries = [Entry(name, len(data), None, lambda data=data: data) for name, data in members.items()]  # type: ignore[misc]
            events = list(crawler.import_archive(source, Archive(self.folder, list(entries))))
            _nothing_lost(platform, hurt, events)

        return read

    def _files(self, drawn: random.Random) -> None:
        hurt, members = _with_damage(LAYOUTS["files"], drawn)
        path = self.folder / "files.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        source = Source(id="files", platform="files", where=str(path))
        _nothing_lost("files", hurt, list(crawlers()["files"].collect(source, {}, self.http)))


def damaged(data: bytes, drawn: random.Random) -> bytes:
    """`data` with one to eight changes."""
    out = bytearray(data)
    for _ in range(drawn.randint(1, 8)):
        at = drawn.randrange(len(out) + 1)
        end = min(len(out), at + drawn.choice([1, 1, 2, 5, 20, 200]))
        match drawn.randrange(6):
            case 0:
                out[at:end] = bytes(drawn.randrange(256) for _ in range(end - at))
            case 1:
                del out[at:end]
            case 2:
                out[at:at] = out[at:end]
            case 3:
                out[at:at] = drawn.choice(NASTY)
            case 4:
                out[at:end] = drawn.choice(NASTY)
            case _:
                del out[at if drawn.random() < 0.2 else end : end]
    return bytes(out)


def _with_damage(layout: Layout, drawn: random.Random) -> tuple[str, dict[str, bytes]]:
    hurt = drawn.choice(sorted(layout))
    return hurt, {
        name: damaged(text.encode(), drawn) if name == hurt else text.encode() for name, text in layout.items()
    }


def _nothing_lost(platform: str, hurt: str, events: list[object]) -> None:
    """Documents that have a file of their own are found, unless it is that file which was damaged."""
    named = {event.item.external_id for event in events if isinstance(event, Found)}
    named |= {event.item for event in events if isinstance(event, Failed)}
    if platform == "files":
        wanted = LAYOUTS["files"].keys() - {hurt}
    elif platform == "medium":
        wanted = {
            name.removesuffix(".html").rsplit("-", 1)[1]
            for name in LAYOUTS["medium"]
            if "posts/" in name and name != hurt
        }
    else:
        return
    assert wanted <= named, f"lost {sorted(wanted - named)}"


def _response(body: bytes, content_type: str) -> Response:
    return Response("https://a.example/x", 200, content_type, body, "utf-8")


def main(n: int) -> None:
    """Run `n` inputs, the same number for each parser."""
    refused: Counter[str] = Counter()
    slowest: Counter[str] = Counter()
    with TemporaryDirectory() as folder, WebClient(Settings(_env_file=None)) as http:
        parsers = Fuzzer(http, Path(folder)).inputs()
        done = 0
        for name, read in parsers.items():
            for seed in range(n // len(parsers) + 1):
                started = time.process_time()
                try:
                    read(random.Random(f"{name} {seed}"))
                except BadInput:
                    refused[name] += 1
                except Exception as error:
                    raise SystemExit(f"{name}, input {seed}: {type(error).__name__}: {error}") from error
                took_ms = round((time.process_time() - started) * 1_000)
                slowest[name] = max(slowest[name], took_ms)
                if took_ms > SLOW_S * 1_000:
                    raise SystemExit(f"{name}, input {seed}: took {took_ms} ms")
                done += 1
            print(
                f"{name}: {seed + 1} inputs, {refused[name]} refused as a whole, slowest {slowest[name]} ms", flush=True
            )
    print(f"{done} inputs: no crash, no hang, no document lost")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
