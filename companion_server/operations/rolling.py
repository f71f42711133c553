"""The last minute, for people: quantiles by stage, rates, batch sizes, and the phones seen.

Prometheus keeps the long run; this answers the status page without one. Everything is bounded: the
times of the newest `MAX_REQUESTS`, a count for each second of the window, and the `MAX_CLIENTS`
seen last.
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from companion_server.operations.records import STAGES, RequestRecord

__all__ = ["MAX_CLIENTS", "MAX_REQUESTS", "Rolling", "quantile"]

MAX_REQUESTS = 4096
MAX_CLIENTS = 256
MAX_NAME = 80
Row = tuple[float, bool, int, tuple[float, ...]]  # when, computed, batch, ms by stage


def quantile(ordered: Sequence[float], q: float) -> float:
    """The smallest of `ordered` values that at least a share `q` of them does not exceed."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


@dataclass(slots=True)
class _Client:
    name: str
    seen: float
    requests: int = 0
    refused: int = 0
    model: str = ""
    cut: str = ""


class Rolling:
    """What happened in the last `window_s` seconds of `clock`."""

    def __init__(
        self, *, window_s: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.window_s = window_s
        self._clock = clock
        self._began = clock()
        self._rows: deque[Row] = deque(maxlen=MAX_REQUESTS)
        self._counts: deque[list[int]] = deque(maxlen=math.ceil(window_s) + 1)
        self._clients: OrderedDict[str, _Client] = OrderedDict()

    def add(self, record: RequestRecord) -> None:
        """Note a finished request."""
        now = self._clock()
        stages = (
            record.decode_ms,
            record.queue_ms,
            record.compute_ms,
            record.encode_ms,
            record.total_ms,
        )
        self._rows.append((now, record.batch > 0, record.batch, stages))
        second = int(now)
        if not self._counts or self._counts[-1][0] != second:
            self._counts.append([second, 0, 0])
        self._counts[-1][1] += 1
        self._counts[-1][2] += record.status >= 400
        if record.client:
            self._note_client(record, now)

    def _note_client(self, record: RequestRecord, now: float) -> None:
        client = self._clients.get(record.client)
        if client is None:
            client = _Client(record.client_name[:MAX_NAME] or record.client[:MAX_NAME], now)
            self._clients[record.client] = client
            if len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(record.client)
        client.seen = now
        client.requests += 1
        client.refused += record.status >= 400
        if record.model:
            client.model, client.cut = record.model[:MAX_NAME], record.cut[:MAX_NAME]

    @property
    def connected(self) -> int:
        """Clients seen within the window."""
        oldest = self._clock() - self.window_s
        return sum(client.seen >= oldest for client in self._clients.values())

    def clients(self) -> list[dict[str, Any]]:
        """Every client still remembered, the latest first; `seen_s` is how long ago."""
        now = self._clock()
        return [
            {
                "name": client.name,
                "seen_s": round(now - client.seen, 1),
                "requests": client.requests,
                "refused": client.refused,
                "model": client.model,
                "cut": client.cut,
            }
            for client in reversed(self._clients.values())
        ]

    def summary(self) -> dict[str, Any]:
        """Counts, rate, quantiles (nearest rank) and batch sizes over the window.

        Counts are of all requests that ended in the window's whole seconds; `seconds` is how many
        those are, fewer than the window after a start. Quantiles are of the newest `MAX_REQUESTS`
        at most, of those that were computed.
        """
        now = self._clock()
        rows = [row for row in self._rows if row[0] >= now - self.window_s]
        computed = [row for row in rows if row[1]]
        batches = Counter(row[2] for row in computed)
        series = self._series(now, computed)
        seconds = len(series["requests"])
        requests = sum(series["requests"])
        return {
            "seconds": seconds,
            "requests": requests,
            "refused": sum(series["refused"]),
            "per_s": round(requests / seconds, 2) if seconds else 0.0,
            "inferences": len(computed),
            "stages": _stages([row[3] for row in computed]),
            "batches": [[size, batches[size]] for size in sorted(batches)],
            "series": series,
        }

    def _series(self, now: float, computed: list[Row]) -> dict[str, list[Any]]:
        """One entry for each whole second of the window, oldest first; the current one is left out.

        `p50_ms` and `p95_ms` are those of the total time, None for a second without any.
        """
        last = int(now)
        first = max(int(self._began), last - math.floor(self.window_s))
        counts = {second: (all_, refused) for second, all_, refused in self._counts}
        times: dict[int, list[float]] = {}
        for row in computed:
            times.setdefault(int(row[0]), []).append(row[3][-1])
        seconds = range(first, last)
        ordered = [sorted(times.get(second, ())) for second in seconds]
        return {
            "requests": [counts.get(second, (0, 0))[0] for second in seconds],
            "refused": [counts.get(second, (0, 0))[1] for second in seconds],
            "p50_ms": [round(quantile(ms, 0.5), 3) if ms else None for ms in ordered],
            "p95_ms": [round(quantile(ms, 0.95), 3) if ms else None for ms in ordered],
        }


def _stages(rows: list[tuple[float, ...]]) -> dict[str, dict[str, float]]:
    if not rows:
        return {}
    found = {}
    for name, column in zip(STAGES, zip(*rows, strict=True), strict=True):
        ordered = sorted(column)
        found[name] = {
            "p50_ms": round(quantile(ordered, 0.5), 3),
            "p95_ms": round(quantile(ordered, 0.95), 3),
        }
    return found
