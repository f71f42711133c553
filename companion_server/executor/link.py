"""The web process's end of the line to one executor; belongs to one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from companion_server.executor.faults import from_fault
from companion_server.executor.messages import PREFIX, lengths, pack, unpack
from headtail.errors import EnvironmentFault, HeadtailError
from headtail.tensors import Array

__all__ = ["Link", "LinkLost", "Outcome"]

Reply = tuple[dict[str, Any], list[Array]]
Outcome = Reply | HeadtailError


class LinkLost(EnvironmentFault):
    """The executor is gone; what was asked of it may or may not have been computed."""


class Link(asyncio.Protocol):
    """Requests to an executor, answered by id; made by `places`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, Callable[[Outcome], None]] = {}
        self._last_id = 0
        self._received = bytearray()
        self._needed = PREFIX.size
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def post(
        self,
        head: Mapping[str, Any],
        arrays: Sequence[Array] = (),
        *,
        done: Callable[[Outcome], None],
    ) -> int:
        """Send a request, and give its id.

        `done` is called once, as soon as the answer is read and never before this returns: with the
        answer, its fault, or `LinkLost`. It must not raise.
        """
        self._last_id = number = self._last_id + 1
        if self._transport is None or self._transport.is_closing():
            asyncio.get_running_loop().call_soon(done, _lost())
        else:
            self._transport.writelines(pack({"id": number, **head}, arrays))
            self._waiting[number] = done
        return number

    async def ask(self, head: Mapping[str, Any], arrays: Sequence[Array] = ()) -> Reply:
        """The answer to one request; raises its fault, or `LinkLost`."""
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            if not answer.done():
                answer.set_result(outcome)

        number = self.post(head, arrays, done=done)
        try:
            outcome = await answer
        finally:
            self._waiting.pop(number, None)
        if isinstance(outcome, HeadtailError):
            raise outcome
        return outcome

    def close(self) -> None:
        """Close the line; who waits gets `LinkLost`."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        """asyncio.Protocol."""
        if self._received:
            self._received += data
            if len(self._received) < self._needed:
                return
        held = memoryview(bytes(self._received) if self._received else data)
        start = 0
        while len(held) - start >= PREFIX.size:
            json_bytes, tensor_bytes = lengths(held[start : start + PREFIX.size])
            middle = start + PREFIX.size + json_bytes
            end = middle + tensor_bytes
            if len(held) < end:
                self._needed = end - start
                break
            head, arrays = unpack(held[start + PREFIX.size : middle], held[middle:end])
            start = end
            self._needed = PREFIX.size
            done = self._waiting.pop(head.pop("id"), None)
            if done is not None:
                done(from_fault(head["fault"]) if "fault" in head else (head, arrays))
        self._received = bytearray(held[start:])

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio.Protocol."""
        waiting, self._waiting = self._waiting, {}
        for done in waiting.values():
            done(_lost())
        if not self.lost.done():
            self.lost.set_result(None)


def _lost() -> LinkLost:
    return LinkLost(
        "The executor that ran this tail is gone.",
        expected="It is started again within two seconds.",
        remedy="Ask again, and answer on the device meanwhile.",
    )
