"""The companion servers that this device knows, how links reach the app, and trying a server."""

from app.servers.store import Server, Servers, is_code

__all__ = ["Server", "Servers", "is_code"]
