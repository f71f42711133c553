"""The WebSocket stream, `/v2/models/{model}/stream`: many requests in flight on one connection.

`headtail/wire/stream.py` has the messages. Plain ASGI, like the inference route over HTTP. Once
`MAX_IN_FLIGHT` requests are being answered nothing more is read, so that TCP holds the client back;
a client that reads no answers is held back the same way.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from companion_server.answering import Caller, counted
from companion_server.conditions import Shed
from companion_server.inference import INLINE_BYTES, Origin, Prepared, Service, computed, prepare
from companion_server.operations.limits import Bodies
from companion_server.operations.telemetry import Telemetry
from companion_server.operations.upgrades import WebSocketProtocol
from companion_server.problems import problem
from companion_server.security.gate import Gate
from companion_server.security.scopes import principal_of
from headtail.errors import BundleMismatch, HeadtailError, WireFault
from headtail.wire import oip
from headtail.wire.stream import (
    LENGTH_BYTES,
    Cancel,
    Fault,
    decode_text,
    encode_text,
    pack,
    unpack,
)

__all__ = ["MAX_IN_FLIGHT", "StreamEndpoint", "fault_of", "websocket_options"]

log = logging.getLogger(__name__)
MAX_IN_FLIGHT = 32
MAX_MESSAGE_BYTES = 16 << 20  # uvicorn collects a message whole, on every connection at once
PING_S = 20  # as often, and as long without an answer until the client counts as gone


def websocket_options(max_body_bytes: int) -> dict[str, Any]:
    """What uvicorn must be told for this route.

    Messages are not deflated: activations are packed already, and a bomb would have to be bounded
    once more. uvicorn pauses reading as long as a message waits to be taken.
    """
    return {
        "ws": WebSocketProtocol,
        "ws_max_size": min(max_body_bytes, MAX_MESSAGE_BYTES) + LENGTH_BYTES,
        "ws_per_message_deflate": False,
        "ws_ping_interval": PING_S,
        "ws_ping_timeout": PING_S,
    }


class StreamEndpoint:
    """The ASGI application of the route; its path parameters are `model` and perhaps `version`.

    `gate` looks at the caller's key again with every request: a stream may outlive its key.
    `bodies` bounds what is in memory, of this and all other streams.
    """

    def __init__(
        self,
        service: Service,
        *,
        gate: Gate | None = None,
        telemetry: Telemetry | None = None,
        bodies: Bodies | None = None,
    ) -> None:
        self._service = service
        self._gate = gate
        self._telemetry = telemetry
        self._bodies = bodies or Bodies(sys.maxsize)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer requests until the client leaves; an unknown model is refused with a 404."""
        path = scope["path_params"]
        model, version = path["model"], path.get("version", "")
        await receive()  # websocket.connect
        try:
            self._service.store.version(model, version)
        except HeadtailError as error:
            await problem(error)(scope, receive, send)
            return
        await send({"type": "websocket.accept"})
        connection = _Connection(self, (model, version), _caller(scope), send)
        async with asyncio.TaskGroup() as group:
            while (message := await receive())["type"] != "websocket.disconnect":
                await connection.take(message, group)
            connection.cancel_all()

    async def answer(self, call: _Call) -> bytes:
        """One request's answer as a message."""
        size = LENGTH_BYTES + len(call.body)
        with (
            counted(self._telemetry, "ws", call.caller, bytes_in=size) as record,
            self._bodies.holding(size, call.caller.holder),
        ):
            if self._gate is not None:
                self._gate.check_again(call.caller.principal)
            if len(call.body) > INLINE_BYTES:
                prepared = await asyncio.to_thread(self._prepared, call)
            else:
                prepared = self._prepared(call)
            encoded, _, _ = await computed(prepared, self._service.engine, prepared.encode)
            message = pack(*encoded)
            if record is not None:
                record.bytes_out = len(message)
            return message

    @property
    def limits(self) -> oip.Limits:
        """Of one message."""
        return oip.Limits(max_body_bytes=min(self._service.max_body_bytes, MAX_MESSAGE_BYTES))

    def _prepared(self, call: _Call) -> Prepared:
        request = oip.request_of(call.head, call.binary, limits=self.limits)
        origin = Origin(call.model, call.version, call.caller.client, call.arrived)
        return prepare(request, origin, self._service.store)


