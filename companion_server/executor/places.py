"""Where an executor is: a thread of this process, or a process behind a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from companion_server.executor.link import Link
from companion_server.executor.serving import converse

if TYPE_CHECKING:
    from companion_server.tails import TailRunner

__all__ = ["Place", "ProcessPlace", "ThreadPlace"]


class Place(Protocol):
    """An executor that can be reached, again after it was lost."""

    async def connect(self) -> Link:
        """A line to it; waits until there is one."""
        ...

    def kill(self, pid: int) -> None:
        """End an executor that hangs, so that another takes its place."""
        ...

    async def close(self) -> None:
        """Free what this side holds; lines must be closed before."""
        ...


class ThreadPlace:
    """An executor on a thread of this process: for tests, Ray replicas and embedding."""

    def __init__(self, make_runner: Callable[[], TailRunner]) -> None:
        self._make_runner = make_runner
        self._thread: threading.Thread | None = None

    async def connect(self) -> Link:
        """See `Place`."""
        here, there = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, args=(there,), name="tail")
        self._thread.start()
        here.setblocking(False)
        _, link = await asyncio.get_running_loop().create_connection(Link, sock=here)
        return link

    def kill(self, pid: int) -> None:
        """A thread cannot be ended: whoever embeds the server must do without."""

    async def close(self) -> None:
        """See `Place`."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _serve(self, connection: socket.socket) -> None:
        # made here: the OpenMP thread count belongs to the thread that sets it
        with connection, contextlib.closing(self._make_runner()) as runner:
            converse(connection, runner)


class ProcessPlace:
    """An executor process behind a Unix socket, which somebody else starts and restarts."""

    RETRY_S = 0.02

    def __init__(self, path: Path) -> None:
        self._path = path

    async def connect(self) -> Link:
        """See `Place`."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, link = await loop.create_unix_connection(Link, str(self._path))
                return link
            except OSError:  # between two executors
                await asyncio.sleep(self.RETRY_S)

    def kill(self, pid: int) -> None:
        """See `Place`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    async def close(self) -> None:
        """Nothing is held."""
