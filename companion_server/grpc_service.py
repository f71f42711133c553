"""The Open Inference Protocol v2 over gRPC, in the event loop of the web process.

A call's deadline is its job's: what is late is not computed; a call that its client cancels leaves
the queue. Statuses, by those of HTTP:

    400, 413, 422  INVALID_ARGUMENT     409  FAILED_PRECONDITION    503  UNAVAILABLE
    401            UNAUTHENTICATED      429  RESOURCE_EXHAUSTED     504  DEADLINE_EXCEEDED
    403            PERMISSION_DENIED    404  NOT_FOUND              500  INTERNAL

A 429 has `retry-after` (whole seconds) and `grpc-retry-pushback-ms` in its trailing metadata; the
latter is gRPC's own, https://github.com/grpc/proposal/blob/master/A6-client-retries.md.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc

from companion_server.answering import Caller
from companion_server.conditions import Shed
from companion_server.grpc_calls import Call, Calls, Unary
from companion_server.grpc_messages import SERVICE, UNIMPLEMENTED, message
from companion_server.grpc_tensors import request_id, set_parameter
from companion_server.security.gate import Gate
from companion_server.security.scopes import admit
from headtail.errors import HeadtailError, UsageFault, WireFault
from headtail.wire.traceparent import HEADER

__all__ = ["GrpcServer", "start_grpc"]

log = logging.getLogger(__name__)

MAX_CALLS = 1024
MAX_STREAMS = 128  # calls on one connection
MAX_IN_FLIGHT = 32  # requests of one ModelStreamInfer
MAX_DETAILS = 2_500  # bytes of an error; each may take three, and gRPC drops metadata over 8 KiB
_BESIDE_TENSORS = 64 << 10  # a message's names and shapes
_STATUS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_INTERNAL = "Internal error. The request was not answered. See the server's log."


@dataclass(frozen=True)
class GrpcServer:
    """A running gRPC server; `port` is the one bound."""

    port: int
    running: Any

    async def close(self, grace_s: float) -> None:
        """Take no more calls, give running ones `grace_s`, cancel what is left."""
        await self.running.stop(grace_s)


async def start_grpc(
    calls: Calls,
    gate: Gate,
    *,
    host: str,
    port: int,
    tls: tuple[bytes, bytes] | None = None,
) -> GrpcServer:
    """Serve `calls` on `host` and `port` (0 picks one), in the running event loop.

    `tls` is the private key and the certificate chain, both PEM. Raises `UsageFault` for an address
    that cannot be bound.
    """
    server = grpc.aio.server(
        maximum_concurrent_rpcs=MAX_CALLS,
        options=[
            ("grpc.max_receive_message_length", calls.max_body_bytes + _BESIDE_TENSORS),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", MAX_STREAMS),
            ("grpc.so_reuseport", 0),  # else a second server would share the port unnoticed
        ],
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, _handlers(calls, gate)),)
    )
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            bound = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, grpc.ssl_server_credentials([tls]))
    except RuntimeError as error:
        raise UsageFault(
            f"Cannot serve gRPC on {address}: {error}.",
            expected="The address belongs to this machine and the port is free.",
            remedy="Choose another grpc_port (0 picks a free one) or stop what uses it.",
        ) from None
    await server.start()
    return GrpcServer(bound, server)


def _handlers(calls: Calls, gate: Gate) -> dict[str, Any]:
    # on the wire one message is a stream of one, but gRPC reads it before it calls a unary handler:
    # whoever has no key could have any number of large messages kept in memory
    made = {
        name: grpc.stream_unary_rpc_method_handler(_unary(name, work, gate))
        for name, work in calls.unary.items()
    }
    made["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(_streamed(calls.infer, gate))
    for name in UNIMPLEMENTED:
        made[name] = grpc.stream_unary_rpc_method_handler(_unimplemented)
    return made


def _unary(name: str, work: Unary, gate: Gate) -> Any:
    async def handle(requests: AsyncIterator[bytes], context: Any) -> bytes:
        try:
            call = _call(name, context, gate)
            reply = await work(await _only(requests), call)
            return bytes(reply.SerializeToString())
        except HeadtailError as error:
            await _refuse(context, error)
        except Exception:  # a defect of ours is one call's answer and a line in the log
            log.exception("A gRPC call was not answered.")
            await _abort(context, grpc.StatusCode.INTERNAL, _INTERNAL)

    return handle


async def _only(requests: AsyncIterator[bytes]) -> bytes:
    async for data in requests:
        return data
    raise WireFault(
        "The call ended without a message.",
        expected="One message, which may be empty.",
        remedy="Send the request.",
    )


def _streamed(work: Unary, gate: Gate) -> Any:
    """`ModelStreamInfer`: answers in the order of completion, and errors within the stream."""

    async def handle(requests: AsyncIterator[bytes], context: Any) -> None:
        try:
            call = _call("ModelStreamInfer", context, gate)
        except HeadtailError as error:
            await _refuse(context, error)
        room, turn = asyncio.Semaphore(MAX_IN_FLIGHT), asyncio.Lock()

        async def again(data: bytes, call: Call) -> Any:
            gate.check_again(call.caller.principal)  # a stream may outlive its key
            return await work(data, call)

        async def answer(data: bytes) -> None:
            try:
                reply = await _stream_reply(again, data, call)
                async with turn:  # one write at a time
                    await context.write(reply.SerializeToString())
            finally:
                room.release()

        async with asyncio.TaskGroup() as group:
            async for data in requests:
                await room.acquire()
                group.create_task(answer(data))

    return handle


async def _stream_reply(work: Unary, data: bytes, call: Call) -> Any:
    made = message("ModelStreamInferResponse")()
    try:
        made.infer_response.CopyFrom(await work(data, call))
    except HeadtailError as error:
        made.error_message = str(error)
    except Exception:  # it must not end the stream for the others on it
        log.exception("A request of a gRPC stream was not answered.")
        made.error_message = _INTERNAL
    # every request here has one response, which is the last; Triton's clients ask for the word
    set_parameter(made.infer_response.parameters, "triton_final_response", True)
    if made.error_message:
        made.infer_response.id = request_id(data)
    return made


async def _unimplemented(_requests: AsyncIterator[bytes], context: Any) -> bytes:
    await _abort(
        context,
        grpc.StatusCode.UNIMPLEMENTED,
        "This server has no such method. It shares no memory with its clients and takes its "
        "settings from a file. See /openapi.json for what is offered over HTTP.",
    )


def _call(name: str, context: Any, gate: Gate) -> Call:
    metadata = context.invocation_metadata()
    address = context.peer().partition(":")[2]  # behind ipv4: or ipv6:
    principal = gate.check_rpc(f"/{SERVICE}/{name}", metadata, peer=address)
    admit(principal)
    trace = next((str(value) for key, value in metadata if key == HEADER), "")
    left_s = context.time_remaining()
    deadline = None if left_s is None else time.monotonic() + left_s
    return Call(Caller(principal, address, trace), deadline)


async def _refuse(context: Any, error: HeadtailError) -> NoReturn:
    trailing: tuple[tuple[str, str], ...] = ()
    if isinstance(error, Shed):
        trailing = (
            ("retry-after", str(math.ceil(error.retry_after_s))),
            ("grpc-retry-pushback-ms", str(math.ceil(error.retry_after_s * 1e3))),
        )
    status = _STATUS.get(error.http_status, grpc.StatusCode.INTERNAL)
    await _abort(context, status, str(error), trailing)


async def _abort(
    context: Any, status: grpc.StatusCode, text: str, trailing: tuple[tuple[str, str], ...] = ()
) -> NoReturn:
    short = text.encode()[:MAX_DETAILS].decode(errors="ignore")
    await context.abort(status, short, trailing)
    raise AssertionError("abort raises")
