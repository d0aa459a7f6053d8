"""A server on loopback that speaks as much of the Hugging Face hub's API as a download of a model takes.

See: https://huggingface.co/docs/hub/api, and the headers that huggingface_hub's `get_hf_file_metadata` reads.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = hashlib.sha1(b"the one commit", usedforsecurity=False).hexdigest()


class Hub:
    """models: hub name to the folder that is served under it. asked: what was requested, `METHOD path`."""

    def __init__(self, models: dict[str, Path]) -> None:
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(with_body=True)

            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def _answer(self, with_body: bool) -> None:
                hub.asked.append(f"{self.command} {self.path}")
                status, headers, body = hub.answer(self.path.partition("?")[0], models)
                self.send_response(status)
                for name, value in ({"X-Repo-Commit": COMMIT, "Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @staticmethod
    def answer(path: str, models: dict[str, Path]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a path."""
        for name, folder in models.items():
            if path.startswith(f"/api/models/{name}/revision/") or path == f"/api/models/{name}":
                siblings = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
                about = {"id": name, "modelId": name, "sha": COMMIT, "private": False, "siblings": siblings}
                return 200, {"Content-Type": "application/json"}, json.dumps(about).encode()
            if path.startswith(f"/api/models/{name}/tree/"):
                tree = [
                    {
                        "type": "file",
                        "path": file.name,
                        "size": file.stat().st_size,
                        "oid": hashlib.sha1(file.name.encode(), usedforsecurity=False).hexdigest(),
                    }
                    for file in sorted(folder.iterdir())
                ]
                return 200, {"Content-Type": "application/json"}, json.dumps(tree).encode()
            if path.startswith(f"/{name}/resolve/") and (file := folder / path.rsplit("/", 1)[1]).is_file():
                body = file.read_bytes()
                return 200, {"ETag": f'"{hashlib.sha256(body).hexdigest()}"'}, body
        error = "EntryNotFound" if "/resolve/" in path else "RepoNotFound"
        return 404, {"X-Error-Code": error}, b"not found"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(models: dict[str, Path]) -> Iterator[Hub]:
    hub = Hub(models)
    try:
        yield hub
    finally:
        hub.close()
