"""What waits, and for which bundle: the state that admission and dispatch share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from companion_server.costs import BatchCosts
from companion_server.fairness import FairQueue
from companion_server.jobs import Job, Result
from headtail.errors import HeadtailError

if TYPE_CHECKING:
    from companion_server.store import StoredBundle

__all__ = ["HeldBundle", "QueueLimits", "Waiting"]


@dataclass(frozen=True)
class QueueLimits:
    """What may wait; `max_batch` counts samples, and 1 switches batching off."""

    max_batch: int = 16
    max_jobs: int = 512
    max_bytes: int = 512 << 20
    max_wait_s: float = 10.0


@dataclass(eq=False)
class Waiting:
    """A job in the queue or in a batch, and who waits for it; `arrived` is monotonic seconds."""

    job: Job
    answer: asyncio.Future[Result]
    arrived: float
    predicted_ms: float = 0.0  # how long it was thought to wait
    attempts: int = 0
    ticket: int = 0
    alone: bool = False  # a batch with it failed


@dataclass(eq=False)
class HeldBundle:
    """A bundle with a tail, or on its way to one."""

    stored: StoredBundle
    queue: FairQueue[Waiting] = field(default_factory=FairQueue)
    info: dict[str, Any] = field(default_factory=dict)
    costs: BatchCosts | None = None  # None: not loaded yet
    failure: HeadtailError | None = None
    settled: asyncio.Event = field(default_factory=asyncio.Event)  # loaded, or known to be broken
    leaving: bool = False  # what was accepted is computed, nothing more is
    deaths: int = 0  # of executors, one after the other, while they loaded it for the first time
    running: int = 0  # batches
    drained: asyncio.Event = field(default_factory=asyncio.Event)  # set when a job or batch ends

    def alone_ms(self, job: Job) -> float:
        """What a job of this bundle would take by itself."""
        return self.costs.of({job.cut: job.samples}) if self.costs is not None else 0.0
