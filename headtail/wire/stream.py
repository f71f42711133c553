"""The messages of the WebSocket stream, `/v2/models/{model}/stream`. No I/O here.

A WebSocket message (https://www.rfc-editor.org/rfc/rfc6455) is binary or text:

    binary, both ways    4 bytes, little endian: length of the JSON
                         the JSON of an inference request or reply, as over HTTP
                         its tensors, as over HTTP behind the JSON
    text, to the server  {"cancel": "ID"}
    text, to the client  {"id": "ID", "status": 504, "error": "..."}, and what else the body of
                         that error has over HTTP: `held` at 409, `retry_after_ms` at 429

Every request has an `id`, unlike any other in flight on its connection; its answer, or its error,
repeats it. Answers come in the order of completion. A cancelled request is not answered unless its
answer was already on its way, and an error whose id is "" is about no request in particular.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from headtail.errors import SchemaFault, TooLarge, WireFault
from headtail.strictjson import from_json, parse, to_json
from headtail.wire.oip import HEADER_LENGTH

__all__ = ["Cancel", "Fault", "decode_text", "encode_text", "pack", "unpack"]

T = TypeVar("T", "Cancel", "Fault")

MAX_TEXT_BYTES = 1 << 20  # a list of bundles held is long
_LENGTH = struct.Struct("<I")
LENGTH_BYTES = _LENGTH.size
_OPTIONAL: dict[str, None] = {"held": None, "retry_after_ms": None}


@dataclass(frozen=True)
class Cancel:
    """The answer to request `cancel` is of no use any more."""

    cancel: str


@dataclass(frozen=True)
class Fault:
    """Why request `id` was not answered; `status` is HTTP's for the same error.

    `held` are the bundles that the server has, each with its cuts.
    """

    id: str
    status: int
    error: str
    held: dict[str, tuple[str, ...]] | None = None
    retry_after_ms: int | None = None


def pack(headers: Mapping[str, str], body: bytes) -> bytes:
    """A request or reply as `headtail.wire.oip` encodes it, as one binary message."""
    stated = headers.get(HEADER_LENGTH)
    return _LENGTH.pack(len(body) if stated is None else int(stated)) + body


def unpack(message: bytes, *, max_body_bytes: int) -> tuple[dict[str, str], bytes]:
    """One binary message to the headers and body that `headtail.wire.oip` decodes.

    Raises `TooLarge` and `WireFault`; the promised length is checked before anything is copied.
    """
    size = len(message) - LENGTH_BYTES
    if size > max_body_bytes:
        raise TooLarge(
            f"The message has {size} bytes behind its length.",
            expected=f"At most {max_body_bytes}.",
            remedy="Send fewer samples at once, or raise max_body_bytes on the server.",
        )
    length = _LENGTH.unpack_from(message)[0] if size >= 0 else 0
    if not 0 <= length <= size:
        raise _malformed(f"it has {len(message)} bytes and promises {length} of JSON")
    return {HEADER_LENGTH: str(length)}, message[LENGTH_BYTES:]


def encode_text(value: Cancel | Fault) -> str:
    """A text message."""
    told = {key: item for key, item in to_json(value).items() if item is not None}
    return json.dumps(told, separators=(",", ":"))


def decode_text(text: str, kind: type[T]) -> T:
    """A text message of the kind that this side receives; raises `WireFault`."""
    if len(text) > MAX_TEXT_BYTES:
        raise _malformed(f"its text has {len(text)} characters")
    defaults = _OPTIONAL if kind is Fault else {}
    try:
        # half a character, which JSON can escape, fits no encoding; parse refuses it as bytes
        value = parse(text.encode(errors="surrogatepass"))
        return from_json(kind, {**defaults, **value} if isinstance(value, dict) else value)
    except SchemaFault as error:
        raise _malformed(error.what.rstrip(".")) from None


def _malformed(reason: str) -> WireFault:
    return WireFault(
        f"The stream's message is malformed: {reason}.",
        expected="Binary or text as headtail/wire/stream.py lays them out.",
        remedy="Use one version of Headtail at both ends.",
    )
