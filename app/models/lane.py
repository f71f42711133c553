"""Jobs on one thread, one after the other, of which none takes the others down."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from app.presenter import HandOver

__all__ = ["Lane"]


class Lane:
    """`failed(error)` is called on the UI thread for a job that raised."""

    def __init__(
        self, name: str, *, hand_over: HandOver, failed: Callable[[Exception], None]
    ) -> None:
        self._hand_over = hand_over
        self._failed = failed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._jobs: set[Future[None]] = set()

    def submit(self, work: Callable[[], object]) -> None:
        """Do `work` when its turn comes. Called on the UI thread."""
        self._jobs = {job for job in self._jobs if not job.done()}
        self._jobs.add(self._thread.submit(self._do, work))

    def close(self, *, timeout_s: float = 5.0) -> bool:
        """Drop what waits, let the running job end; False if it is still running then."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        # `wait` would wait for those as well that were dropped
        running = [job for job in self._jobs if not job.cancelled()]
        return not wait(running, timeout_s).not_done

    def _do(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # it is shown, and the next job runs
            failure = error
            self._hand_over(lambda: self._failed(failure))
