"""A WebSocket client over a connected socket: no thread of its own, deadlines, a way to wake it.

The protocol is the package `websockets`' without its I/O
(https://websockets.readthedocs.io/en/stable/howto/sansio.html). It is pure Python, so that phones
can have it, and is imported only when a connection is made.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING

from headtail.errors import MissingDependency, WireFault
from headtail.offload.refusals import refusal
from headtail.offload.sockets import Deadline

if TYPE_CHECKING:
    from websockets.client import ClientProtocol

__all__ = ["Alarm", "WebSocket", "check_installed"]

CHUNK = 64 << 10
MAX_PING_BYTES = 125  # RFC 6455 section 5.5
_SCHEMES = {"http": "ws", "https": "wss"}


def check_installed() -> None:
    """Raise `MissingDependency` without the package `websockets`."""
    try:
        import websockets  # noqa: F401  # only whether it is there
    except ImportError:
        raise MissingDependency(
            "websockets",
            needed_for="the companion server's stream",
            install="pip install websockets",
        ) from None


class Alarm:
    """Wakes a thread that waits in `WebSocket.receive`, from any other; `count` says how often."""

    def __init__(self) -> None:
        self.count = 0
        self._hearing, self._ringing = socket.socketpair()
        self._hearing.setblocking(False)
        self._ringing.setblocking(False)

    def fileno(self) -> int:
        """For a selector."""
        return self._hearing.fileno()

    def ring(self) -> None:
        """Wake whoever waits, or will wait next."""
        self.count += 1
        with contextlib.suppress(OSError):  # full: it will be heard; closed: nobody is there
            self._ringing.send(b"!")

    def quiet(self) -> None:
        """Forget that it rang."""
        with contextlib.suppress(OSError):
            self._hearing.recv(CHUNK)

    def close(self) -> None:
        """Give up both ends."""
        self._hearing.close()
        self._ringing.close()


class WebSocket:
    """An open connection; `sent` and `received` count its bytes, without TLS.

    `cut_off`: a deadline passed within a message, so nothing more can be sent.
    `url` is that of the resource, http or https, whose server `sock` is connected to, with TLS if
    it is https. Further `headers` go with the handshake. Raises the errors of
    `headtail.offload.refusals` if the server refuses, `WireFault` if what answers is no WebSocket.
    All methods raise `OSError` (`TimeoutError` for the deadline) when the connection is lost.
    """

    def __init__(
        self,
        sock: socket.socket,
        url: str,
        headers: Mapping[str, str],
        *,
        max_bytes: int,
        deadline: Deadline,
    ) -> None:
        self._sock = sock
        self._protocol = _client(url, max_bytes)
        self._parts: list[bytes] = []  # of a message in several frames
        self._messages: list[bytes | str] = []
        self.sent = self.received = 0
        self.cut_off = False
        self.ponged = True
        self._shake_hands(url, headers, deadline)

    def send(self, message: bytes | str, deadline: Deadline) -> None:
        """Send one message, binary or text."""
        from websockets.protocol import State

        if self._protocol.state is not State.OPEN:
            raise ConnectionResetError("the stream has ended")
        if isinstance(message, str):
            self._protocol.send_text(message.encode())
        else:
            self._protocol.send_binary(message)
        self._flush(deadline)

    def ping(self, deadline: Deadline) -> None:
        """Send a ping as long as one may be; `ponged` says when its pong has come."""
        self.ponged = False
        self._protocol.send_ping(bytes(MAX_PING_BYTES))
        self._flush(deadline)

    def receive(self, alarm: Alarm, deadline: Deadline) -> bytes | str | None:
        """The next message; None if the alarm rang first, or the pong of a ping came."""
        waiting = not self.ponged
        while not self._messages and not (waiting and self.ponged):
            if not self._readable(alarm, deadline.left()):
                alarm.quiet()
                return None
            self._read(deadline)
        return self._messages.pop(0) if self._messages else None

    def stale(self) -> bool:
        """Whether it was closed while it lay idle; pings that came meanwhile are answered."""
        from websockets.protocol import State

        if self._protocol.state is not State.OPEN:
            return True
        try:
            while self._readable(None, 0):
                self._read(Deadline(1.0))
        except TimeoutError:
            self._messages.clear()  # late answers
            return False
        except OSError:
            return True
        return self._protocol.state is not State.OPEN

    def close(self) -> None:
        """Drop the connection, without a farewell that nobody would wait for."""
        self._sock.close()

    def _shake_hands(self, url: str, headers: Mapping[str, str], deadline: Deadline) -> None:
        from websockets.protocol import State

        request = self._protocol.connect()
        for name, value in headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        self._flush(deadline)
        while self._protocol.state is State.CONNECTING and self._protocol.handshake_exc is None:
            self._read(deadline)
        failure = self._protocol.handshake_exc
        if failure is None:
            return
        response = getattr(failure, "response", None)
        if response is None:
            raise WireFault(
                f"{url} answers without a WebSocket: {str(failure)[:200]}.",
                expected="A companion server has its stream there.",
                remedy="Use the address that `headtail serve` printed.",
            )
        told = {name.lower(): value for name, value in response.headers.raw_items()}
        raise refusal(response.status_code, told, bytes(response.body or b""))

    def _readable(self, alarm: Alarm | None, wait_s: float) -> bool:
        """Whether there is something to read; False if the alarm rang; raises `TimeoutError`."""
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ)
            if alarm is not None:
                selector.register(alarm, selectors.EVENT_READ)
            ready = selector.select(wait_s)
        if not ready:
            raise TimeoutError
        return any(key.fileobj is self._sock for key, _ in ready)

    def _read(self, deadline: Deadline) -> None:
        from websockets.protocol import State

        self._sock.settimeout(deadline.left())
        data = self._sock.recv(CHUNK)
        self.received += len(data)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            self._take(event)
        self._flush(deadline)  # pongs, or the reply to a close
        ended = not data or self._protocol.state not in (State.CONNECTING, State.OPEN)
        if ended and self._protocol.handshake_exc is None and not self._messages:
            raise ConnectionResetError(f"the stream ended: {self._protocol.close_reason or ''!r}")

    def _take(self, event: object) -> None:
        from websockets.frames import Frame, Opcode

        if isinstance(event, Frame) and event.opcode is Opcode.PONG:
            self.ponged = True
        if not isinstance(event, Frame) or event.opcode not in (
            Opcode.BINARY,
            Opcode.TEXT,
            Opcode.CONT,
        ):
            return
        if event.opcode is not Opcode.CONT:
            self._parts, self._text = [], event.opcode is Opcode.TEXT
        self._parts.append(bytes(event.data))
        if event.fin:
            whole = b"".join(self._parts)
            self._messages.append(whole.decode(errors="replace") if self._text else whole)

    def _flush(self, deadline: Deadline) -> None:
        for data in self._protocol.data_to_send():
            if data:  # an empty one means: half-close
                self.cut_off = True
                self._sock.settimeout(deadline.left())
                self._sock.sendall(data)
                self.sent += len(data)
                self.cut_off = False


def _client(url: str, max_bytes: int) -> ClientProtocol:
    from websockets.client import ClientProtocol
    from websockets.uri import parse_uri

    scheme, _, rest = url.partition(":")
    return ClientProtocol(parse_uri(f"{_SCHEMES[scheme]}:{rest}"), max_size=max_bytes)
