"""Every frame answered within its deadline: by head, wire and tail, or here.

The head runs on the caller's thread, which alone touches the session; a worker thread encodes,
sends and waits. If the reply is later than it was predicted to be (in `auto`), or not there when
the device must begin to make the deadline by itself (deadline - 1.5 x its usual time), the whole
model runs here while the reply may still come: the first good answer counts, a late request is
cancelled (over HTTP with its connection, on a stream by a message).

A device that is slower than the deadline cannot make it alone: then the reply is waited for until
the deadline, and a lost frame is late by the local time.

After a failure the breaker keeps frames off the network. When it is time to try again a boundary
is sent once more in the background, so a probe is exactly what the next frame needs and costs no
frame anything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

import numpy as np

from headtail.bundle import Bundle
from headtail.manifest import FORWARD, Artifact, head_entry
from headtail.offload.answers import Answer, Frame, OffloadStatus
from headtail.offload.breaker import Breaker, State
from headtail.offload.client import TailReply
from headtail.offload.courier import Courier
from headtail.offload.experience import Experience
from headtail.offload.options import check_policy, cuts_with_heads, encode_times
from headtail.offload.planner import Situation, decide, priced
from headtail.offload.policy import FRAME, LOCAL, OFF, SPLIT, Policy, Probe
from headtail.offload.refusals import Shed, obstacle_name
from headtail.offload.trace import Record, Trace
from headtail.runtimes.base import Session
from headtail.tensors import Array, check_arrays

if TYPE_CHECKING:
    from headtail.offload.courier import AnyCompanion

__all__ = ["Answer", "OffloadEngine", "OffloadStatus", "SplitEngine"]

log = logging.getLogger(__name__)
WARM_RUNS, WARM_S = 3, 0.2  # of each entry point at the start, at most
MARGIN = 1.5  # the device is given so many times its usual time


class OffloadEngine:
    """Answers frames, one at a time, on the thread that made it.

    `companion` None means: always local. `artifact` is what `session` has loaded of `bundle`. The
    constructor runs `forward` and every head a few times, to learn the device's times and so that
    the first frame does not pay for kernels. Raises `UnknownName` for a cut, codec or head
    that does not exist. The companion and the session stay the caller's; `close` ends the engine's
    thread only. `set_policy`, `status` and `trace` may be used from other threads.
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
        self._session = session
        self._courier = None if companion is None else Courier(companion, bundle.manifest)
        self._breaker = Breaker()
        self._obstacle: Exception | None = None
        self._probe: tuple[Probe, Future[Any]] | None = None
        heads = cuts_with_heads(bundle.manifest, session.entry_points())
        self._cuts = heads if companion is not None else {}
        self._boundaries: dict[str, list[Array]] = {}  # the newest at each cut: for probes
        self.set_policy(policy or Policy())
        self._experience = Experience(bundle.manifest, artifact, self._cuts.values())
        self._warm_up()
        self._situation = self._look()
        self._decision = decide(self._situation)
        self._frames = 0
        self.trace = Trace()

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
        situation = self._situation = self._look()
        decision = self._decision = decide(situation)
        self._experience.decided(decision)
        frame = Frame(inputs, started, situation.policy.deadline_ms, decision)
        answer = self._carried_out(frame, situation)
        self._frames += 1
        self.trace.add(
            Record(
                self._frames, situation, decision, answer.where, answer.total_ms, answer.trace_id
            )
        )
        return answer

    def status(self) -> OffloadStatus:
        """What was known at the last frame; the breaker as it stands now."""
        situation, decision = self._situation, self._decision
        plan = priced(situation)
        candidates = () if plan is None else plan.candidates
        return OffloadStatus(
            rtt_ms=situation.link.rtt_ms,
            uplink_mbit_s=situation.link.uplink_mbit_s,
            downlink_mbit_s=situation.link.downlink_mbit_s,
            local_ms=situation.device.local_ms,
            remote_ms=next((c.total_ms for c in candidates if c.kind == SPLIT), None),
            breaker=self._breaker.state.value,
            wait_s=self._breaker.wait_s,
            decision=decision,
            candidates=candidates,
        )

    def close(self) -> None:
        """End the worker thread; a request in progress is dropped."""
        if self._courier is not None:
            self._courier.close()

    def _warm_up(self) -> None:
        draw = np.random.default_rng(0)
        specs = self._manifest.inputs
        noise = [draw.random(spec.shape).astype(spec.numpy_dtype) for spec in specs]
        device = self._experience.device
        if self._cuts:
            self._session.run(FORWARD, noise)  # what comes first pays for kernels and caches
        device.ran_local(self._quickest(FORWARD, noise))
        for name, cut in self._cuts.items():
            device.ran_head(name, self._quickest(head_entry(name), noise))
            boundary = self._boundaries[name] = self._session.run(head_entry(name), noise)
            for codec, ms in encode_times(cut, boundary).items():
                device.encoded(name, codec, ms)

    def _quickest(self, entry: str, inputs: Sequence[Array]) -> float:
        """Milliseconds of the quickest of a few runs, fewer of a slow model."""
        found: list[float] = []
        began = time.perf_counter()
        while not found or (len(found) < WARM_RUNS and time.perf_counter() - began < WARM_S):
            started = time.perf_counter()
            self._session.run(entry, inputs)
            found.append((time.perf_counter() - started) * 1e3)
        return min(found)

    def _look(self) -> Situation:
        barred = ""
        if self._courier is None:
            barred = "No companion server was named."
        elif not self._cuts:
            barred = f"The loaded {self._manifest.name} has no head that a server could continue."
        return self._experience.situation(
            self._policy,
            self._breaker,
            barred=barred,
            failure=str(self._obstacle or ""),
            # a probe that ended in this very moment is still to be settled, by the next frame
            busy=self._probe is not None or (self._courier is not None and self._courier.busy),
        )

    def _carried_out(self, frame: Frame, situation: Situation) -> Answer:
        decision, courier = frame.decision, self._courier
        if courier is not None and decision.probe is not None:
            self._send_probe(decision.probe, courier)
        if courier is not None and decision.where == SPLIT:
            return self._split(frame, situation, courier)
        run = self._forward(frame.inputs)
        if situation.breaker != State.CLOSED.value and situation.policy.mode != OFF:
            return self._fallen_back(frame, run)
        return frame.here(run, where=LOCAL)

    def _split(self, frame: Frame, situation: Situation, courier: Courier) -> Answer:
        cut, codec = self._cuts[frame.decision.cut], frame.decision.codec
        boundary = self._session.run(head_entry(cut.id), frame.inputs)
        frame.head_ms = frame.age_ms
        self._experience.device.ran_head(cut.id, frame.head_ms)
        if not all(np.isfinite(array).all() for array in boundary):
            why = f"The head's output at {cut.id!r} is not finite; no codec can carry it."
            run = self._forward(frame.inputs)
            return frame.here(run, where="local (head not finite)", reason=why)
        self._boundaries[cut.id] = boundary
        budget_ms = frame.deadline_ms - frame.head_ms
        sent = courier.send(cut, codec, boundary, budget_ms=budget_ms)
        wait([sent], self._patience_ms(frame) / 1e3)
        if not sent.done():
            return self._hedged(frame, situation, sent)
        reply = self._taken(sent, cut.id, codec)
        if reply is None:
            return self._fallen_back(frame, self._forward(frame.inputs))
        return frame.split(reply)

    def _hedged(self, frame: Frame, situation: Situation, sent: Future[TailReply]) -> Answer:
        """Run here while the reply may still come."""
        cut, codec = frame.decision.cut, frame.decision.codec
        try:
            run = self._forward(frame.inputs)
            if sent.done():  # one look: at a second one it may just have come
                reply = self._taken(sent, cut, codec)
                if reply is not None:
                    return frame.split(reply, local_ms=run[1])
            else:
                self._experience.waited(situation, cut, codec, frame.age_ms - frame.head_ms)
                self._failed(frame.late())
        finally:
            if not sent.done() and self._courier is not None:
                self._courier.drop()
        return self._fallen_back(frame, run)

    def _patience_ms(self, frame: Frame) -> float:
        """How long the reply may be waited for before the device has to begin by itself."""
        left_ms = max(0.0, frame.deadline_ms - frame.head_ms)
        usual_ms = self._experience.device.local_ms
        if usual_ms < frame.deadline_ms:
            left_ms = max(0.0, left_ms - usual_ms * MARGIN)
        hedge_ms = frame.decision.hedge_ms
        return left_ms if hedge_ms is None else min(left_ms, hedge_ms)

    def _taken(self, sent: Future[TailReply], cut: str, codec: str) -> TailReply | None:
        """The reply if it is a good one, else None; the breaker is told either way."""
        try:
            reply = sent.result()
        except Exception as error:  # whatever a server makes of a frame, the frame is answered
            self._failed(error)
            return None
        self._experience.replied(cut, codec, reply)
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
        budget_ms = max(
            self._policy.deadline_ms - self._experience.device.local_ms * MARGIN,
            self._experience.device.local_ms,
        )
        if probe.kind == FRAME:
            cut, boundary = self._cuts[probe.cut], self._boundaries[probe.cut]
            sent: Future[Any] = courier.send(cut, probe.codec, boundary, budget_ms=budget_ms)
        else:
            sent = courier.ping(budget_ms=budget_ms)
        self._probe = probe, sent

    def _settle_probe(self) -> None:
        if self._probe is None or not self._probe[1].done():
            return
        (probe, sent), self._probe = self._probe, None
        self._experience.probed(probe)
        if probe.kind == FRAME:
            self._taken(sent, probe.cut, probe.codec)
            return
        try:
            self._experience.ponged(sent.result())
        except Exception as error:  # as in _taken
            self._failed(error)

    def _forward(self, inputs: Sequence[Array]) -> tuple[list[Array], float]:
        """The whole model here: outputs and milliseconds."""
        started = time.perf_counter()
        outputs = self._session.run(FORWARD, inputs)
        took_ms = (time.perf_counter() - started) * 1e3
        self._experience.device.ran_local(took_ms)
        return outputs, took_ms

    def _fallen_back(self, frame: Frame, run: tuple[list[Array], float]) -> Answer:
        place = obstacle_name(self._obstacle) or "client failed"
        return frame.here(run, where=f"local ({place})", reason=str(self._obstacle))


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
