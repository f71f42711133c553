"""An engine that computes nothing and answers when the test says so: for what happens meanwhile."""

import asyncio
import threading

import numpy as np

from companion_server.jobs import Result


class HeldEngine:
    """Zeros of the manifest's outputs, once `go` is set; `error` instead, if there is one.

    `begun` and `dropped` count jobs, and are waited for with `wait`.
    """

    def __init__(self, bundle, *, error=None):
        self._bundle = bundle
        self.error = error
        self.jobs = []
        self.begun = self.dropped = 0
        self._changed = threading.Condition()
        self._go = asyncio.Event()
        self._loop = None

    async def start(self):
        self._loop = asyncio.get_running_loop()

    async def close(self):
        pass

    async def load(self, stored):
        pass

    async def unload(self, bundle_id):
        pass

    def check_ready(self, bundle_id=""):
        pass

    def status(self):
        return {}

    async def run(self, job):
        self.jobs.append(job)
        self._count("begun")
        try:
            await self._go.wait()
        except asyncio.CancelledError:
            self._count("dropped")
            raise
        if self.error is not None:
            raise self.error
        outputs = [
            np.zeros((job.samples, *spec.shape[1:]), spec.numpy_dtype)
            for spec in self._bundle.manifest.outputs
        ]
        return Result(outputs, queue_ms=0.1, compute_ms=0.1, batch=job.samples)

    def go(self):
        """Answer what waits, and from now on at once."""
        assert self._loop is not None  # the engine was started
        self._loop.call_soon_threadsafe(self._go.set)

    def wait(self, what, count):
        """Until `count` jobs have `begun`, or were `dropped`."""
        with self._changed:
            assert self._changed.wait_for(lambda: getattr(self, what) >= count, timeout=20)

    def _count(self, what):
        with self._changed:
            setattr(self, what, getattr(self, what) + 1)
            self._changed.notify_all()