@dataclass(frozen=True)
class _Call:
    model: str
    version: str
    caller: Caller
    arrived: float
    head: dict[str, Any]
    binary: memoryview
    body: bytes


class _Connection:
    def __init__(
        self, endpoint: StreamEndpoint, asked: tuple[str, str], caller: Caller, send: Send
    ) -> None:
        self._endpoint = endpoint
        self._asked = asked
        self._caller = caller
        self._send = send
        self._room = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._running: dict[str, asyncio.Task[None]] = {}

    async def take(self, message: Any, group: asyncio.TaskGroup) -> None:
        """Begin what one WebSocket message asks for."""
        arrived = time.monotonic()
        try:
            if message.get("bytes") is None:
                self._cancel(message["text"])
                return
            headers, body = unpack(
                message["bytes"], max_body_bytes=self._endpoint.limits.max_body_bytes
            )
            head, binary = oip.split_body(headers, body, limits=self._endpoint.limits)
            name = self._free_id(head)
        except HeadtailError as error:
            await self._tell(fault_of("", error))
            return
        await self._room.acquire()
        call = _Call(*self._asked, self._caller, arrived, head, binary, body)
        task = group.create_task(self._answer(name, call))
        self._running[name] = task
        task.add_done_callback(lambda _task: self._ended(name))

    def cancel_all(self) -> None:
        """Nobody is there any more to read an answer."""
        for task in self._running.values():
            task.cancel()

    def _free_id(self, head: dict[str, Any]) -> str:
        name = head.get("id")
        if isinstance(name, str) and 0 < len(name) <= oip.MAX_TEXT and name not in self._running:
            return name
        raise WireFault(
            f"The request's id is {str(name)[:100]!r}.",
            expected="On a stream every request in flight has an id of its own, a string.",
            remedy="Number the requests.",
        )

    def _cancel(self, text: str) -> None:
        task = self._running.get(decode_text(text, Cancel).cancel)
        if task is not None:  # else it was answered meanwhile
            task.cancel()

    def _ended(self, name: str) -> None:
        del self._running[name]
        self._room.release()

    async def _answer(self, name: str, call: _Call) -> None:
        try:
            message = await self._endpoint.answer(call)
        except HeadtailError as error:
            await self._tell(fault_of(name, error))
        except Exception:  # it must not end the stream for the others on it
            log.exception("A request on a stream was not answered.")
            await self._tell(Fault(name, 500, "Internal error. See the server's log."))
        else:
            await self._sent({"type": "websocket.send", "bytes": message})

    async def _tell(self, fault: Fault) -> None:
        await self._sent({"type": "websocket.send", "text": encode_text(fault)})

    async def _sent(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except OSError:  # the ASGI specification's word for a client that has left
            log.debug("A client left before its answer.")


def fault_of(name: str, error: HeadtailError) -> Fault:
    """The text message for an error about request `name`."""
    held = (
        {key: tuple(cuts) for key, cuts in error.held.items()}
        if (isinstance(error, BundleMismatch))
        else None
    )
    retry_ms = round(error.retry_after_s * 1e3) if isinstance(error, Shed) else None
    return Fault(name, error.http_status, str(error), held, retry_ms)


def _caller(scope: Scope) -> Caller:
    host, port = scope.get("client") or ("", 0)
    headers = dict(scope["headers"])
    trace = headers.get(b"traceparent", b"").decode("latin-1")
    return Caller(principal_of(scope), f"{host}:{port}", trace)
