"""What one engine has seen: of the link, of both ends' times, of its own decisions. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from headtail.manifest import Artifact, Cut, Manifest
from headtail.offload.breaker import Breaker
from headtail.offload.estimator import LinkEstimator
from headtail.offload.learning import DeviceLearner, FrameLearner, ServerLearner
from headtail.offload.options import frame_sizes
from headtail.offload.planner import Held, Lately, Situation
from headtail.offload.policy import FRAME, Decision, Policy, Probe
from headtail.plan_inputs import DeviceTimes, Quality, ServerTimes, split_fidelity

if TYPE_CHECKING:
    from headtail.offload.client import PingReply, TailReply

__all__ = ["Experience"]

_REPLY_BYTES = 400  # status line, headers and JSON around the outputs, until a reply told


class Experience:
    """Learns from what happens, and says what the situation is. `clock` is monotonic, in s."""

    def __init__(
        self,
        manifest: Manifest,
        artifact: Artifact | None,
        cuts: Iterable[Cut],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._cuts = tuple(cuts)
        self._link = LinkEstimator(clock=clock)
        self._reply_bytes = sum(spec.nbytes for spec in manifest.outputs) + _REPLY_BYTES
        self._artifact = artifact
        self._held = Held(since_s=clock())
        self._ping_s: float | None = None
        self._frame_s: float | None = None
        self._frame_ms = 0.0
        self._tried_s: dict[str, float] = {}
        self.device = DeviceLearner(self._cuts)
        self._server = ServerLearner(self._cuts)
        self._frames = FrameLearner()

    def situation(
        self, policy: Policy, breaker: Breaker, *, barred: str, failure: str, busy: bool
    ) -> Situation:
        """All that the next decision is made from."""
        frames = self._frames.sizes(frame_sizes(self._cuts, policy))
        device, server = self.device, self._server
        tails = server.tail_ms(guess_ms=device.local_ms)
        heads = device.head_ms()
        return Situation(
            now_s=self._clock(),
            policy=policy,
            barred=barred,
            breaker=breaker.state.value,
            wait_s=breaker.wait_s,
            failure=failure,
            busy=busy,
            held=self._held,
            lately=Lately(self._ping_s, self._frame_s, self._frame_ms, dict(self._tried_s)),
            link=self._link.estimate(),
            device=DeviceTimes(
                device.local_ms, {cut: heads[cut] for cut in frames}, device.encode_ms(frames)
            ),
            server=ServerTimes(
                server.whole_ms(guess_ms=device.local_ms),
                0.0,
                self._reply_bytes,
                {cut: tails[cut] for cut in frames},
            ),
            known_tails=tuple(cut for cut in server.known_tails if cut in frames),
            wire_bytes=frames,
            quality=Quality(
                self._artifact.agreement.top1 if self._artifact is not None else None,
                split_fidelity(self._artifact, self._cuts, frames),
            ),
        )

    def decided(self, decision: Decision) -> None:
        """A decision was made; its probe goes out with it."""
        now_s = self._clock()
        if decision.changed:
            self._held = Held(decision.where, decision.cut, decision.codec, now_s)
        if decision.cut and decision.cut not in self._server.known_tails:
            self._tried_s[decision.cut] = now_s
        probe = decision.probe
        if probe is not None and probe.kind == FRAME:
            self._frame_s = self._tried_s[probe.cut] = now_s
        elif probe is not None:
            self._ping_s = now_s

    def replied(self, cut: str, codec: str, reply: TailReply) -> None:
        """A split request was answered. A server that tells no times, such as Triton, counts as
        taking none, and its time as the link's."""
        self.device.encoded(cut, codec, reply.encode_ms)
        self._frames.sent(cut, codec, reply.bytes_up)
        server_ms = sum(reply.server.values())
        self._server.answered(cut, server_ms)
        self._link.carried(
            reply.bytes_up, reply.bytes_down, reply.round_trip_ms, server_ms=server_ms
        )
        self._reply_bytes = reply.bytes_down

    def ponged(self, reply: PingReply) -> None:
        """A ping was answered."""
        self._link.ponged(reply.bytes_up, reply.bytes_down, reply.round_trip_ms)

    def probed(self, probe: Probe) -> None:
        """A background frame has ended, well or not."""
        if probe.kind == FRAME and self._frame_s is not None:
            self._frame_ms = (self._clock() - self._frame_s) * 1e3

    def waited(self, situation: Situation, cut: str, codec: str, waited_ms: float) -> None:
        """A split request has been waited for in vain, so far."""
        size = situation.wire_bytes.get(cut, {}).get(codec, 0)
        encode_ms = situation.device.encode_ms.get(cut, {}).get(codec, 0.0)
        server_ms = situation.server.tail_ms.get(cut, 0.0)
        self._link.waiting(size, waited_ms, server_ms=server_ms + encode_ms)
