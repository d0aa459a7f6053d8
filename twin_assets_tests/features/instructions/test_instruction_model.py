"""Instructions by a model: real LiteLLM over real HTTP to a server that speaks OpenAI's chat completions."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from twin_assets.documents import Category
from twin_assets.errors import BadInput, TwinError
from twin_assets.features.instructions.dataset import build, made_by_dataset
from twin_assets.features.instructions.instruction_model import InstructionModel, InstructionPrompt, usable
from twin_assets.language.embedding import load_embedder
from twin_assets.settings import Settings
from twin_assets_tests.conftest import raw, setting

PIECE = "The float hung on its chain in the salt, and nobody had looked at it since the spring, when Aldous did."
ASKED = "Write something about a float that nobody has looked at for a season."


class Server:
    """Answers with `contents` in turn, and with the last one from then on; notes what it was asked."""

    def __init__(self, *contents: str) -> None:
        self.contents = list(contents)
        self.requests: list[dict] = []
        self.status = 200
        owner, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    owner.requests.append(asked)
                    content = owner.contents.pop(0) if len(owner.contents) > 1 else owner.contents[0]
                message = {"role": "assistant", "content": content}
                answer = {
                    "id": "x", "object": "chat.completion", "created": 0, "model": asked["model"],
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100},
                }  # fmt: skip
                body = json.dumps(answer if owner.status == 200 else {"error": {"message": "no: sk-secret"}}).encode()
                self.send_response(owner.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> "Server":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def said(text: str, field: str = "instruction") -> str:
    return json.dumps({field: text})


def wanted(answer: str = PIECE, task: str = "write") -> InstructionPrompt:
    return InstructionPrompt(task, "post", "English", answer)


@pytest.fixture
def asking(tmp_path, monkeypatch):
    """asking(server, **settings) -> the model, and what it told."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")

    def make(server: Server, **more):
        told: list[str] = []
        given = {"instruction_model": "openai/gpt-4o-mini", "instruction_api_base": server.address} | more
        settings = Settings(_env_file=None, data_dir=tmp_path / "data", **given)
        return InstructionModel(settings, "ada", told.append), told

    return make


def test_a_model_writes_the_instruction_by_a_schema_and_once_only(asking):
    with Server(said(ASKED)) as server:
        model, told = asking(server)
        assert model.write([wanted(), wanted()], [""]) == [ASKED, ASKED]
        assert asking(server)[0].write([wanted()], [""]) == [ASKED]
    [request] = server.requests
    assert request["response_format"]["json_schema"]["schema"]["required"] == ["instruction"]
    assert PIECE in request["messages"][1]["content"]
    assert "1 instructions: at most about $0.00, $0.00 spent so far, cap $5.00" in told[0]


def test_the_price_is_estimated_before_and_a_cap_stops_with_what_is_done_kept(asking):
    # A call costs 1,000 x $0.15 and 100 x $0.60 a million.
    pieces = [wanted(f"{PIECE} Number {n}.") for n in range(12)]
    with Server(said(ASKED)) as server:
        model, _ = asking(server, instruction_max_cost_usd=0.0024)
        with pytest.raises(
            TwinError, match=r"8 of 12 instructions are written and cached for \$0\.0017.*cap of \$0\.00"
        ):
            model.write(pieces, [""])
        assert len(server.requests) == 8
        with pytest.raises(TwinError, match="0 of 4"):
            model.write(pieces, [""])
        assert len(server.requests) == 8
        assert asking(server)[0].write(pieces, [""]) == [ASKED] * 12
        assert len(server.requests) == 12


def test_a_copy_is_refused_in_a_script_that_puts_no_space_between_words_too():
    piece = "潮水仪器挂在链条上。每天早上七点, 我读一次水位, 然后写在本子里。"
    chinese = InstructionPrompt("write", "post", "Chinese", piece)
    assert usable(chinese, said(f"请写一篇文章: {piece}")) is None
    assert usable(chinese, said("请写一篇关于每天早上记录潮汐的短文, 语气平静。")) is not None


def test_what_was_written_of_a_deleted_piece_is_forgotten_and_what_it_cost_is_not(asking, tmp_path):
    pieces = [replace(wanted(f"{PIECE} Number {n}."), document_id=f"a:f:{n}") for n in range(5)]
    there = [piece.document_id for piece in pieces]
    with Server(said(ASKED)) as server:
        asking(server)[0].write(pieces[:4], there)
        asking(server)[0].write(pieces[:1], there)  # as for a smaller dataset
        asking(server)[0].write(pieces[:4], there)
        assert len(server.requests) == 4
        asking(server)[0].write(pieces[:1], there[:1])
        model, told = asking(server)
        model.write(pieces[4:], there[4:])
        assert len(server.requests) == 5
    assert "$0.00 spent so far" in told[0]
    [cache] = (tmp_path / "data").rglob("ada.db")
    with closing(sqlite3.connect(cache)) as database:
        rows = list(database.execute("SELECT text, cost_usd FROM written"))
    assert sorted(text or "" for text, _ in rows) == ["", "", "", "", ASKED]
    assert sum(cost for _, cost in rows) == pytest.approx(5 * 0.00021)


