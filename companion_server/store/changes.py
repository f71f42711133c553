"""Who waits for the store to change: phones in a long poll, the status page, a publisher."""

from __future__ import annotations

import asyncio
import contextlib

__all__ = ["Changes"]


class Changes:
    """Announced from any thread, awaited on any event loop."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()
        self._ended = False

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._waiting)

    def announce(self) -> None:
        """Something changed: wake everybody who waits."""
        for future in tuple(self._waiting):
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(_wake, future)

    def end(self) -> None:
        """Let nobody wait from now on: the server drains."""
        self._ended = True
        self.announce()

    async def wait(self, seconds: float) -> bool:
        """Until something changes; False if nothing did in time, or the server drains."""
        if self._ended:
            return False
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(future)
        return not self._ended


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
