"""One kept-alive HTTP/1.1 connection to one origin, with a total deadline for every exchange.

A connection that the server closed while it lay idle is replaced, once: every request made here is
idempotent. `Link.abort` ends the exchange in progress, from any thread. A server whose certificate
is not the pinned one is never tried again.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from headtail.errors import ServerUnreachable, TooLarge, UsageFault, WireFault
from headtail.offload.pinning import Trust
from headtail.offload.sockets import Deadline, TimedSocket, shut_down

__all__ = ["Link", "Origin", "Reply", "Request"]

CHUNK = 256 << 10
FRAMED = 2  # times its length, at most, is a body that comes in chunks
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Origin:
    """Where a server is: `scheme://host:port`, and a path in front of all its routes."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Origin:
        """From `http://host:port` or `https://...`; `UsageFault` for anything else."""
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme, 0)
            extra = bool(parts.query or parts.fragment or parts.username or parts.password)
            host = (parts.hostname or "").encode("idna").decode("ascii")
            # urlsplit drops line breaks and tabs, so the text itself is looked at too
            plain = all(33 <= ord(letter) < 127 for letter in host + parts.path) and not any(
                letter.isspace() or not letter.isprintable() for letter in url
            )
        except ValueError:
            host, port, extra, plain = "", 0, True, False
        if not host or not port or extra or not plain:
            raise UsageFault(
                f"{url[:200]!r} is not a companion server's address.",
                expected="An address is http://HOST:PORT or https://HOST:PORT.",
                remedy="Use the address that `headtail serve` printed.",
            )
        return cls(parts.scheme, host, port, parts.path.rstrip("/"))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


