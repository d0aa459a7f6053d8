"""Crawls documents served on loopback twice, the second time unchanged: requests, seconds and memory.

    python -m twin_assets_tests.benchmarks.crawl /tmp/crawl [1000]

The server is a separate process, so that its work and memory are not counted.
"""

import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from twin_assets.collection.crawl import crawl
from twin_assets.collection.registry import crawlers
from twin_assets.content.web import WebClient
from twin_assets.documents import Source
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets_tests.collection.site import Site, article, sitemap
from twin_assets_tests.conftest import WORDS

AUTHOR = "ada"
PARAGRAPHS, WORDS_EACH = 12, 70


def serve(n: int) -> None:
    """Serve a site of `n` articles of about 840 words: print its address, and serve until the input ends."""
    site = Site()
    for number in range(n):
        drawn = random.Random(number)
        paragraphs = [" ".join(drawn.choices(WORDS, k=WORDS_EACH)) for _ in range(PARAGRAPHS)]
        site.pages[f"/{number}.html"] = article(f"Article {number}", "|".join(paragraphs))
    listed: list[tuple[str, str | None]] = [(f"{site.url}/{number}.html", "2026-11-01") for number in range(n)]
    site.pages["/sitemap.xml"] = sitemap(listed)
    sys.stdout.write(f"{site.url}\n")
    sys.stdout.flush()
    sys.stdin.read()
    site.close()


def measure(folder: Path, n: int) -> list[dict[str, Any]]:
    """Print the figures of both crawls."""
    settings = Settings(_env_file=None, data_dir=folder, allow_private_addresses=True, request_interval_s=0)
    stores = Stores(settings)
    command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, "--serve", str(n)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        assert server.stdin
        url = server.stdout.readline().strip()
        source = Source(id="blog", platform="blog", where=f"{url}/sitemap.xml")
        figures = [_crawl(stores, source) for _ in range(2)]
        server.stdin.close()
    return figures


def _crawl(stores: Stores, source: Source) -> dict[str, Any]:
    started, processor = time.perf_counter(), time.process_time()
    with WebClient(stores.settings, stores.settings.web_cache(AUTHOR)) as http:
        report = crawl(AUTHOR, source, crawlers()["blog"], stores.warehouse, http)
    return {
        "documents": report.new + report.unchanged,
        "document_writes": report.writes,
        "failed": len(report.failed),
        "requests": report.requests,
        "megabytes": round(report.bytes_read / 1e6, 2),
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(int(sys.argv[2]))
    else:
        for figures in measure(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000):
            print(json.dumps(figures))
