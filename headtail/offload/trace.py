"""What was decided and from what, to be decided again: a bounded ring, JSON lines outside.

A line holds everything a decision is made from, so any line can be replayed without those before
it. Pictures, tensors, keys and addresses are in none; the reason of a failure names the server.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from headtail.offload.planner import Situation, decide
from headtail.offload.policy import Decision
from headtail.strictjson import canonical_bytes, from_json, parse

__all__ = ["KEPT_RECORDS", "Difference", "Record", "Trace", "replay"]

KEPT_RECORDS = 512  # half a minute of a fast camera; some 2 KB each as text


@dataclass(frozen=True)
class Record:
    """Frame `number`: the situation, what was decided, and what became of it.

    `where`, `total_ms` and `trace_id` are the answer's.
    """

    number: int
    situation: Situation
    decision: Decision
    where: str
    total_ms: float
    trace_id: str

    def line(self) -> str:
        """One line of JSON, without its end."""
        return canonical_bytes(self).decode()

    @classmethod
    def parse(cls, line: str) -> Record:
        """From a line; raises `SchemaFault`."""
        return from_json(cls, parse(line.encode()))


class Trace:
    """The newest `KEPT_RECORDS` records; threads may share it."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque(maxlen=KEPT_RECORDS)
        self._lock = threading.Lock()

    def add(self, record: Record) -> None:
        """Put a record behind the others; the oldest may leave."""
        with self._lock:
            self._records.append(record)

    def records(self) -> list[Record]:
        """From old to new."""
        with self._lock:
            return list(self._records)

    def text(self) -> str:
        """JSON lines, from old to new."""
        return "".join(f"{record.line()}\n" for record in self.records())


@dataclass(frozen=True)
class Difference:
    """A record of which the situation gives `now` another decision."""

    record: Record
    now: Decision


def replay(lines: Iterable[str]) -> tuple[int, list[Difference]]:
    """Decide each line's situation again: how many there were, and which come out otherwise.

    Raises `SchemaFault` for a line that is no record.
    """
    count, differing = 0, []
    for line in lines:
        if not line.strip():
            continue
        record = Record.parse(line)
        count += 1
        now = decide(record.situation)
        if now != record.decision:
            differing.append(Difference(record, now))
    return count, differing
