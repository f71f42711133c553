"""What RayEngine says when a job cannot be run on the cluster."""

from __future__ import annotations

from companion_server.conditions import DeadlinePassed, NotReady, Shed
from headtail.errors import HeadtailError

__all__ = ["full", "late", "leaving", "lost", "not_loaded", "overloaded"]

_SOON = "Ask again in a second, and answer on the device meanwhile."
MIN_RETRY_S = 0.1


def full(max_queue: int, wait_ms: float) -> Shed:
    """Ray's queue for the replicas takes no more."""
    return Shed(
        f"{max_queue} requests wait for a replica already.",
        expected="Replicas work through them, and Ray adds some if it may.",
        retry_after_s=max(wait_ms / 1e3, MIN_RETRY_S),
        reason="queue",
    )


def overloaded(wait_ms: float, over_ms: float) -> Shed:
    """The answer would come `over_ms` too late."""
    return Shed(
        f"A request would wait {wait_ms:.0f} ms for a replica.",
        expected=f"That is {over_ms:.0f} ms more than there is time for.",
        retry_after_s=max(over_ms / 1e3, MIN_RETRY_S),
        reason="deadline",
    )


def late(spent_ms: float) -> DeadlinePassed:
    """The deadline passed while the job was on the cluster."""
    return DeadlinePassed(
        f"No replica had answered by the deadline, {spent_ms:.0f} ms after it was asked.",
        expected="An answer is computed only while it is of use; this request was cancelled.",
        remedy="Answer on the device, and give split.deadline_ms more room or send less.",
    )


def lost(attempts: int) -> NotReady:
    """Every replica that had the job died of something."""
    return NotReady(
        f"The replica that had this request was lost, {attempts} times.",
        expected="Ray starts it again on a node that is left.",
        remedy=_SOON,
    )


def leaving() -> NotReady:
    """The server is told to end."""
    return NotReady(
        "The server is ending.", expected="What it accepted is being answered.", remedy=_SOON
    )


def not_loaded(failure: HeadtailError | None) -> NotReady:
    """A bundle that no replica can run: not yet, or because of `failure`."""
    if failure is not None:
        what = f"The tail could not be loaded. {failure.what}"
        return NotReady(what, expected=failure.expected, remedy=failure.remedy)
    return NotReady(
        "The tails are still being loaded on the cluster.",
        expected="/v2/health/ready answers 200 when they are.",
        remedy=_SOON,
    )
