"""A threaded HTTP server that runs the tail of a toy model, and can be told to misbehave.

It speaks the real wire (`headtail.wire`) over real sockets; only the model is a toy and the server
is not `companion_server`, because that one cannot hang half-way through a reply on request.

    with TailServer(bundle.manifest) as server:
        server.mode = "hang"          # for the following requests; see `MODES`
        server.hanging.wait(5)        # until a request hangs
        server.release.set()          # let hanging requests go on
"""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from headtail.manifest import Manifest
from headtail.tensors import Array, TensorSpec
from headtail.wire.boundary import decode_boundary
from headtail.wire.oip import (
    InferResponse,
    NamedArray,
    decode_request,
    encode_response,
)
from headtail.wire.split import SplitParameters

MODES = (
    "good",
    "close before reply",
    "close in headers",
    "close in body",
    "hang",
    "drip",
    "status",
    "garbage http",
    "garbage body",
    "wrong bundle",
    "wrong name",
    "wrong shape",
    "no numbers",
    "compressed",
    "too long",
    "chunked",
    "reset",
)
WEIGHTS = np.random.default_rng(3).normal(size=(64, 3)).astype(np.float32)


def head(image: Array) -> Array:
    """(1, 3, 8, 8) -> (1, 4, 4, 4): the toy model's head at the cut `early`, rectified."""
    pooled = image.reshape(1, 3, 4, 2, 4, 2).mean((3, 5), dtype=np.float32)
    mixed = np.stack([pooled[:, 0], pooled[:, 1], pooled[:, 2], pooled.sum(1)], axis=1)
    return np.asarray(np.maximum(mixed, 0), np.float32)


def tail(boundary: Array) -> Array:
    """(1, 4, 4, 4) -> (1, 3) logits."""
    return np.asarray(np.asarray(boundary, np.float32).reshape(1, -1) @ WEIGHTS, np.float32)


