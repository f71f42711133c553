"""The `traceparent` header: one request's place in a distributed trace, stdlib only.

W3C Trace Context, level 1: https://www.w3.org/TR/trace-context/. A phone sends
`str(TraceParent.new())` with a request; the server's spans then join the phone's trace.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

__all__ = ["HEADER", "TraceParent"]

HEADER = "traceparent"
MAX_TEXT = 512  # a later version may add fields; nobody needs this many
SAMPLED = 0x01
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TraceParent:
    """`trace_id` (32 hex digits) of the whole, `span_id` (16) of whoever asks.

    `sampled`: whether the caller records this trace.
    """

    trace_id: str
    span_id: str
    sampled: bool

    @classmethod
    def new(cls, *, sampled: bool = True) -> TraceParent:
        """A trace that begins here."""
        # the specification forbids all zeros: one in 2^64
        return cls(secrets.token_hex(16), secrets.token_hex(8), sampled)

    @classmethod
    def parse(cls, text: str) -> TraceParent | None:
        """From a header; None for what the specification calls invalid, as it demands."""
        found = _FORM.fullmatch(text) if len(text) <= MAX_TEXT else None
        if found is None:
            return None
        version, trace_id, span_id, flags, rest = found.groups()
        if version == "ff" or (version == "00" and rest):
            return None
        if not trace_id.strip("0") or not span_id.strip("0"):
            return None
        return cls(trace_id, span_id, bool(int(flags, 16) & SAMPLED))

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{SAMPLED if self.sampled else 0:02x}"
