"""gRPC messages to the requests and replies of `headtail.wire.oip`, and back. No I/O here.

A request goes through the same checks as one over HTTP: it becomes the JSON head and the raw bytes
behind it, which `oip.request_of` reads. `raw_input_contents` are those bytes already; the typed
`contents` of the specification are turned into them.

A parsed protobuf message can be many times larger than its bytes: two bytes are an empty tensor. So
the fields are counted and their lengths added up before anything is parsed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from companion_server.grpc_messages import message
from headtail.errors import TensorMismatch, TooLarge, WireFault
from headtail.wire import oip
from headtail.wire.rawdata import datatype_of, raw_bytes

__all__ = ["infer_request", "infer_response", "parse_infer_request", "request_id", "set_parameter"]

Scalar = str | int | float | bool

MAX_FIELDS = 512  # of one request, at its top level
_ID_FIELD, _RAW_FIELD = 3, 7  # of ModelInferRequest: id, raw_input_contents
_VARINT, _BYTES, _FIXED = 0, 2, {1: 8, 5: 4}  # wire types; bytes of those with a fixed size
_MAX_VARINT = 10  # bytes

# Datatype -> (the field of InferTensorContents that carries it, as what, and the values' own type)
_CONTENTS: dict[str, tuple[str, str, str]] = {
    "BOOL": ("bool_contents", "bool", "bool"),
    "INT8": ("int_contents", "int32", "int8"),
    "INT16": ("int_contents", "int32", "int16"),
    "INT32": ("int_contents", "int32", "int32"),
    "INT64": ("int64_contents", "int64", "int64"),
    "UINT8": ("uint_contents", "uint32", "uint8"),
    "UINT16": ("uint_contents", "uint32", "uint16"),
    "UINT32": ("uint_contents", "uint32", "uint32"),
    "UINT64": ("uint64_contents", "uint64", "uint64"),
    "FP32": ("fp32_contents", "float32", "float32"),
    "FP64": ("fp64_contents", "float64", "float64"),
}


def parse_infer_request(data: bytes, *, limits: oip.Limits) -> Any:
    """The bytes of a `ModelInferRequest` to the message; raises `TooLarge` and `WireFault`."""
    beside = 0
    count = 0
    for count, (field, content) in enumerate(_fields(data), start=1):
        beside += 0 if field == _RAW_FIELD else len(content)
        if count > MAX_FIELDS:
            break
    if count > MAX_FIELDS or beside > limits.max_json_bytes:
        raise TooLarge(
            f"The request has {count} fields or more and {beside} bytes beside its raw tensors.",
            expected=f"At most {MAX_FIELDS} fields and {limits.max_json_bytes} bytes.",
            remedy="Send tensors in raw_input_contents.",
        )
    try:
        return message("ModelInferRequest").FromString(data)
    except Exception as error:  # DecodeError of whichever protobuf runs; its text is about bytes
        raise _malformed(f"it is not a ModelInferRequest: {str(error)[:100]}") from None


def request_id(data: bytes) -> str:
    """The id in the bytes of a `ModelInferRequest` that could not be answered, "" if unreadable."""
    try:
        fields = itertools.islice(_fields(data), MAX_FIELDS)
        found = next((content for field, content in fields if field == _ID_FIELD), b"")
        return bytes(found[: oip.MAX_TEXT]).decode()
    except (WireFault, UnicodeDecodeError):
        return ""


def infer_request(request: Any, *, limits: oip.Limits) -> oip.InferRequest:
    """A `ModelInferRequest` to the request, with every check of the HTTP form.

    Raises `WireFault`, `TensorMismatch` and `TooLarge`.
    """
    blobs = list(request.raw_input_contents) or [_typed(each) for each in request.inputs]
    if len(blobs) != len(request.inputs):
        raise _malformed(f"{len(blobs)} raw contents for {len(request.inputs)} inputs")
    if request.raw_input_contents and any(each.HasField("contents") for each in request.inputs):
        raise _malformed("a tensor has contents beside raw_input_contents")
    head = {
        "id": request.id,
        "parameters": _scalars(request.parameters),
        "inputs": [
            _input(each, len(blob)) for each, blob in zip(request.inputs, blobs, strict=True)
        ],
        "outputs": [
            {"name": each.name, "parameters": _scalars(each.parameters)} for each in request.outputs
        ],
    }
    data = blobs[0] if len(blobs) == 1 else b"".join(blobs)
    return oip.request_of(head, memoryview(data), limits=limits)


def infer_response(response: oip.InferResponse) -> Any:
    """The reply as a `ModelInferResponse`, its tensors in `raw_output_contents`."""
    made = message("ModelInferResponse")(
        model_name=response.model_name, model_version=response.model_version, id=response.id
    )
    for name, value in response.parameters.items():
        set_parameter(made.parameters, name, value)
    for tensor in response.outputs:
        made.outputs.add(
            name=tensor.name, datatype=datatype_of(tensor.array), shape=tensor.array.shape
        )
        made.raw_output_contents.append(raw_bytes(tensor.array))
    return made


def set_parameter(parameters: Any, name: str, value: Scalar) -> None:
    """Put one value into a map of `InferParameter`."""
    if isinstance(value, bool):
        parameters[name].bool_param = value
    elif isinstance(value, int):
        parameters[name].int64_param = value
    elif isinstance(value, float):
        parameters[name].double_param = value
    else:
        parameters[name].string_param = value


def _input(tensor: Any, size: int) -> dict[str, Any]:
    if tensor.parameters:
        names = ", ".join(sorted(tensor.parameters))[:100]
        raise _malformed(f"input {tensor.name[:100]!r} has parameters: {names}")
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "parameters": {"binary_data_size": size},
    }


def _typed(tensor: Any) -> bytes:
    """The raw bytes of a tensor's typed contents."""
    held = [(field.name, values) for field, values in tensor.contents.ListFields()]
    if tensor.datatype not in _CONTENTS:
        if held:
            raise _malformed(f"{tensor.datatype[:100]!r} has no typed contents here")
        return b""  # refused for its datatype, where all of them are
    field, wide, narrow = _CONTENTS[tensor.datatype]
    if any(name != field for name, _ in held):
        raise _malformed(f"{tensor.datatype} travels in {field}, not in {held[0][0]}")
    values = held[0][1] if held else ()
    array = np.fromiter(values, np.dtype(wide), count=len(values))
    if wide != narrow and len(array):
        bounds = np.iinfo(narrow)
        if array.min() < bounds.min or array.max() > bounds.max:
            raise TensorMismatch(
                f"A value of input {tensor.name[:100]!r} is out of range.",
                expected=f"{tensor.datatype} is {bounds.min} to {bounds.max}.",
                remedy="Send values of that datatype.",
            )
    return raw_bytes(array.astype(narrow))


