"""Damaged messages, and the parsers they are thrown at; `fuzz_wire.py` has the rest.

A parser may answer or raise an error of `headtail.errors`; anything else is a crash. What it may
allocate is `ALLOWED_BASE`, the tensors that the limits let a message declare, and so many bytes for
each byte of the message as JSON costs when Python holds it as objects.
"""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.server_rig import Subject
from companion_server.bodies import decompress
from companion_server.grpc_messages import message
from companion_server.grpc_tensors import infer_request, parse_infer_request
from headtail.tensors import oip_datatype
from headtail.wire import boundary, oip
from headtail.wire.codecs import CODEC_IDS
from headtail.wire.split import SplitParameters
from headtail.wire.stream import (
    LENGTH_BYTES,
    Cancel,
    Fault,
    decode_text,
    encode_text,
    pack,
    unpack,
)

LIMIT = 1 << 20  # of a body, in all that follows
LIMITS = oip.Limits(max_body_bytes=LIMIT, max_json_bytes=LIMIT)
ALLOWED_BASE = 256 << 10
PER_BYTE = 16  # of JSON: `7,` becomes a pointer in a list that grew, and again in a copy
NUMBERS = (0, 1, 2, 127, 128, 255, 256, 65535, 1 << 31, (1 << 32) - 1, (1 << 63) - 1, 1 << 64)
WORDS = (
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b'""',
    b"[]",
    b"{}",
    b"[[[[",
    b"\\ud800",
    b"\xff",
)


@dataclass(frozen=True)
class Target:
    """A parser, whole messages to begin with, and what it may allocate beside its message."""

    name: str
    run: Callable[[bytes], object]
    seeds: Sequence[bytes]
    declared_bytes: int
    repair: Callable[[bytes], bytes] = bytes


