"""One inference request: bytes in, bytes out, with an engine between.

    answer()             REST and WebSocket: decompress, decode, prepare, compute, encode, compress
      prepare()          any protocol: what was asked for, checked against the manifest
      engine.run()       the queue, the batch, the tail
      Prepared.response  the outputs asked for, with the server's times

Two kinds of request reach the same functions:

    plain   the model's own inputs (any batch)            -> the whole program
    split   one UINT8 tensor `boundary` with `split.cut`  -> the program entered at that cut
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from companion_server.bodies import compress, decompress
from companion_server.classification import top_classes
from companion_server.jobs import WHOLE, Engine, Job, Result
from companion_server.operations.records import current_record
from companion_server.store import BundleStore, StoredBundle
from headtail.errors import TensorMismatch, UnknownName, WireFault
from headtail.manifest import Cut
from headtail.tensors import Array, TensorSpec, check_array
from headtail.wire import boundary, oip, split

__all__ = [
    "Origin",
    "Prepared",
    "RawRequest",
    "Reply",
    "Service",
    "answer",
    "computed",
    "prepare",
]

INLINE_BYTES = 256 << 10  # a larger body is decoded beside the event loop, which would stand still
T = TypeVar("T")
UNPACKING = 2  # compressed bodies at once
TIMEOUT = "timeout"  # Triton's request parameter, in microseconds


@dataclass(frozen=True)
class Service:
    """What requests are answered with; `max_body_bytes` bounds a body, also after unpacking.

    `check_ready` raises `NotReady` while what is served cannot be run.
    """

    store: BundleStore
    engine: Engine
    max_body_bytes: int
    check_ready: Callable[[], None]
    # a bomb takes `max_body_bytes` before it is known as one: not many at once
    unpacking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UNPACKING))


@dataclass(frozen=True)
class Origin:
    """Whose request for what: `model` and `version` (may be empty) from the path or message.

    `client` is whom it counts for in the queue; `arrived` is in seconds of `time.monotonic()`.
    """

    model: str
    version: str
    client: str
    arrived: float


@dataclass(frozen=True)
class RawRequest:
    """A request as it came over HTTP or a WebSocket; header names in lower case."""

    origin: Origin
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """Headers and body of a 200."""

    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Prepared:
    """A request that can be computed: `codec` is empty for a plain one."""

    request: oip.InferRequest
    stored: StoredBundle
    job: Job
    codec: str
    wanted: list[str]  # names of outputs
    decode_ms: float

    def response(self, result: Result) -> oip.InferResponse:
        """The outputs asked for, or their classes, with the server's times as parameters."""
        manifest = self.stored.bundle.manifest
        held = {s.name: a for s, a in zip(manifest.outputs, result.outputs, strict=True)}
        for output in self.request.outputs:
            if output.classification:
                held[output.name] = top_classes(
                    held[output.name], output.classification, manifest.labels
                )
        parameters: dict[str, str | int | float | bool] = {
            "split.queue_ms": round(result.queue_ms, 3),
            "split.decode_ms": round(self.decode_ms, 3),
            "split.compute_ms": round(result.compute_ms, 3),
            "split.batch": result.batch,
        }
        if self.codec and not any(output.classification for output in self.request.outputs):
            parameters[split.CHECKSUM] = split.checksum(held[name] for name in self.wanted)
        return oip.InferResponse(
            model_name=manifest.name,
            model_version=manifest.bundle_id,
            outputs=tuple(oip.NamedArray(name, held[name]) for name in self.wanted),
            id=self.request.id,
            parameters=parameters,
        )

    def encode(self, result: Result) -> tuple[dict[str, str], bytes]:
        """Headers and body of the response, each output binary or JSON as asked for."""
        binary = {output.name: output.binary for output in self.request.outputs}
        default = self.request.binary_outputs
        return oip.encode_response(
            self.response(result), binary=lambda name: binary.get(name, default)
        )


