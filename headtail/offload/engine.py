"""Every frame answered within its deadline: by head, wire and tail, or here.

The head runs on the caller's thread, which alone touches the session; a worker thread encodes,
sends and waits. If the reply is not there when the device must begin to make the deadline by itself
(deadline - 1.5 x its usual time), the whole model runs here while the reply may still come: the
first good answer counts, the connection of a late one is closed.

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
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from headtail.bundle import Bundle
from headtail.errors import ServerUnreachable, TensorMismatch, UnknownName
from headtail.manifest import FORWARD, Cut, head_entry
from headtail.offload.breaker import Breaker, State
from headtail.offload.client import Companion, TailReply
from headtail.offload.refusals import Shed, obstacle_name
from headtail.runtimes.base import Session
from headtail.tensors import Array, check_arrays
from headtail.wire.codecs import codec as find_codec

if TYPE_CHECKING:
    from headtail.offload.stream import StreamCompanion

    AnyCompanion = Companion | StreamCompanion

__all__ = ["Answer", "SplitEngine"]

log = logging.getLogger(__name__)
MARGIN = 1.5  # the device is given so many times its usual time
EWMA_WEIGHT = 0.25  # of the newest local time


@dataclass(frozen=True)
class Answer:
    """One frame's answer and how it was come by; times in ms, wall clock.

    `where` is `split`; `local` if that was asked for; or `local (server lost)`, `local (bundle
    mismatch)` and the like, of which `reason` is the long form. `cut` and `codec` are what the
    answer went through, empty if it is local. `head_ms` is the head on the device, 0 if it was not
    run; `tail_ms` is encoding, network and server until the reply was decoded, 0 if the answer is
    local; `local_ms` is the whole model on the device, 0 if it was not run. `server` has the
    server's own times. Bytes are those of `TailReply`, 0 if the answer is local.
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
    server: dict[str, float] = field(default_factory=dict)
    local_ms: float = 0.0


