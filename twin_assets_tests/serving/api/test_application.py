"""The API as its users meet it: the real openai client and plain HTTP against a real server on loopback."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import openai
import pytest
from fastapi.testclient import TestClient

from twin_assets.documents import ApiKey, ModelManifest, Source
from twin_assets.language.generation.engines.torch_engine import TorchEngine
from twin_assets.serving.access import Access, new_key
from twin_assets.serving.api.application import build_api
from twin_assets.serving.api.openai_chat import ChatRequest, Message
from twin_assets.serving.drafting import Drafter
from twin_assets.serving.server import build_app
from twin_assets.stores import Stores
from twin_assets_tests.conftest import setting
from twin_assets_tests.serving.conftest import no_promotion
from twin_assets_tests.serving.world import ANSWER_TOKENS, collector, running, words

ASKED = [{"role": "user", "content": "why I check the tide gauge by hand"}]


@pytest.fixture(scope="session")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="not-needed", max_retries=0)


def test_the_openai_client_gets_a_draft_with_its_sources(client):
    answer = client.chat.completions.create(model="ada", messages=ASKED, seed=3, max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 8
    assert answer.twin["model_version"] == "v1"
    assert answer.twin["dataset_version"] == "00001"
    assert answer.twin["warnings"] == ["version v1 has not been evaluated"]
    first = answer.twin["sources"][0]
    assert set(first) == {"title", "url", "chunk_id", "score", "text", "copied_share", "longest_run"}
    assert {"copied_share", "longest_run", "tries"} <= set(answer.twin)
    assert first["title"] == "On gauge"
    assert answer.id == f"chatcmpl-{answer.twin['interaction_id']}"


def test_a_stream_carries_twin_in_its_last_chunk(client, shared):
    stream = client.chat.completions.create(model="ada@v2", messages=ASKED, seed=3, max_tokens=80, stream=True)
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [hasattr(chunk, "twin") for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices[0].finish_reason == "length"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    kept = {one.id: one.draft for one in shared.warehouse.interactions.for_author("ada")}
    assert kept[chunks[-1].twin["interaction_id"]] == text
    assert len(chunks) > 3


def test_a_stream_ends_with_done_after_the_chunk_with_usage_and_twin(url):
    body = {"model": "ada", "messages": ASKED, "stream": True, "stream_options": {"include_usage": True}}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    last = json.loads(lines[-2])
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] <= ANSWER_TOKENS
    assert last["twin"]["model_version"] == "v1"


def test_the_same_seed_gives_the_same_draft_and_another_temperature_another(client):
    def text(**sampling):
        return client.chat.completions.create(model="ada", messages=ASKED, **sampling).choices[0].message.content

    assert text(seed=5) == text(seed=5)
    assert text(seed=5, temperature=2.0) != text(seed=5, temperature=0.1)
    assert text(temperature=0) == text(temperature=0)
    assert text(seed=5, temperature=2.0, top_p=1e-6) == text(seed=6, temperature=2.0, top_p=1e-6)


def test_a_version_is_drafted_with_by_name_and_a_format_goes_in_twin(client):
    answer = client.chat.completions.create(
        model="ada@v2", messages=ASKED, max_tokens=4, extra_body={"twin": {"format": "post"}}
    )
    assert answer.twin["model_version"] == "v2"


def test_what_is_not_honoured_is_said(client):
    answer = client.chat.completions.create(
        model="ada",
        messages=[{"role": "system", "content": "Be brief."}, *ASKED],
        max_tokens=4,
        stop=["."],
        user="me",
        frequency_penalty=0,
    )
    said = answer.twin["warnings"]
    assert any(warning.startswith("system messages are not used") for warning in said)
    assert "not supported and not used: stop" in said


def test_earlier_messages_become_turns_whatever_their_order():
    def ask(*messages: tuple[str, str]):
        return ChatRequest(
            model="ada", messages=[Message(role=role, content=text) for role, text in messages]
        ).draft_spec()

    chat = ask(("assistant", "hi"), ("user", "a"), ("user", "b"), ("assistant", "c"), ("assistant", "d"), ("user", "e"))
    assert chat.history == (("a\n\nb", "c\n\nd"),)
    assert chat.prompt == "e"
    parts = ChatRequest(
        model="ada@v1", messages=[{"role": "user", "content": [{"type": "text", "text": "x"}]}]
    ).draft_spec()
    assert (parts.author, parts.version, parts.prompt) == ("ada", "v1", "x")


def test_models_lists_production_first_then_versions(client):
    listed = client.models.list().data
    assert [model.id for model in listed] == ["ada", "ada@v1", "ada@v2", "ben"]
    assert listed[0].twin == {"stage": "production", "version": "v1"}
    assert listed[3].twin == {"stage": "untrained", "version": None}
    assert client.models.retrieve("ada@v2").twin["stage"] == "candidate"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("ada@v9")


def test_search_finds_what_may_be_quoted(url):
    def search(**query):
        return httpx.get(f"{url}/v1/authors/ada/search", params=query, timeout=30)

    found = search(q="the gauge house key", k=3).json()
    assert len(found["data"]) == 3
    assert {"document_id", "title", "url", "text", "score"} <= set(found["data"][0])
    assert "third stone" not in json.dumps(found)
    assert {hit["category"] for hit in search(q="gauge", category="code").json()["data"]} == {"code"}
    for wrong in ({"q": ""}, {"q": "x", "k": 0}, {"q": "x", "k": 51}, {"q": "x", "category": "poem"}, {}):
        answer = search(**wrong)
        assert answer.status_code == 400
        assert answer.json()["error"]["type"] == "invalid_request_error"
    assert httpx.get(f"{url}/v1/authors/nobody/search?q=x").status_code == 404


WRONG = {
    "no author": ({"model": "nobody"}, 404, "no author 'nobody'"),
    "no version": ({"model": "ada@v9"}, 404, "no model version 'v9'"),
    "no messages": ({"messages": []}, 400, "messages"),
    "no user at the end": ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "last message"),
    "an empty prompt": ({"messages": [{"role": "user", "content": " "}]}, 400, "empty"),
    "a prompt that is too long": ({"messages": [{"role": "user", "content": words(2000)}]}, 400, "shorten it"),
    "too many tokens": ({"max_tokens": 10**6}, 400, "max_tokens"),
    "a hot temperature": ({"temperature": 3}, 400, "temperature"),
    "two answers": ({"n": 2}, 400, "n: "),
    "an unknown format": ({"twin": {"format": "poem"}}, 400, "twin.format"),
    "an unknown option of ours": ({"twin": {"fromat": "post"}}, 400, "twin.fromat"),
    "a picture": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        400,
        "content",
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", WRONG)
def test_errors_have_openais_shape_and_say_what_is_wrong(url, name, stream):
    wrong, status, said = WRONG[name]
    body = {"model": "ada", "messages": ASKED, "stream": stream} | wrong
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert said in error["message"]


def test_the_openai_client_raises_its_own_errors(client):
    with pytest.raises(openai.NotFoundError, match="no author 'nobody'"):
        client.chat.completions.create(model="nobody", messages=ASKED)
    with pytest.raises(openai.BadRequestError, match="shorten it"):
        client.chat.completions.create(model="ada", messages=[{"role": "user", "content": words(2000)}], stream=True)


def test_an_error_in_the_middle_of_a_stream_is_sent_and_raised_by_the_client(client, shared, url, monkeypatch):
    monkeypatch.setattr("twin_assets.serving.api.chat.QUIET_START_S", 0.0)
    body = {"model": "ada", "messages": [{"role": "user", "content": words(2000)}], "stream": True}
    lines = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30).text.splitlines()
    assert any(line.startswith(": ") for line in lines)
    assert "shorten it" in json.loads(lines[-2].removeprefix("data: "))["error"]["message"]
    with pytest.raises(openai.APIError, match="shorten it"):
        list(client.chat.completions.create(**body))


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_ends_the_work(shared, stream, monkeypatch):
    extend = TorchEngine.extend

    def at_leisure(self, cache, ids, adapter):
        time.sleep(0.02)  # as a model of a useful size takes, so that the draft is not over before the client goes
        return extend(self, cache, ids, adapter)

    monkeypatch.setattr(TorchEngine, "extend", at_leisure)
    drafter = Drafter(shared)
    api = build_api(shared, drafter, Access(shared.warehouse, "127.0.0.1"))
    before = {one.id for one in shared.warehouse.interactions.for_author("ada")}
    body = {"model": "ada@v2", "messages": ASKED, "stream": stream, "temperature": 2}
    with running(api) as url:
        if stream:
            with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=30) as answer:
                next(line for line in answer.iter_lines() if "content" in line)
                assert drafter._backend.n_held["ada@v2"] == 1
        else:
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{url}/v1/chat/completions", json=body, timeout=0.7)
        deadline = time.monotonic() + 1.0
        while drafter._backend.n_held.get("ada@v2") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not drafter._backend.n_held.get("ada@v2")
    [kept] = [one for one in shared.warehouse.interactions.for_author("ada") if one.id not in before]
    assert kept.outcome == "cancelled"


@contextmanager
def all_drafts_wait(drafter: Drafter, manifest: ModelManifest) -> Iterator[None]:
    """No draft gets its next token meanwhile: the engine is kept busy."""
    with drafter._backend.open(manifest) as session:
        scheduler = session._base.scheduler
    free = threading.Event()
    keeper = threading.Thread(target=scheduler.call, args=(free.wait,))
    keeper.start()
    try:
        yield
    finally:
        free.set()
        keeper.join()


def until(reached: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def limited(world: Stores, max_open_drafts: int) -> Drafter:
    return Drafter(Stores(world.settings.model_copy(update={"max_open_drafts": max_open_drafts})))


def test_one_draft_more_than_may_wait_is_told_to_come_back_and_all_else_still_answers(world, parts):
    """More drafts wait than a server has threads by default, each in a thread of its own."""
    n_places = 45
    manifest = parts.publish(world, "ada", "v1")
    drafter = limited(world, n_places)
    api = build_api(drafter._stores, drafter, Access(world.warehouse, "127.0.0.1"))
    body = {"model": "ada@v1", "messages": ASKED, "max_tokens": 2}
    with running(api) as url, ThreadPoolExecutor(n_places) as pool:

        def ask(stream: bool = False) -> httpx.Response:
            return httpx.post(f"{url}/v1/chat/completions", json=body | {"stream": stream}, timeout=120)

        with all_drafts_wait(drafter, manifest):
            waiting = [pool.submit(ask, stream=n % 2 == 0) for n in range(n_places)]
            until(
                lambda: (
                    sum(one.prompt_text is not None for one in world.warehouse.interactions.for_author("ada"))
                    == n_places
                )
            )
            assert httpx.get(f"{url}/v1/models", timeout=10).status_code == 200
            for refused in (ask(), ask(stream=True)):
                assert refused.status_code == 429
                assert int(refused.headers["Retry-After"]) > 0
                error = refused.json()["error"]
                assert (error["type"], error["code"]) == ("rate_limit_error", "too_many_drafts")
                assert "(45) are being written" in error["message"]
        assert {one.result().status_code for one in waiting} == {200}
        assert ask().status_code == 200


def test_a_place_is_free_again_however_a_draft_ends(world, parts):
    parts.publish(world, "ada", "long", recipe={"context_tokens": 1000, "answer_tokens": 700})
    drafter = limited(world, 1)
    api = build_api(drafter._stores, drafter, Access(world.warehouse, "127.0.0.1"))
    with running(api) as url:
        chat = f"{url}/v1/chat/completions"
        body = {"model": "ada@long", "messages": ASKED, "temperature": 2}

        def status(**more: object) -> int:
            return httpx.post(chat, json=body | {"max_tokens": 2} | more, timeout=30).status_code

        assert [status(), status(stream=True), status()] == [200, 200, 200]
        with httpx.stream("POST", chat, json=body | {"stream": True}, timeout=30) as answer:
            lines = answer.iter_lines()  # held on to: the connection closes with it
            next(line for line in lines if "content" in line)
            assert status() == 429
        until(lambda: status() == 200, timeout_s=5)
        too_long = [{"role": "user", "content": words(2000)}]
        assert [status(messages=too_long), status(messages=too_long, stream=True), status()] == [400, 400, 200]
    kept = world.warehouse.interactions.for_author("ada")
    assert {one.outcome for one in kept} == {"done", "cancelled", "failed"}


def test_health_is_cheap_and_needs_no_key(url):
    assert httpx.get(f"{url}/healthz").json() == {"status": "ok"}


@pytest.fixture
def guarded(world: Stores):
    """The API as other machines see it, and ada's and ben's keys."""
    keys = {}
    for author in ("ada", "ben"):
        keys[author], sha256 = new_key()
        world.warehouse.profiles.change(author, setting(api_keys=[ApiKey(label="k", sha256=sha256)]))
    return TestClient(build_app(world, "0.0.0.0", no_promotion, collector(world))), keys


def test_a_key_opens_its_own_author_over_http(guarded):
    client, keys = guarded
    ben = {"Authorization": f"Bearer {keys['ben']}"}
    assert [row["id"] for row in client.get("/v1/models", headers=ben).json()["data"]] == ["ben"]
    draft = {"model": "ada", "messages": ASKED}
    for answer in (
        client.post("/v1/chat/completions", json=draft, headers=ben),
        client.post("/v1/chat/completions", json=draft | {"model": "ada@untrained", "stream": True}, headers=ben),
        client.get("/v1/authors/ada/search?q=gauge", headers=ben),
        client.get("/v1/models/ada", headers=ben),
    ):
        assert answer.status_code == 404
        assert answer.json()["error"]["type"] == "not_found_error"
        assert "gauge" not in answer.text
    ada = {"Authorization": f"Bearer {keys['ada']}"}
    made = client.post("/v1/chat/completions", json=draft, headers=ada).json()
    assert made["twin"]["sources"][0]["title"] == "On gauge"


def test_without_the_right_key_everything_but_health_is_401(guarded):
    client, _ = guarded
    for headers in ({}, {"Authorization": "Bearer twin_wrong"}, {"Authorization": "Basic abc"}):
        answer = client.get("/v1/models", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        draft = {"model": "ada", "messages": ASKED}
        assert client.post("/v1/chat/completions", json=draft, headers=headers).status_code == 401
    assert client.get("/healthz").status_code == 200


def test_a_crawl_is_asked_for_over_http_and_its_outcome_read_there(guarded, world):
    client, keys = guarded
    ada, ben = ({"Authorization": f"Bearer {keys[name]}"} for name in ("ada", "ben"))
    places = {"files-a": "/a", "blog-b": "https://b.example/feed.xml"}
    sources = [
        Source(id=name, platform=name.split("-")[0], where=where, token_env="SECRET_NAME")
        for name, where in places.items()
    ]
    world.warehouse.profiles.change("ada", setting(sources=sources))
    answer = client.post("/v1/authors/ada/collect?source=blog-b", headers=ada)
    assert answer.status_code == 202
    assert [row["id"] for row in answer.json()["data"]] == ["blog-b"]
    assert [(one["author"], one["source_id"]) for one in world.warehouse.crawl_requests.all()] == [("ada", "blog-b")]

    world.warehouse.crawls.save("ada", "files-a", {"new": 3, "failed": [{"item": "x.md", "reason": "is empty"}]})
    rows = {row["id"]: row for row in client.get("/v1/authors/ada/sources", headers=ada).json()["data"]}
    assert rows["blog-b"]["asked_at"]
    assert rows["files-a"]["last_crawl"]["failed"] == [{"item": "x.md", "reason": "is empty"}]
    assert "SECRET_NAME" not in str(rows)

    assert client.post("/v1/authors/ada/collect", headers=ada).json()["data"][0]["id"] == "files-a"
    assert "sources: files-a, blog-b" in client.post("/v1/authors/ada/collect?source=x", headers=ada).text
    assert client.post("/v1/authors/ada/collect", headers=ben).status_code == 404
    assert client.get("/v1/authors/ada/sources", headers=ben).status_code == 404
