"""Open Inference Protocol v2 over REST with binary tensors: bytes in, values out, no sockets.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
and Triton's binary tensor data extension,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md:
the body is JSON, and behind it, if the header `Inference-Header-Content-Length` gives the JSON's
length, the raw little-endian tensors in the order in which the JSON mentions them, each as long as
its `binary_data_size`. Tensors with `data` stand in the JSON itself, row-major.

BYTES and BF16 inputs are refused: no tensor here is made of either; BYTES outputs are
classifications. FP16 travels as binary only, since JSON has no half precision.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headtail.errors import SchemaFault, TensorMismatch, TooLarge, UnknownName, WireFault
from headtail.strictjson import parse
from headtail.tensors import MAX_RANK, Array, TensorSpec, dtype_of_oip
from headtail.wire.jsondata import array_from_json
from headtail.wire.rawdata import array_from_raw, datatype_of, is_text, raw_bytes

__all__ = [
    "HEADER_LENGTH",
    "InferRequest",
    "InferResponse",
    "Limits",
    "NamedArray",
    "RequestedOutput",
    "decode_request",
    "decode_response",
    "encode_request",
    "encode_response",
    "request_of",
    "split_body",
]

Scalar = str | int | float | bool

HEADER_LENGTH = "Inference-Header-Content-Length"
_LENGTH = HEADER_LENGTH.lower()
_BINARY = "application/octet-stream"
_JSON = "application/json"
_REMEDY = "See the Open Inference Protocol's REST specification."
_REQUEST_KEYS = frozenset({"id", "inputs", "outputs", "parameters"})
_RESPONSE_KEYS = frozenset({"id", "model_name", "model_version", "outputs", "parameters"})
_TENSOR_KEYS = frozenset({"name", "shape", "datatype", "parameters", "data"})
_SIZE = "binary_data_size"
_TENSOR_PARAMETERS = frozenset({_SIZE})  # not shared_memory_*: phone and server share none
_OUTPUT_PARAMETERS = frozenset({"binary_data", "classification"})
_INFINITE = (float("inf"), float("-inf"))  # what JSON's 1e999 parses to
MAX_TEXT = 1024
_TO_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_SHOWN = 100  # characters of a peer's text in an error


@dataclass(frozen=True)
class Limits:
    """What a message may hold; anything over is `TooLarge` before it is allocated."""

    max_body_bytes: int = 64 << 20
    max_json_bytes: int = 16 << 20
    max_tensors: int = 64
    max_elements: int = 64 << 20


@dataclass(frozen=True)
class NamedArray:
    """A tensor with its name; a decoded one may be a read-only, unaligned view of the body."""

    name: str
    array: Array


@dataclass(frozen=True)
class RequestedOutput:
    """An output the client asks for; `classification` is how many top classes, 0 for the tensor."""

    name: str
    binary: bool
    classification: int = 0


@dataclass(frozen=True)
class InferRequest:
    """One inference; empty `outputs` asks for all, as JSON unless `binary_outputs`."""

    inputs: tuple[NamedArray, ...]
    id: str = ""
    outputs: tuple[RequestedOutput, ...] = ()
    parameters: dict[str, Scalar] = field(default_factory=dict)
    binary_outputs: bool = False


@dataclass(frozen=True)
class InferResponse:
    """The answer to one inference."""

    model_name: str
    model_version: str
    outputs: tuple[NamedArray, ...]
    id: str = ""
    parameters: dict[str, Scalar] = field(default_factory=dict)


def encode_request(request: InferRequest) -> tuple[dict[str, str], bytes]:
    """Headers and body, all tensors binary."""
    head: dict[str, Any] = {"inputs": [_describe(tensor, True) for tensor in request.inputs]}
    if request.id:
        head["id"] = request.id
    parameters: dict[str, Scalar] = dict(request.parameters)
    if request.binary_outputs:
        parameters["binary_data_output"] = True
    if parameters:
        head["parameters"] = parameters
    if request.outputs:
        head["outputs"] = [_wanted(output) for output in request.outputs]
    return _join(head, [raw_bytes(tensor.array) for tensor in request.inputs])


def decode_request(
    headers: Mapping[str, str], body: bytes, *, limits: Limits | None = None
) -> InferRequest:
    """Headers and (decompressed) body to a request; raises `WireFault` and its kinds."""
    bounds = limits or Limits()
    return request_of(*split_body(headers, body, limits=bounds), limits=bounds)


def request_of(
    head: Mapping[str, Any], binary: memoryview, *, limits: Limits | None = None
) -> InferRequest:
    """The parsed JSON of a request, and the tensors behind it, to the request.

    Raises `WireFault` and its kinds, with places as `$.inputs[0].shape`.
    """
    bounds = limits or Limits()
    _check_keys(head, _REQUEST_KEYS, "$")
    inputs = _tensors(head.get("inputs"), "$.inputs", binary, bounds)
    parameters = _parameters(head.get("parameters", {}), "$.parameters")
    all_binary = _flag(parameters.pop("binary_data_output", False), "$.parameters")
    outputs = head.get("outputs", [])
    if not isinstance(outputs, list):
        raise _malformed("outputs is not a list", "$.outputs")
    if len(outputs) > bounds.max_tensors:
        raise _too_large(f"The request names {len(outputs)} outputs.", bounds.max_tensors)
    return InferRequest(
        inputs,
        _text(head.get("id", ""), "$.id"),
        tuple(_requested(o, f"$.outputs[{i}]", all_binary) for i, o in enumerate(outputs)),
        parameters,
        all_binary,
    )


def encode_response(
    response: InferResponse, *, binary: Callable[[str], bool] | bool = True
) -> tuple[dict[str, str], bytes]:
    """Headers and body; `binary` says for each output name whether it goes behind the JSON."""
    chosen = [
        (tensor, binary if isinstance(binary, bool) else binary(tensor.name))
        for tensor in response.outputs
    ]
    head: dict[str, Any] = {
        "model_name": response.model_name,
        "model_version": response.model_version,
        "outputs": [_describe(tensor, as_binary) for tensor, as_binary in chosen],
    }
    if response.id:
        head["id"] = response.id
    if response.parameters:
        head["parameters"] = response.parameters
    return _join(head, [raw_bytes(tensor.array) for tensor, as_binary in chosen if as_binary])


def decode_response(
    headers: Mapping[str, str], body: bytes, *, limits: Limits | None = None
) -> InferResponse:
    """Headers and body to a response; raises `WireFault` and its kinds."""
    head, binary = split_body(headers, body, limits=limits)
    _check_keys(head, _RESPONSE_KEYS, "$")
    return InferResponse(
        _text(head.get("model_name", ""), "$.model_name"),
        _text(head.get("model_version", ""), "$.model_version"),
        _tensors(head.get("outputs"), "$.outputs", binary, limits or Limits()),
        _text(head.get("id", ""), "$.id"),
        _parameters(head.get("parameters", {}), "$.parameters"),
    )


def _describe(tensor: NamedArray, binary: bool) -> dict[str, Any]:
    array = tensor.array
    described: dict[str, Any] = {
        "name": tensor.name,
        "shape": list(array.shape),
        "datatype": datatype_of(array),
    }
    if binary:
        size = len(raw_bytes(array)) if is_text(array) else array.nbytes
        described["parameters"] = {_SIZE: size}
    elif array.dtype == np.float16:
        raise _malformed(f"{tensor.name!r} is FP16, which JSON cannot carry", "$.outputs")
    elif array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _malformed(f"{tensor.name!r} is not finite, which JSON cannot carry", "$.outputs")
    else:
        described["data"] = array.reshape(-1).tolist()
    return described


def _wanted(output: RequestedOutput) -> dict[str, Any]:
    parameters: dict[str, Scalar] = {"binary_data": output.binary}
    if output.classification:
        parameters["classification"] = output.classification
    return {"name": output.name, "parameters": parameters}


def _join(head: dict[str, Any], blobs: Sequence[bytes]) -> tuple[dict[str, str], bytes]:
    text = _TO_JSON.encode(head).encode()
    if not blobs:
        return {"Content-Type": _JSON}, text
    headers = {"Content-Type": _BINARY, HEADER_LENGTH: str(len(text))}
    return headers, b"".join([text, *blobs])


def split_body(
    headers: Mapping[str, str], body: bytes, *, limits: Limits | None = None
) -> tuple[dict[str, Any], memoryview]:
    """The parsed JSON of a message, and the tensors behind it; raises `WireFault`, `TooLarge`."""
    limits = limits or Limits()
    if len(body) > limits.max_body_bytes:
        raise _too_large(f"The body has {len(body)} bytes.", limits.max_body_bytes)
    stated = _stated_length(headers)
    length = len(body)
    if stated is not None:
        digits = stated.strip()
        if not (digits.isascii() and digits.isdigit() and len(digits) < 12):
            raise _malformed(f"{HEADER_LENGTH} is {stated[:32]!r}, not a length", "$")
        length = int(digits)
    if length > len(body):
        raise _malformed(f"the JSON should have {length} bytes of {len(body)}", "$")
    if length > limits.max_json_bytes:
        raise _too_large(f"The JSON has {length} bytes.", limits.max_json_bytes)
    try:
        head = parse(bytes(body[:length]))
    except SchemaFault as error:
        raise _malformed(error.what.removesuffix(" @ $."), "$") from None
    if not isinstance(head, dict):
        raise _malformed(f"the message is a {type(head).__name__}", "$")
    return head, memoryview(body)[length:]


def _stated_length(headers: Mapping[str, str]) -> str | None:
    stated = headers.get(_LENGTH)  # as both ends here name it; others may write it otherwise
    if stated is not None:
        return stated
    return next((value for name, value in headers.items() if name.lower() == _LENGTH), None)


def _tensors(value: Any, path: str, binary: memoryview, limits: Limits) -> tuple[NamedArray, ...]:
    if not isinstance(value, list) or not value:
        raise _malformed("there must be a list of tensors", path)
    if len(value) > limits.max_tensors:
        raise _too_large(f"The message has {len(value)} tensors.", limits.max_tensors)
    made, offset = [], 0
    for index, item in enumerate(value):
        array, offset = _tensor(item, f"{path}[{index}]", binary, offset, limits)
        made.append(NamedArray(item["name"], array))
    if offset != len(binary):
        raise _malformed(f"{len(binary) - offset} bytes belong to no tensor", path)
    names = [tensor.name for tensor in made]
    if len(set(names)) != len(names):
        raise _malformed("a tensor's name stands twice", path)
    return tuple(made)


def _tensor(
    item: Any, path: str, binary: memoryview, offset: int, limits: Limits
) -> tuple[Array, int]:
    if not isinstance(item, dict):
        raise _malformed("a tensor is an object", path)
    _check_keys(item, _TENSOR_KEYS, path)
    spec = _spec(item, path, limits)
    parameters = _parameters(item.get("parameters", {}), f"{path}.parameters")
    _check_keys(parameters, _TENSOR_PARAMETERS, f"{path}.parameters")
    size = parameters.get(_SIZE)
    if size is None:
        if not isinstance(item.get("data"), list):
            raise _malformed("a tensor needs data or binary_data_size", path)
        return array_from_json(item["data"], spec), offset
    if "data" in item:
        raise _malformed("a tensor has both data and binary_data_size", path)
    if isinstance(size, bool) or not isinstance(size, int) or size != spec.nbytes:
        raise TensorMismatch(
            f"{spec.name!r} comes with {size!r} bytes.",
            expected=f"{spec} takes {spec.nbytes}.",
            remedy="Send the tensor dense, row-major and little endian.",
        )
    if offset + size > len(binary):
        raise _malformed(f"the body ends inside tensor {spec.name!r}", path)
    return array_from_raw(binary[offset : offset + size], spec), offset + size


def _spec(item: dict[str, Any], path: str, limits: Limits) -> TensorSpec:
    name = _text(item.get("name"), f"{path}.name")
    shape = _shape(item.get("shape"), f"{path}.shape", limits)
    datatype = _text(item.get("datatype"), f"{path}.datatype")
    try:
        return TensorSpec(name, dtype_of_oip(datatype), shape)
    except UnknownName as error:
        raise _malformed(error.what[:_SHOWN], f"{path}.datatype") from None


def _shape(value: Any, path: str, limits: Limits) -> tuple[int, ...]:
    whole = isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)
    if not whole or len(value) > MAX_RANK:
        raise _malformed(f"shape is {str(value)[:_SHOWN]}, not up to {MAX_RANK} sizes", path)
    # one by one: the product of sizes with a thousand digits each is an attack of its own, and
    # behind a size of 0 the others must still fit numpy
    product = 1
    for size in value:
        product *= max(size, 1)
        if product > limits.max_elements:
            raise _too_large(f"A tensor of shape {str(value)[:_SHOWN]}.", limits.max_elements)
    return tuple(value)


def _requested(item: Any, path: str, default: bool) -> RequestedOutput:
    if not isinstance(item, dict):
        raise _malformed("an output is an object", path)
    _check_keys(item, frozenset({"name", "parameters"}), path)
    parameters = _parameters(item.get("parameters", {}), f"{path}.parameters")
    _check_keys(parameters, _OUTPUT_PARAMETERS, f"{path}.parameters")
    count = parameters.get("classification", 0)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise _malformed(f"classification is {count!r}", f"{path}.parameters")
    binary = _flag(parameters.get("binary_data", default), f"{path}.parameters")
    return RequestedOutput(_text(item.get("name"), f"{path}.name"), binary, count)


def _parameters(value: Any, path: str) -> dict[str, Scalar]:
    if not isinstance(value, dict):
        raise _malformed("parameters is not an object", path)
    for key, item in value.items():
        if not isinstance(item, (str, int, float, bool)) or item in _INFINITE:
            raise _malformed(f"{key[:_SHOWN]!r} is not a string, number or boolean", path)
    return dict(value)


def _flag(value: Scalar, path: str) -> bool:
    if not isinstance(value, bool):  # "false" is true
        raise _malformed(f"{str(value)[:_SHOWN]!r} is not true or false", path)
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise _malformed(f"expected a short string, got {type(value).__name__}", path)
    return value


def _check_keys(value: Mapping[str, Any], known: frozenset[str], path: str) -> None:
    if not known.issuperset(value):
        unknown = sorted(set(value) - known)
        listed = ", ".join(sorted(known))
        raise _malformed(f"unknown key {unknown[0][:64]!r}, known are {listed}", path)


def _malformed(reason: str, path: str) -> WireFault:
    return WireFault(
        f"The message is malformed: {reason} @ {path}.",
        expected="JSON and tensors as the Open Inference Protocol v2 lays them out.",
        remedy=_REMEDY,
    )


def _too_large(what: str, limit: int) -> TooLarge:
    return TooLarge(what, expected=f"At most {limit}.", remedy="Send less in one message.")
