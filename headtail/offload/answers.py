"""One frame, its answer with how it was come by, and what an engine knows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headtail.errors import ServerUnreachable
from headtail.offload.policy import Decision
from headtail.offload.refusals import ReplyLate
from headtail.plan import Candidate
from headtail.tensors import Array

if TYPE_CHECKING:
    from headtail.offload.client import TailReply

__all__ = ["Answer", "Frame", "OffloadStatus"]


@dataclass(frozen=True)
class Answer:
    """One frame's answer and how it was come by; times in ms, wall clock.

    `where` is `split`; `local` if that was decided; or `local (server lost)`, `local (bundle
    mismatch)` and the like, of which `reason` is the long form. `decision` is what was decided
    before the frame, with the reason for that. `cut` and `codec` are what the answer went through,
    empty if it is local. `head_ms` is the head on the device, 0 if it was not run; `tail_ms` is
    encoding, network and server until the reply was decoded, 0 if the answer is local; `local_ms`
    is the whole model on the device, 0 if it was not run. `server` has the server's own times.
    Bytes are those of `TailReply`, 0 if the answer is local; `trace_id` is its.
    """

    outputs: list[Array]
    where: str
    reason: str
    cut: str
    codec: str
    head_ms: float
    tail_ms: float
    total_ms: float
    bytes_up: int
    bytes_down: int
    decision: Decision
    server: dict[str, float] = field(default_factory=dict)
    local_ms: float = 0.0
    trace_id: str = ""


@dataclass(frozen=True)
class OffloadStatus:
    """What the engine knew at the last frame and decided for it. None is what nobody has measured.

    `remote_ms` is a whole frame's by the best split, predicted. `breaker` is `closed`, `open` or
    `half open`; `wait_s` is when the server is tried again. `candidates` are what the decision was
    made between, fastest first.
    """

    rtt_ms: float | None
    uplink_mbit_s: float | None
    downlink_mbit_s: float | None
    local_ms: float
    remote_ms: float | None
    breaker: str
    wait_s: float
    decision: Decision
    candidates: tuple[Candidate, ...]


class Frame:
    """One frame on its way to an answer."""

    def __init__(
        self, inputs: Sequence[Array], started: float, deadline_ms: float, decision: Decision
    ) -> None:
        self.inputs, self.deadline_ms, self.decision = inputs, deadline_ms, decision
        self.head_ms = 0.0
        self._started = started

    @property
    def age_ms(self) -> float:
        """Milliseconds since it came."""
        return (time.perf_counter() - self._started) * 1e3

    def here(self, run: tuple[list[Array], float], *, where: str, reason: str = "") -> Answer:
        """The answer that the device gave: outputs and milliseconds."""
        outputs, local_ms = run
        return Answer(
            outputs=outputs,
            where=where,
            reason=reason,
            cut="",
            codec="",
            head_ms=self.head_ms,
            tail_ms=0.0,
            total_ms=self.age_ms,
            bytes_up=0,
            bytes_down=0,
            decision=self.decision,
            local_ms=local_ms,
        )

    def split(self, reply: TailReply, *, local_ms: float = 0.0) -> Answer:
        """The answer that the server gave, if the device ran for `local_ms` meanwhile."""
        total_ms = self.age_ms
        return Answer(
            outputs=reply.outputs,
            where="split",
            reason="",
            cut=self.decision.cut,
            codec=self.decision.codec,
            head_ms=self.head_ms,
            tail_ms=total_ms - self.head_ms,
            total_ms=total_ms,
            bytes_up=reply.bytes_up,
            bytes_down=reply.bytes_down,
            decision=self.decision,
            server=reply.server,
            local_ms=local_ms,
            trace_id=reply.trace_id,
        )

    def late(self) -> ServerUnreachable:
        """What is wrong with a reply that has not come while the device was at work."""
        what = f"No reply within {self.age_ms - self.head_ms:.0f} ms; the device was done first."
        predicted_ms = self.decision.predicted_ms
        hedged = self.decision.hedge_ms is not None and self.age_ms < self.deadline_ms
        if predicted_ms is not None and hedged:
            return ReplyLate(
                what,
                expected=f"The answer was predicted within {predicted_ms:.0f} ms.",
                remedy="The device answers until a message in the background came through.",
            )
        return ServerUnreachable(
            what,
            expected=f"A reply in time for the deadline of {self.deadline_ms:.0f} ms.",
            remedy="Choose a cut that sends less, or a longer deadline.",
        )