def _scalars(parameters: Any) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for name, value in parameters.items():
        choice = value.WhichOneof("choice")
        if choice is None:
            raise _malformed(f"parameter {name[:100]!r} has no value")
        found[name] = getattr(value, choice)
    return found


def _fields(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field at the top level.

    https://protobuf.dev/programming-guides/encoding/; raises `WireFault`.
    """
    view, offset = memoryview(data), 0
    while offset < len(data):
        tag, offset = _varint(data, offset)
        kind = tag & 7
        length = _FIXED.get(kind, 0)
        if kind == _VARINT:
            _, offset = _varint(data, offset)
        elif kind == _BYTES:
            length, offset = _varint(data, offset)
        elif not length:
            raise _malformed(f"a field has wire type {kind}")
        if offset + length > len(data):
            raise _malformed("its last field is cut off")
        yield tag >> 3, view[offset : offset + length]
        offset += length


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[offset : offset + _MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, offset + place + 1
    raise _malformed("a number in it has no end")


def _malformed(reason: str) -> WireFault:
    return WireFault(
        f"The gRPC request is malformed: {reason}.",
        expected="A ModelInferRequest as the Open Inference Protocol v2 lays it out.",
        remedy="See open_inference_grpc.proto of the Open Inference Protocol.",
    )
