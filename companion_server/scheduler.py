"""The engine of one machine: who waits, what is computed together, and who is sent away.

A job is admitted only if its answer can be in time: the queue in front of it, at what it was
measured to cost, must leave room before its deadline. Otherwise it is shed at once (429) with the
time after which there will be room. What waits is taken in turns by client, and whatever waits for
the same bundle joins a batch up to the size that takes the least time for each and makes
nobody late; jobs of earlier cuts are computed up to the next cut in the batch and join there.
Nothing waits for a batch to fill: jobs gather while the executor is busy, and only then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from companion_server.admission import REPLY_MS, Admission, too_late
from companion_server.conditions import NotReady
from companion_server.costs import BatchCosts
from companion_server.executor.attended import AttendedExecutor, Computed
from companion_server.executor.link import LinkLost
from companion_server.executor.places import Place
from companion_server.jobs import Job, Result
from companion_server.store import StoredBundle
from companion_server.waiting import HeldBundle, QueueLimits, Waiting
from headtail.bundle import Bundle
from headtail.errors import HeadtailError, IntegrityFault

__all__ = ["LocalEngine", "QueueLimits"]

log = logging.getLogger(__name__)
MAX_DEATHS = 3  # of executors while they load one bundle
MAX_ATTEMPTS = 2  # a job whose executor died is computed once more, and then given up
FOLLOW_EVERY_S = 2.0  # a bundle whose tails are being made faster


class LocalEngine:
    """Implements `jobs.Engine` over executors beside this process, or in it."""

    def __init__(self, places: Sequence[Place], *, limits: QueueLimits) -> None:
        self._limits = limits
        self._held: dict[str, HeldBundle] = {}
        self._executors = [AttendedExecutor(p, self._bring_up, self._pump) for p in places]
        self._admission = Admission(limits, self._held, self._executors)
        self._tasks: set[asyncio.Task[None]] = set()
        self._queued_bytes = 0
        self._finished = asyncio.Event()  # set when a batch ends
        self._closing = False

    async def start(self) -> None:
        """See `Engine`."""
        for executor in self._executors:
            self._spawn(executor.attend())

    async def close(self) -> None:
        """See `Engine`."""
        self._closing = True
        for held in self._held.values():
            for waiting in list(held.queue):
                self._leave(held, waiting)
                self._fail(waiting, _not_ready("The server is shutting down."))
        while any(executor.busy for executor in self._executors):
            self._finished.clear()
            await self._finished.wait()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def load(self, stored: StoredBundle) -> None:
        """See `Engine`."""
        if not stored.bundle.manifest.tails:
            return  # held for download only; inference on it is a 409
        held = HeldBundle(stored)
        self._held[stored.bundle_id] = held
        connected = [executor for executor in self._executors if executor.starts]
        for executor in connected:
            with contextlib.suppress(LinkLost):
                await self._load(executor, held)
        await held.settled.wait()  # the executors may still be starting
        if held.failure is not None:
            raise held.failure

    async def unload(self, bundle_id: str) -> None:
        """See `Engine`."""
        held = self._held.get(bundle_id)
        if held is None:
            return
        held.leaving = True
        while held.running or held.queue:
            held.drained.clear()
            await held.drained.wait()
        del self._held[bundle_id]
        for executor in self._executors:
            if bundle_id in executor.bundles:
                await executor.unload(bundle_id)

    def check_ready(self, bundle_id: str = "") -> None:
        """See `Engine`."""
        for held in [self._held[bundle_id]] if bundle_id in self._held else self._held.values():
            if held.failure is not None:
                raise _not_ready(f"The tail could not be loaded. {held.failure.what}")
            if held.costs is None:
                raise _not_ready("The tails are still being loaded.")
        if bundle_id and (bundle_id not in self._held or self._held[bundle_id].leaving):
            raise _not_ready(f"Bundle {bundle_id[:16]} is not loaded.")

    async def run(self, job: Job) -> Result:
        """See `Engine`."""
        self.check_ready(job.bundle_id)
        held = self._held[job.bundle_id]
        now = time.monotonic()
        predicted_ms = self._admission.check(job, now=now, queued_bytes=self._queued_bytes)
        waiting = Waiting(job, asyncio.get_running_loop().create_future(), now, predicted_ms)
        self._join(held, waiting)
        self._pump()
        try:
            return await waiting.answer
        except asyncio.CancelledError:
            self._leave(held, waiting)
            raise

    def status(self) -> dict[str, Any]:
        """See `Engine`."""
        return {
            "queue": {
                "jobs": sum(len(held.queue) for held in self._held.values()),
                "bytes": self._queued_bytes,
            },
            "executors": [executor.status() for executor in self._executors],
            "bundles": {bundle_id: _described(held) for bundle_id, held in self._held.items()},
        }

    # The queue

    def _join(self, held: HeldBundle, waiting: Waiting, *, first: bool = False) -> None:
        waiting.ticket = held.queue.add(waiting.job.client, waiting, first=first)
        self._queued_bytes += waiting.job.nbytes

    def _leave(self, held: HeldBundle, waiting: Waiting) -> None:
        if held.queue.remove(waiting.job.client, waiting.ticket):
            self._queued_bytes -= waiting.job.nbytes
            held.drained.set()

    def _take(self, held: HeldBundle) -> Waiting:
        waiting = held.queue.take(held.queue.peek().job.samples)  # type: ignore[union-attr]
        self._queued_bytes -= waiting.job.nbytes
        return waiting

    def _fail(self, waiting: Waiting, error: Exception) -> None:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)

    # Dispatch

    def _pump(self) -> None:
        """Give every free executor a batch, as long as there is work."""
        for executor in self._executors:
            while not executor.busy and (held := self._longest_waiting(executor)) is not None:
                batch = self._compose(held)
                if batch:
                    self._begin(executor, held, batch)

    def _longest_waiting(self, executor: AttendedExecutor) -> HeldBundle | None:
        found, oldest = None, float("inf")
        for bundle_id, held in self._held.items():
            first = held.queue.peek() if bundle_id in executor.bundles else None
            if first is not None and first.arrived < oldest:
                found, oldest = held, first.arrived
        return found

    def _compose(self, held: HeldBundle) -> list[Waiting]:
        """The next batch of a bundle; empty if all that waited is too late."""
        assert held.costs is not None
        now = time.monotonic()
        batch: list[Waiting] = []
        samples: dict[str, int] = {}
        deadline, room = float("inf"), sum(waiting.job.samples for waiting in held.queue)
        while (first := held.queue.peek()) is not None:
            job = first.job
            alone_ms = held.alone_ms(job)
            limit = float("inf") if job.deadline is None else job.deadline
            ends = limit - REPLY_MS / 1e3
            # what has not waited is tried, whatever was predicted
            if now > limit or (first.arrived < now - 0.001 and now + alone_ms / 1e3 > ends):
                self._admission.learn(first.predicted_ms, (now - first.arrived) * 1e3)
                self._fail(self._take(held), too_late((limit - now) * 1e3))
                continue
            trial = {**samples, job.cut: samples.get(job.cut, 0) + job.samples}
            if batch:
                together_s = held.costs.of(trial) / 1e3
                most = held.costs.best(job.cut, most=min(room, self._limits.max_batch))
                if (
                    first.alone
                    or batch[0].alone
                    or sum(trial.values()) > most
                    or now + together_s > min(deadline, ends)
                ):
                    break
            samples, deadline = trial, min(deadline, ends)
            batch.append(self._take(held))
        return batch

    def _begin(self, executor: AttendedExecutor, held: HeldBundle, batch: list[Waiting]) -> None:
        assert held.costs is not None
        batch.sort(key=lambda waiting: held.costs.order(waiting.job.cut))  # type: ignore[union-attr]
        started = time.monotonic()
        for waiting in batch:
            self._admission.learn(waiting.predicted_ms, (started - waiting.arrived) * 1e3)
        executor.until = started + held.costs.of(_samples(batch)) / 1e3
        executor.busy = True
        held.running += 1

        def done(outcome: Computed | HeadtailError) -> None:
            try:
                self._answer(held, batch, started, outcome)
            except Exception as error:  # whatever it is, nobody may be left waiting
                log.exception("a batch failed")
                self._one_by_one(held, batch, error)
            executor.busy = False
            held.running -= 1
            held.drained.set()
            self._finished.set()
            self._pump()

        groups = [(waiting.job.cut, waiting.job.arrays) for waiting in batch]
        executor.begin(held.stored.bundle_id, groups, done)

    def _answer(
        self,
        held: HeldBundle,
        batch: list[Waiting],
        started: float,
        outcome: Computed | HeadtailError,
    ) -> None:
        if isinstance(outcome, LinkLost):
            self._again(held, batch, outcome)
            return
        if isinstance(outcome, HeadtailError):
            self._one_by_one(held, batch, outcome)
            return
        outputs, compute_ms = outcome
        samples = _samples(batch)
        total = sum(samples.values())
        for waiting, found in zip(batch, outputs, strict=True):
            if not waiting.answer.done():
                queue_ms = (started - waiting.arrived) * 1e3
                waiting.answer.set_result(Result(found, queue_ms, compute_ms, total))
        assert held.costs is not None
        # behind the tasks that have just been woken: nobody's answer waits for it
        asyncio.get_running_loop().call_soon(held.costs.learn, samples, compute_ms)

    def _again(self, held: HeldBundle, batch: list[Waiting], error: LinkLost) -> None:
        """The executor died: once more, on its successor, before whatever else waits."""
        for waiting in reversed(batch):
            waiting.attempts += 1
            if waiting.answer.done():
                continue
            if waiting.attempts < MAX_ATTEMPTS:
                self._join(held, waiting, first=True)
            else:
                self._fail(waiting, error)

    def _one_by_one(self, held: HeldBundle, batch: list[Waiting], error: Exception) -> None:
        """A program refused the batch: each alone, so that nobody fails for his neighbour."""
        if len(batch) == 1:
            self._fail(batch[0], error)
            return
        for waiting in batch:
            if not waiting.answer.done():
                waiting.alone = True
                self._join(held, waiting, first=True)

    # Executors

    async def _bring_up(self, executor: AttendedExecutor) -> None:
        for held in list(self._held.values()):
            if held.deaths < MAX_DEATHS:
                with contextlib.suppress(HeadtailError):
                    await self._load(executor, held)

    async def _load(self, executor: AttendedExecutor, held: HeldBundle) -> None:
        bundle = held.stored.bundle
        try:
            # its files are read again: they must still be those that were published
            await asyncio.to_thread(held.stored.check)
            path = str(bundle.path)
            held.info = await executor.load(held.stored.bundle_id, path, known=held.info)
        except LinkLost:
            held.deaths += held.costs is None  # one that has run before is not to blame
            if held.deaths >= MAX_DEATHS:
                self._give_up(held, _deadly(bundle))
            raise
        except HeadtailError as error:
            self._give_up(held, error)
            raise
        held.deaths = 0
        held.failure = None
        held.costs = _costs(held.info)
        held.settled.set()
        self._spawn(self._follow(executor, held))

    def _give_up(self, held: HeldBundle, failure: HeadtailError) -> None:
        """A bundle cannot be run: neither what comes nor what was taken in before may wait."""
        held.failure = failure
        held.settled.set()
        for waiting in list(held.queue):
            self._leave(held, waiting)
            self._fail(waiting, _not_ready(f"The tail could not be loaded. {failure.what}"))

    async def _follow(self, executor: AttendedExecutor, held: HeldBundle) -> None:
        """Faster backends are found while the bundle is served; costs must keep up with them."""
        revision = held.info.get("revision")
        while held.info.get("tuning") == "running" and not held.leaving:
            await asyncio.sleep(FOLLOW_EVERY_S)
            try:
                held.info = await executor.info(held.stored.bundle_id)
            except HeadtailError:  # it is gone, and what replaces it is followed instead
                return
            if held.info.get("revision") != revision:
                revision = held.info.get("revision")
                held.costs = _costs(held.info)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _samples(batch: Sequence[Waiting]) -> dict[str, int]:
    """How many enter at each cut."""
    found: dict[str, int] = {}
    for waiting in batch:
        found[waiting.job.cut] = found.get(waiting.job.cut, 0) + waiting.job.samples
    return found


def _described(held: HeldBundle) -> dict[str, Any]:
    if held.failure is not None:
        return {"state": "broken", "failure": str(held.failure)}
    return {"state": "ready" if held.costs else "loading", **held.info}


def _costs(info: Mapping[str, Any]) -> BatchCosts:
    """Of what a runner says of a bundle; JSON's keys are strings."""
    table = {
        cut: {int(size): float(ms) for size, ms in times.items()}
        for cut, times in info["batch_ms"].items()
    }
    return BatchCosts(table, info["entries"])


def _deadly(bundle: Bundle) -> IntegrityFault:
    return IntegrityFault(
        f"Loading the tail of {bundle.manifest.name!r} ended the executor {MAX_DEATHS} times.",
        file=bundle.manifest.tails[0].program,
        expected="A tail can be run on its golden activations.",
        remedy="Export the bundle again; it may also be too large for this machine's memory.",
    )


def _not_ready(what: str) -> NotReady:
    return NotReady(
        what,
        expected="/v2/health/ready answers 200 when every tail can be run.",
        remedy="Ask again in a second, and answer on the device meanwhile.",
    )