@dataclass(frozen=True)
class Request:
    """One request; `path` begins behind the origin's."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


class Reply:
    """A reply, its header names in lower case; its body is read with `read` or `chunks`."""

    def __init__(self, link: Link, sock: TimedSocket, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._link, self._sock, self._response = link, sock, response

    @property
    def age_ms(self) -> float:
        """Milliseconds since the first byte of the request was sent."""
        return (time.perf_counter() - self._sock.asked) * 1e3

    @property
    def bytes_up(self) -> int:
        """Bytes of the request, line and headers included."""
        return self._sock.sent

    @property
    def bytes_down(self) -> int:
        """Bytes of the reply received so far, line and headers included."""
        return self._sock.received

    def renew(self) -> None:
        """Begin the deadline anew: for a body that may take as long as it gets on."""
        self._sock.deadline.renew()

    def chunks(self, size: int = CHUNK, *, limit: int) -> Iterator[bytes]:
        """The body, `size` bytes at a time; raises `ServerUnreachable` if it ends too early.

        A body of much more than `limit` bytes ends in `TooLarge`; to stop at the very byte is the
        caller's.
        """
        # http.client takes a chunk of -1 bytes for one without end, and reads it at one go
        self._sock.most = self._sock.received + FRAMED * limit + CHUNK
        promised = self._response.length
        if promised is None and not self._response.chunked:
            # http.client takes the end of the connection for the end of headers and body alike
            raise self._link.lost("closed the connection before its answer had a length")
        came = 0
        while True:
            with self._link.translated(self._sock.deadline):
                chunk = self._response.read(size)
            if not chunk:
                break
            came += len(chunk)
            yield chunk
        if promised is not None and came != promised:
            raise self._link.lost(f"closed the connection after {came} of {promised} bytes")

    def read(self, *, limit: int) -> bytes:
        """The whole body; `TooLarge` from its declared length, or as soon as `limit` is passed."""
        parts, size = [], self._response.length or 0
        if size <= limit:
            size = 0
            for part in self.chunks(limit=limit):
                size += len(part)
                if size > limit:
                    break
                parts.append(part)
        if size > limit:
            raise TooLarge(
                f"The companion server's reply has {size} bytes or more.",
                expected=f"At most {limit}.",
                remedy="Check that the address is a companion server's.",
            )
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Link:
    """One origin, one connection, one exchange at a time; further threads wait their turn.

    `pin` is the SHA-256 of the server's certificate; without a `context` of one's own it stands in
    for every authority. `headers` go with each request.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        context: ssl.SSLContext | None = None,
        pin: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if pin is not None and origin.scheme != "https":
            raise UsageFault(
                f"A certificate is pinned for {origin}.",
                expected="Only https has certificates.",
                remedy="Use the https address, or no pin.",
            )
        self.origin = origin
        self._trust = Trust(context, pin)
        self._headers = dict(headers or {})
        self._turn = threading.Lock()
        self._swap = threading.Lock()
        self._sock: TimedSocket | None = None
        self._dialled: socket.socket | None = None  # while it connects or shakes hands
        self._aborts = 0
        self._closed = False

    def close(self) -> None:
        """End the exchange in progress and refuse further ones."""
        self._closed = True
        self.abort()

    def abort(self) -> None:
        """Drop the connection; an exchange in progress ends with `ServerUnreachable`."""
        with self._swap:
            self._aborts += 1
            sock, self._sock = self._sock, None
            if self._dialled is not None:
                shut_down(self._dialled)
        if sock is not None:
            sock.shutdown()
            sock.close()

    @property
    def aborts(self) -> int:
        """How often `abort` was called."""
        return self._aborts

    @contextlib.contextmanager
    def exchange(
        self, request: Request, deadline: Deadline, *, aborts: int | None = None
    ) -> Iterator[Reply]:
        """Send `request`; the connection is kept if the whole body was read in the `with` block.

        With `aborts`, what that property was before the caller decided to ask, an abort since then
        counts too; without it only one from now on.

        Raises `ServerUnreachable` (nothing answers, too late, connection lost), of that kind
        `CertificateChanged`, and `WireFault` (what answers does not speak HTTP).
        """
        with self.translated(deadline):
            if not self._turn.acquire(timeout=deadline.left()):
                raise TimeoutError
        try:
            with self.translated(deadline):
                since = self._aborts if aborts is None else aborts
                sock, response = self._send(request, deadline, since)
            try:
                yield Reply(self, sock, response)
            finally:
                if response.will_close or not response.isclosed():
                    self._drop(sock)
                response.close()
        finally:
            self._turn.release()

    def _send(
        self, request: Request, deadline: Deadline, aborts: int
    ) -> tuple[TimedSocket, http.client.HTTPResponse]:
        while True:
            try:
                sock, kept = self._connected(deadline)
            except OSError:
                self._check_aborted(aborts)
                raise
            try:
                self._check_aborted(aborts)
                return sock, self._ask(sock, request)
            except OSError as error:
                self._drop(sock)
                self._check_aborted(aborts)
                # closed in the instant between the look at it and the request: once more, anew
                if not kept or sock.received or isinstance(error, TimeoutError):
                    raise
            except BaseException:
                self._drop(sock)
                raise

    def _ask(self, sock: TimedSocket, request: Request) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.origin.host, self.origin.port)
        connection.sock = sock
        target = self.origin.path + request.path
        headers = {**self._headers, **request.headers}
        sock.asked = time.perf_counter()
        with sock.gathering():
            connection.request(request.method, target, request.body, headers)
        return connection.getresponse()

    def _connected(self, deadline: Deadline) -> tuple[TimedSocket, bool]:
        """A live connection, and whether it was kept from an earlier exchange."""
        kept = self._sock
        if kept is not None:
            if not kept.stale():
                kept.begin(deadline)
                return kept, True
            self._drop(kept)
        made = TimedSocket(self._dial(deadline), deadline)
        with self._swap:
            self._sock = made
        return made, False

    def _dial(self, deadline: Deadline) -> socket.socket:
        self._trust.check()
        try:
            raw = self._connect(deadline)
            try:
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.origin.scheme != "https":
                    return raw
                raw.settimeout(deadline.left())
                host, where = self.origin.host, str(self.origin)
                return self._trust.secure(raw, host=host, where=where, began=self._dialling)
            except BaseException:
                raw.close()
                raise
        finally:
            self._dialling(None)

    def _connect(self, deadline: Deadline) -> socket.socket:
        # not create_connection, whose timeout is per address
        failure: OSError = OSError("the name has no address")
        found = socket.getaddrinfo(self.origin.host, self.origin.port, type=socket.SOCK_STREAM)
        for tried, (family, kind, protocol, _, address) in enumerate(found):
            raw = socket.socket(family, kind, protocol)
            self._dialling(raw)
            try:
                # one that swallows everything must leave the others their time
                raw.settimeout(deadline.left() / (len(found) - tried))
                raw.connect(address)
            except OSError as error:
                raw.close()
                failure = error
            else:
                return raw
        raise failure

    def _dialling(self, raw: socket.socket | None) -> None:
        """What `abort` has to wake, None if there is nothing."""
        with self._swap:
            self._dialled = raw

    def _drop(self, sock: TimedSocket) -> None:
        with self._swap:
            if self._sock is sock:
                self._sock = None
        sock.close()

    def _check_aborted(self, aborts: int) -> None:
        if self._closed or aborts != self._aborts:
            raise self.lost("was left alone: the answer was no longer needed")

    @contextlib.contextmanager
    def translated(self, deadline: Deadline) -> Iterator[None]:
        """What sockets and `http.client` raise, as errors of the tree."""
        try:
            yield
        except TimeoutError:
            raise self.lost(f"did not answer within {deadline.seconds * 1e3:.0f} ms") from None
        except (http.client.RemoteDisconnected, http.client.IncompleteRead):
            raise self.lost("closed the connection before its answer was complete") from None
        except (OSError, ValueError) as error:  # ValueError: the connection was aborted meanwhile
            raise self.lost(f"cannot be reached ({error})") from None
        except http.client.HTTPException as error:
            raise WireFault(
                f"{self.origin} does not speak HTTP: {type(error).__name__}: {str(error)[:200]!r}.",
                expected="A companion server speaks HTTP/1.1.",
                remedy="Use the address that `headtail serve` printed.",
            ) from None

    def lost(self, what: str) -> ServerUnreachable:
        """The error for a server that was not there, or no longer."""
        return ServerUnreachable(
            f"The companion server {self.origin} {what}.",
            expected="It answers while `headtail serve` runs and the network reaches it.",
            remedy="Start it, or check the address and the network.",
        )
