"""A server with vLLM's protocol on loopback that really computes, with a tiny model and adapters read from disk.

Its answers come from the posted token ids and from the adapter that was loaded under the requested name. It has none of
vLLM's speed or limits.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from twin_assets.language.base_models import ResolvedBase, load_base
from twin_assets.language.generation.engines.torch_engine import TorchAdapter, TorchEngine
from twin_assets.language.generation.sampling import Sampling, TokenSampler
from twin_assets.language.generation.scheduler import DraftJob, Scheduler
from twin_assets.language.generation.text import DecodedStream, end_ids
from twin_assets.language.prompts import Window

Body = dict[str, Any]


class CompletionsServer:
    """Serves the base model in a folder. Its fields record every request and what became of it."""

    def __init__(self, base: Path) -> None:
        model, self.tokenizer = load_base(ResolvedBase(str(base), base, "r", "fp32"), "cpu")
        self.base = str(base)
        self._engine = TorchEngine(model)
        self._scheduler = Scheduler(self._engine, 2**30)
        self._ends = end_ids(None, self.tokenizer)
        self._adapters: dict[str, TorchAdapter] = {}
        self.loads: list[Body] = []
        self.asked: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.refuses: tuple[int, dict[str, str], str] | None = None
        """If set, the status, headers and body with which every completion is answered."""
        self.fails_after: int | None = None
        """If set, an error is sent after this many tokens."""
        self.dies_after: int | None = None
        """If set, the connection is closed after this many tokens."""
        self.gives_logprobs = True
        self.token_s = 0.0
        self.gone_after: list[int] = []
        """For each client that left early, how many tokens it had been sent."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def start(self) -> None:
        """Start to serve."""
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop the server."""
        self._http.shutdown()
        self._http.server_close()
        self._scheduler.close()

    @property
    def models(self) -> list[str]:
        """The model names that it serves."""
        return [self.base, *self._adapters]

    def load(self, body: Body) -> tuple[int, str]:
        """Load an adapter. Returns the status and text of the answer."""
        self.loads.append(body)
        name, folder = body["lora_name"], Path(body["lora_path"])
        if name in self._adapters:
            return 400, json.dumps({"error": {"message": f"The lora adapter '{name}' has already been loaded."}})
        if not (folder / "adapter_config.json").is_file():
            return 404, json.dumps({"error": {"message": f"No adapter found for {folder}"}})
        self._adapters[name] = self._scheduler.call(lambda: self._engine.load(folder))
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def tokens(self, body: Body) -> Iterator[int]:
        """The tokens of a completion."""
        sampling = Sampling(
            temperature=body["temperature"],
            top_p=body["top_p"],
            repetition_penalty=body["repetition_penalty"],
            seed=body.get("seed"),
        )
        job = DraftJob(body["prompt"], TokenSampler(sampling), body["max_tokens"], self._ends, self._adapter(body))
        with closing(self._scheduler.tokens(job)) as drawn:
            for token in drawn:
                time.sleep(self.token_s)
                yield token

    def events(self, body: Body) -> Iterator[Body]:
        """The events that are streamed."""
        decoded, n_tokens = DecodedStream(self.tokenizer), 0
        for token in self.tokens(body):
            if self.fails_after is not None and n_tokens >= self.fails_after:
                yield {"error": {"message": "EngineCore encountered an issue", "code": 500}}
                return
            n_tokens += 1
            yield {"choices": [{"index": 0, "text": decoded.step(token), "finish_reason": None}]}
        yield {"choices": [{"index": 0, "text": decoded.rest(), "finish_reason": "stop"}]}
        yield {"choices": [], "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": n_tokens}}

    def chat_events(self, body: Body) -> Iterator[Body]:
        """The events of a chat completion, whose prompt is written with the server's own template."""
        text = "".join(f"[{turn['role']}] {turn['content']}\n" for turn in body["messages"])
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        asked = {"top_p": 1.0, "repetition_penalty": 1.0, **body, "model": self.base, "prompt": ids}
        for event in self.events(asked):
            about = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}
            choices = [
                {
                    "index": 0,
                    "delta": {"role": "assistant", "content": one["text"]},
                    "finish_reason": one["finish_reason"],
                }
                for one in event.get("choices", [])
            ]
            yield event if "error" in event else about | {"choices": choices} | {"usage": event.get("usage")}

    def prompt_logprobs(self, body: Body) -> list[dict[str, Body] | None] | None:
        """The log-probability of each prompt token except the first, which has none."""
        if not self.gives_logprobs:
            return None
        ids, adapter = body["prompt"], self._adapter(body)
        windows = [Window(ids[: n + 1], [0] * n + [1]) for n in range(1, len(ids))]
        nats = self._scheduler.call(lambda: self._engine.score(windows, adapter))
        rows = zip(ids[1:], nats, strict=True)
        return [None, *({str(token): {"logprob": -one, "rank": 1}} for token, one in rows)]

    def _adapter(self, body: Body) -> TorchAdapter | None:
        return None if body["model"] == self.base else self._adapters[body["model"]]


def _handler(owner: CompletionsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, json.dumps({"data": [{"id": name} for name in owner.models]}))

        def do_POST(self) -> None:
            owner.headers.append({name.lower(): value for name, value in self.headers.items()})
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/v1/load_lora_adapter":
                self._answer(*owner.load(body))
                return
            owner.asked.append(body)
            if owner.refuses is not None:
                status, headers, text = owner.refuses
                self._answer(status, text, headers)
            elif self.path == "/v1/chat/completions":
                self._stream(owner.chat_events(body))
            elif body.get("stream"):
                self._stream(owner.events(body))
            else:
                self._answer(200, json.dumps({"choices": [{"prompt_logprobs": owner.prompt_logprobs(body)}]}))

        def _stream(self, events: Iterator[Body]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            n_sent = 0
            with closing(events):  # type: ignore[type-var]
                try:
                    for event in events:
                        if n_sent == owner.dies_after:
                            return
                        self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                        n_sent += 1
                    self.wfile.write(b"data: [DONE]\n\n")
                except OSError:
                    owner.gone_after.append(n_sent)

        def _answer(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@contextmanager
def serving(base: Path) -> Iterator[CompletionsServer]:
    """Run a server with a base model."""
    server = CompletionsServer(base)
    server.start()
    try:
        yield server
    finally:
        server.close()
