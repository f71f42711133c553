"""A socket whose every operation ends by one deadline, and which counts what crosses it.

`http.client` knows a timeout per socket operation, which a server that sends one byte at a time
never meets; here every operation gets what is left of the exchange's deadline. What is counted is
HTTP, headers and bodies, without TLS, TCP and IP.
"""

from __future__ import annotations

import contextlib
import io
import math
import socket
import ssl
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from headtail.errors import TooLarge

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Deadline", "TimedSocket", "shut_down"]

MAX_GATHERED = 256 << 10  # bytes; copying more costs more than a second packet


class Deadline:
    """A point in time, `seconds` from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, more than 0; `TimeoutError` if there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def renew(self) -> None:
        """Start again from now: for transfers that may last as long as they get on."""
        self._end = time.monotonic() + self.seconds


class TimedSocket:
    """What `http.client` needs of a socket. `deadline`, `sent` and `received` (bytes), `asked` (of
    `perf_counter`) and `most`, beyond which nothing is received, belong to the exchange in
    progress; who begins the next calls `begin`."""

    def __init__(self, raw: socket.socket, deadline: Deadline) -> None:
        self.raw = raw
        self._gathered: list[bytes] | None = None
        self.begin(deadline)

    def begin(self, deadline: Deadline) -> None:
        """An exchange begins."""
        self.deadline = deadline
        self.sent = self.received = 0
        self.asked = time.perf_counter()
        self.most = math.inf

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """Send what the block sends at its end, at once where it is not large.

        `http.client` sends headers and body apart: two packets, or two TLS records, and a server
        that is woken twice.
        """
        parts = self._gathered = []
        try:
            yield
        finally:
            self._gathered = None
        if sum(map(len, parts)) <= MAX_GATHERED:
            parts = [b"".join(parts)]
        for part in parts:
            self.sendall(part)

    def sendall(self, data: bytes) -> None:
        """Send all of `data`; raises `TimeoutError` if the deadline comes first."""
        if self._gathered is not None:
            self._gathered.append(data)
            return
        self.raw.settimeout(self.deadline.left())  # Python's sendall has one timeout for it all
        self.raw.sendall(data)
        self.sent += len(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What is received, to read; it keeps the descriptor open until it is closed."""
        return io.BufferedReader(_Received(self))

    def close(self) -> None:
        """Give up the socket."""
        self.raw.close()  # the descriptor lives on until a reply still being read is closed

    def stale(self) -> bool:
        """Whether the peer closed an idle connection, or sent what nobody asked for."""
        self.raw.settimeout(0)
        try:
            # the plain socket's recv, also under TLS: bytes there may be session tickets
            peeked = socket.socket.recv(self.raw, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return not peeked or not isinstance(self.raw, ssl.SSLSocket)

    def shutdown(self) -> None:
        """Wake whoever waits on it."""
        shut_down(self.raw)


def shut_down(raw: socket.socket) -> None:
    """Wake whoever waits on it; SSLSocket's own shutdown is not safe from another thread."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(raw, socket.SHUT_RDWR)


class _Received(io.RawIOBase):
    def __init__(self, owner: TimedSocket) -> None:
        self._owner = owner
        self._stream = owner.raw.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self._owner.received > self._owner.most:
            raise TooLarge(
                f"The companion server's reply has {self._owner.received} bytes or more.",
                expected="It ends where its parts and their lengths say.",
                remedy="Check that the address is a companion server's.",
            )
        self._owner.raw.settimeout(self._owner.deadline.left())
        count = self._stream.readinto(buffer) or 0
        self._owner.received += count
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()
