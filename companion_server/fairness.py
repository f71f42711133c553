"""Waiting work of many clients, taken in turns: start-time fair queueing.

Each client has a virtual time, which grows by what is taken of it; the client that is furthest
behind is next. One that comes back from idleness starts at the present, or where it left if that is
later, so that nobody can save up or win by leaving. Goyal, Vin, Cheng, Start-time fair queueing, https://doi.org/10.1145/248156.248171.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

T = TypeVar("T")
MAX_LEFT = 1024  # clients remembered before those of the past are forgotten


class FairQueue(Generic[T]):
    """Items of clients; each client's own leave in the order in which they came."""

    def __init__(self) -> None:
        self._items: dict[str, OrderedDict[int, T]] = {}  # client -> its waiting items
        self._times: dict[str, float] = {}  # client -> its virtual time, of clients with items
        self._turns: list[tuple[float, int, str]] = []  # a heap; entries of idle clients are stale
        self._left: dict[str, float] = {}  # virtual times of clients that may come back
        self._now = 0.0
        self._count = 0
        self._serial = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        return (item for items in self._items.values() for item in items.values())

    @property
    def clients(self) -> int:
        """How many clients wait."""
        return len(self._items)

    def add(self, client: str, item: T, *, first: bool = False) -> int:
        """Queue an item, before the client's others if `first`; its ticket, for `remove`."""
        self._serial += 1
        if client not in self._items:
            self._items[client] = OrderedDict()
            start = max(self._now, self._left.pop(client, 0.0))
            self._times[client] = start
            heapq.heappush(self._turns, (start, self._serial, client))
        self._items[client][self._serial] = item
        if first:
            self._items[client].move_to_end(self._serial, last=False)
        self._count += 1
        return self._serial

    def remove(self, client: str, ticket: int) -> bool:
        """Take an item out; False if it was taken already."""
        items = self._items.get(client)
        if items is None or items.pop(ticket, None) is None:
            return False
        self._count -= 1
        if not items:
            self._forget(client)
        return True

    def peek(self) -> T | None:
        """The item that `take` would give; None if nothing waits."""
        while self._turns:
            time, _, client = self._turns[0]
            if self._times.get(client) == time:
                return next(iter(self._items[client].values()))
            heapq.heappop(self._turns)
        return None

    def take(self, cost: float) -> T:
        """The next item, for which its client pays `cost`; `IndexError` if nothing waits."""
        if self.peek() is None:
            raise IndexError("nothing waits")
        time, _, client = heapq.heappop(self._turns)
        self._now = max(self._now, time)
        items = self._items[client]
        _, item = items.popitem(last=False)
        self._count -= 1
        if items:
            self._times[client] = time + cost
            self._serial += 1
            heapq.heappush(self._turns, (time + cost, self._serial, client))
        else:
            self._forget(client)
            self._left[client] = time + cost
            self._tidy()
        return item

    def ahead(self, client: str) -> int:
        """How many items leave before a new one of this client."""
        own = len(self._items.get(client, ())) + 1
        others = sum(min(len(items), own) for c, items in self._items.items() if c != client)
        return own - 1 + others

    def _forget(self, client: str) -> None:
        del self._items[client], self._times[client]

    def _tidy(self) -> None:
        if not self._count:  # nobody waits: those who left are level
            self._now = max(self._left.values(), default=self._now)
            self._left.clear()
        elif len(self._left) > MAX_LEFT:
            self._left = {c: time for c, time in self._left.items() if time > self._now}
