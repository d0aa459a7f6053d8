"""Generation by a completions server: a real one on loopback that computes with a tiny model."""

import logging
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from twin_assets.documents import ModelManifest
from twin_assets.errors import BadInput, Busy, TwinError
from twin_assets.language.base_models import BaseSpec
from twin_assets.language.generation import Sampling, Session, open_backend
from twin_assets.language.generation.completions import Completions
from twin_assets.language.generation.in_process import InProcess
from twin_assets.stores import Stores
from twin_assets_tests.language.generation.completions_server import CompletionsServer, serving
from twin_assets_tests.language.generation.conftest import prompt_for, windows_for

GREEDY = Sampling(max_new_tokens=24, temperature=0, repetition_penalty=1.5)
ENDLESS = Sampling(max_new_tokens=10_000, temperature=1.0, seed=1)


@pytest.fixture(scope="module")
def shared(tiny_model: Path) -> Iterator[CompletionsServer]:
    with serving(tiny_model) as server:
        yield server


@pytest.fixture
def server(shared: CompletionsServer) -> Iterator[CompletionsServer]:
    """The server as it is after a restart, with no adapter and no requests."""
    shared._adapters.clear()
    for asked in (shared.loads, shared.asked, shared.headers, shared.gone_after):
        asked.clear()
    yield shared
    shared.refuses, shared.fails_after, shared.dies_after = None, None, None
    shared.gives_logprobs, shared.token_s = True, 0.0


def at(stores: Stores, server: CompletionsServer, **more: object) -> Stores:
    """Stores whose settings name the server."""
    named = {"generation": "completions", "generation_url": server.url}
    return Stores(stores.settings.model_copy(update=named | more))


@pytest.fixture
def backend(stores: Stores, server: CompletionsServer) -> Completions:
    made = open_backend(at(stores, server))
    assert isinstance(made, Completions)
    return made


def in_process(stores: Stores, model: ModelManifest | BaseSpec, use: Callable[[Session], object]) -> object:
    """The draft of the same model in this process."""
    with InProcess(stores).open(model) as session:
        return use(session)


def test_the_server_gets_our_token_ids_and_its_greedy_draft_is_the_one_of_this_process(
    stores: Stores, backend: Completions, server: CompletionsServer, tiny_model: Path, publish
):
    prompt = prompt_for(tiny_model)
    for model in (BaseSpec(name=str(tiny_model)), publish("ada", tiny_model)):
        with backend.open(model) as session:
            drafted = session.generate(prompt, GREEDY)
        assert drafted == in_process(stores, model, lambda own: own.generate(prompt, GREEDY)) != ""
        assert server.asked[-1]["prompt"] == prompt.ids
    assert [body["model"] for body in server.asked] == [str(tiny_model), "ada@v1"]


def test_each_version_is_loaded_once_under_a_name_of_its_own_and_answers_with_its_own_weights(
    stores: Stores, backend: Completions, server: CompletionsServer, tiny_model: Path, publish
):
    prompt = prompt_for(tiny_model)
    versions = [publish("ada", tiny_model, f"v{n}", seed=n) for n in (1, 2)]
    drafts = []
    for version in (*versions, *versions):
        with backend.open(version) as session:
            drafts.append(session.generate(prompt, GREEDY))
    own = [in_process(stores, version, lambda session: session.generate(prompt, GREEDY)) for version in versions]
    assert drafts == own * 2
    assert own[0] != own[1]
    assert [body["lora_name"] for body in server.loads] == ["ada@v1", "ada@v2"]
    again = open_backend(at(stores, server))
    again.open(versions[0]).close()
    assert len(server.loads) == 2, "what the server has already is not loaded again by another process"


def test_a_server_that_was_restarted_is_given_the_adapter_again(
    backend: Completions, server: CompletionsServer, tiny_model: Path, publish
):
    version = publish("ada", tiny_model)
    backend.open(version).close()
    server._adapters.clear()
    with backend.open(version) as session:
        assert session.generate(prompt_for(tiny_model), GREEDY)
    assert [body["lora_name"] for body in server.loads] == ["ada@v1"] * 2


def test_an_adapter_is_found_where_the_server_sees_the_registry(
    stores: Stores, server: CompletionsServer, tiny_model: Path, publish, tmp_path: Path
):
    version = publish("ada", tiny_model)
    seen = tmp_path / "mounted elsewhere"
    shutil.copytree(Path(str(stores.models.folder("ada", "small", "v1"))), seen / "ada" / "small" / "v1")
    open_backend(at(stores, server, generation_adapters=f"{seen}/")).open(version).close()
    assert server.loads == [{"lora_name": "ada@v1", "lora_path": f"{seen}/ada/small/v1/adapter"}]
    assert "ada@v1" in server.models


