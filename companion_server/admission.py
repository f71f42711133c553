"""Who is taken in: whose answer can be in time, as far as queue and costs tell beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from companion_server.conditions import DeadlinePassed, Shed
from companion_server.executor.attended import AttendedExecutor
from companion_server.jobs import Job
from companion_server.waiting import HeldBundle, QueueLimits

__all__ = ["Admission", "too_late"]


SURE_MS = 1.0  # shorter waits say nothing about the prediction
EWMA_WEIGHT = 0.05  # of the newest wait
DEVIATIONS = 4.0  # of the mean deviation that an accepted request must have room for
LARGEST_RATIO = 10.0
REPLY_MS = 10.0  # to encode an answer, send it, and have it read on a busy machine


class Admission:
    """Looks at the engine's bundles and executors; changes nothing."""

    def __init__(
        self,
        limits: QueueLimits,
        held: Mapping[str, HeldBundle],
        executors: Sequence[AttendedExecutor],
    ) -> None:
        self._limits = limits
        self._held = held
        self._executors = executors
        self._ratio = 1.0  # of waits to what was predicted: the mean, and the mean deviation
        self._spread = 0.0

    def learn(self, predicted_ms: float, waited_ms: float) -> None:
        """A job waited so long until its compute began (RFC 6298 estimates a round trip so)."""
        if predicted_ms < SURE_MS:
            return
        seen = min(waited_ms / predicted_ms, LARGEST_RATIO)
        self._spread += EWMA_WEIGHT * (abs(seen - self._ratio) - self._spread)
        self._ratio += EWMA_WEIGHT * (seen - self._ratio)

    def check(self, job: Job, *, now: float, queued_bytes: int) -> float:
        """How long the job will probably wait, ms; `now` in seconds of `time.monotonic()`.

        Raises `DeadlinePassed`, and `Shed` with the time after which there will be room.
        """
        wait_ms = self.wait_ms(job)
        waiting = sum(len(held.queue) for held in self._held.values())
        if waiting >= self._limits.max_jobs:
            raise _shed(f"{waiting} requests wait.", wait_ms, "queue")
        if queued_bytes + job.nbytes > self._limits.max_bytes:
            raise _shed(f"The requests that wait take {queued_bytes} bytes.", wait_ms, "memory")
        if job.deadline is None:
            over_ms = wait_ms - self._limits.max_wait_s * 1e3
            if over_ms > 0:
                raise _shed(f"A request would wait {wait_ms:.0f} ms.", over_ms, "wait")
            return wait_ms
        left_ms = (job.deadline - now) * 1e3
        if left_ms <= 0:
            raise too_late(left_ms)
        if not wait_ms:
            return wait_ms  # whatever it says, a free executor tries, and learns from it
        longest_ms = wait_ms * (self._ratio + DEVIATIONS * self._spread)
        over_ms = longest_ms + self._held[job.bundle_id].alone_ms(job) + REPLY_MS - left_ms
        if over_ms > 0:
            text = f"The answer would be {over_ms:.0f} ms late: {wait_ms:.0f} ms of work wait."
            raise _shed(text, over_ms, "deadline")
        return wait_ms

    def wait_ms(self, job: Job) -> float:
        """Before a new job would begin: running batches, and its share of what waits."""
        ready = [e for e in self._executors if job.bundle_id in e.bundles] or self._executors
        ahead_ms = 0.0
        for bundle_id, held in self._held.items():
            first = held.queue.peek()
            if first is None or held.costs is None:
                continue
            own = bundle_id == job.bundle_id
            jobs = held.queue.ahead(job.client) if own else len(held.queue)
            ahead_ms += jobs * held.costs.each(first.job.cut, most=self._limits.max_batch)
        return min(executor.left_ms() for executor in ready) + ahead_ms / len(ready)


def too_late(left_ms: float) -> DeadlinePassed:
    """The refusal of a job with so much (or so little) of its deadline left."""
    return DeadlinePassed(
        f"{left_ms:.0f} ms were left of the deadline before compute began.",
        expected="An answer is computed only while it is of use, so nothing was computed.",
        remedy="Answer on the device, and give split.deadline_ms more room or send less.",
    )


def _shed(what: str, over_ms: float, reason: str) -> Shed:
    return Shed(
        what,
        expected="A request is taken only if it can be answered in time.",
        retry_after_s=max(over_ms, 1.0) / 1e3,
        reason=reason,
    )
