"""What runs in the server's processes: the web process and the executors, as the supervisor starts
them. Each is told apart from the others by its arguments alone, and ends when the supervisor does.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from companion_server.executor.faults import to_fault
from companion_server.operations.logs import configure
from companion_server.operations.native import adopt_native_output
from headtail.errors import HeadtailError

if TYPE_CHECKING:
    from companion_server.settings import Settings

__all__ = ["PRELOADED", "WebTask", "run_executor", "run_web"]

# imported once by the fork server, so that a process that died is replaced in a fraction of the
# second or two that importing torch takes
PRELOADED = ["companion_server.preloaded"]


@dataclass(frozen=True)
class WebTask:
    """What the web process serves, and the sockets it was given."""

    settings: Settings
    url: str
    bundles: Sequence[Path]
    lines: Sequence[Path]  # Unix sockets of the executors
    folders: Sequence[Path]  # temporary ones, removed if nobody else is left to do it


def run_web(task: WebTask, listener: socket.socket, told: Connection) -> None:
    """Serve until SIGTERM; `told` gets `("ready", {...})` or `("failed", fault)` once."""
    _leave_imports_alone()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's goes to all; the supervisor decides
    _end_with_supervisor(lambda: _orphaned(task.folders))
    configure(task.settings.log_format)
    from companion_server.web import serve_web

    try:
        with contextlib.suppress(KeyboardInterrupt):
            serve_web(task, listener, lambda told_of: told.send(("ready", told_of)))
    except HeadtailError as error:
        told.send(("failed", to_fault(error)))


def run_executor(listener: socket.socket, settings: Settings) -> None:
    """Run tails for the web process until the supervisor ends."""
    _leave_imports_alone()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_supervisor(lambda: os._exit(0))
    configure(settings.log_format, stream=adopt_native_output())
    from companion_server.executor.serving import serve_forever
    from companion_server.tails import TailRunner

    tuning = settings.state_dir / "tuned" if settings.tune else None
    serve_forever(listener, TailRunner(threads=settings.threads, tuning=tuning))


def _leave_imports_alone() -> None:
    # what torch and its like made when they were imported lives as long as the process: to go
    # through it stops every request for 0.3 s, and makes shared memory this process's own
    gc.freeze()


def _end_with_supervisor(end: Callable[[], None]) -> None:
    """`kill -9` of the supervisor must not leave processes behind that hold its port."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        end()

    threading.Thread(target=watch, name="supervisor watch", daemon=True).start()


def _orphaned(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