def test_an_adapter_that_the_server_does_not_load_is_an_error_that_says_what_it_needs(
    stores: Stores, server: CompletionsServer, tiny_model: Path, publish
):
    backend = open_backend(at(stores, server, generation_adapters="/nowhere"))
    with pytest.raises(TwinError, match=r"did not load ada@v1 .*No adapter found.*TWIN_GENERATION_ADAPTERS"):
        backend.open(publish("ada", tiny_model))


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"), [(429, {"Retry-After": "7"}, 7), (503, {}, 5), (429, {"Retry-After": "soon"}, 5)]
)
def test_a_busy_server_is_worth_another_try_later(backend: Completions, server, tiny_model, status, headers, wait_s):
    server.refuses = (status, headers, "")
    with backend.open(BaseSpec(name=str(tiny_model))) as session, pytest.raises(Busy) as error:
        session.generate(prompt_for(tiny_model), GREEDY)
    assert error.value.retry_after_s == wait_s


def test_what_the_server_refuses_is_told_in_its_words(backend: Completions, server, tiny_model):
    server.refuses = (400, {}, '{"error": {"message": "max_model_len is 64"}}')
    with backend.open(BaseSpec(name=str(tiny_model))) as session:
        with pytest.raises(TwinError, match=r"refused \(400\): max_model_len is 64"):
            session.generate(prompt_for(tiny_model), GREEDY)
        server.refuses = (502, {}, "<html>Bad Gateway</html>")
        with pytest.raises(TwinError, match=r"refused \(502\): <html>Bad"):
            session.generate(prompt_for(tiny_model), GREEDY)


def test_an_error_in_the_middle_is_raised_after_what_came_before_it(backend: Completions, server, tiny_model):
    server.fails_after = 3
    heard: list[str] = []
    with (
        backend.open(BaseSpec(name=str(tiny_model))) as session,
        pytest.raises(TwinError, match="server stopped: EngineCore encountered an issue"),
    ):
        heard.extend(session.stream(prompt_for(tiny_model), GREEDY))  # what extend takes until then is kept
    assert heard


def test_an_answer_that_breaks_off_is_no_whole_draft(backend: Completions, server, tiny_model):
    server.dies_after = 3
    with (
        backend.open(BaseSpec(name=str(tiny_model))) as session,
        pytest.raises(TwinError, match="before the end of its answer"),
    ):
        session.generate(prompt_for(tiny_model), GREEDY)


def test_a_server_that_is_away_is_named_with_the_setting(stores: Stores, tiny_model: Path, publish):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    away = Stores(stores.settings.model_copy(update={"generation": "completions", "generation_url": url}))
    backend = open_backend(away)
    with pytest.raises(TwinError, match=r"cannot be reached \(ConnectError\): .*TWIN_GENERATION_URL"):
        backend.open(publish("ada", tiny_model))
    with (
        backend.open(BaseSpec(name=str(tiny_model))) as session,
        pytest.raises(TwinError, match=r"cannot be reached \(ConnectError\)"),
    ):
        session.generate(prompt_for(tiny_model), GREEDY)


def test_closing_the_stream_is_heard_by_the_server_which_stops(backend: Completions, server, tiny_model):
    server.token_s = 0.01
    with backend.open(BaseSpec(name=str(tiny_model))) as session:
        pieces = session.stream(prompt_for(tiny_model), ENDLESS)
        next(pieces)
        pieces.close()
    deadline = time.monotonic() + 10
    while not server.gone_after and time.monotonic() < deadline:
        time.sleep(0.02)
    assert 0 < server.gone_after[0] < 100


def test_each_token_is_counted(backend: Completions, server, tiny_model):
    """A token that is not yet a character counts too, because the server's own count at the end decides."""
    counted: list[None] = []
    sampling = Sampling(max_new_tokens=40, temperature=1.0, seed=2, repetition_penalty=1.0)
    with backend.open(BaseSpec(name=str(tiny_model))) as session:
        list(session.stream(prompt_for(tiny_model), sampling, None, lambda: counted.append(None)))
    drawn = list(server.tokens(server.asked[-1]))
    assert len(counted) == len(drawn) > 20


def test_scores_are_those_of_this_process(stores: Stores, backend: Completions, server, tiny_model, publish):
    version, windows = publish("ada", tiny_model), windows_for(tiny_model, "A rope keeps. " * 6, 48)
    assert len(windows) > 1
    with backend.open(version) as session:
        assert session.score(windows) == pytest.approx(in_process(stores, version, lambda own: own.score(windows)))
        server.gives_logprobs = False
        assert session.score(windows) is None


def test_the_key_goes_to_the_server_and_into_no_log(
    stores: Stores, server: CompletionsServer, tiny_model: Path, monkeypatch, caplog
):
    monkeypatch.setenv("SOME_KEY", "sk-secret-123")
    backend = open_backend(at(stores, server, generation_key_env="SOME_KEY"))
    server.refuses = (401, {}, '{"error": {"message": "wrong key"}}')
    with (
        caplog.at_level(logging.DEBUG),
        backend.open(BaseSpec(name=str(tiny_model))) as session,
        pytest.raises(TwinError, match="wrong key") as error,
    ):
        session.generate(prompt_for(tiny_model), GREEDY)
    assert server.headers[-1]["authorization"] == "Bearer sk-secret-123"
    assert "sk-secret-123" not in caplog.text + str(error.value)


def test_a_server_without_an_address_is_refused(stores: Stores):
    with pytest.raises(BadInput, match="needs TWIN_GENERATION_URL"):
        open_backend(Stores(stores.settings.model_copy(update={"generation": "completions"})))
