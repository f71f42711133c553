"""One request as metrics, traces and the status page see it: names, sizes and times, no payload.

For whoever answers inferences, whatever the protocol:

    record = current_record.get()        # None where nobody counts
    record.asked(manifest, job, codec)   # when it is known what is to be computed
    record.computed(result, decode_ms=..., encode_ms=...)
    record.shed = error.reason           # of a `conditions.Shed` on its way out
"""

from __future__ import annotations

import math
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headtail.wire.traceparent import TraceParent

if TYPE_CHECKING:
    from companion_server.jobs import Job, Result
    from headtail.manifest import Manifest

__all__ = ["STAGES", "RequestRecord", "current_record"]

STAGES = ("decode", "queue", "compute", "encode", "total")
FLOAT32_BYTES = 4


@dataclass(slots=True)
class RequestRecord:
    """Filled in while a request is answered; what was never reached stays empty or 0.

    `protocol` is `rest`, `grpc` or `ws`; `status` the HTTP status, for gRPC the one it stands for.
    `cut` is empty for a whole model, `codec` for plain inputs. `client` and `client_name` say who
    asked: a key's id and name, or the peer's address without a key. `trace` is the trace that the
    request belongs to: the phone's, if it told one. `shed` is why the server would not take it, if
    it would not: a key of `reasons.SHED_REASONS`.

    Sizes in bytes: `bytes_in` and `bytes_out` of the bodies as they crossed the socket, compressed
    if they were; `raw32_bytes` is what the model's own inputs would have taken for the same samples
    as float32, 0 if the request was not split.

    Times in ms. `total_ms` runs from the request's head to the last byte of its reply, so it also
    has the time that the body took to arrive; `batch` counts samples computed together.
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

    def asked(self, manifest: Manifest, job: Job, codec: str) -> None:
        """Note what is to be computed; `codec` is empty for plain inputs."""
        self.model, self.bundle_id = manifest.name, manifest.bundle_id
        self.cut, self.codec = job.cut, codec
        if job.cut:
            sizes = (math.prod(spec.shape[1:]) for spec in manifest.inputs)
            self.raw32_bytes = job.samples * sum(sizes) * FLOAT32_BYTES

    def computed(self, result: Result, *, decode_ms: float, encode_ms: float) -> None:
        """Note how it was computed."""
        self.decode_ms, self.encode_ms = decode_ms, encode_ms
        self.queue_ms, self.compute_ms = result.queue_ms, result.compute_ms
        self.batch = result.batch

    def finish(self, status: int) -> None:
        """Set the status and the total time."""
        self.status = status
        self.total_ms = (time.perf_counter() - self.started) * 1e3


current_record: ContextVar[RequestRecord | None] = ContextVar("current_record", default=None)
"""The record of the request that this task answers."""
