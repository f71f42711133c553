"""A TCP proxy that does to a link what radios, networks and strangers do; each end is real.

    with FaultProxy(address) as proxy:
        proxy.fault = Fault(mbit_s=0.1)      # for every connection, from the next bytes on
        Companion(proxy.url)

Shaping is per direction and connection: a byte leaves when the bytes before it have, at so many
Mbit/s, and arrives half a round trip later. A sender that is too fast is held back after some
ninety kilobytes, as by a router's queue.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Fault", "FaultProxy"]

CHUNK = 1460  # bytes: one segment, the grain of the shaping
POLL_S = 0.02
QUEUED = 64  # chunks under way in one direction
FAST = float("inf")


@dataclass(frozen=True)
class Fault:
    """What the proxy does.

    `swallow`: bytes arrive nowhere. `flip_down`: in the server's bytes, behind the first `spare` of
    each burst, every so-many-th has one bit flipped. `hold_s`: what the server says is kept back
    for so long. `impostor`: TLS is spoken with another certificate.
    """

    mbit_s: float = FAST
    rtt_s: float = 0.0
    swallow: bool = False
    flip_down: int = 0
    spare: int = 0
    hold_s: float = 0.0
    impostor: ssl.SSLContext | None = None


class FaultProxy:
    """Listens on loopback and passes on to `target`; a context manager.

    `bytes_up` counts what clients sent, `overheard` what an impostor got out of them.
    """

    def __init__(self, target: tuple[str, int], *, scheme: str = "http") -> None:
        self.fault = Fault()
        self.bytes_up = self.overheard = 0
        self._target = target
        self._scheme = scheme
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._ending = False

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"{self._scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> FaultProxy:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        for sock in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a thread of the proxy did not end"

    def drop(self) -> None:
        """End every connection, as a network does that one has left."""
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ending:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        if self.fault.impostor is not None:
            self._impersonate(client, self.fault.impostor)
            return
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        self._open.add(server)
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(POLL_S)
        down = _Line()
        self._start(self._pump, client, server, down, True)
        self._pump(server, client, down, False)

    def _impersonate(self, client: socket.socket, context: ssl.SSLContext) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as sock:
            while data := sock.recv(CHUNK):
                self.overheard += len(data)

    def _pump(self, source: socket.socket, sink: socket.socket, down: _Line, up: bool) -> None:
        line = _Line() if up else down
        under_way = queue.Queue[tuple[bytes, float]](QUEUED)
        self._start(self._deliver, under_way, sink)
        with contextlib.suppress(OSError):
            while not self._ending:
                try:
                    data = source.recv(CHUNK)
                except TimeoutError:
                    continue
                if not data:
                    break
                if up:
                    self.bytes_up += len(data)
                    down.was_asked()
                self._pass_on(line, data, under_way, up)
        under_way.put((b"", 0.0))
        with contextlib.suppress(OSError):
            source.shutdown(socket.SHUT_RDWR)

    def _pass_on(
        self, line: _Line, data: bytes, under_way: queue.Queue[tuple[bytes, float]], up: bool
    ) -> None:
        fault = self.fault
        if not up and fault.flip_down:
            data = line.damaged(data, fault)
        arrives_s = line.arrival_s(len(data), fault) + (0.0 if up else fault.hold_s)
        if not fault.swallow:
            under_way.put((data, arrives_s))

    def _deliver(self, under_way: queue.Queue[tuple[bytes, float]], sink: socket.socket) -> None:
        """Hand over what is under way, each when it arrives; empty bytes end it."""
        gone = False
        while (item := under_way.get())[0]:
            data, arrives_s = item
            while not self._ending and not gone and (left := arrives_s - time.monotonic()) > 0:
                time.sleep(min(left, POLL_S))
            if not gone and not self.fault.swallow:
                try:
                    sink.sendall(data)
                except OSError:  # whoever it was for has left
                    gone = True
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


class _Line:
    """One direction of one connection."""

    def __init__(self) -> None:
        self._free_s = 0.0
        self._seen = 0

    def was_asked(self) -> None:
        self._seen = 0  # what comes now is another answer

    def arrival_s(self, size: int, fault: Fault) -> float:
        """When so many bytes arrive that are sent now."""
        self._free_s = max(self._free_s, time.monotonic()) + size * 8 / (fault.mbit_s * 1e6)
        return self._free_s + fault.rtt_s / 2

    def damaged(self, data: bytes, fault: Fault) -> bytes:
        flipped = bytearray(data)
        for i in range(len(data)):
            place = self._seen + i
            if place >= fault.spare and (place - fault.spare) % fault.flip_down == 0:
                flipped[i] ^= 1 << (place % 8)
        self._seen += len(data)
        return bytes(flipped)
