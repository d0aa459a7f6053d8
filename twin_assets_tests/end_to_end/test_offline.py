"""The demo with no network: nothing of it, nor of the processes it starts, even tries to leave this machine."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

# Python imports a module of this name at its start, in every child too.
SITECUSTOMIZE = """
import os
import sys
import traceback

LOOKS_UP = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
CONNECTS = {"socket.connect", "socket.sendto", "socket.sendmsg"}


def is_here(host):
    host = host.decode() if isinstance(host, bytes) else host
    return host in (None, "", "localhost", "::1", "0.0.0.0", "::") or str(host).startswith("127.")


def note(name, line):
    with open(os.path.join(os.environ["OFFLINE_RECORD"], name), "a") as file:
        file.write(line)


def guard(event, args):
    if event in LOOKS_UP:
        host = args[0]
    elif event in CONNECTS:
        address = args[1]
        if not isinstance(address, tuple):  # a path: AF_UNIX; None: a socket that is connected already
            return
        host = address[0]
    else:
        return
    if not is_here(host):
        note("refused", f"{event} {args[1:] if event in CONNECTS else args[:2]} by {sys.orig_argv}\\n"
             + "".join(traceback.format_stack(limit=12)))
        raise PermissionError(f"{event} {host}: this test has no network")


sys.addaudithook(guard)
note("guarded", " ".join(sys.orig_argv[1:]) + "\\n")
"""


@dataclass
class Offline:
    """variables: an environment in which each Python notes and refuses what would leave this machine."""

    variables: dict[str, str]
    record: Path

    def said(self, name: str) -> str:
        path = self.record / name
        return path.read_text() if path.exists() else ""


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[Offline]:
    """What is no Python (wandb's service is Go) is given a proxy that only notes who asks."""
    (tmp_path / "python").mkdir()
    (tmp_path / "record").mkdir()
    (tmp_path / "python" / "sitecustomize.py").write_text(SITECUSTOMIZE)

    class NoteAndHangUp(BaseRequestHandler):
        def handle(self) -> None:
            with (tmp_path / "record" / "proxied").open("ab") as file:
                file.write(self.request.recv(1000) + b"\n")

    with ThreadingTCPServer(("127.0.0.1", 0), NoteAndHangUp) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{proxy.server_address[1]}"
        names = [name for scheme in ("http_proxy", "https_proxy", "all_proxy") for name in (scheme, scheme.upper())]
        here = {"no_proxy": "127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost"}
        variables = {"PYTHONPATH": str(tmp_path / "python"), "OFFLINE_RECORD": str(tmp_path / "record")}
        yield Offline(variables | dict.fromkeys(names, url) | here, tmp_path / "record")
        proxy.shutdown()


def test_the_demo_needs_no_network_and_does_not_try_it(make_project, offline):
    project = make_project("project", **offline.variables)
    shutil.rmtree(project.data / "models")  # the base model too is made without a network
    done = project.twin("demo", "--no-serve")
    assert "Done in" in done.stdout
    assert "A draft: " in done.stdout
    guarded = offline.said("guarded")
    for part in ("twin_assets.cli demo", "twin_assets.training.process.train", "twin_assets.evaluation.evaluate"):
        assert part in guarded
    assert offline.said("refused") == ""
    assert offline.said("proxied") == ""


@pytest.mark.parametrize(
    ("code", "event"),
    [
        ("import socket; socket.create_connection(('192.0.2.1', 80))", "socket.getaddrinfo"),
        ("import socket; socket.socket().connect(('192.0.2.1', 80))", "socket.connect"),
        ("import socket; socket.getaddrinfo('example.org', 443)", "socket.getaddrinfo"),
    ],
)
def test_the_guard_refuses_and_notes_what_leaves_this_machine(offline, code, event):
    nested = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {code!r}]).returncode)"
    done = subprocess.run(
        [sys.executable, "-c", nested], env=os.environ | offline.variables, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "this test has no network" in done.stderr
    assert event in offline.said("refused")


def test_the_guard_lets_this_machine_be_reached_and_the_proxy_notes_what_goes_by_it(offline):
    code = "import urllib.request; urllib.request.urlopen('http://example.org/', timeout=10)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | offline.variables, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert offline.said("proxied").startswith("GET http://example.org/")
    assert offline.said("refused") == ""
