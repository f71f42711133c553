"""uvicorn's event loop with a bound on TLS handshakes.

A connection becomes the server's when its handshake is done; until then only the loop knows it. The
libraries allow 60 s for it and uvicorn does not pass a shorter time on, so 1,000 silent sockets
would be held for a minute each, counted by nobody.

    uvicorn.Config(loop="companion_server.operations.loops:guarded_loop")
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["HANDSHAKE_S", "guarded_loop"]

HANDSHAKE_S = 10.0


def guarded_loop(*, handshake_s: float = HANDSHAKE_S) -> asyncio.AbstractEventLoop:
    """A new event loop (uvloop's, where there is one) whose servers end slow handshakes."""
    try:
        from uvloop import Loop
    except ImportError:
        from asyncio import SelectorEventLoop as Loop  # type: ignore[assignment]

    class GuardedLoop(Loop):
        async def create_server(self, *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("ssl") is not None:
                kwargs.setdefault("ssl_handshake_timeout", handshake_s)
            return await super().create_server(*args, **kwargs)

    return GuardedLoop()
