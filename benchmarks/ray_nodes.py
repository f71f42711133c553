"""A Ray cluster of several nodes on this machine, as processes, and our server on it.

Each node is a `ray start` of its own with its own address (127.0.0.2, 127.0.0.3, ...), so that one
of them can be killed as a machine would die: all its processes at once, by SIGKILL. Tails run under
eager torch unless `tune` is asked for: builders would take the cores from what is looked at.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
START_S = 120.0
STOP_S = 30.0
POLL_S = 0.05
STORE_BYTES = 128 << 20
STARTED = "Ray runtime started"
LISTENING = "listening on "
KEY = "API key, shown this once: "


@dataclass(frozen=True)
class Served:
    """What our server said when it was ready; `key` is empty on one without keys."""

    url: str
    key: str

    @classmethod
    def of(cls, text: str) -> Served:
        """From what it printed."""
        url = text.split(LISTENING, 1)[1].split(maxsplit=1)[0]
        return cls(url, text.split(KEY, 1)[1].split(maxsplit=1)[0] if KEY in text else "")


class Nodes:
    """`count` nodes of `cpus` CPUs each; the first is the head. Use in a `with` block.

    Their addresses begin with 127.0.0.`first`: clusters that run side by side share none.
    """

    def __init__(self, count: int, *, cpus: int = 1, first: int = 2) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="headtail-ray-", dir="/tmp"))  # short: sockets
        self._environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        self._cpus, self._first = cpus, first
        self._nodes: list[subprocess.Popen[bytes]] = []
        head = f"127.0.0.{first}"
        self.address = f"{head}:{_free_port(head)}"
        try:
            for _ in range(count):
                self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def kill(self, index: int) -> int:
        """SIGKILL every process of a node, like a machine that loses power; how many there were."""
        return _kill_tree(self._nodes[index])

    def close(self) -> None:
        """Kill what is left; nothing of a cluster is worth a graceful end."""
        for node in self._nodes:
            _kill_tree(node)
        shutil.rmtree(self._folder, ignore_errors=True)

    def serving(
        self, bundles: Sequence[Path], *, replicas: int, **settings: Any
    ) -> contextlib.AbstractContextManager[Served]:
        """Our server on this cluster; see the function of that name."""
        options = ["--ray-address", self.address, "--replicas", str(replicas)]
        return serving(bundles, self._folder, options, environ=self._environ, **settings)

    def _start(self) -> None:
        index = len(self._nodes)
        host = f"127.0.0.{self._first + index}"
        log = self._folder / f"node{index}.log"
        role = ["--address", self.address]
        if index == 0:
            port = self.address.rpartition(":")[2]
            role = ["--head", "--port", port, "--temp-dir", str(self._folder)]
            role += ["--include-dashboard", "false"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *role]
        command += ["--node-ip-address", host, "--num-cpus", str(self._cpus)]
        command += ["--object-store-memory", str(STORE_BYTES)]
        with log.open("wb") as out:
            node = subprocess.Popen(
                command,
                env=self._environ,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._nodes.append(node)
        if index == 0:  # replicas are placed on the others as soon as these are there
            _until(lambda: STARTED in log.read_text(errors="replace"), node, log)


@contextlib.contextmanager
def serving(
    bundles: Sequence[Path],
    folder: Path,
    options: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    **settings: Any,
) -> Iterator[Served]:
    """`headtail serve` with `options`, which ends on SIGTERM with the block, and must end well.

    Its log and state are in `folder`.
    """
    chosen = {"port": 0, "tls": False, "auth": False, "tune": False} | settings
    chosen["state_dir"] = folder / "state"
    told = {f"HEADTAIL_SERVER_{name.upper()}": str(value) for name, value in chosen.items()}
    paths = [str(bundle) for bundle in bundles]
    log = folder / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "headtail", "serve", *paths, *options],
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {}), **told},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _until(lambda: LISTENING in log.read_text(errors="replace"), server, log)
        yield Served.of(log.read_text(errors="replace"))
        server.send_signal(signal.SIGTERM)
        if server.wait(STOP_S) != 0:
            raise RuntimeError(f"ended with {server.returncode}:\n{log.read_text()[-4000:]}")
    finally:
        _kill_tree(server)


def _until(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"did not start:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(POLL_S)


def _kill_tree(process: subprocess.Popen[bytes]) -> int:
    try:
        root = psutil.Process(process.pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        process.wait()
        return 0
    for member in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    return len(tree)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port
