"""One world that tests only read, served by one real uvicorn; and a world each for tests that change something."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from twin_assets.serving.drafting import Drafter
from twin_assets.serving.server import build_app
from twin_assets.stores import Stores
from twin_assets_tests.serving.world import Parts, make_adapter, never_ending, open_world, running


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
    with running(build_app(shared, "127.0.0.1", no_promotion)) as url:
        yield url
