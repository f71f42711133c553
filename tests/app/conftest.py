"""A real bundle, a real server, and a UI thread that is the test itself."""

from __future__ import annotations

import http.client
import os
import queue
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from app.live.state import LiveState
from tests.support.capabilities import require

EXPORT_LIMIT_S = 180
SERVER_LIMIT_S = 60
SETTLED_LIMIT_S = 30


@pytest.fixture(scope="session")
def colour_bundle(once) -> Path:
    """`nearest_colour.bundle`, see `tests.app.colour_bundle`."""
    name = "nearest_colour.bundle"
    folder: Path = once.made("colour", lambda at: export("tests.app.colour_bundle", at / name))
    return folder / name


@pytest.fixture(scope="session")
def scene_bundles(once) -> Path:
    """The folder of `detector.bundle` and `segmenter.bundle`, see `tests.app.scene_bundles`."""
    folder: Path = once.made("scenes", lambda at: export("tests.app.scene_bundles", at))
    return folder


def export(module: str, destination: Path) -> None:
    """Have a module write its bundles, in a process of its own."""
    absent = [
        name for name in ("torch", "litert_torch", "ai_edge_litert") if find_spec(name) is None
    ]
    require(
        not absent, f"no bundle can be exported here: pip install 'headtail[export]' ({absent})"
    )
    done = subprocess.run(
        [sys.executable, "-m", module, str(destination)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=EXPORT_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="session")
def red_photo(tmp_path_factory) -> Path:
    """A photo of which the model's answer is known, red, and its brightest quarter: top left."""
    path: Path = tmp_path_factory.mktemp("photos") / "tomato.png"
    photo = Image.new("RGB", (640, 480), (170, 0, 0))
    photo.paste((255, 0, 0), (0, 0, 320, 240))
    photo.save(path)
    return path


class Server:
    """A companion server in its own process, which can be killed; without TLS and keys.

    `url` is known once it was waited for: it takes a free port itself, which nobody takes from it.
    """

    def __init__(self, bundle: Path, state: Path) -> None:
        self.url = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "companion_server", str(bundle)],
            cwd=Path(__file__).parents[2],
            env={
                **os.environ,
                "HEADTAIL_SERVER_AUTH": "false",
                "HEADTAIL_SERVER_PORT": "0",
                "HEADTAIL_SERVER_STATE_DIR": str(state),
                "HEADTAIL_SERVER_TLS": "false",
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def wait(self) -> None:
        """Return once it is ready; fails after a minute or when it has ended."""
        end = time.monotonic() + SERVER_LIMIT_S
        self.url = self._announced()
        while not self.ready():
            assert self.process.poll() is None, f"server ended with {self.process.returncode}"
            assert time.monotonic() < end, "server is not ready after a minute"
            time.sleep(0.05)

    def _announced(self) -> str:
        assert self.process.stdout is not None
        watchdog = threading.Timer(SERVER_LIMIT_S, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        assert line.startswith("listening on "), f"the server said {line!r} first"
        return line.split()[-1]

    def ready(self) -> bool:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=5)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def server(colour_bundle, tmp_path):
    require(find_spec("fastapi") is not None, "no server here: pip install 'headtail[server]'")
    server = Server(colour_bundle, tmp_path / "state")
    try:
        server.wait()
        yield server
    finally:
        server.kill()


class UiThread:
    """What kivy's event loop is to the controller: calls are queued, and made here, in turn."""

    def __init__(self) -> None:
        self.calls: queue.Queue[Any] = queue.Queue()
        self.states: list[LiveState] = []

    def hand_over(self, call) -> None:
        self.calls.put(call)

    def listen(self, state) -> None:
        self.states.append(state)

    def until(self, reached):
        """Run calls until `reached(state)` of the newest state; that state."""
        while not (self.states and reached(self.states[-1])):
            self.calls.get(timeout=SETTLED_LIMIT_S)()
        return self.states[-1]


@pytest.fixture
def ui() -> UiThread:
    return UiThread()
