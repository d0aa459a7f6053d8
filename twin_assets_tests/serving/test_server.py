"""The doors of the server: addresses, hosts, origins, sizes, the login of the app."""

import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from fastapi.testclient import TestClient

from twin_assets.documents import ApiKey, AuthorProfile, Consent
from twin_assets.errors import BadInput, TwinError
from twin_assets.serving.access import new_key
from twin_assets.serving.server import build_app, serve
from twin_assets.settings import Settings
from twin_assets.stores import Stores
from twin_assets_tests.conftest import setting
from twin_assets_tests.serving.conftest import no_promotion
from twin_assets_tests.serving.world import collector

DRAFT = {"model": "nobody", "messages": [{"role": "user", "content": "x"}]}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    stores = Stores(Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("local")))
    stores.warehouse.profiles.add(AuthorProfile(id="ada", name="Ada Example", consent=Consent(who="Ada")))
    return TestClient(build_app(stores, "127.0.0.1", no_promotion, collector(stores)), base_url="http://127.0.0.1:7860")


def test_a_port_in_use_is_one_line_that_says_what_to_do(stores):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TwinError, match=f"cannot listen on 127.0.0.1:{port} .*twin serve --port") as error:
            serve(stores, "127.0.0.1", port, no_promotion, collector(stores))
    assert "\n" not in str(error.value)


def test_another_host_without_keys_is_refused_before_anything_listens(stores, ada):
    with pytest.raises(BadInput, match="twin key add ID"):
        serve(stores, "0.0.0.0", 0, no_promotion, collector(stores))


def test_ctrl_c_ends_the_server_quickly_and_quietly_even_with_a_page_open(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = (
        "from twin_assets.stores import open_stores; from twin_assets.serving.server import serve; "
        "from twin_assets.operations.collector import Collector; "
        f"serve(open_stores(), '127.0.0.1', {port}, print, Collector(open_stores()))"
    )
    environment = os.environ | {"TWIN_DATA_DIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stderr.readline().startswith(f"the app: http://127.0.0.1:{port} ")
        with httpx.stream("GET", f"http://127.0.0.1:{port}/gradio_api/heartbeat/x", timeout=30):
            server.send_signal(signal.SIGINT)
            assert server.wait(10) == 0
        assert server.stderr.read() == "ended\n"


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860"])
def test_this_machines_own_names_are_let_in(local, host):
    assert local.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "localhost.evil.example"])
def test_another_name_for_this_machine_is_refused(local, host):
    for path in ("/healthz", "/v1/models", "/", "/config"):
        assert local.get(path, headers={"Host": host}).status_code == 400


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9999"])
def test_a_page_from_elsewhere_cannot_ask_in_its_visitors_place(local, origin):
    answer = local.post("/v1/chat/completions", json=DRAFT, headers={"Origin": origin})
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "permission_error"
    joined = local.post("/gradio_api/queue/join", json={}, headers={"Origin": origin})
    assert joined.status_code == 403
    own = local.post("/v1/chat/completions", json=DRAFT, headers={"Origin": "http://127.0.0.1:7860"})
    assert own.status_code == 404


def test_a_form_of_another_page_is_no_request(local):
    answer = local.post("/v1/chat/completions", content=b'{"model": "ada"}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400


@pytest.mark.parametrize("declared", [True, False])
def test_a_large_body_is_refused_declared_or_not(local, declared):
    body = b'{"model": "' + b"x" * 1_100_000 + b'"}'
    content = body if declared else (body[start : start + 10_000] for start in range(0, len(body), 10_000))
    answer = local.post("/v1/chat/completions", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_broken_json_and_unknown_paths_have_the_same_shape(local):
    broken = local.post("/v1/chat/completions", content=b"{", headers={"Content-Type": "application/json"})
    assert broken.status_code == 400
    assert broken.json()["error"]["type"] == "invalid_request_error"
    for wrong in (local.put("/v1/models"), local.post("/v1/embeddings", json={})):
        assert wrong.status_code == 404
        assert wrong.json()["error"]["type"] == "not_found_error"


def test_pages_may_load_nothing_from_outside(local):
    page = local.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "Ada" not in page.text
    assert local.get("/docs").status_code == 404


@pytest.fixture
def remote(stores: Stores, ada):
    """The app as other machines reach it, and ada's key."""
    token, sha256 = new_key()
    stores.warehouse.profiles.change("ada", setting(api_keys=[ApiKey(label="k", sha256=sha256)]))
    app = build_app(stores, "0.0.0.0", no_promotion, collector(stores))
    return TestClient(app, base_url="http://twin.example", follow_redirects=False), token


def test_from_elsewhere_the_app_is_behind_a_login(remote):
    client, token = remote
    assert client.get("/").headers["location"] == "/login"
    for path in ("/config", "/gradio_api/info"):
        assert client.get(path).status_code == 401
    assert (
        client.post("/gradio_api/queue/join", json={"data": [], "fn_index": 0, "session_hash": "x"}).status_code == 401
    )
    for fields in ({"author": "ada", "key": "wrong"}, {"author": "ben", "key": token}, {}):
        answer = client.post("/login", data=fields)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
    evil = client.post("/login", data={"author": "<script>", "key": "x"})
    assert "<script>" not in evil.text
    entered = client.post("/login", data={"author": "ada", "key": token})
    assert entered.status_code == 303
    assert {"HttpOnly", "SameSite=strict"} <= set(entered.headers["set-cookie"].split("; "))
    assert client.get("/").status_code == 200
    assert client.get("/config").status_code == 200


def test_a_login_ends_with_its_key_and_with_logging_out(remote, stores):
    client, token = remote
    client.post("/login", data={"author": "ada", "key": token})
    assert client.get("/").status_code == 200
    client.get("/logout")
    assert client.get("/").status_code == 303
    client.post("/login", data={"author": "ada", "key": token})
    stores.warehouse.profiles.change("ada", setting(api_keys=[]))
    assert client.get("/").status_code == 303
    assert client.get("/config").status_code == 401


def test_the_cookie_of_the_app_is_no_key_of_the_api(remote):
    client, token = remote
    client.post("/login", data={"author": "ada", "key": token})
    assert client.get("/v1/models").status_code == 401
