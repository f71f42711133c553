"""A client that hangs up takes its request with it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from starlette.requests import ClientDisconnect
from starlette.types import Receive

__all__ = ["dropped_with_its_client"]


@contextlib.contextmanager
def dropped_with_its_client(receive: Receive) -> Iterator[None]:
    """Cancel the block's task when the connection is closed; raises `ClientDisconnect` then.

    For use once the whole body was read: the next ASGI message can only be the disconnect.
    """
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watcher = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if gone and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        watcher.cancel()
