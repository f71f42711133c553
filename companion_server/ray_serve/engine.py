"""RayEngine: jobs go to replicas on a cluster; what can happen to them there becomes a status.

    the deployment's queue is full          Shed 429, with the time that the queue should take
    the queue will take too long            Shed 429, with the time that it is too long
    no answer within the job's deadline     DeadlinePassed 504; the request is cancelled
    a replica or its node is gone           once more on another, then NotReady 503

A job that is sent twice is computed twice at most and answered once: tails have no state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from companion_server.executor.faults import from_fault
from companion_server.jobs import Job, Result
from companion_server.ray_serve import refusals
from headtail.errors import HeadtailError

if TYPE_CHECKING:
    from companion_server.store import StoredBundle

__all__ = ["RayEngine"]

ATTEMPTS = 2
EWMA_WEIGHT = 0.1  # of the newest answer
LOAD_TIMEOUT_S = 600.0  # Ray has to start workers, perhaps machines


@dataclass(slots=True)
class _Held:
    """A bundle on the cluster; `replicas`: what each said when it had proven it."""

    replicas: list[dict[str, Any]] = field(default_factory=list)
    failure: HeadtailError | None = None


class RayEngine:
    """An `Engine` over the handle of the `Tail` deployment; belongs to the ingress's event loop."""

    def __init__(
        self, tails: Any, library: Any, *, replicas: int, max_queue: int, max_wait_s: float
    ) -> None:
        """`tails`: a `ray.serve.handle.DeploymentHandle`, with so many replicas or more.

        `library`: the handle of a `BundleLibrary`. `max_queue`: what the deployment lets wait;
        `max_wait_s`: how long a job without a deadline may have to.
        """
        self._tails, self._library = tails, library
        self._replicas, self._max_queue, self._max_wait_s = replicas, max_queue, max_wait_s
        self._held: dict[str, _Held] = {}
        self._running: dict[asyncio.Task[Result], int] = {}  # with the memory of their tensors
        self._closing = False
        self._service_ms = 0.0  # EWMA of the compute that one request costs
        self._counts = dict.fromkeys(("answered", "shed", "late", "retried", "lost"), 0)

    async def start(self) -> None:
        """Nothing to do: Ray started what there is."""

    async def close(self) -> None:
        """Refuse new jobs and wait for those that run; replicas belong to Ray."""
        self._closing = True
        if self._running:
            await asyncio.wait(self._running)

    async def load(self, stored: StoredBundle) -> None:
        """Give a bundle to the library and have every replica load and prove it."""
        held = self._held[stored.bundle_id] = _Held()
        try:
            held.replicas = await self._load(stored)
        except HeadtailError as error:
            held.failure = error
            raise

    async def unload(self, bundle_id: str) -> None:
        """Have the library and every replica forget a bundle."""
        if self._held.pop(bundle_id, None) is not None:
            await self._library.remove.remote(bundle_id)
            await self._tails.broadcast("unload", bundle_id).results_async(return_exceptions=True)

    def check_ready(self, bundle_id: str = "") -> None:
        """Raise `NotReady` unless a replica proved this bundle (without an id: each one)."""
        if bundle_id and bundle_id not in self._held:
            raise refusals.not_loaded(None)
        for held in [self._held[bundle_id]] if bundle_id else self._held.values():
            if held.failure is not None or not held.replicas:
                raise refusals.not_loaded(held.failure)

    async def run(self, job: Job) -> Result:
        """Compute on a replica; see the module docstring for what it raises."""
        self.check_ready(job.bundle_id)
        if self._closing:
            raise refusals.leaving()
        self._admit(job)
        task = asyncio.ensure_future(self._run(job))
        self._running[task] = job.nbytes
        task.add_done_callback(self._running.pop)
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            raise

    def status(self) -> dict[str, Any]:
        """As `LocalEngine` tells it; jobs and bytes are those on the cluster, running or not."""
        return {
            "queue": {"jobs": len(self._running), "bytes": sum(self._running.values())},
            "executors": [],
            "cluster": {"service_ms": round(self._service_ms, 3), **self._counts},
            "bundles": {bundle_id: _described(held) for bundle_id, held in self._held.items()},
        }

    async def _load(self, stored: StoredBundle) -> list[dict[str, Any]]:
        data = np.frombuffer(b"".join(stored.read(0, stored.zip_bytes)), np.uint8)
        await self._library.put.remote(stored.bundle_id, stored.zip_sha256, data)
        # the first call waits for a replica to exist, the second reaches those there are by then
        first = await self._named("load", stored.bundle_id).remote(stored.bundle_id)
        others = await self._tails.broadcast("load", stored.bundle_id).results_async(
            timeout_s=LOAD_TIMEOUT_S
        )
        for told in (first, *others):
            if "fault" in told:
                raise from_fault(told["fault"])
        return [told["info"] for told in others]

    def _admit(self, job: Job) -> None:
        if len(self._running) < self._replicas:
            return  # whatever the prediction says, a free replica tries, and it learns from that
        wait_ms = self._wait_ms()
        limit_s = self._max_wait_s if job.deadline is None else job.deadline - time.monotonic()
        over_ms = wait_ms - limit_s * 1e3
        if over_ms > 0 and limit_s > 0:
            self._counts["shed"] += 1
            raise refusals.overloaded(wait_ms, over_ms)

    def _wait_ms(self) -> float:
        """Before a new job would begin, if all that run were still to be computed."""
        return len(self._running) * self._service_ms / self._replicas

    async def _run(self, job: Job) -> Result:
        arrived = time.monotonic()
        for _attempt in range(ATTEMPTS):
            budget_s = None if job.deadline is None else job.deadline - time.monotonic()
            if budget_s is not None and budget_s <= 0:
                break
            try:
                async with asyncio.timeout(budget_s):
                    reply = await self._ask(job, budget_s)
            except TimeoutError:
                break
            if reply is not None:
                return self._result(job, reply, arrived)
            self._counts["retried"] += 1
        else:
            self._counts["lost"] += 1
            raise refusals.lost(ATTEMPTS)
        self._counts["late"] += 1
        raise refusals.late((time.monotonic() - arrived) * 1e3)

    async def _ask(self, job: Job, budget_s: float | None) -> Mapping[str, Any] | None:
        """The reply of a replica; None if it was lost on the way."""
        from ray import exceptions
        from ray.serve.exceptions import BackPressureError, ReplicaUnavailableError

        budget_ms = None if budget_s is None else budget_s * 1e3
        response = self._named("run", job.bundle_id).remote(
            job.bundle_id, job.cut, list(job.arrays), budget_ms
        )
        try:
            reply: Mapping[str, Any] = await response
        except asyncio.CancelledError:
            response.cancel()
            raise
        except BackPressureError:
            self._counts["shed"] += 1
            raise refusals.full(self._max_queue, self._wait_ms()) from None
        except (
            exceptions.RayActorError,  # its process is gone, or cannot be reached
            exceptions.NodeDiedError,
            exceptions.ObjectLostError,  # computed, but the answer was lost with its node
            exceptions.WorkerCrashedError,
            ReplicaUnavailableError,
        ):
            return None
        return reply

    def _named(self, method: str, bundle_id: str) -> Any:
        return self._tails.options(method_name=method, multiplexed_model_id=bundle_id)

    def _result(self, job: Job, reply: Mapping[str, Any], arrived: float) -> Result:
        spent_ms = (time.monotonic() - arrived) * 1e3
        if "fault" in reply:
            raise from_fault(reply["fault"])
        if "late" in reply:
            self._counts["late"] += 1
            raise refusals.late(spent_ms)
        compute_ms = float(reply["compute_ms"])
        share_ms = compute_ms * job.samples / reply["batch"]
        self._service_ms += EWMA_WEIGHT * (share_ms - self._service_ms)
        self._counts["answered"] += 1
        return Result(
            # not views of Ray's shared memory, which must not outlive the answer
            outputs=[np.array(output) for output in reply["outputs"]],
            # everything but compute: Ray's routing and transport, and the replica's queue
            queue_ms=max(spent_ms - compute_ms, 0.0),
            compute_ms=compute_ms,
            batch=int(reply["batch"]),
        )


def _described(held: _Held) -> dict[str, Any]:
    if held.failure is not None:
        return {"state": "broken", "failure": str(held.failure)}
    state = "ready" if held.replicas else "loading"
    return {"state": state, "replicas": held.replicas}
