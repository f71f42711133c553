"""Why requests are not taken and connections are closed: words for metrics, and what they mean."""

from __future__ import annotations

__all__ = ["CONNECTION_REASONS", "SHED_REASONS"]

SHED_REASONS = {
    "queue": "as many requests waited as may",
    "memory": "bodies in flight, a client's share of them, or waiting tensors were at their limit",
    "wait": "a request without a deadline would have waited for too long",
    "deadline": "the deadline would have passed in the queue",
    "late": "the deadline did pass in the queue (504)",
    "rate": "a key was over its rate",
    "pairing": "too many wrong pairing tokens",
}
CONNECTION_REASONS = {
    "slow_headers": "no whole request head in time",
    "slow_body": "a body below the minimum rate",
    "slow_reader": "an answer, or a download, that was not read",
    "large_headers": "a request head, or what stands between the parts of a body, too long",
    "idle": "nothing came",
    "full": "too many connections, every one of them busy",
    "evicted": "too many connections, and this one had waited longest",
}
