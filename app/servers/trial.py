"""Trying a server: does it answer, how fast, and does it take this device's key."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from headtail.offload.client import Companion

__all__ = ["Trial", "try_server"]

ASKED = 5  # questions whose median is the round trip


@dataclass(frozen=True)
class Trial:
    """A server that answered. `round_trip_ms` is the median of small requests on a connection that
    stands, server's work included; `ready` is False while it loads models; `bundles` it offers.
    """

    round_trip_ms: float
    ready: bool
    bundles: int

    def sentence(self) -> str:
        """In words for a screen, without the milliseconds."""
        offers = f"{self.bundles} bundle{'' if self.bundles == 1 else 's'} to offer"
        return (
            f"It answers and has {offers}." if self.ready else "It answers, but is still loading."
        )


def try_server(companion: Companion) -> Trial:
    """Ask a server for its list, which takes the key, and whether it is ready; blocks.

    Raises as `Companion.bundles` and `Companion.ready`.
    """
    bundles = len(companion.bundles())  # also makes the connection, which is not to be timed
    spent: list[float] = []
    ready = True
    for _ in range(ASKED):
        started = time.perf_counter()
        ready = companion.ready()
        spent.append((time.perf_counter() - started) * 1e3)
    return Trial(statistics.median(spent), ready, bundles)