async def answer(raw: RawRequest, service: Service) -> Reply:
    """Answer `raw`; cancelling the task drops the request before compute.

    Raises `UnknownName` (404), `WireFault` (400) for what cannot be parsed, `BundleMismatch` (409),
    `TooLarge` (413), and what `Engine.run` raises.
    """
    if raw.headers.get("content-encoding"):
        async with service.unpacking:
            prepared = await asyncio.to_thread(_decoded, raw, service)
    elif len(raw.body) > INLINE_BYTES:
        prepared = await asyncio.to_thread(_decoded, raw, service)
    else:
        prepared = _decoded(raw, service)

    def encode(result: Result) -> tuple[dict[str, str], bytes]:
        headers, body = prepared.encode(result)
        body, coding = compress(body, raw.headers.get("accept-encoding", ""))
        return ({**headers, "content-encoding": coding} if coding else headers), body

    (headers, body), result, encode_ms = await computed(prepared, service.engine, encode)
    # https://www.w3.org/TR/server-timing/: durations in ms
    headers["server-timing"] = (
        f"decode;dur={prepared.decode_ms:.3f}, queue;dur={result.queue_ms:.3f}, "
        f"compute;dur={result.compute_ms:.3f}, encode;dur={encode_ms:.3f}"
    )
    return Reply(headers, body)


async def computed(
    prepared: Prepared, engine: Engine, encode: Callable[[Result], T]
) -> tuple[T, Result, float]:
    """The job's result encoded, the result, and the ms of encoding; noted in the task's record."""
    record = current_record.get()
    if record is not None:
        record.asked(prepared.stored.bundle.manifest, prepared.job, prepared.codec)
    result = await engine.run(prepared.job)
    started = time.perf_counter()
    encoded = encode(result)
    encode_ms = (time.perf_counter() - started) * 1e3
    if record is not None:
        record.computed(result, decode_ms=prepared.decode_ms, encode_ms=encode_ms)
    return encoded, result, encode_ms


def prepare(request: oip.InferRequest, origin: Origin, store: BundleStore) -> Prepared:
    """Check `request` against the manifest that it is for; raises as `answer`."""
    started = time.perf_counter()
    try:
        return _prepared(request, origin, store, started)
    except UnknownName as error:  # 404 is for names in the path; this one stands in the body
        raise WireFault(error.what, expected=error.expected, remedy=error.remedy) from None


def _decoded(raw: RawRequest, service: Service) -> Prepared:
    started, limit = time.perf_counter(), service.max_body_bytes
    service.store.versions(raw.origin.model)  # an unknown model is a 404
    body = decompress(raw.body, raw.headers.get("content-encoding", ""), limit=limit)
    try:
        request = oip.decode_request(raw.headers, body, limits=_limits(limit))
        return _prepared(request, raw.origin, service.store, started)
    except UnknownName as error:  # as in `prepare`
        raise WireFault(error.what, expected=error.expected, remedy=error.remedy) from None


@functools.lru_cache(maxsize=8)  # the server's one; tests have others
def _limits(max_body_bytes: int) -> oip.Limits:
    return oip.Limits(max_body_bytes=max_body_bytes)


def _prepared(
    request: oip.InferRequest, origin: Origin, store: BundleStore, started: float
) -> Prepared:
    options = split.SplitParameters.from_parameters(request.parameters)
    if options is None:
        stored = store.version(origin.model, origin.version)
        arrays, cut_id, codec = _plain(request, stored.bundle.manifest.inputs), WHOLE, ""
    else:
        stored = _promised(origin, options, store)
        cut = _cut(stored, options, store)
        arrays = boundary.decode_boundary(_frame(request), cut, codec_id=options.codec)
        cut_id, codec = options.cut, options.codec
    if not stored.bundle.manifest.tails:
        raise store.mismatch(origin.model, f"{origin.model!r} was exported without a tail.")
    deadline = _deadline(request, options, origin.arrived)
    job = Job(stored.bundle_id, cut_id, tuple(arrays), origin.client, deadline)
    decode_ms = (time.perf_counter() - started) * 1e3
    return Prepared(request, stored, job, codec, _wanted(request, stored), decode_ms)


