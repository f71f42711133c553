"""What is special about split inference, as request and response parameters named `split.*`.

The Open Inference Protocol lets a request and a response carry parameters; an unmodified client or
server passes them through. Request: `split.bundle` (bundle id), `split.cut`, `split.codec`,
`split.deadline_ms` (how long the answer is of use, counted from the request's arrival).
Response: `split.decode_ms`, `split.queue_ms`, `split.compute_ms`, and `split.crc32`: CRC-32
(zlib's) of the outputs' bytes, one behind the other, which finds what was damaged on a way
without TLS.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from headtail.errors import UnknownName, WireFault
from headtail.tensors import Array

__all__ = ["CHECKSUM", "PREFIX", "SplitParameters", "checksum", "server_times"]

Scalar = str | int | float | bool

PREFIX = "split."
BUNDLE, CUT, CODEC, DEADLINE = "split.bundle", "split.cut", "split.codec", "split.deadline_ms"
CHECKSUM = "split.crc32"
REQUEST_KEYS = (BUNDLE, CUT, CODEC, DEADLINE)
REPLY_KEYS = ("split.decode_ms", "split.queue_ms", "split.compute_ms")
MAX_TEXT = 256
MAX_TIME_MS = 1e9  # eleven days; an integer of a thousand digits is no time


@dataclass(frozen=True)
class SplitParameters:
    """Which bundle, cut and codec a boundary frame is for, and how long the answer is of use."""

    bundle: str
    cut: str
    codec: str
    deadline_ms: int | None = None

    def to_parameters(self) -> dict[str, Scalar]:
        """As request parameters."""
        found: dict[str, Scalar] = {BUNDLE: self.bundle, CUT: self.cut, CODEC: self.codec}
        return found if self.deadline_ms is None else {**found, DEADLINE: self.deadline_ms}

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Scalar]) -> SplitParameters | None:
        """From request parameters; None if not one is named `split.*`.

        Raises `UnknownName` for a `split.*` key that does not exist and `WireFault` for a missing
        one or a value of the wrong kind.
        """
        ours = {key: value for key, value in parameters.items() if key.startswith(PREFIX)}
        for key in ours:
            if key not in REQUEST_KEYS:
                raise UnknownName("split parameter", key, REQUEST_KEYS)
        if not ours:
            return None
        deadline = ours.get(DEADLINE)
        if deadline is not None and (isinstance(deadline, bool) or not isinstance(deadline, int)):
            raise _wrong(DEADLINE, deadline, "a whole number of milliseconds")
        if isinstance(deadline, int) and deadline < 0:
            raise _wrong(DEADLINE, deadline, "not negative")
        return cls(_text(ours, BUNDLE), _text(ours, CUT), _text(ours, CODEC), deadline)


def checksum(outputs: Iterable[Array]) -> int:
    """What `split.crc32` says of these outputs, in the order of the message."""
    found = 0
    for output in outputs:
        flat = np.ascontiguousarray(output).reshape(-1)  # a scalar has no bytes to view
        found = zlib.crc32(flat.view(np.uint8).data, found)
    return found


def server_times(parameters: Mapping[str, Scalar]) -> dict[str, float]:
    """The server's times in ms from response parameters: decode_ms, queue_ms, compute_ms.

    Information, not agreement: what is missing or cannot be a time is left out.
    """
    found = {key.removeprefix(PREFIX): parameters.get(key) for key in REPLY_KEYS}
    return {
        key: float(value)
        for key, value in found.items()
        if isinstance(value, (int, float)) and 0 <= value <= MAX_TIME_MS
    }


def _text(values: Mapping[str, Scalar], key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise _wrong(key, value, f"a string of 1 to {MAX_TEXT} characters")
    return value


def _wrong(key: str, value: object, expected: str) -> WireFault:
    return WireFault(
        f"Parameter {key} is {value!r}.",
        expected=f"It must be {expected}.",
        remedy=f"A split request carries {', '.join(REQUEST_KEYS[:3])} and may carry {DEADLINE}.",
    )
