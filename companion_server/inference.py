"""One inference request, bytes to bytes: decode, check against the manifest, run, encode.

Runs on the tail thread, in this order: the deadline is checked last before compute, so that a late
request costs a decode at most. Two kinds of request reach the same function:

    plain   the model's own inputs (any batch)            -> the whole program
    split   one UINT8 tensor `boundary` with `split.cut`  -> the program entered at that cut
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from companion_server.bodies import compress, decompress
from companion_server.problems import DeadlinePassed
from companion_server.store import BundleStore, StoredBundle
from companion_server.tails import TailExecutor
from headtail.errors import TensorMismatch, UnknownName, WireFault
from headtail.manifest import Cut
from headtail.tensors import Array, TensorSpec, check_array
from headtail.wire import boundary, oip, split

__all__ = ["RawRequest", "Reply", "infer"]


@dataclass(frozen=True)
class RawRequest:
    """A request as it came; `arrived` and `submitted` are `time.perf_counter()` seconds."""

    model: str
    version: str
    headers: Mapping[str, str]
    body: bytes
    arrived: float
    submitted: float


@dataclass(frozen=True)
class Reply:
    """Headers and body of a 200."""

    headers: dict[str, str]
    body: bytes


def infer(raw: RawRequest, store: BundleStore, tails: TailExecutor, *, limit: int) -> Reply:
    """Answer `raw`; call it on the tail thread.

    Raises `WireFault` (400) for what cannot be parsed, `BundleMismatch` (409), `TensorMismatch`
    (422), `TooLarge` (413) and `DeadlinePassed` (504). `limit` bounds the decompressed body.
    """
    started = time.perf_counter()
    try:
        job = _prepare(raw, store, limit)
    except UnknownName as error:  # 404 is for names in the path; this one stands in the body
        raise WireFault(error.what, expected=error.expected, remedy=error.remedy) from None
    decoded = time.perf_counter()
    _check_deadline(job.deadline_ms, elapsed_ms=(decoded - raw.arrived) * 1e3)
    outputs = tails.run(job.stored, job.cut, job.arrays)
    computed = time.perf_counter()
    spent_ms = {
        "queue": (started - raw.submitted) * 1e3,
        "decode": (decoded - started) * 1e3,
        "compute": (computed - decoded) * 1e3,
    }
    headers, body = _encode(job, outputs, spent_ms)
    body, coding = compress(body, raw.headers.get("accept-encoding", ""))
    if coding:
        headers["content-encoding"] = coding
    spent_ms["encode"] = (time.perf_counter() - computed) * 1e3
    # https://www.w3.org/TR/server-timing/: durations in ms
    headers["server-timing"] = ", ".join(f"{s};dur={ms:.3f}" for s, ms in spent_ms.items())
    return Reply(headers, body)


@dataclass(frozen=True)
class _Job:
    request: oip.InferRequest
    stored: StoredBundle
    cut: Cut | None  # None: the whole model
    arrays: list[Array]
    wanted: list[str]  # names of outputs
    deadline_ms: int | None


def _prepare(raw: RawRequest, store: BundleStore, limit: int) -> _Job:
    request = _decode(raw, limit)
    options = split.SplitParameters.from_parameters(request.parameters)
    if options is None:
        stored = store.version(raw.model, raw.version)
        arrays = _plain(request, stored.bundle.manifest.inputs)
        return _Job(request, stored, None, arrays, _wanted(request, stored), None)
    stored = _promised(raw, options, store)
    try:
        cut = stored.bundle.manifest.cut(options.cut)
    except UnknownName as error:
        raise store.mismatch(raw.model, error.what) from None
    arrays = boundary.decode_boundary(_frame(request, options), cut)
    return _Job(request, stored, cut, arrays, _wanted(request, stored), options.deadline_ms)


def _decode(raw: RawRequest, limit: int) -> oip.InferRequest:
    body = decompress(raw.body, raw.headers.get("content-encoding", ""), limit=limit)
    return oip.decode_request(raw.headers, body, limits=oip.Limits(max_body_bytes=limit))


def _promised(raw: RawRequest, options: split.SplitParameters, store: BundleStore) -> StoredBundle:
    if raw.version and options.bundle != raw.version:
        raise store.mismatch(
            raw.model,
            f"The path says bundle {raw.version[:80]!r}, split.bundle {options.bundle!r}.",
        )
    return store.version(raw.model, options.bundle)


def _frame(request: oip.InferRequest, options: split.SplitParameters) -> bytes:
    tensors = request.inputs
    array = tensors[0].array if tensors else None
    if len(tensors) != 1 or array is None or array.dtype != np.uint8 or array.ndim != 1:
        raise TensorMismatch(
            f"The inputs are {[str(TensorSpec.of(t.name, t.array)) for t in tensors]}.",
            expected=f"A request with split.* parameters has one input, {boundary.INPUT_NAME!r}, "
            "UINT8, one axis.",
            remedy="Encode the cut's tensors with headtail.wire.boundary, or leave split.* out.",
        )
    frame = array.tobytes()
    if tensors[0].name != boundary.INPUT_NAME or boundary.codec_of(frame) != options.codec:
        raise TensorMismatch(
            f"Input {tensors[0].name!r} is a frame of codec {boundary.codec_of(frame)!r}.",
            expected=f"Input {boundary.INPUT_NAME!r} of the promised codec {options.codec!r}.",
            remedy="Make split.codec what the frame was encoded with.",
        )
    return frame


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
    if any(output.classification for output in request.outputs):
        raise WireFault(
            "A requested output has the parameter `classification`.",
            expected="This server sends output tensors as they are.",
            remedy="Leave `classification` out and sort on the client.",
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


def _check_deadline(deadline_ms: int | None, *, elapsed_ms: float) -> None:
    if deadline_ms is not None and elapsed_ms > deadline_ms:
        raise DeadlinePassed(
            f"{elapsed_ms:.0f} ms of a budget of {deadline_ms} ms had passed before compute began.",
            expected="An answer is computed only while it is of use, so nothing was computed.",
            remedy="Answer on the device, and give split.deadline_ms more room or send less.",
        )


def _encode(
    job: _Job, outputs: list[Array], spent_ms: Mapping[str, float]
) -> tuple[dict[str, str], bytes]:
    manifest = job.stored.bundle.manifest
    by_name = {spec.name: a for spec, a in zip(manifest.outputs, outputs, strict=True)}
    response = oip.InferResponse(
        model_name=manifest.name,
        model_version=manifest.bundle_id,
        outputs=tuple(oip.NamedArray(name, by_name[name]) for name in job.wanted),
        id=job.request.id,
        parameters={f"{split.PREFIX}{stage}_ms": round(ms, 3) for stage, ms in spent_ms.items()},
    )
    binary = {output.name: output.binary for output in job.request.outputs}
    default = job.request.binary_outputs
    return oip.encode_response(response, binary=lambda name: binary.get(name, default))
