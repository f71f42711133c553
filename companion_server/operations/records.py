"""One request as metrics, traces and the status page see it: names, sizes and times, no payload."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from headtail.wire.traceparent import TraceParent

__all__ = ["STAGES", "RequestRecord"]

STAGES = ("decode", "queue", "compute", "encode", "total")


@dataclass(slots=True)
class RequestRecord:
    """Filled in while a request is answered; what was never reached stays empty or 0.

    `protocol` is `rest`, `grpc` or `ws`; `status` the HTTP status, for gRPC the one it stands for.
    `cut` is empty for a whole model, `codec` for plain inputs. `client` and `client_name` say who
    asked: a key's id and name, or the peer's address without a key. `trace` is the trace that the
    request belongs to: the phone's, if it told one.

    Sizes in bytes: `bytes_in` and `bytes_out` of the bodies as they crossed the socket, compressed
    if they were; `raw32_bytes` is what the model's own inputs would have taken for the same samples
    as float32 (`raw32_input_bytes`), 0 if the request was not split.

    Times in ms. `total_ms` runs from the request's headers to the last byte of its reply, so it
    also has the time that the body took to arrive; `batch` counts samples computed together.
    """

    protocol: str = "rest"
    trace: TraceParent | None = None
    started: float = field(default_factory=time.perf_counter)
    status: int = 0
    model: str = ""
    bundle_id: str = ""
    cut: str = ""
    codec: str = ""
    client: str = ""
    client_name: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    raw32_bytes: int = 0
    batch: int = 0
    decode_ms: float = 0.0
    queue_ms: float = 0.0
    compute_ms: float = 0.0
    encode_ms: float = 0.0
    total_ms: float = 0.0
    shed: str = ""
    """Why the server would not take it, if it would not: a key of `metrics.SHED_REASONS`."""

    def finish(self, status: int) -> None:
        """Set the status and the total time."""
        self.status = status
        self.total_ms = (time.perf_counter() - self.started) * 1e3
