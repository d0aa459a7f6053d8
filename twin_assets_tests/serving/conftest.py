"""One world that tests only read, served by one real uvicorn; and a world each for tests that change something."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from twin_assets.serving.drafting import Drafter
from twin_assets.serving.server import build_app
from twin_assets.stores import Stores
from twin_assets_tests import browser
from twin_assets_tests.serving.world import Parts, collector, make_adapter, never_ending, open_world, running

BROWSER = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


@pytest.fixture(scope="session")
def parts(make_tiny_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Parts:
    base = make_tiny_model(context=1024)
    never_ending(base)
    return Parts(base, make_adapter(base, tmp_path_factory.mktemp("adapter"), seed=1))


@pytest.fixture
def world(tmp_path: Path, parts: Parts) -> Stores:
    """Ada and Ben, nothing trained yet, for this test alone."""
    return open_world(tmp_path / "data", parts.base)


@pytest.fixture
def drafter(world: Stores) -> Drafter:
    return Drafter(world)


@pytest.fixture(scope="session")
def shared(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Ada with v1 in production and v2 a candidate that drafts long; Ben with nothing. No keys."""
    stores = open_world(tmp_path_factory.mktemp("shared") / "data", parts.base)
    parts.publish(stores, "ada", "v1")
    stores.models.promote("ada", "v1", "Ada", "first")
    parts.publish(stores, "ada", "v2", recipe={"context_tokens": 1000, "answer_tokens": 700})
    return stores


def no_promotion(*_: str) -> None:
    raise AssertionError("nothing is promoted here")


@pytest.fixture(scope="session")
def url(shared: Stores) -> Iterator[str]:
    with running(build_app(shared, "127.0.0.1", no_promotion, collector(shared))) as url:
        yield url


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    path = browser.find()
    if path is None:
        message = "no Chromium or Chrome: `python -m twin_assets_tests.browser` tries to install one"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=BROWSER)
        yield chromium
        chromium.close()
