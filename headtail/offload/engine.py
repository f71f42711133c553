"""Every frame answered within its deadline: by head, wire and tail, or here.

The head runs on the caller's thread, which alone touches the session; a worker thread encodes,
sends and waits. If the reply is later than it was predicted to be, or not there when the device
must begin to make the deadline by itself (deadline - 1.5 x its usual time), the whole model runs
here while the reply may still come: the first good answer counts, a late request is cancelled (over
HTTP with its connection, on a stream by a message).

A device that is slower than the deadline cannot make it alone: then the reply is waited for until
the deadline, and a lost frame is late by the local time.

After a failure the breaker keeps frames off the network. When it is time to try again the last
boundary is sent once more in the background, so a probe is exactly what the next frame needs and
costs no frame anything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from headtail.bundle import Bundle
from headtail.errors import ServerUnreachable
from headtail.manifest import FORWARD, Artifact, Cut, head_entry
from headtail.offload.breaker import Breaker, State
from headtail.offload.client import PingReply, TailReply
from headtail.offload.courier import Courier
from headtail.offload.learning import DeviceLearner, ServerLearner
from headtail.offload.options import check_policy, cuts_with_heads, frame_sizes
from headtail.offload.planner import Situation, decide
from headtail.offload.policy import FRAME, LOCAL, Decision, Policy, Probe
from headtail.offload.refusals import Shed, obstacle_name
from headtail.plan import Candidate
from headtail.runtimes.base import Session
from headtail.tensors import Array, check_arrays

if TYPE_CHECKING:
    from headtail.offload.courier import AnyCompanion

__all__ = ["Answer", "OffloadEngine", "OffloadStatus", "SplitEngine"]

log = logging.getLogger(__name__)
MARGIN = 1.5  # the device is given so many times its usual time
Reply = TypeVar("Reply", TailReply, PingReply)


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
    """What the engine knows and last decided, for a screen. None is what nobody has measured.

    `remote_ms` is a whole frame's by the best split, predicted. `breaker` is `closed`, `open` or
    `half open`; `wait_s` is when the server is tried again. `candidates` are what the last decision
    was made between, fastest first.
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


