"""Split requests over one WebSocket: what is late is cancelled, and the connection stays.

Over HTTP/1.1 a reply that nobody waits for any more can only be got rid of with its connection, and
the next frame pays for a new one: on a phone two or three round trips, and TCP starts slowly again.
Here a cancelled request is taken out of the server's queue, and a late answer is passed over.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence

from headtail.errors import HeadtailError
from headtail.manifest import Cut
from headtail.offload.client import MAX_REPLY_BYTES, PingReply, TailReply, authorization
from headtail.offload.link import Link, Origin
from headtail.offload.pinning import parse_pin
from headtail.offload.refusals import refusal
from headtail.offload.sockets import Deadline
from headtail.offload.tailcalls import check_answer, encode_call
from headtail.offload.websocket import Alarm, WebSocket, check_installed
from headtail.tensors import Array
from headtail.wire import oip, split
from headtail.wire.stream import (
    LENGTH_BYTES,
    Cancel,
    Fault,
    decode_text,
    encode_text,
    pack,
    unpack,
)

__all__ = ["StreamCompanion"]

CANCEL_S = 0.2  # to write one small message; a connection that will not take it is given up


class StreamCompanion:
    """A client of one companion server's stream; threads may share it and wait for one another.

    Its arguments are those of `Companion`, and so is `infer_tail`. Raises `MissingDependency`
    without the package `websockets`.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 5.0,
        context: ssl.SSLContext | None = None,
        pin: str | None = None,
        key: str | None = None,
    ) -> None:
        check_installed()
        self._headers = authorization(key)
        self._link = _Dialer(
            Origin.parse(url), context=context, pin=None if pin is None else parse_pin(pin)
        )
        self._timeout_s = timeout_s
        self._turn = threading.Lock()
        self._ids = itertools.count(1)
        self._alarm = Alarm()
        self._closed = False
        self._path = ""  # of the connection
        self._connection: WebSocket | None = None

    @property
    def url(self) -> str:
        """The server's address, without a slash at its end."""
        return str(self._link.origin)

    def infer_tail(
        self,
        manifest_name: str,
        bundle_id: str,
        cut: Cut,
        codec_id: str,
        arrays: Sequence[Array],
        *,
        deadline_ms: float,
    ) -> TailReply:
        """As `Companion.infer_tail`; a request that is given up is cancelled on the server."""
        aborts = self._alarm.count
        name = str(next(self._ids))
        started = time.perf_counter()
        headers, body = encode_call(
            bundle_id, cut, codec_id, arrays, deadline_ms=deadline_ms, call_id=name
        )
        encode_ms = (time.perf_counter() - started) * 1e3
        path = f"/v2/models/{urllib.parse.quote(manifest_name, safe='')}/stream"
        call = _Call(name, pack(headers, body), Deadline(min(self._timeout_s, deadline_ms / 1e3)))
        with self._taking_turns(call.deadline):
            reply = self._exchange(path, call, aborts)
        answer = call.result()
        return TailReply(
            tuple(tensor.name for tensor in answer.outputs),
            check_answer(answer, bundle_id, name),
            *reply,
            split.server_times(answer.parameters),
            encode_ms=encode_ms,
        )

    def ping(self, manifest_name: str, *, timeout_s: float) -> PingReply:
        """A WebSocket ping on the model's stream, of the 125 bytes that one may have.

        Raises as `infer_tail`.
        """
        aborts = self._alarm.count
        path = f"/v2/models/{urllib.parse.quote(manifest_name, safe='')}/stream"
        deadline = Deadline(min(self._timeout_s, timeout_s))
        with self._taking_turns(deadline):
            try:
                connection = self._kept(path) or self._dial(path, deadline)
                up, down = connection.sent, connection.received
                started = time.perf_counter()
                connection.ping(deadline)
                while not connection.ponged:
                    connection.receive(self._alarm, deadline)  # late answers are passed over
                    self._check_aborted(aborts)
                ms = (time.perf_counter() - started) * 1e3
            except OSError:
                self._drop()
                raise
        return PingReply(connection.sent - up, connection.received - down, ms)

    def abort(self) -> None:
        """Give up a request in progress, from any thread; it raises `ServerUnreachable` there.

        The connection stays: what the server has not begun it drops, what comes late is ignored.
        """
        self._alarm.ring()

    def close(self) -> None:
        """Close the connection; further requests raise `ServerUnreachable`."""
        self._closed = True
        self._alarm.ring()
        self._link.abort()  # which may still be dialling
        with self._turn:
            self._drop()
            self._alarm.close()

    @contextlib.contextmanager
    def _taking_turns(self, deadline: Deadline) -> Iterator[None]:
        with self._link.translated(deadline):
            if not self._turn.acquire(timeout=deadline.left()):
                raise TimeoutError
            try:
                yield
            finally:
                self._turn.release()

    def _exchange(self, path: str, call: _Call, aborts: int) -> tuple[int, int, float]:
        """Until `call` is answered; gives bytes up, bytes down and ms, raises `OSError`."""
        kept = self._kept(path)
        while True:
            self._check_aborted(aborts)
            connection = kept or self._dial(path, call.deadline)
            up, down = connection.sent, connection.received
            started = time.perf_counter()
            try:
                connection.send(call.message, call.deadline)
                while not call.answered:
                    self._hear(connection, call, aborts)
            except TimeoutError:
                self._cancel(call)
                raise
            except OSError:
                self._drop()
                # closed in the instant between the look at it and the request: once more, anew
                if kept is None or connection.received != down:
                    raise
                kept = None
            else:
                ms = (call.arrived - started) * 1e3
                return connection.sent - up, connection.received - down, ms

    def _hear(self, connection: WebSocket, call: _Call, aborts: int) -> None:
        message = connection.receive(self._alarm, call.deadline)
        if message is None:
            try:
                self._check_aborted(aborts)
            except HeadtailError:
                self._cancel(call)
                raise
            return
        try:
            call.hear(message)
        except HeadtailError:  # not our protocol, so whatever follows would not be either
            self._drop()
            raise

    def _kept(self, path: str) -> WebSocket | None:
        if self._connection is not None and (self._path != path or self._connection.stale()):
            self._drop()
        return self._connection

    def _dial(self, path: str, deadline: Deadline) -> WebSocket:
        self._drop()
        raw = self._link.dial(deadline)
        try:
            made = WebSocket(
                raw,
                f"{self._link.origin}{path}",
                self._headers,
                max_bytes=MAX_REPLY_BYTES + LENGTH_BYTES,
                deadline=deadline,
            )
        except BaseException:
            raw.close()
            raise
        self._path, self._connection = path, made
        return made

    def _cancel(self, call: _Call) -> None:
        if self._connection is None:
            return
        if self._connection.cut_off:
            self._drop()
            return
        try:
            self._connection.send(encode_text(Cancel(call.name)), Deadline(CANCEL_S))
        except OSError:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def _check_aborted(self, aborts: int) -> None:
        if self._closed or self._alarm.count != aborts:
            raise self._link.lost("was left alone: the answer was no longer needed")


