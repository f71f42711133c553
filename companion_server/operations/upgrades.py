"""uvicorn's WebSocket connection, to which a refused handshake is an answer and no failure.

After an answer by `websocket.http.response.start` (a key that is not good, a model that is not
held) uvicorn 0.54 takes the handshake for one that the application forgot, and logs an error for
each: https://asgi.readthedocs.io/en/latest/extensions.html#websocket-denial-response allows it.
"""

from __future__ import annotations

import logging

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from companion_server.operations.telemetry import Message

__all__ = ["WebSocketProtocol"]

log = logging.getLogger(__name__)
MAX_PATH = 200  # characters of it in the log


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    async def send(self, message: Message) -> None:  # type: ignore[override]
        """A message of the application; a refusal is noted and ends the handshake."""
        await super().send(message)  # type: ignore[arg-type]
        if message["type"] == "websocket.http.response.start":
            host, _ = self.scope["client"] or ("", 0)
            path, status = self.scope["path"][:MAX_PATH], message["status"]
            log.info("The WebSocket %s was refused to %s: %d.", path, host, status)
        if self.close_sent:
            self.handshake_complete = True