class Damage:
    """Makes messages out of messages, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def of(self, target: Target) -> bytes:
        """One more message for `target`."""
        data = bytearray(target.seeds[self._below(len(target.seeds))])
        gentle = self._below(2)  # one word of the JSON, and what depends on its length put right
        if gentle:
            self._replace_token(data)
        else:
            for _ in range(1 + self._below(4)):
                self._hurt(data, target.seeds)
        made = bytes(data[: 2 * LIMIT])
        return target.repair(made) if gentle or self._below(2) else made

    def _hurt(self, data: bytearray, seeds: Sequence[bytes]) -> None:
        at = self._below(len(data) + 1)
        length = 1 + self._below(16)
        kind = self._below(9)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << self._below(8)
        elif kind == 1:
            data[at : at + length] = self._rng.bytes(length)
        elif kind == 2:
            number = NUMBERS[self._below(len(NUMBERS))]
            data[at : at + 4] = struct.pack("<Q", number & (1 << 64) - 1)[: 4 + 4 * self._below(2)]
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length] * (1 + self._below(64))
        elif kind == 5:
            del data[at:]
        elif kind == 6:
            other = seeds[self._below(len(seeds))]
            data[at:] = other[self._below(len(other) + 1) :]
        else:
            self._replace_token(data)

    def _replace_token(self, data: bytearray) -> None:
        """Another number or word where JSON has one."""
        found = list(re.finditer(rb'\d+|"[\w.]+"|true|false', data[:4096]))
        if found:
            start, stop = found[self._below(len(found))].span()
            word = str(NUMBERS[self._below(len(NUMBERS))]).encode()
            data[start:stop] = WORDS[self._below(len(WORDS))] if self._below(2) else word

    def _below(self, bound: int) -> int:
        return int(self._rng.integers(bound)) if bound > 0 else 0


def targets(subject: Subject) -> list[Target]:
    """Every parser that bytes from a network reach."""
    frames = _frames(subject)
    bodies = [body for _, body in _requests(subject)]
    packed = [pack(headers, body) for headers, body in _requests(subject)]
    boundary_bytes = sum(spec.nbytes for spec in subject.cut.tensors)
    texts = [encode_text(Cancel("7")), encode_text(Fault("7", 409, "No.", {"a": ("c1",)}, 5))]
    return [
        Target("request", _request, packed, 0, _with_length),
        Target("response", _response, [pack(*_answer(subject))], 0, _with_length),
        # unpacked codes are 64-bit words for a while, then float64
        Target(
            "boundary",
            lambda d: boundary.decode_boundary(d, subject.cut),
            frames,
            8 * boundary_bytes,
            _with_checksum,
        ),
        Target("text", _text, [text.encode() for text in texts], 0),
        Target(
            "gzip",
            lambda d: decompress(d, "gzip", limit=LIMIT),
            [gzip.compress(body) for body in [*bodies, bytes(8 << 20)]],
            2 * LIMIT,
        ),
        Target(
            "deflate",
            lambda d: decompress(d, "deflate", limit=LIMIT),
            [zlib.compress(body) for body in [*bodies, bytes(8 << 20)]],
            2 * LIMIT,
        ),
        Target("grpc", _grpc, _messages(subject), 0),
    ]


def _request(data: bytes) -> None:
    headers, body = unpack(data, max_body_bytes=LIMIT)
    oip.decode_request(headers, body, limits=LIMITS)


def _response(data: bytes) -> None:
    headers, body = unpack(data, max_body_bytes=LIMIT)
    oip.decode_response(headers, body, limits=LIMITS)


def _text(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    decode_text(text, Cancel if len(data) % 2 else Fault)


def _grpc(data: bytes) -> None:
    infer_request(parse_infer_request(data, limits=LIMITS), limits=LIMITS)


def _with_length(message: bytes) -> bytes:
    """So that damage to the JSON is not merely a wrong length of it."""
    text = message[LENGTH_BYTES:].decode("latin-1")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return message
    return struct.pack("<I", end) + message[LENGTH_BYTES:]


def _with_checksum(frame: bytes) -> bytes:
    """So that damage gets past the CRC."""
    return frame[:4] + struct.pack("<I", zlib.crc32(frame[8:])) + frame[8:]


def _frames(subject: Subject) -> list[bytes]:
    arrays = subject.inputs[0]
    return [boundary.encode_boundary(arrays, subject.cut, codec) for codec in CODEC_IDS]


def _requests(subject: Subject) -> list[tuple[dict[str, str], bytes]]:
    """Split and plain, binary and JSON."""
    manifest, made = subject.bundle.manifest, []
    for codec, frame in zip(CODEC_IDS[:4], _frames(subject)[:4], strict=True):
        options = SplitParameters(manifest.bundle_id, subject.cut.id, codec, 10_000)
        tensor = oip.NamedArray(boundary.INPUT_NAME, np.frombuffer(frame, np.uint8))
        wanted = (oip.RequestedOutput(manifest.outputs[0].name, codec == CODEC_IDS[0], 3),)
        made.append(
            oip.encode_request(
                oip.InferRequest((tensor,), "7", wanted, options.to_parameters(), True)
            )
        )
    spec = manifest.inputs[0]
    tensor = oip.NamedArray(spec.name, np.full(spec.shape, 0.5, spec.numpy_dtype))
    made.append(oip.encode_request(oip.InferRequest((tensor,), "8")))
    spread = {"name": "x", "datatype": "INT8", "shape": [10_000], "data": [7] * 10_000}
    made.append(({}, json.dumps({"inputs": [spread]}, separators=(",", ":")).encode()))
    small = '{"inputs":[{"name":"x","datatype":"INT32","shape":[2,2],"data":[[1,2],[3,-4]]}]}'
    made.append(({}, small.encode()))
    return made


def _reply(subject: Subject) -> oip.InferResponse:
    manifest = subject.bundle.manifest
    outputs = tuple(
        oip.NamedArray(spec.name, array)
        for spec, array in zip(manifest.outputs, subject.outputs[0], strict=True)
    )
    parameters: dict[str, oip.Scalar] = {"split.compute_ms": 1.5}
    return oip.InferResponse(manifest.name, manifest.bundle_id, outputs, "7", parameters)


def _answer(subject: Subject) -> tuple[dict[str, str], bytes]:
    return oip.encode_response(_reply(subject))


def _messages(subject: Subject) -> list[bytes]:
    manifest = subject.bundle.manifest
    spec = manifest.inputs[0]
    tensor = {"name": spec.name, "datatype": oip_datatype(spec), "shape": spec.shape}
    data = np.full(spec.shape, 0.5, spec.numpy_dtype)
    make = message("ModelInferRequest")
    raw = make(
        model_name=manifest.name, id="7", inputs=[tensor], raw_input_contents=[data.tobytes()]
    )
    typed = make(model_name=manifest.name, inputs=[tensor])
    typed.inputs[0].contents.fp32_contents.extend(data.reshape(-1).tolist())
    small = make(model_name=manifest.name, inputs=[{"name": "x", "datatype": "INT8", "shape": [3]}])
    small.inputs[0].contents.int_contents.extend([1, -2, 3])
    small.outputs.add(name="y").parameters["classification"].int64_param = 3
    split = make(model_name=manifest.name)
    frame = _frames(subject)[0]
    split.inputs.add(name=boundary.INPUT_NAME, datatype="UINT8", shape=[len(frame)])
    split.raw_input_contents.append(frame)
    options = SplitParameters(manifest.bundle_id, subject.cut.id, CODEC_IDS[0], 10_000)
    split.parameters["split.bundle"].string_param = options.bundle
    split.parameters["split.cut"].string_param = options.cut
    split.parameters["split.codec"].string_param = options.codec
    return [one.SerializeToString() for one in (raw, typed, small, split)]
