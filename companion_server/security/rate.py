"""A token bucket per key: `burst` requests at once, `rate_per_s` in the long run.

A bucket is one number, the time at which it would be full again (the generic cell rate algorithm,
ITU-T I.371 annex A; https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm), so nothing has to
run in the background and the wait that `Retry-After` tells is exact: after it, one request passes.
At most `MAX_BUCKETS` are kept; beyond that the one used longest ago is forgotten.

Not the package `limits`: it counts windows and has no token bucket, and a hit on its in-memory
storage costs several times what this does (`benchmarks/auth_overhead.py`).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from headtail.errors import UsageFault

__all__ = ["MAX_BUCKETS", "RateLimiter"]

MAX_BUCKETS = 16_384


class RateLimiter:
    """Buckets by name; belongs to one thread. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        rate_per_s: float,
        *,
        burst: int,
        max_buckets: int = MAX_BUCKETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not rate_per_s > 0 or burst < 1 or max_buckets < 1:
            raise UsageFault(
                f"A rate of {rate_per_s} requests per second with a burst of {burst}.",
                expected="A rate above 0 and a burst of at least 1.",
                remedy="Leave the rate limit out to have none.",
            )
        self._interval_s = 1.0 / rate_per_s
        self._tolerance_s = (burst - 1) * self._interval_s
        self._max_buckets = max_buckets
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: str) -> float:
        """Take a token: 0.0, or the seconds until there will be one (then none was taken)."""
        now = self._clock()
        full_at = max(self._full_at.get(name, now), now)
        wait_s = full_at - now - self._tolerance_s
        if wait_s > 0.0:
            return wait_s
        self._full_at[name] = full_at + self._interval_s
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._max_buckets:
            self._full_at.popitem(last=False)
        return 0.0
