"""Keeps a web process and executors alive: they are started, replaced when they die, and ended.

The supervisor owns the listening sockets, so a connection made while a process is being replaced
waits in the kernel and is answered by its successor. It runs no request and holds no model, so
there is little that could bring it down. Processes are forked from a fork server that has imported
everything and run nothing, so replacing one takes a fraction of a second.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from companion_server.executor.faults import from_fault
from companion_server.processes import PRELOADED, WebTask, run_executor, run_web
from headtail.errors import EnvironmentFault

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from companion_server.settings import Settings

__all__ = ["supervise"]

log = logging.getLogger(__name__)
RESTARTS, WITHIN_S = 10, 60.0  # more often than that is no accident
PAUSE_S = 5.0  # before an executor that dies again and again is started once more
EXECUTOR = "executor"
END_S = 5.0  # what an executor may take to end
MAX_SOCKET_PATH = 90  # bytes; systems allow 104 to 108


def supervise(
    settings: Settings,
    bundles: Sequence[Path],
    address: tuple[str, socket.socket],
    ready: Callable[[dict[str, Any]], None],
) -> None:
    """Run until SIGINT or SIGTERM; `ready` is called once, when requests are answered.

    `address` is a URL and the socket that listens there, which is closed afterwards.

    Raises what the web process could not start with, and `EnvironmentFault` if a process dies again
    and again.
    """
    url, listener = address
    with listener, _folder() as folder, _Stop() as stop:
        lines = [folder / f"executor-{number}.sock" for number in range(settings.executors)]
        # multiprocessing has one too, which `kill -9` of this process would leave behind
        folders = [folder, Path(multiprocessing.util.get_temp_dir())]
        sockets = [_unix_listener(path) for path in lines]
        children = _children(WebTask(settings, url, bundles, lines, folders), listener, sockets)
        try:
            _watch(children, stop, ready)
        finally:
            # no new connection may wait for processes that are about to end
            listener.close()
            _end(children, settings.drain_s)
            for line in sockets:
                line.close()


@dataclass
class _Child:
    """One process, its argument to start it again, and when it was started."""

    name: str
    start: Callable[[], tuple[BaseProcess, Connection | None]]
    process: BaseProcess | None = None
    told: Connection | None = None
    starts: deque[float] = field(default_factory=lambda: deque(maxlen=RESTARTS))
    due: float = 0.0  # when one that died is started again

    def restart(self) -> None:
        self.starts.append(time.monotonic())
        self.process, self.told = self.start()

    def died(self, *, announced: bool) -> None:
        """Start another: at once as a rule, later if this goes on.

        Before the server was ready, and for the web process, going on means an error. Executors may
        be killed by what a client sends, which must not end the server for everybody.
        """
        assert self.process is not None
        log.warning(
            "the %s process ended (%s); another is started", self.name, self.process.exitcode
        )
        self.process, self.told = None, None
        now = time.monotonic()
        if len(self.starts) < RESTARTS or now - self.starts[0] > WITHIN_S:
            self.due = now
        elif announced and self.name == EXECUTOR:
            self.due = now + PAUSE_S
        else:
            raise EnvironmentFault(
                f"The {self.name} process died {RESTARTS} times within {now - self.starts[0]:.0f} "
                "s.",
                expected="It runs until it is told to end.",
                remedy="See the log for why it dies; a bundle may be too large for the memory.",
            )


def _children(
    task: WebTask, listener: socket.socket, lines: Sequence[socket.socket]
) -> list[_Child]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)

    def web() -> tuple[BaseProcess, Connection | None]:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=run_web, args=(task, listener, theirs), name="web")
        process.start()
        theirs.close()
        return process, ours

    def executor(line: socket.socket) -> tuple[BaseProcess, Connection | None]:
        process = context.Process(target=run_executor, args=(line, task.settings), name=EXECUTOR)
        process.start()
        return process, None

    return [
        *(_Child(EXECUTOR, lambda line=line: executor(line)) for line in lines),  # type: ignore[misc]
        _Child("web", web),
    ]


def _watch(children: list[_Child], stop: _Stop, ready: Callable[[dict[str, Any]], None]) -> None:
    for child in children:
        child.restart()
    announced = False
    while not stop.asked:
        waited: list[Any] = [stop.signalled]
        waited += [child.process.sentinel for child in children if child.process]
        waited += [child.told for child in children if child.told]
        due = [child.due for child in children if child.process is None]
        patience = max(0.0, min(due) - time.monotonic()) if due else None
        multiprocessing.connection.wait(waited, patience)
        for child in children:
            told = _said(child)
            if told is not None and not announced:
                announced = True
                ready(told)
            if stop.asked:
                break
            if child.process is not None and not child.process.is_alive():
                child.died(announced=announced)
            if child.process is None and time.monotonic() >= child.due:
                child.restart()


def _said(child: _Child) -> dict[str, Any] | None:
    """What a web process that is ready has to say; raises what another failed with."""
    if child.told is None or not child.told.poll():
        return None
    try:
        kind, content = child.told.recv()
    except EOFError:
        child.told = None
        return None
    if kind == "failed":
        raise from_fault(content)
    found: dict[str, Any] = content
    return found


def _end(children: Sequence[_Child], drain_s: float) -> None:
    """The web process first, which finishes what runs, then what it runs on."""
    for child, seconds in [
        (c, drain_s + END_S if c.name == "web" else END_S) for c in children[::-1]
    ]:
        if child.process is None:
            continue
        child.process.terminate()
        child.process.join(seconds)
        if child.process.is_alive():
            log.warning("the %s process does not end and is killed", child.name)
            child.process.kill()
            child.process.join()


class _Stop:
    """SIGINT and SIGTERM as something that can be waited for, while it is entered."""

    def __init__(self) -> None:
        self.asked = False
        self.signalled, self._signal = socket.socketpair()
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> _Stop:
        # signals go to the main thread, whose business they are
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self.signalled.close()
        self._signal.close()

    def _stop(self, *_: object) -> None:
        self.asked = True
        with contextlib.suppress(OSError):
            self._signal.send(b"!")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """For the Unix sockets: a folder of this user's alone."""
    folder = Path(tempfile.mkdtemp(prefix="headtail-"))
    if len(str(folder)) > MAX_SOCKET_PATH - 20:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="headtail-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    return listener
