"""Damaged messages at a running `headtail serve`; `fuzz_wire.py` counts what comes back."""

from __future__ import annotations

import collections
import http.client
import re
import socket
import zlib

import grpc
import numpy as np

from benchmarks.fuzz_frames import Damage, Target
from benchmarks.server_rig import OurServer, Subject
from companion_server.grpc_messages import SERVICE
from headtail.offload.sockets import Deadline
from headtail.offload.stream import StreamCompanion
from headtail.offload.websocket import Alarm, WebSocket
from headtail.wire.oip import HEADER_LENGTH
from headtail.wire.stream import LENGTH_BYTES, Fault, decode_text

__all__ = ["Fuzzed", "fuzz_grpc", "fuzz_http", "fuzz_stream", "right_answer", "tracebacks"]

Fuzzed = collections.Counter[str]

TIMEOUT_S = 20.0
CODINGS = ("", "", "", "", "gzip", "deflate", "identity", "br")
PACKED = 4  # every so many bodies are really deflated
MAX_REPLY = 32 << 20


def fuzz_http(
    address: tuple[str, int], model: str, target: Target, *, count: int, damage: Damage
) -> Fuzzed:
    """`count` requests on one kept connection; the status of each, or why there was none."""
    answers: Fuzzed = collections.Counter()
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
    for number in range(count):
        message = damage.of(target)
        length, body = message[:LENGTH_BYTES], message[LENGTH_BYTES:]
        headers = {"Content-Type": "application/octet-stream"}
        if number % 16:
            headers[HEADER_LENGTH] = str(int.from_bytes(length, "little"))
        if coding := CODINGS[number % len(CODINGS)]:
            headers["Content-Encoding"] = coding
            body = zlib.compress(body, 1) if coding == "deflate" and number % PACKED else body
        path = f"/v2/models/{model if number % 8 else 'other'}/infer"
        try:
            connection.request("POST", path, body, headers)
            reply = connection.getresponse()
            reply.read()
            answers[str(reply.status)] += 1
        except (OSError, http.client.HTTPException) as error:
            answers[type(error).__name__] += 1
            connection.close()
    connection.close()
    return answers


def fuzz_stream(
    address: tuple[str, int], model: str, target: Target, *, count: int, damage: Damage
) -> Fuzzed:
    """`count` messages, one after the other; the server answers each, or ends the connection."""
    answers: Fuzzed = collections.Counter()
    alarm, stream = Alarm(), _opened(address, model)
    for number in range(count):
        message: bytes | str = damage.of(target)
        if number % 20 == 0:
            message = bytes(message[:200]).decode("latin-1")
        deadline = Deadline(TIMEOUT_S)
        try:
            stream.send(message, deadline)
            reply = stream.receive(alarm, deadline)
        except OSError as error:
            answers[type(error).__name__] += 1
            stream.close()
            stream = _opened(address, model)
        else:
            answers[str(decode_text(reply, Fault).status) if isinstance(reply, str) else "200"] += 1
    stream.close()
    alarm.close()
    return answers


def fuzz_grpc(address: tuple[str, int], target: Target, *, count: int, damage: Damage) -> Fuzzed:
    """`count` calls of `ModelInfer`; the status code of each."""
    answers: Fuzzed = collections.Counter()
    with grpc.insecure_channel("{}:{}".format(*address)) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        for _ in range(count):
            try:
                call(damage.of(target), timeout=TIMEOUT_S)
                answers["OK"] += 1
            except grpc.RpcError as error:
                answers[error.code().name] += 1
    return answers


def right_answer(url: str, subject: Subject) -> bool:
    """Whether the golden input still gives the golden output, over the stream."""
    client = StreamCompanion(url, timeout_s=TIMEOUT_S)
    manifest = subject.bundle.manifest
    try:
        reply = client.infer_tail(
            manifest.name,
            manifest.bundle_id,
            subject.cut,
            "raw32",
            subject.inputs[0],
            deadline_ms=TIMEOUT_S * 1e3,
        )
    finally:
        client.close()
    return all(
        np.allclose(found, wanted, rtol=1e-3, atol=1e-4)
        for found, wanted in zip(reply.outputs, subject.outputs[0], strict=True)
    )


def tracebacks(server: OurServer) -> list[str]:
    """What the server's log says of errors that nobody foresaw."""
    text = server.log.read_text(errors="replace")
    return re.findall(r"Traceback \(most recent call last\)[\s\S]{0,2000}", text)


def _opened(address: tuple[str, int], model: str) -> WebSocket:
    sock = socket.create_connection(address, timeout=TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    url = "http://{}:{}".format(*address)
    return WebSocket(
        sock,
        f"{url}/v2/models/{model}/stream",
        {},
        max_bytes=MAX_REPLY,
        deadline=Deadline(TIMEOUT_S),
    )