class OffloadEngine:
    """Answers frames, one at a time, on the thread that made it.

    `companion` None means: always local. `artifact` is what `session` has loaded of `bundle`. The
    constructor runs every head and `forward` once, to learn the device's times and so that the
    first frame does not pay for kernels. Raises `UnknownName` for a cut, codec or head that does
    not exist. The companion and the session stay the caller's; `close` ends the engine's thread
    only. `set_policy` and `status` may be called from other threads.
    """

    def __init__(
        self,
        bundle: Bundle,
        artifact: Artifact | None,
        session: Session,
        *,
        companion: AnyCompanion | None,
        policy: Policy | None = None,
    ) -> None:
        self._manifest = bundle.manifest
        self._artifact = artifact
        self._session = session
        self._courier = None if companion is None else Courier(companion, bundle.manifest)
        self._breaker = Breaker()
        self._obstacle: Exception | None = None
        self._probe: tuple[Probe, Future[Any]] | None = None
        heads = cuts_with_heads(bundle.manifest, session.entry_points())
        self._cuts = heads if companion is not None else {}
        self._boundaries: dict[str, list[Array]] = {}  # the newest at each cut: for probes
        self.set_policy(policy or Policy())
        self._device = DeviceLearner(list(self._cuts.values()))
        self._warm_up()
        self._server = ServerLearner(list(self._cuts.values()), guess_ms=self._device.local_ms)
        self._decision = decide(self._situation())

    def set_policy(self, policy: Policy) -> None:
        """From the next frame on. Raises `UnknownName` for a cut or head that does not exist."""
        check_policy(policy, self._manifest, self._session.entry_points())
        self._policy = policy

    def answer(self, inputs: Sequence[Array]) -> Answer:
        """The model's outputs for `inputs`, in the manifest's order.

        Whatever the network does, there is an answer. Raises `TensorMismatch` for other inputs than
        the model's, and what the session raises.
        """
        started = time.perf_counter()
        check_arrays(inputs, self._manifest.inputs)
        self._settle_probe()
        self._decision = decision = decide(self._situation())
        frame = _Frame(inputs, started, self._policy.deadline_ms, decision)
        if decision.probe is not None and self._courier is not None:
            self._send_probe(decision.probe, self._courier)
        if decision.where == LOCAL or self._courier is None:
            run = self._forward(inputs)
            blocked = self._breaker.state is not State.CLOSED and self._policy.mode != "off"
            return self._fallen_back(frame, run) if blocked else frame.here(run, where=LOCAL)
        return self._split(frame, self._cuts[decision.cut], self._courier)

    def status(self) -> OffloadStatus:
        """What is known now."""
        return OffloadStatus(
            rtt_ms=None,
            uplink_mbit_s=None,
            downlink_mbit_s=None,
            local_ms=self._device.local_ms,
            remote_ms=None,
            breaker=self._breaker.state.value,
            wait_s=self._breaker.wait_s,
            decision=self._decision,
            candidates=(),
        )

    def close(self) -> None:
        """End the worker thread; a request in progress is dropped."""
        if self._courier is not None:
            self._courier.close()

    def _warm_up(self) -> None:
        draw = np.random.default_rng(0)
        noise = [draw.random(spec.shape).astype(spec.numpy_dtype) for spec in self._manifest.inputs]
        for cut in self._cuts:
            self._boundaries[cut] = self._session.run(head_entry(cut), noise)
        self._forward(noise)

    def _situation(self) -> Situation:
        policy, breaker = self._policy, self._breaker
        return Situation(
            now_s=time.monotonic(),
            policy=policy,
            barred=self._barred(),
            breaker=breaker.state.value,
            wait_s=breaker.wait_s,
            failure=str(self._obstacle or ""),
            busy=self._courier is not None and self._courier.busy,
            wire_bytes=frame_sizes(self._cuts.values(), policy),
        )

    def _barred(self) -> str:
        if self._courier is None:
            return "No companion server was named."
        if not self._cuts:
            return f"The loaded {self._manifest.name} has no head that a server could continue."
        return ""

    def _split(self, frame: _Frame, cut: Cut, courier: Courier) -> Answer:
        boundary = self._session.run(head_entry(cut.id), frame.inputs)
        frame.head_ms = frame.age_ms
        self._device.ran_head(cut.id, frame.head_ms)
        if not all(np.isfinite(array).all() for array in boundary):
            why = f"The head's output at {cut.id!r} is not finite; no codec can carry it."
            return frame.here(
                self._forward(frame.inputs), where="local (head not finite)", reason=why
            )
        self._boundaries[cut.id] = boundary
        budget_ms = frame.deadline_ms - frame.head_ms
        sent = courier.send(cut, frame.decision.codec, boundary, budget_ms=budget_ms)
        wait([sent], self._patience_ms(frame) / 1e3)
        if not sent.done():
            return self._hedged(frame, sent, courier)
        reply = self._taken(sent)
        if reply is None:
            return self._fallen_back(frame, self._forward(frame.inputs))
        return frame.split(reply)

    def _hedged(self, frame: _Frame, sent: Future[TailReply], courier: Courier) -> Answer:
        """Run here while the reply may still come."""
        try:
            run = self._forward(frame.inputs)
            if sent.done():  # one look: at a second one it may just have come
                reply = self._taken(sent)
                if reply is not None:
                    return frame.split(reply, local_ms=run[1])
            else:
                self._failed(_too_late(frame))
        finally:
            if not sent.done():
                courier.drop()
        return self._fallen_back(frame, run)

    def _patience_ms(self, frame: _Frame) -> float:
        """How long the reply may be waited for before the device has to begin by itself."""
        left_ms = max(0.0, frame.deadline_ms - frame.head_ms)
        usual_ms = self._device.local_ms
        if usual_ms >= frame.deadline_ms:
            return left_ms
        return max(0.0, left_ms - usual_ms * MARGIN)

    def _taken(self, sent: Future[Reply]) -> Reply | None:
        """The reply if it is a good one, else None; the breaker is told either way."""
        try:
            reply = sent.result()
        except Exception as error:  # whatever a server makes of a frame, the frame is answered
            self._failed(error)
            return None
        self._breaker.succeeded()
        return reply

    def _failed(self, error: Exception) -> None:
        if obstacle_name(error) is None:
            log.error("the offload client failed", exc_info=error)
        self._obstacle = error
        self._breaker.failed(at_least_s=error.retry_after_s if isinstance(error, Shed) else 0.0)

    def _send_probe(self, probe: Probe, courier: Courier) -> None:
        if self._breaker.state is State.OPEN:
            self._breaker.probe()
        # longer than a frame would wait, a reply is of no use
        budget_ms = max(self._policy.deadline_ms - self._device.local_ms * MARGIN, 1.0)
        if probe.kind == FRAME:
            boundary = self._boundaries[probe.cut]
            cut = self._cuts[probe.cut]
            sent = courier.send(cut, probe.codec, boundary, budget_ms=budget_ms)
            self._probe = probe, sent
        else:
            self._probe = probe, courier.ping(budget_ms=budget_ms)

    def _settle_probe(self) -> None:
        if self._probe is not None and self._probe[1].done():
            (_, sent), self._probe = self._probe, None
            self._taken(sent)

    def _forward(self, inputs: Sequence[Array]) -> tuple[list[Array], float]:
        """The whole model here: outputs and milliseconds."""
        started = time.perf_counter()
        outputs = self._session.run(FORWARD, inputs)
        took_ms = (time.perf_counter() - started) * 1e3
        self._device.ran_local(took_ms)
        return outputs, took_ms

    def _fallen_back(self, frame: _Frame, run: tuple[list[Array], float]) -> Answer:
        place = obstacle_name(self._obstacle) or "client failed"
        return frame.here(run, where=f"local ({place})", reason=str(self._obstacle))


class _Frame:
    """One frame on its way to an answer."""

    def __init__(
        self, inputs: Sequence[Array], started: float, deadline_ms: float, decision: Decision
    ) -> None:
        self.inputs, self.deadline_ms, self.decision = inputs, deadline_ms, decision
        self.head_ms = 0.0
        self._started = started

    @property
    def age_ms(self) -> float:
        return (time.perf_counter() - self._started) * 1e3

    def here(self, run: tuple[list[Array], float], *, where: str, reason: str = "") -> Answer:
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


def _too_late(frame: _Frame) -> ServerUnreachable:
    return ServerUnreachable(
        f"No reply within {frame.age_ms - frame.head_ms:.0f} ms; the device was done first.",
        expected=f"A reply in time for the deadline of {frame.deadline_ms:.0f} ms.",
        remedy="Choose a cut that sends less, or a longer deadline.",
    )


class SplitEngine(OffloadEngine):
    """An `OffloadEngine` with one cut and codec, always split while the server answers.

    `companion` or `cut` None means: always local.
    """

    def __init__(
        self,
        bundle: Bundle,
        session: Session,
        *,
        companion: AnyCompanion | None,
        cut: str | None,
        codec: str = "aq8t+deflate",
        deadline_ms: float = 1000.0,
    ) -> None:
        mode = "off" if companion is None or cut is None else "force"
        policy = Policy(mode=mode, cut=cut, codec=codec, deadline_ms=deadline_ms)
        super().__init__(bundle, None, session, companion=companion, policy=policy)
