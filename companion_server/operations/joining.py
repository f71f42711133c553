"""A transport whose small writes of one turn of the event loop leave together.

uvicorn writes an answer's head and its body apart. That is two system calls, over TLS two records,
and a client that is woken for the head finds no body yet and sleeps again.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["JoiningTransport"]

MAX_HELD = 64 << 10  # bytes; more than that leaves at once, so that flow control sees it


class JoiningTransport:
    """Stands for `transport`, and is it in everything but `write`."""

    __slots__ = ("_held", "_loop", "_parts", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._held = 0

    def write(self, data: bytes) -> None:
        """Send `data` in this turn of the loop, together with what else is written in it."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)
        self._held += len(data)
        if self._held > MAX_HELD:
            self.flush()

    def flush(self) -> None:
        """Send what was written, without waiting for the end of the turn."""
        parts, self._parts, self._held = self._parts, [], 0
        if parts and not self._transport.is_closing():
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def write_eof(self) -> None:
        """See `asyncio.WriteTransport`."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """See `asyncio.BaseTransport`; what was written before is sent."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """See `asyncio.WriteTransport`; what was written before is not."""
        self._parts.clear()
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        """See `asyncio.WriteTransport`."""
        return self._held + self._transport.get_write_buffer_size()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See `asyncio.BaseTransport`."""
        self.flush()
        self._transport.set_protocol(protocol)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