def _deadline(
    request: oip.InferRequest, options: split.SplitParameters | None, arrived: float
) -> float | None:
    """In seconds of `time.monotonic()`: `split.deadline_ms` or Triton's `timeout`."""
    if options is not None and options.deadline_ms is not None:
        return arrived + options.deadline_ms / 1e3
    timeout = request.parameters.get(TIMEOUT)
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 0:
        raise WireFault(
            f"Parameter {TIMEOUT} is {timeout!r}.",
            expected="It must be a whole number of microseconds, 0 for none.",
            remedy="Correct it, or leave it out.",
        )
    return arrived + timeout / 1e6 if timeout else None


def _promised(origin: Origin, options: split.SplitParameters, store: BundleStore) -> StoredBundle:
    if origin.version:
        stored = store.version(origin.model, origin.version)
        if options.bundle != stored.bundle_id:
            raise store.mismatch(
                origin.model,
                f"The path says bundle {origin.version[:80]!r}, split.bundle {options.bundle!r}.",
            )
        return stored
    stored = store.version(origin.model, options.bundle)
    if stored.bundle_id != options.bundle:  # an alias: what the head was cut from cannot be one
        raise store.mismatch(
            origin.model,
            f"split.bundle is {options.bundle!r}, an alias of {stored.bundle_id!r}.",
        )
    return stored


def _cut(stored: StoredBundle, options: split.SplitParameters, store: BundleStore) -> Cut:
    manifest = stored.bundle.manifest
    try:
        return manifest.cut(options.cut)
    except UnknownName as error:
        raise store.mismatch(manifest.name, error.what) from None


def _frame(request: oip.InferRequest) -> bytes:
    tensors = request.inputs
    array, name = tensors[0].array, tensors[0].name
    one = len(tensors) == 1 and name == boundary.INPUT_NAME
    if not one or array.dtype != np.uint8 or array.ndim != 1:
        raise TensorMismatch(
            f"The inputs are {[str(TensorSpec.of(t.name, t.array)) for t in tensors]}.",
            expected=f"A request with split.* parameters has one input, {boundary.INPUT_NAME!r}, "
            "UINT8, one axis.",
            remedy="Encode the cut's tensors with headtail.wire.boundary, or leave split.* out.",
        )
    return array.tobytes()


def _wanted(request: oip.InferRequest, stored: StoredBundle) -> list[str]:
    """Names of the outputs to send, in the order asked for; all if none was named."""
    held = [spec.name for spec in stored.bundle.manifest.outputs]
    asked = [output.name for output in request.outputs]
    if any(name not in held for name in asked) or len(set(asked)) != len(asked):
        raise TensorMismatch(
            f"The requested outputs are {asked}.",
            expected=f"The model gives {held}, each once.",
            remedy="Request outputs that the model's metadata lists, or none for all.",
        )
    return asked or held


def _plain(request: oip.InferRequest, specs: tuple[TensorSpec, ...]) -> list[Array]:
    sent = {tensor.name: tensor.array for tensor in request.inputs}
    if sorted(sent) != sorted(spec.name for spec in specs) or len(sent) != len(request.inputs):
        raise TensorMismatch(
            f"The inputs are {[tensor.name for tensor in request.inputs]}.",
            expected=f"The model takes {[spec.name for spec in specs]}, each once.",
            remedy="Send the inputs that the model's metadata lists, or `boundary` with split.cut.",
        )
    arrays = [sent[spec.name] for spec in specs]
    batch = arrays[0].shape[:1]
    for spec, array in zip(specs, arrays, strict=True):
        check_array(array, TensorSpec(spec.name, spec.dtype, (*batch, *spec.shape[1:])))
    if batch == (0,):
        raise TensorMismatch(
            "The batch is empty.",
            expected="Axis 0 counts samples, at least one.",
            remedy="Send a sample, or nothing at all.",
        )
    return arrays
