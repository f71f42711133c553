"""One inference thread: the newest job wins, and every result leaves through one callback.

A job says what the screen wants to show *now*. While one job runs, at most one more waits; a newer
one replaces it, because nobody wants the answer for a photo that is no longer chosen. A job that
has started is finished: with frames arriving faster than they are answered, giving up half-way
would answer none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

__all__ = ["Worker"]

Job = TypeVar("Job")
Event = TypeVar("Event")


class Worker(Generic[Job, Event]):
    """Runs jobs on its own thread.

    `work(job)` yields events as they come about; each is passed to `deliver`, on the thread.
    An exception that escapes `work` becomes the event `failed(job, error)` and the thread lives on.
    `finish` runs on the thread when it stops, since what a thread opened it should also close.
    """

    def __init__(
        self,
        work: Callable[[Job], Iterable[Event]],
        *,
        deliver: Callable[[Event], None],
        failed: Callable[[Job, Exception], Event],
        finish: Callable[[], None],
    ) -> None:
        self._work = work
        self._deliver = deliver
        self._failed = failed
        self._finish = finish
        self._wake = threading.Condition()
        self._waiting: list[Job] = []  # at most one
        self._stopping = False
        self._thread = threading.Thread(target=self._loop, name="inference", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Ask for `job`; a job that still waits is dropped in its favour. Never blocks."""
        with self._wake:
            if not self._stopping:
                self._waiting = [job]
                self._wake.notify()

    def stop(self, *, timeout_s: float = 5.0) -> bool:
        """Drop the waiting job, let the running one end, stop. False if it is still running then.

        After it returns True nothing more is delivered. The thread is a daemon, so that a runtime
        stuck in native code cannot keep the process alive.
        """
        with self._wake:
            self._stopping = True
            self._waiting = []
            self._wake.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _next(self) -> list[Job]:
        with self._wake:
            self._wake.wait_for(lambda: self._waiting or self._stopping)
            jobs, self._waiting = self._waiting, []
            return jobs

    def _loop(self) -> None:
        while jobs := self._next():
            self._run(jobs[0])
        self._finish()

    def _run(self, job: Job) -> None:
        try:
            for event in self._work(job):
                self._deliver(event)
        except Exception as error:  # whatever it was, the next photo must be answered
            self._deliver(self._failed(job, error))
