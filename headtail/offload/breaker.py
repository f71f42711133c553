"""A circuit breaker: after a failure the server is left alone for a while, then tried by a probe.

    CLOSED      requests go out
    OPEN        nothing goes out until the backoff has passed
    HALF_OPEN   one probe is out; nothing else goes out until its outcome is known

The n-th failure in a row opens it for min(base * 2^(n-1), limit), of which a random half is taken
away so that phones which lost the server together do not return together ("equal jitter",
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). No I/O, no threads; not
thread safe.
"""

from __future__ import annotations

import enum
import random
import time
from collections.abc import Callable

from headtail.errors import UsageFault

__all__ = ["Breaker", "Event", "State"]


class State(enum.Enum):
    """See the module docstring."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


class Event(enum.Enum):
    """What can happen to a breaker."""

    SUCCESS = "success"
    FAILURE = "failure"
    PROBE = "probe"


_NEXT: dict[tuple[State, Event], State] = {
    (State.CLOSED, Event.SUCCESS): State.CLOSED,
    (State.CLOSED, Event.FAILURE): State.OPEN,
    (State.OPEN, Event.PROBE): State.HALF_OPEN,
    (State.HALF_OPEN, Event.SUCCESS): State.CLOSED,
    (State.HALF_OPEN, Event.FAILURE): State.OPEN,
}


class Breaker:
    """`clock` is monotonic, in seconds; `draw` gives a number in [0, 1)."""

    def __init__(
        self,
        *,
        base_s: float = 0.25,
        limit_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._base_s = base_s
        self._limit_s = limit_s
        self._clock = clock
        self._draw = draw
        self._state = State.CLOSED
        self._failures = 0
        self._open_until = 0.0

    @property
    def state(self) -> State:
        """Where it stands; time alone does not change it."""
        return self._state

    @property
    def wait_s(self) -> float:
        """Seconds until a probe is due; 0 if it is due, or if the breaker is not open."""
        if self._state is not State.OPEN:
            return 0.0
        return max(0.0, self._open_until - self._clock())

    @property
    def probe_due(self) -> bool:
        """Whether it is open and the backoff has passed."""
        return self._state is State.OPEN and self.wait_s == 0.0

    def probe(self) -> None:
        """A probe goes out: OPEN to HALF_OPEN."""
        self._move(Event.PROBE)

    def succeeded(self) -> None:
        """A request or probe was answered well; failures are counted from zero again."""
        self._move(Event.SUCCESS)
        self._failures = 0

    def failed(self, *, at_least_s: float = 0.0) -> None:
        """A request or probe failed; `at_least_s` is what the server's `Retry-After` asked for."""
        self._move(Event.FAILURE)
        # the exponent is bounded so that years of failures do not overflow a float
        backoff_s = min(self._base_s * 2.0 ** min(self._failures, 32), self._limit_s)
        self._failures += 1
        jittered_s = backoff_s * (1.0 - 0.5 * self._draw())
        self._open_until = self._clock() + max(jittered_s, at_least_s)

    def _move(self, event: Event) -> None:
        if (self._state, event) not in _NEXT:
            legal = [e.value for state, e in _NEXT if state is self._state]
            raise UsageFault(
                f"A breaker that is {self._state.value} was told of a {event.value}.",
                expected=f"Then only these can happen: {', '.join(legal)}.",
                remedy="Ask `state` and `probe_due` before sending.",
            )
        self._state = _NEXT[self._state, event]
