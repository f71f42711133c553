"""The last minute, for people: quantiles by stage, rates, batch sizes, and the phones seen.

Prometheus keeps the long run; this answers the status page without one. Both tables are bounded:
the newest `MAX_REQUESTS` of the window, and the `MAX_CLIENTS` seen last.
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
Row = tuple[float, bool, int, tuple[float, ...], int]  # when, inference, batch, ms by stage, status


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
        self._rows.append((now, record.batch > 0, record.batch, stages, record.status))
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
        """Rates and quantiles (nearest rank) over the window; quantiles of inferences answered.

        `seconds` is what the figures cover: less than the window after a start, and less when more
        requests came than are kept.
        """
        now = self._clock()
        rows = [row for row in self._rows if row[0] >= now - self.window_s]
        covered = min(self.window_s, now - self._began)
        if len(rows) == MAX_REQUESTS:
            covered = now - rows[0][0]
        computed = [row for row in rows if row[1]]
        batches = Counter(row[2] for row in computed)
        return {
            "seconds": round(covered, 3),
            "requests": len(rows),
            "inferences": len(computed),
            "refused": sum(row[4] >= 400 for row in rows),
            "per_s": round(len(rows) / covered, 2) if covered > 0 else 0.0,
            "stages": _stages([row[3] for row in computed]),
            "batches": [[size, batches[size]] for size in sorted(batches)],
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