@pytest.mark.parametrize(
    "nonsense",
    ["", "Sure! Here is it.", '{"instruction": 7}', '{"request": "Write something about floats."}', said("no"),
     said(f"Write this: {PIECE}"), "[1, 2"],
)  # fmt: skip
def test_an_answer_that_is_no_instruction_is_asked_for_again_then_refused_and_remembered(asking, nonsense):
    with Server(nonsense) as server:
        assert asking(server)[0].write([wanted()], [""]) == [None]
        assert asking(server)[0].write([wanted()], [""]) == [None]
        assert len(server.requests) == 2
    with Server(nonsense, f"```json\n{said(ASKED)}\n```") as server:
        assert asking(server)[0].write([wanted(PIECE + " Again.")], [""]) == [ASKED]


def test_a_server_that_refuses_is_an_error_that_names_no_key(asking):
    with Server(said(ASKED)) as server:
        server.status = 401
        with pytest.raises(TwinError, match="gpt-4o-mini did not answer \\(AuthenticationError\\)") as caught:
            asking(server)[0].write([wanted()], [""])
        assert "sk-secret" not in str(caught.value)


def test_a_model_without_a_price_is_free_on_ones_own_server_and_refused_elsewhere(asking):
    with Server(said(ASKED)) as server:
        own, _ = asking(server, instruction_model="openai/my-own", instruction_max_cost_usd=0)
        assert own.write([wanted()], [""]) == [ASKED]
        elsewhere, _ = asking(server, instruction_model="openai/my-own", instruction_api_base=None)
        with pytest.raises(BadInput, match="no price for openai/my-own"):
            elsewhere.write([wanted()], [""])


def test_the_dataset_takes_the_models_instructions_of_public_writing_and_keeps_every_answer(
    project, materialize, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    secret = "What I would tell nobody: the float was mine, and I had let it rust since the spring of that year. "
    documents = [raw(f"p{n}", f"{PIECE} And so on, {n}.", category=Category.POST) for n in range(6)]
    project.warehouse.profiles.change("ada", setting(train_private=True))
    project.warehouse.documents.upsert([*documents, raw("diary", secret * 2, visibility="private")])
    materialize("cleaned_documents", "chunks", "embeddings")
    tables = [project.features.table("ada", name) for name in ("cleaned_documents", "embeddings")]
    embedder = load_embedder(project.settings)
    by_rule = build(*tables, embedder, project.settings, lambda line: None)
    with Server(said(ASKED)) as server:
        settings = project.settings.model_copy(
            update={"instruction_model": "openai/gpt-4o-mini", "instruction_api_base": server.address}
        )
        by_model = build(*tables, embedder, settings, lambda line: None)
        assert build(*tables, embedder, settings, lambda line: None) == by_model
    assert [row["answer"] for row in by_model.rows] == [row["answer"] for row in by_rule.rows]
    written = {row["document_id"] for row in by_model.rows if row["instruction"] == ASKED}
    assert written == {row["document_id"] for row in by_model.rows} - {"ada:files:diary"}
    assert not [request for request in server.requests if "tell nobody" in json.dumps(request)]
    assert {row["made_by"] for row in by_model.rows} != {row["made_by"] for row in by_rule.rows}
    assert made_by_dataset(settings) != made_by_dataset(project.settings)
    assert settings.instruction_cache("ada").parent.parent == settings.cache_dir


OFFLINE = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo") and "127.0.0.1" not in repr(arguments):
        print("left the machine:", event, arguments, file=sys.stderr)
        raise OSError("offline")
sys.addaudithook(refuse)
import twin_assets.features.instructions.dataset
assert "litellm" not in sys.modules
from pathlib import Path
from twin_assets.settings import Settings
from twin_assets.features.instructions.instruction_model import InstructionModel, InstructionPrompt
settings = Settings(_env_file=None, data_dir=Path(sys.argv[2]), instruction_model="openai/gpt-4o-mini",
                    instruction_api_base=sys.argv[1])
model = InstructionModel(settings, "ada", print)
prompt = InstructionPrompt("write", "post", "English", "A float that hung on a chain in the salt water.")
print(model.write([prompt], [""]))
"""


def test_nothing_but_the_named_server_is_contacted(tmp_path):
    with Server(said(ASKED)) as server:
        environment = os.environ | {"OPENAI_API_KEY": "sk-secret"}
        command = [sys.executable, "-c", OFFLINE, server.address, str(tmp_path)]
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert ASKED in ran.stdout, ran.stderr
    assert "left the machine" not in ran.stderr