class TailServer:
    """`mode` applies to the requests that come after it is set. `requests` counts inferences, and
    `connections` accepted TCP connections."""

    def __init__(self, manifest: Manifest, *, context: ssl.SSLContext | None = None) -> None:
        self.manifest = manifest
        self.context = context
        self.mode = "good"
        self.status = 500
        self.status_headers: dict[str, str] = {}
        self.status_body: object = {"error": "made to fail"}
        self.parameters: dict[str, str | int | float | bool] = {
            "split.compute_ms": 0.5,
            "split.decode_ms": 0.25,
        }
        self.requests = 0
        self.connections = 0
        self.hanging = threading.Event()
        self.release = threading.Event()
        self.files: dict[str, bytes] = {}
        self._sockets: list[socket.socket] = []
        self._http = _Server(self, 0)
        self.port: int = self._http.server_address[1]
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> TailServer:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def kill(self) -> None:
        """Stop listening and end every connection, as a killed process would."""
        if self._thread is None:
            return
        self.release.set()
        self._http.shutdown()
        self.drop_connections()
        self._http.server_close()  # joins the threads of the connections
        self._thread.join()
        self._thread = None

    def revive(self) -> None:
        """Listen again on the same port."""
        self.release.clear()
        self._http = _Server(self, self.port)
        self._start()

    def drop_connections(self) -> None:
        """Close every open connection, as a server does with idle ones."""
        while self._sockets:
            sock = self._sockets.pop()
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # under TLS too, from this thread

    def opened(self, sock: socket.socket) -> None:
        self.connections += 1
        self._sockets.append(sock)

    def infer(self, headers: Mapping[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        """A good reply to a split request."""
        request = decode_request(headers, body)
        options = SplitParameters.from_parameters(request.parameters)
        assert options is not None
        assert options.bundle == self.manifest.bundle_id
        frame = request.inputs[0].array.tobytes()
        logits = tail(decode_boundary(frame, self.manifest.cut(options.cut))[0])
        name, version = self.manifest.outputs[0].name, options.bundle
        if self.mode == "wrong bundle":
            version = "f" * 64
        if self.mode == "wrong name":
            name = "other"
        if self.mode == "wrong shape":
            logits = logits[:, :2]
        if self.mode == "no numbers":
            logits = np.full_like(logits, np.nan)
        return encode_response(
            InferResponse(
                self.manifest.name,
                version,
                (NamedArray(name, logits),),
                id=request.id,
                parameters=self.parameters,
            )
        )


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, tails: TailServer, port: int) -> None:
        self.tails = tails
        super().__init__(("127.0.0.1", port), _Handler)
        if tails.context is not None:
            self.socket = tails.context.wrap_socket(self.socket, server_side=True)

    def get_request(self) -> tuple[socket.socket, Any]:
        sock, address = super().get_request()
        self.tails.opened(sock)
        return sock, address


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def tails(self) -> TailServer:
        assert isinstance(self.server, _Server)
        return self.server.tails

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client went away, which is its right
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's word
        pass

    def do_GET(self) -> None:
        if self.tails.mode == "status":
            self._send(self.tails.status, self.tails.status_headers, self._status_body())
        elif self.path in self.tails.files:
            self._file(self.tails.files[self.path])
        elif self.path == "/v2/health/ready":
            self._send(200, {}, b'{"ready":true}')
        else:
            self._send(404, {}, b'{"error":"no such thing"}')

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the client changed its mind
            self.close_connection = True
            return
        self.tails.requests += 1
        mode = self.tails.mode
        if mode == "hang":
            self.tails.hanging.set()
            self.tails.release.wait()
        if mode == "status":
            self._send(self.tails.status, self.tails.status_headers, self._status_body())
            return
        headers, data = self.tails.infer(dict(self.headers.items()), body)
        getattr(self, f"_{mode.replace(' ', '_')}", self._good)(headers, data)

    def _good(self, headers: Mapping[str, str], data: bytes) -> None:
        self._send(200, headers, data)

    def _close_before_reply(self, headers: Mapping[str, str], data: bytes) -> None:
        self.close_connection = True

    def _close_in_headers(self, headers: Mapping[str, str], data: bytes) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        self.close_connection = True

    def _close_in_body(self, headers: Mapping[str, str], data: bytes) -> None:
        self._head(200, {**headers, "Content-Length": str(len(data))})
        self.wfile.write(data[: len(data) // 2])
        self.close_connection = True

    def _reset(self, headers: Mapping[str, str], data: bytes) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True

    def _drip(self, headers: Mapping[str, str], data: bytes) -> None:
        """One byte at a time, for ever: no socket operation of the client ever times out."""
        self._head(200, {**headers, "Content-Length": str(1 << 20)})
        while not self.tails.release.wait(0.01):
            self.wfile.write(b"x")
        self.close_connection = True

    def _garbage_http(self, headers: Mapping[str, str], data: bytes) -> None:
        self.wfile.write(b"\x00\x01 this is no HTTP\r\n\r\n")
        self.close_connection = True

    def _garbage_body(self, headers: Mapping[str, str], data: bytes) -> None:
        self._send(200, headers, b"\xff" * len(data))

    def _compressed(self, headers: Mapping[str, str], data: bytes) -> None:
        self._send(200, {**headers, "Content-Encoding": "gzip"}, data)

    def _too_long(self, headers: Mapping[str, str], data: bytes) -> None:
        self._head(200, {**headers, "Content-Length": str(1 << 40)})
        self.close_connection = True

    def _chunked(self, headers: Mapping[str, str], data: bytes) -> None:
        self._head(200, {**headers, "Transfer-Encoding": "chunked"})
        for part in (data[:10], data[10:], b""):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))

    def _file(self, data: bytes) -> None:
        self._send(200, {}, data)

    def _status_body(self) -> bytes:
        body = self.tails.status_body
        return body if isinstance(body, bytes) else json.dumps(body).encode()

    def _send(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self._head(status, {**headers, "Content-Length": str(len(data))})
        self.wfile.write(data)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


class ToySession:
    """The toy model as a `headtail.runtimes.base.Session`; it checks that one thread uses it.

    `during_forward` is called in the middle of each whole run.
    """

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.spoil_head = False
        self.during_forward: Callable[[], object] = lambda: None
        self._owner = threading.get_ident()

    def entry_points(self) -> Sequence[str]:
        return ["forward", "head_early"]

    def inputs(self, entry: str) -> tuple[TensorSpec, ...]:
        return (TensorSpec("image", "f32", (1, 3, 8, 8)),)

    def outputs(self, entry: str) -> tuple[TensorSpec, ...]:
        early = TensorSpec("early", "f32", (1, 4, 4, 4))
        return (early if entry == "head_early" else TensorSpec("logits", "f32", (1, 3)),)

    def memory_bytes(self) -> None:
        pass

    def run(self, entry: str, inputs: Sequence[Array]) -> list[Array]:
        assert threading.get_ident() == self._owner, "a session belongs to one thread"
        self.runs.append(entry)
        boundary = head(inputs[0])
        if entry == "head_early":
            return [np.full_like(boundary, np.nan) if self.spoil_head else boundary]
        self.during_forward()
        return [tail(boundary)]

    def close(self) -> None:
        pass


def images(count: int) -> Iterator[Array]:
    """Inputs of the toy model: (1, 3, 8, 8) in [0, 1)."""
    rng = np.random.default_rng(5)
    for _ in range(count):
        yield rng.random((1, 3, 8, 8), np.float32)