class _Dialer(Link):
    """A `Link` for its way to a connected socket, pinned certificate and all."""

    def dial(self, deadline: Deadline) -> socket.socket:
        self._trust.check()
        return self._dial(deadline)


class _Call:
    """One request and what was heard of it."""

    def __init__(self, name: str, message: bytes, deadline: Deadline) -> None:
        self.name, self.message, self.deadline = name, message, deadline
        self.arrived = 0.0
        self._heard: oip.InferResponse | HeadtailError | None = None

    @property
    def answered(self) -> bool:
        return self._heard is not None

    def hear(self, message: bytes | str) -> None:
        """Take an answer or error that is ours; late ones of other calls are passed over."""
        self.arrived = time.perf_counter()
        if isinstance(message, bytes):
            answer = oip.decode_response(*unpack(message, max_body_bytes=MAX_REPLY_BYTES))
            if answer.id == self.name:
                self._heard = answer
            return
        fault = decode_text(message, Fault)
        if fault.id in (self.name, ""):
            retry = math.ceil((fault.retry_after_ms or 1000) / 1e3)
            headers = {"retry-after": str(retry)}
            self._heard = refusal(fault.status, headers, message.encode())

    def result(self) -> oip.InferResponse:
        """The answer; raises the error that came instead."""
        if isinstance(self._heard, HeadtailError):
            raise self._heard
        assert self._heard is not None
        return self._heard
