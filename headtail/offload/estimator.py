"""What a link is like, from the messages that crossed it: round trip and bandwidth. Pure.

    time of a message - server's own time  =  round trip  +  bytes * cost         cost: ms per byte

Pings tell the round trip, larger messages the cost. Delay has a floor and a long tail,
so the smallest of the newest pings counts; the cost is the median of the newest three messages, so
that one odd message changes nothing and two tell a link that has changed. Three bounds need no
second message, and stand until a larger message has crossed after them:

    nothing came back yet      the cost is at least what the waiting says
    a ping took long           so is what the ping says: it fills a packet
    a ping came quickly        the cost is at most what the ping says, and if that is less than what
                               was known, then what was known is of another link and forgotten

After an idle second TCP starts slowly (RFC 6928, https://www.rfc-editor.org/rfc/rfc6928; RFC 5681
section 4.1): a message of more than ten segments then waits for further round trips, which are not
counted as bandwidth. Uplink and downlink are told apart only where messages of both kinds, with
more up and with more down, were seen; otherwise they count as equal.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["LinkEstimate", "LinkEstimator"]

NEWEST_PINGS, NEWEST_FRAMES = 5, 3
RTT_LIFE_S, RATE_LIFE_S = 60.0, 20.0  # what is older says nothing about now
IDLE_S = 1.0
FIRST_FLIGHT_BYTES = 14_600  # ten segments, RFC 6928
LONG = 3.0  # a ping that takes so many times what was expected is a change, not jitter
LONG_MS = 20.0
MIN_COST = 8e-6  # ms per byte of 1 Gbit/s: nothing faster can be told from the clock's grain
_BITS = 8e-3  # Mbit/s = kbit/ms: bytes per ms times this


@dataclass(frozen=True)
class LinkEstimate:
    """None is what is not known, or no longer. Ages are in seconds since the newest message that
    says something about it; `rate_age_s` is None too where a ping alone bounds the bandwidth."""

    rtt_ms: float | None = None
    uplink_mbit_s: float | None = None
    downlink_mbit_s: float | None = None
    rtt_age_s: float | None = None
    rate_age_s: float | None = None


class _Message(NamedTuple):
    at_s: float
    up: int
    down: int
    ms: float  # without the server's own times and slow start

    @property
    def size(self) -> int:
        return self.up + self.down


class LinkEstimator:
    """`clock` is monotonic, in seconds. Not thread safe."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pings: deque[_Message] = deque(maxlen=NEWEST_PINGS)
        self._upward: deque[_Message] = deque(maxlen=NEWEST_FRAMES)
        self._downward: deque[_Message] = deque(maxlen=NEWEST_FRAMES)
        self._least, self._most = 0.0, math.inf  # cost, by the bounds in the module docstring
        self._bound_s = -math.inf
        self._last_s = -math.inf

    def ponged(self, bytes_up: int, bytes_down: int, round_trip_ms: float) -> None:
        """A ping and its answer crossed."""
        ping = _Message(self._clock(), bytes_up, bytes_down, round_trip_ms)
        self._last_s = ping.at_s
        self._note_ping(ping)
        self._pings.append(ping)

    def carried(
        self, bytes_up: int, bytes_down: int, round_trip_ms: float, *, server_ms: float = 0.0
    ) -> None:
        """A request and its answer crossed; times as `TailReply` has them."""
        now_s = self._clock()
        message = _Message(now_s, bytes_up, bytes_down, max(round_trip_ms - server_ms, 0.0))
        idle_s = now_s - round_trip_ms / 1e3 - self._last_s
        self._last_s = now_s
        if idle_s > IDLE_S:
            waited_ms = _slow_start_rounds(bytes_up) * (self._rtt_ms() or 0.0)
            message = message._replace(ms=max(message.ms - waited_ms, 0.0))
        window = self._upward if bytes_up >= bytes_down else self._downward
        window.append(message)
        self._unbind()

    def waiting(self, bytes_up: int, waited_ms: float, *, server_ms: float = 0.0) -> None:
        """A message of so many bytes was sent and nothing has come back yet, or ever."""
        spent_ms = waited_ms - server_ms - (self._rtt_ms() or 0.0)
        if spent_ms > 0 and bytes_up > 0:
            self._bound(least=spent_ms / bytes_up)

    def estimate(self) -> LinkEstimate:
        """As of now."""
        now_s = self._clock()
        rtt_ms = self._rtt_ms()
        up, down = self._costs()
        rate_s = max((m.at_s for m in (*self._upward, *self._downward)), default=None)
        if self._least and rate_s is None:
            rate_s = self._bound_s
        rtt_s = max((m.at_s for m in self._pings), default=None)
        return LinkEstimate(
            rtt_ms=rtt_ms,
            uplink_mbit_s=None if up is None else _BITS / up,
            downlink_mbit_s=None if down is None else _BITS / down,
            rtt_age_s=None if rtt_ms is None or rtt_s is None else now_s - rtt_s,
            rate_age_s=None if up is None or rate_s is None else now_s - rate_s,
        )

    def _note_ping(self, ping: _Message) -> None:
        """What a ping says beside its round trip."""
        up, _ = self._costs()
        rtt_ms = self._rtt_ms()
        if rtt_ms is None or ping.size == 0:
            return
        expected_ms = rtt_ms + (up or 0.0) * ping.size
        if ping.ms > LONG * expected_ms and ping.ms - expected_ms > LONG_MS:
            self._bound(least=(ping.ms - rtt_ms) / ping.size)
        elif up is not None and ping.ms / ping.size < up:
            unbound, _ = self._unbound_costs()
            if unbound is not None and unbound <= ping.ms / ping.size:
                self._unbind()  # it was the bound that was wrong: an odd ping or a slow server
                return
            self._upward.clear()
            self._downward.clear()
            self._bound(most=ping.ms / ping.size)

    def _bound(self, *, least: float = 0.0, most: float = math.inf) -> None:
        """The newest bound wins over those before it."""
        self._bound_s = self._clock()
        if least:
            self._least, self._most = least, math.inf
        else:
            self._least, self._most = 0.0, most

    def _unbind(self) -> None:
        self._least, self._most, self._bound_s = 0.0, math.inf, -math.inf

    def _unbound_costs(self) -> tuple[float | None, float | None]:
        up, down = self._cost(self._upward), self._cost(self._downward)
        if up is not None and down is not None:
            up = self._cost(self._upward, against=down)
            down = self._cost(self._downward, against=up)
        return (up if up is not None else down), down

    def _costs(self) -> tuple[float | None, float | None]:
        """Milliseconds per byte up and down."""
        up, down = self._unbound_costs()
        if self._clock() - self._bound_s <= RATE_LIFE_S:
            if up is not None:
                up = min(max(up, self._least), self._most)
            elif self._least or self._most < math.inf:
                up = self._least or self._most
        if up is None:
            return None, None
        return max(up, MIN_COST), max(down if down is not None else up, MIN_COST)

    def _cost(self, window: deque[_Message], *, against: float | None = None) -> float | None:
        """The median of a window; `against` is the known cost of the other direction."""
        since_s = self._clock() - RATE_LIFE_S
        costs = []
        for message in window:
            if message.at_s < since_s:
                continue
            base = self._base(message.ms)
            more_ms, size = message.ms - base.ms, message.size - base.size
            faster = more_ms * base.size > base.ms * size  # then that ping's link was
            if faster or size <= 0:
                more_ms, size = message.ms, message.size
            if against is not None:
                lesser = min(message.up, message.down)
                more_ms, size = more_ms - against * lesser, max(message.up, message.down)
            costs.append(max(more_ms, 0.0) / max(size, 1))
        return statistics.median(costs) if costs else None

    def _base(self, ms: float) -> _Message:
        """The quickest of the newest pings; nothing, where there is none that is quicker."""
        pings = [m for m in self._fresh_pings() if m.ms <= ms]
        return min(pings, key=_milliseconds, default=_Message(0.0, 0, 0, 0.0))

    def _fresh_pings(self) -> list[_Message]:
        since_s = self._clock() - RTT_LIFE_S
        return [message for message in self._pings if message.at_s >= since_s]

    def _rtt_ms(self) -> float | None:
        """What the quickest message took, less its bytes; None without a ping."""
        pings = self._fresh_pings()
        if not pings:
            return None
        # a larger message that was quicker: the way has become shorter since
        quickest = min((*pings, *self._upward, *self._downward), key=_milliseconds)
        cost = self._cost(self._upward) or self._cost(self._downward) or 0.0
        return max(quickest.ms - cost * quickest.size, 0.0)


def _milliseconds(message: _Message) -> float:
    return message.ms


def _slow_start_rounds(size: int) -> int:
    """Round trips that an idle connection waits for before `size` bytes are under way."""
    return max(0, math.ceil(math.log2(size / FIRST_FLIGHT_BYTES + 1)) - 1)
