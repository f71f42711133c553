"""The server's processes, killed: their successors answer, and nobody gets a wrong answer."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from headtail.errors import HeadtailError, ServerUnreachable
from headtail.offload.client import Companion
from headtail.offload.refusals import ServerNotReady
from tests.support.capabilities import require

ROOT = Path(__file__).parents[2]
RECOVERY_S = 2.0
TIMEOUT_S = 60


class Server:
    """`python -m companion_server`, with the processes it consists of."""

    def __init__(self, bundle, folder):
        own = {"PORT": 0, "TLS": "false", "AUTH": "false", "TUNE": "false", "STATE_DIR": folder}
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "companion_server", str(bundle)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={
                    **os.environ,
                    **{f"HEADTAIL_SERVER_{name}": str(value) for name, value in own.items()},
                    "PYTHONPATH": str(ROOT),
                    "OMP_NUM_THREADS": "1",
                },
            )
        assert self.process.stdout
        self.url = self.process.stdout.readline().split()[-1]

    def children(self):
        """Process ids of executor and web process, in the order of their start."""
        [fork_server] = [
            pid for pid in _children(self.process.pid) if "forkserver" in _command(pid)
        ]
        return sorted(_children(fork_server))

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode


def _children(pid):
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def _command(pid):
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.fixture
def server(bundle_path, tmp_path):
    require(Path("/proc/self/task").exists(), "Linux's /proc, which has the tree of processes")
    made = Server(bundle_path, tmp_path)
    yield made
    made.process.kill()
    made.process.communicate()


class Asking(threading.Thread):
    """A client that asks without a pause; `answers` has a time for each, `wrong` counts."""

    def __init__(self, url, bundle):
        super().__init__()
        self.answers, self.failures, self.wrong = [], [], 0
        self.stop = threading.Event()
        self._url, self._bundle = url, bundle

    def run(self):
        manifest, golden = self._bundle.manifest, self._bundle.golden()
        cut, wanted = manifest.cut("c1"), golden["output.0.output_0"]
        companion = Companion(self._url)
        while not self.stop.is_set():
            try:
                reply = companion.infer_tail(
                    manifest.name,
                    manifest.bundle_id,
                    cut,
                    "raw32",
                    [golden["cut.c1.0.relu"]],
                    deadline_ms=5000,
                )
            except HeadtailError as error:
                self.failures.append(error)
                continue
            self.answers.append(time.monotonic())
            self.wrong += not np.allclose(reply.outputs[0], wanted, rtol=1e-4, atol=1e-5)
        companion.close()

    def longest_pause_s(self):
        return max(np.diff(self.answers))


@pytest.mark.slow
def test_whoever_is_killed_is_replaced_and_every_answer_is_right(server, bundle):
    asking = Asking(server.url, bundle)
    asking.start()
    try:
        for which in (0, 1, 0, 1):
            before = server.children()
            assert len(before) == 2
            count = len(asking.answers)
            os.kill(before[which], signal.SIGKILL)
            deadline = time.monotonic() + 20
            while len(asking.answers) < count + 5 or server.children() == before:
                assert time.monotonic() < deadline, server.log.read_text()
                time.sleep(0.01)
    finally:
        asking.stop.set()
        asking.join(TIMEOUT_S)
    assert asking.wrong == 0
    assert asking.longest_pause_s() < RECOVERY_S
    # what a web process died over is the client's to repeat, and its successor loads for an
    # instant; an executor's death is nobody's affair
    assert all(isinstance(f, (ServerUnreachable, ServerNotReady)) for f in asking.failures)
    assert sum(isinstance(f, ServerUnreachable) for f in asking.failures) <= 2
    assert server.end() == 0


@pytest.mark.slow
def test_a_web_process_that_dies_again_and_again_ends_the_server_with_one_error(server):
    deadline = time.monotonic() + TIMEOUT_S
    while server.process.poll() is None:
        assert time.monotonic() < deadline, server.log.read_text()
        for pid in server.children()[-1:]:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    assert server.process.returncode == 3
    assert "died 10 times" in server.log.read_text()


@pytest.mark.slow
def test_sigterm_lets_running_requests_finish(server, bundle):
    clients = [Asking(server.url, bundle) for _ in range(4)]
    for client in clients:
        client.start()
    deadline = time.monotonic() + TIMEOUT_S
    while min(len(client.answers) for client in clients) < 20:
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.01)
    assert server.end() == 0
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join(TIMEOUT_S)
        assert client.wrong == 0
        # what it lost, it lost because nobody listens any more
        assert all("cannot be reached" in str(f) or "closed" in str(f) for f in client.failures)
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
def test_executors_that_die_again_and_again_do_not(server, bundle):
    web = server.children()[-1]
    killed, deadline = 0, time.monotonic() + 2 * TIMEOUT_S
    while killed < 12:
        assert time.monotonic() < deadline, server.log.read_text()
        for pid in set(server.children()) - {web}:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        time.sleep(0.02)
    asking = Asking(server.url, bundle)
    asking.start()
    while not asking.answers:
        assert time.monotonic() < deadline, server.log.read_text()
        time.sleep(0.02)
    asking.stop.set()
    asking.join(TIMEOUT_S)
    assert asking.wrong == 0
    assert web in server.children()
    assert server.end() == 0