class SplitEngine:
    """Answers frames, one at a time, on the caller's thread.

    `companion` or `cut` None means: always local. The constructor runs `forward` once to learn the
    device's time, and the head once so that the first frame does not pay for its kernels. Raises
    `UnknownName` for a cut, codec or head that does not exist. The companion and the session stay
    the caller's; `close` ends the engine's thread only.
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
        self._manifest = bundle.manifest
        self._session = session
        self._companion = companion
        self._cut = None if cut is None else self._manifest.cut(cut)
        self._codec = find_codec(codec).id
        self._deadline_ms = deadline_ms
        self._breaker = Breaker()
        self._worker = ThreadPoolExecutor(1, "offload")
        self._sent: Future[TailReply] | None = None
        self._boundary: list[Array] = []
        self._obstacle: Exception | None = None
        self._warm_up()

    def answer(self, inputs: Sequence[Array]) -> Answer:
        """The model's outputs for `inputs`, in the manifest's order.

        Whatever the network does, there is an answer. Raises `TensorMismatch` for other inputs than
        the model's, and what the session raises.
        """
        started = time.perf_counter()
        check_arrays(inputs, self._manifest.inputs)
        if self._companion is None or self._cut is None:
            return self._here(self._forward(inputs), started, where="local")
        self._settle_probe()
        if self._breaker.state is not State.CLOSED:
            self._probe_if_due(self._companion, self._cut)
            return self._fallen_back(self._forward(inputs), started)
        return self._split(inputs, started, self._companion, self._cut)

    def close(self) -> None:
        """End the worker thread; a request in progress is dropped."""
        if self._sent is not None and not self._sent.done():
            self._drop_request()
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _warm_up(self) -> None:
        zeros = [np.zeros(spec.shape, spec.numpy_dtype) for spec in self._manifest.inputs]
        if self._cut is not None:
            head = head_entry(self._cut.id)
            if head not in self._session.entry_points():
                raise UnknownName("entry point", head, self._session.entry_points())
            self._session.run(head, zeros)
        started = time.perf_counter()
        self._session.run(FORWARD, zeros)
        self._usual_ms = _since(started)

    def _split(
        self, inputs: Sequence[Array], started: float, companion: AnyCompanion, cut: Cut
    ) -> Answer:
        self._boundary = self._session.run(head_entry(cut.id), inputs)
        head_ms = _since(started)
        if not all(np.isfinite(array).all() for array in self._boundary):
            return self._here(
                self._forward(inputs),
                started,
                where="local (head not finite)",
                reason=f"The head's output at {cut.id!r} is not finite; no codec can carry it.",
                head_ms=head_ms,
            )
        sent = self._send(companion, cut, self._deadline_ms - head_ms)
        wait([sent], self._patience_ms(head_ms) / 1e3)
        if not sent.done():
            return self._hedged(inputs, started, sent, head_ms)
        reply = self._taken(sent)
        if reply is None:
            return self._fallen_back(self._forward(inputs), started, head_ms)
        return self._from(reply, started, head_ms)

    def _hedged(
        self, inputs: Sequence[Array], started: float, sent: Future[TailReply], head_ms: float
    ) -> Answer:
        """Run here while the reply may still come."""
        try:
            run = self._forward(inputs)
            if sent.done():  # one look: at a second one it may just have come
                reply = self._taken(sent)
                if reply is not None:
                    return self._from(reply, started, head_ms, local_ms=run[1])
            else:
                self._failed(self._too_late(_since(started) - head_ms))
        finally:
            if not sent.done():
                self._drop_request()
        return self._fallen_back(run, started, head_ms)

    def _send(self, companion: AnyCompanion, cut: Cut, budget_ms: float) -> Future[TailReply]:
        self._sent = self._worker.submit(
            companion.infer_tail,
            self._manifest.name,
            self._manifest.bundle_id,
            cut,
            self._codec,
            self._boundary,
            deadline_ms=max(budget_ms, 1.0),
        )
        return self._sent

    def _patience_ms(self, spent_ms: float) -> float:
        """How long the reply may be waited for before the device has to begin by itself."""
        left_ms = max(0.0, self._deadline_ms - spent_ms)
        if self._usual_ms >= self._deadline_ms:
            return left_ms
        return max(0.0, left_ms - self._usual_ms * MARGIN)

    def _taken(self, sent: Future[TailReply]) -> TailReply | None:
        """The reply if it is a good one, else None; the breaker is told either way."""
        try:
            reply = sent.result()
            self._check(reply)
        except Exception as error:  # whatever a server makes of a frame, the frame is answered
            self._failed(error)
            return None
        self._breaker.succeeded()
        return reply

    def _check(self, reply: TailReply) -> None:
        names = tuple(spec.name for spec in self._manifest.outputs)
        if reply.names != names:
            raise TensorMismatch(
                f"The reply has the outputs {reply.names}.",
                expected=f"The model gives {names}.",
                remedy="Serve this bundle there.",
            )
        check_arrays(reply.outputs, self._manifest.outputs)

    def _failed(self, error: Exception) -> None:
        if obstacle_name(error) is None:
            log.error("the offload client failed", exc_info=error)
        self._obstacle = error
        self._breaker.failed(at_least_s=error.retry_after_s if isinstance(error, Shed) else 0.0)

    def _too_late(self, waited_ms: float) -> ServerUnreachable:
        return ServerUnreachable(
            f"No reply within {waited_ms:.0f} ms; the device was done first.",
            expected=f"A reply in time for the deadline of {self._deadline_ms:.0f} ms.",
            remedy="Choose a cut that sends less, or a longer deadline.",
        )

    def _settle_probe(self) -> None:
        if self._breaker.state is State.HALF_OPEN and self._sent and self._sent.done():
            self._taken(self._sent)

    def _probe_if_due(self, companion: AnyCompanion, cut: Cut) -> None:
        idle = self._sent is None or self._sent.done()
        if self._breaker.probe_due and idle:
            self._breaker.probe()
            # longer than a frame would wait, a reply is of no use
            self._send(companion, cut, max(self._patience_ms(0.0), self._usual_ms))

    def _drop_request(self) -> None:
        if self._companion is not None:
            self._companion.abort()

    def _forward(self, inputs: Sequence[Array]) -> tuple[list[Array], float]:
        """The whole model here: outputs and milliseconds."""
        started = time.perf_counter()
        outputs = self._session.run(FORWARD, inputs)
        took_ms = _since(started)
        self._usual_ms += EWMA_WEIGHT * (took_ms - self._usual_ms)
        return outputs, took_ms

    def _fallen_back(
        self, run: tuple[list[Array], float], started: float, head_ms: float = 0.0
    ) -> Answer:
        place = obstacle_name(self._obstacle) or "client failed"
        return self._here(
            run, started, where=f"local ({place})", reason=str(self._obstacle), head_ms=head_ms
        )

    def _here(
        self,
        run: tuple[list[Array], float],
        started: float,
        *,
        where: str,
        reason: str = "",
        head_ms: float = 0.0,
    ) -> Answer:
        outputs, local_ms = run
        return Answer(
            outputs=outputs,
            where=where,
            reason=reason,
            cut="",
            codec="",
            head_ms=head_ms,
            tail_ms=0.0,
            total_ms=_since(started),
            bytes_up=0,
            bytes_down=0,
            local_ms=local_ms,
        )

    def _from(
        self, reply: TailReply, started: float, head_ms: float, local_ms: float = 0.0
    ) -> Answer:
        total_ms = _since(started)
        return Answer(
            outputs=reply.outputs,
            where="split",
            reason="",
            cut=self._cut.id if self._cut else "",
            codec=self._codec,
            head_ms=head_ms,
            tail_ms=total_ms - head_ms,
            total_ms=total_ms,
            bytes_up=reply.bytes_up,
            bytes_down=reply.bytes_down,
            server=reply.server,
            local_ms=local_ms,
        )


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
