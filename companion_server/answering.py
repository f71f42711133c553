"""What the WebSocket and gRPC shells share: who asks, and a request that is counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from companion_server.conditions import Shed
from companion_server.operations.metrics import CLIENT_GONE
from companion_server.operations.records import RequestRecord
from companion_server.operations.telemetry import Telemetry
from companion_server.security.scopes import Principal
from headtail.errors import HeadtailError

__all__ = ["Caller", "counted"]

OK = 200


@dataclass(frozen=True)
class Caller:
    """Who asks: `address` is `host:port`, `traceparent` the W3C header, if one was sent."""

    principal: Principal
    address: str
    traceparent: str = ""

    @property
    def client(self) -> str:
        """Whom a request counts for in the queue."""
        return self.principal.key_id or self.address

    @property
    def holder(self) -> str:
        """Whom its memory counts for: without the port, since a phone opens many connections."""
        return self.principal.key_id or self.address.rpartition(":")[0]


@contextmanager
def counted(
    telemetry: Telemetry | None, protocol: str, caller: Caller, *, bytes_in: int
) -> Iterator[RequestRecord | None]:
    """One request of `caller`, from here to the end of the block, as telemetry sees it."""
    if telemetry is None:
        yield None
        return
    record = telemetry.begin(protocol, caller.traceparent)
    record.client, record.client_name = caller.principal.key_id, caller.principal.name
    if not record.client:  # without the port: a phone opens many connections
        record.client, record.client_name = caller.address.rpartition(":")[0], ""
    record.bytes_in = bytes_in
    status = CLIENT_GONE  # what a cancelled task leaves
    try:
        yield record
        status = OK
    except HeadtailError as error:
        status = error.http_status
        if isinstance(error, Shed):
            record.shed = error.reason
        raise
    except Exception:  # counted as what the shell makes of it
        status = 500
        raise
    finally:
        telemetry.finish(record, status)
