"""The web process's end of the line to one executor; belongs to one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from companion_server.executor.faults import from_fault
from companion_server.executor.messages import PREFIX, lengths, pack, unpack
from headtail.errors import EnvironmentFault
from headtail.tensors import Array

__all__ = ["Link", "LinkLost"]


class LinkLost(EnvironmentFault):
    """The executor is gone; what was asked of it may or may not have been computed."""


class Link(asyncio.Protocol):
    """Requests to an executor, answered by id; made by `places`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[tuple[dict[str, Any], list[Array]]]] = {}
        self._last_id = 0
        self._received = bytearray()
        self._needed = PREFIX.size
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def ask(
        self, head: Mapping[str, Any], arrays: Sequence[Array] = ()
    ) -> tuple[dict[str, Any], list[Array]]:
        """The answer to one request; raises its fault, or `LinkLost`."""
        if self._transport is None or self._transport.is_closing():
            raise _lost()
        self._last_id = number = self._last_id + 1
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._transport.writelines(pack({"id": number, **head}, arrays))
        try:
            reply, outputs = await answer
        finally:
            self._waiting.pop(number, None)
        if "fault" in reply:
            raise from_fault(reply["fault"])
        return reply, outputs

    def close(self) -> None:
        """Close the line; who waits gets `LinkLost`."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        """asyncio.Protocol."""
        self._received += data
        while len(self._received) >= self._needed:
            json_bytes, tensor_bytes = lengths(self._received[: PREFIX.size])
            self._needed = PREFIX.size + json_bytes + tensor_bytes
            if len(self._received) < self._needed:
                return
            middle = PREFIX.size + json_bytes
            text = self._received[PREFIX.size : middle]
            tensors = self._received[middle : self._needed]
            del self._received[: self._needed]
            self._needed = PREFIX.size
            head, arrays = unpack(text, tensors)
            answer = self._waiting.get(head.pop("id"))
            if answer is not None and not answer.done():
                answer.set_result((head, arrays))

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio.Protocol."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(_lost())
        if not self.lost.done():
            self.lost.set_result(None)


def _lost() -> LinkLost:
    return LinkLost(
        "The executor that ran this tail is gone.",
        expected="It is started again within two seconds.",
        remedy="Ask again, and answer on the device meanwhile.",
    )
