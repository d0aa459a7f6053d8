"""Generation by a chat provider: real LiteLLM over real HTTP to a server with a model of its own."""

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from twin_assets.errors import BadInput, Busy, TwinError
from twin_assets.language.base_models import BaseSpec, load_tokenizer
from twin_assets.language.generation import Backend, Sampling, open_backend
from twin_assets.language.prompts import DraftRequest, Passage, encode_prompt
from twin_assets.stores import Stores
from twin_assets_tests.language.generation.completions_server import CompletionsServer, serving
from twin_assets_tests.language.generation.conftest import prompt_for, windows_for

SAMPLED = Sampling(max_new_tokens=24, temperature=0.9, top_p=0.8, seed=4)


@pytest.fixture(scope="module")
def shared(tiny_model: Path) -> Iterator[CompletionsServer]:
    with serving(tiny_model) as server:
        yield server


@pytest.fixture
def provider(shared: CompletionsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[CompletionsServer]:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for asked in (shared.asked, shared.headers, shared.gone_after):
        asked.clear()
    yield shared
    shared.refuses, shared.fails_after, shared.token_s = None, None, 0.0


def at(stores: Stores, url: str, **more: object) -> Stores:
    named = {"generation": "chat", "chat_model": "openai/some-model", "chat_api_base": url}
    return Stores(stores.settings.model_copy(update=named | more))


@pytest.fixture
def backend(stores: Stores, provider: CompletionsServer) -> Backend:
    return open_backend(at(stores, provider.url))


def test_the_provider_gets_the_prompt_as_messages_and_how_to_draw(backend: Backend, provider, tiny_model: Path):
    passage = Passage("c", "On rope", "https://example.org", "A rope is patient.")
    request = DraftRequest("Write a post: rope", (passage,), (("on fog", "Fog is slow."),), ("An example.",))
    prompt = encode_prompt(load_tokenizer(tiny_model), request, 400)
    with backend.open(BaseSpec(name=str(tiny_model))) as session:
        pieces = list(session.stream(prompt, SAMPLED))
    assert len(pieces) > 3
    [asked] = provider.asked
    assert asked["model"] == "some-model"
    assert asked["messages"] == list(prompt.messages)
    assert [turn["role"] for turn in asked["messages"]] == ["user", "assistant", "user"]
    assert all(text in asked["messages"][-1]["content"] for text in ("A rope is patient.", "An example."))
    assert {name: asked[name] for name in ("max_tokens", "temperature", "top_p", "seed", "stream")} == {
        "max_tokens": 24, "temperature": 0.9, "top_p": 0.8, "seed": 4, "stream": True,
    }  # fmt: skip


def test_the_draft_is_what_the_provider_streams_and_a_piece_counts_as_a_token(backend: Backend, provider, tiny_model):
    counted: list[None] = []
    with backend.open(BaseSpec(name=str(tiny_model))) as session:
        pieces = list(session.stream(prompt_for(tiny_model), SAMPLED, None, lambda: counted.append(None)))
    sent = "".join(
        choice["delta"]["content"] for event in provider.chat_events(provider.asked[0]) for choice in event["choices"]
    )
    assert "".join(pieces).strip() == sent.strip() != ""
    assert 3 < len(counted) <= 24


def test_closing_the_stream_is_heard_by_the_provider(backend: Backend, provider, tiny_model):
    provider.token_s = 0.01
    with backend.open(BaseSpec(name=str(tiny_model))) as session:
        pieces = session.stream(prompt_for(tiny_model), Sampling(max_new_tokens=5_000, temperature=1.0, seed=1))
        next(pieces)
        pieces.close()
    deadline = time.monotonic() + 10
    while not provider.gone_after and time.monotonic() < deadline:
        time.sleep(0.02)
    assert 0 < provider.gone_after[0] < 200


def test_a_rate_limit_is_worth_another_try_later(backend: Backend, provider, tiny_model):
    provider.refuses = (429, {"Retry-After": "1"}, '{"error": {"message": "slow down"}}')
    with backend.open(BaseSpec(name=str(tiny_model))) as session, pytest.raises(Busy, match="busy") as error:
        session.generate(prompt_for(tiny_model), SAMPLED)
    assert error.value.retry_after_s > 0


def test_what_goes_wrong_is_an_error_that_names_the_model(backend: Backend, stores, provider, tiny_model):
    with backend.open(BaseSpec(name=str(tiny_model))) as session:
        provider.refuses = (400, {}, '{"error": {"message": "no such model here"}}')
        with pytest.raises(TwinError, match=r"openai/some-model did not answer.*no such model here"):
            session.generate(prompt_for(tiny_model), SAMPLED)
        provider.refuses, provider.fails_after = None, 2
        with pytest.raises(TwinError, match=r"openai/some-model did not answer.*EngineCore"):
            session.generate(prompt_for(tiny_model), SAMPLED)
    with socket.create_server(("127.0.0.1", 0)) as free:
        away = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with (
        open_backend(at(stores, away)).open(BaseSpec(name=str(tiny_model))) as session,
        pytest.raises(TwinError, match="openai/some-model did not answer"),
    ):
        session.generate(prompt_for(tiny_model), SAMPLED)


def test_a_trained_version_is_refused_with_the_way_out(backend: Backend, tiny_model, publish):
    with pytest.raises(TwinError, match=r"ada@v1 is an adapter.*unset TWIN_GENERATION, or ask for ada@untrained"):
        backend.open(publish("ada", tiny_model))


def test_there_are_no_likelihoods(backend: Backend, tiny_model):
    with backend.open(BaseSpec(name=str(tiny_model))) as session:
        assert session.score(windows_for(tiny_model)) is None


def test_the_key_goes_to_the_provider_and_into_no_log_or_error(
    stores: Stores, provider: CompletionsServer, tiny_model: Path, monkeypatch, caplog, capfd
):
    monkeypatch.setenv("SOME_KEY", "sk-secret-123")
    backend = open_backend(at(stores, provider.url, generation_key_env="SOME_KEY"))
    provider.refuses = (401, {}, '{"error": {"message": "Incorrect API key provided: sk-secret-123"}}')
    with (
        caplog.at_level(logging.INFO),
        backend.open(BaseSpec(name=str(tiny_model))) as session,
        pytest.raises(TwinError, match="did not answer") as error,
    ):
        session.generate(prompt_for(tiny_model), SAMPLED)
    assert provider.headers[-1]["authorization"] == "Bearer sk-secret-123"
    out = capfd.readouterr()
    assert "sk-secret-123" not in caplog.text + str(error.value) + out.out + out.err


def test_a_provider_without_a_model_is_refused(stores: Stores):
    with pytest.raises(BadInput, match="needs TWIN_CHAT_MODEL"):
        open_backend(Stores(stores.settings.model_copy(update={"generation": "chat"})))
