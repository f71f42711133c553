"""RayEngine: jobs go to replicas on a cluster; what can happen to them there becomes a status.

    the deployment's queue is full          Shed 429, with the time that the queue should take
    no answer within the job's deadline     DeadlinePassed 504; the request is cancelled
    a replica or its node is gone           once more on another, then NotReady 503

A job that is sent twice is computed twice at most and answered once: tails have no state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from companion_server.conditions import DeadlinePassed, NotReady, Shed
from companion_server.executor.faults import from_fault
from companion_server.jobs import Job, Result
from headtail.errors import HeadtailError

if TYPE_CHECKING:
    from companion_server.store import StoredBundle

__all__ = ["RayEngine"]

ATTEMPTS = 2
EWMA_WEIGHT = 0.1  # of the newest answer
MIN_RETRY_S = 0.1
LOAD_TIMEOUT_S = 600.0  # Ray has to start workers, perhaps machines


class RayEngine:
    """An `Engine` over the handle of the `Tail` deployment; belongs to the ingress's event loop."""

    def __init__(self, tails: Any, library: Any, *, replicas: int, max_queue: int) -> None:
        """`tails`: a `ray.serve.handle.DeploymentHandle`, with so many replicas or more.

        `library`: the handle of a `BundleLibrary`. `max_queue`: what the deployment lets wait.
        """
        self._tails, self._library = tails, library
        self._replicas = replicas
        self._max_queue = max_queue
        self._loaded: dict[str, list[dict[str, Any]]] = {}  # bundle id -> what replicas said of it
        self._failures: dict[str, HeadtailError] = {}
        self._running: set[asyncio.Task[Any]] = set()
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
        try:
            self._loaded[stored.bundle_id] = await self._load(stored)
        except HeadtailError as error:
            self._failures[stored.bundle_id] = error
            raise
        self._failures.pop(stored.bundle_id, None)

    async def unload(self, bundle_id: str) -> None:
        """Have the library and every replica forget a bundle."""
        self._failures.pop(bundle_id, None)
        if self._loaded.pop(bundle_id, None) is not None:
            await self._library.remove.remote(bundle_id)
            await self._tails.broadcast("unload", bundle_id).results_async(return_exceptions=True)

    def check_ready(self, bundle_id: str = "") -> None:
        """Raise `NotReady` unless a replica proved this bundle (without an id: each one)."""
        failed = self._failures.get(bundle_id) or next(iter(self._failures.values()), None)
        if bundle_id in self._loaded or (not bundle_id and self._loaded and failed is None):
            return
        if failed is not None:
            raise NotReady(
                f"The tails could not be loaded. {failed.what}",
                expected=failed.expected,
                remedy=failed.remedy,
            )
        raise NotReady(
            "The tails are still being loaded on the cluster.",
            expected="/v2/health/ready answers 200 when they are.",
            remedy="Ask again in a second, and answer on the device meanwhile.",
        )

    async def run(self, job: Job) -> Result:
        """Compute on a replica; see the module docstring for what it raises."""
        self.check_ready(job.bundle_id)
        if self._closing:
            raise _leaving()
        task = asyncio.ensure_future(self._run(job))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            raise

    def status(self) -> dict[str, Any]:
        """Counters of this ingress, and what each replica said when it loaded a bundle."""
        return {
            "engine": "ray",
            "running": len(self._running),
            "replicas": self._replicas,
            "service_ms": round(self._service_ms, 3),
            **self._counts,
            "bundles": {bundle_id: {"replicas": told} for bundle_id, told in self._loaded.items()},
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
            raise _lost()
        self._counts["late"] += 1
        raise _late((time.monotonic() - arrived) * 1e3)

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
            raise self._shed() from None
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
        if "fault" in reply:
            raise from_fault(reply["fault"])
        if "late" in reply:
            self._counts["late"] += 1
            raise _late((time.monotonic() - arrived) * 1e3)
        compute_ms = float(reply["compute_ms"])
        share_ms = compute_ms * job.samples / reply["batch"]
        self._service_ms += EWMA_WEIGHT * (share_ms - self._service_ms)
        self._counts["answered"] += 1
        spent_ms = (time.monotonic() - arrived) * 1e3
        return Result(
            # read-only views of Ray's shared memory, which must not outlive the answer
            outputs=[np.array(output) for output in reply["outputs"]],
            # everything but compute: Ray's routing and transport, and the replica's queue
            queue_ms=max(spent_ms - compute_ms, 0.0),
            compute_ms=compute_ms,
            batch=int(reply["batch"]),
        )

    def _shed(self) -> Shed:
        waiting = len(self._running)
        seconds = waiting * self._service_ms / 1e3 / self._replicas
        return Shed(
            f"{self._max_queue} requests wait for a replica already.",
            expected=f"{self._replicas} replicas or more work through them.",
            retry_after_s=max(seconds, MIN_RETRY_S),
            reason="queue",
        )


def _late(spent_ms: float) -> DeadlinePassed:
    return DeadlinePassed(
        f"No replica had answered by the deadline, after {spent_ms:.0f} ms in the queue.",
        expected="An answer is computed only while it is of use; this request was cancelled.",
        remedy="Answer on the device, and give split.deadline_ms more room or send less.",
    )


def _lost() -> NotReady:
    return NotReady(
        f"The replica that had this request was lost, {ATTEMPTS} times.",
        expected="Ray starts it again on a node that is left.",
        remedy="Ask again in a second, and answer on the device meanwhile.",
    )


def _leaving() -> NotReady:
    return NotReady(
        "The server is ending.",
        expected="Requests that it accepted are being answered.",
        remedy="Ask again in a second, and answer on the device meanwhile.",
    )
