"""Downloads on a thread of their own, one after the other; each can be stopped from any thread.

What a download has got stays on disk until it is finished or thrown away, so stopping, a lost
server, a full disk and the end of the app are all the same: the next `start` goes on from there.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from app.models.library import Library
from app.models.state import Offer
from headtail.errors import ServerUnreachable
from headtail.offload.client import Companion
from headtail.offload.download import DownloadStopped, Transfer

__all__ = ["Downloads", "Ended", "Pace", "Progress"]

TOLD_EVERY_S = 0.1  # a screen needs no more
WINDOW_S = 5.0  # the speed is that of the last so many seconds
LEAST_S = 0.3  # before that there is no speed to speak of


@dataclass(frozen=True)
class Progress:
    """`held` of `size` bytes; speed and time left are None until they are known."""

    bundle_id: str
    held: int
    size: int
    mbit_s: float | None
    remaining_s: float | None


@dataclass(frozen=True)
class Ended:
    """Installed at `path`; or `error`, which is None too if it was stopped."""

    bundle_id: str
    path: Path | None
    error: Exception | None


class Pace:
    """The speed of a transfer from what has come at which second."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, at_s: float, held: int) -> None:
        """`held` bytes are here at `at_s`, of a clock that never goes back."""
        self._seen.append((at_s, held))
        while len(self._seen) > 2 and self._seen[1][0] <= at_s - WINDOW_S:
            self._seen.popleft()

    def mbit_s(self) -> float | None:
        """Megabits (10^6) a second over the window; None while that is too short."""
        if not self._seen:
            return None
        (began_s, first), (end_s, last) = self._seen[0], self._seen[-1]
        if end_s - began_s < LEAST_S:
            return None
        return (last - first) * 8e-6 / (end_s - began_s)

    def remaining_s(self, size: int) -> float | None:
        """Seconds until `size` bytes are here, at this speed; None if nobody can tell."""
        speed = self.mbit_s()
        return (size - self._seen[-1][1]) * 8e-6 / speed if speed else None


class Downloads:
    """Runs downloads into `library`. `told` gets a `Progress` or an `Ended`, on the thread."""

    def __init__(
        self,
        library: Library,
        companion: Callable[[str], Companion],
        told: Callable[[Progress | Ended], None],
    ) -> None:
        self._library = library
        self._companion = companion
        self._told = told
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="downloads")
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Transfer, Future[None]]] = {}

    def start(self, offer: Offer, address: str, *, quota: int) -> None:
        """Download `offer` from the server at `address`, or go on with it, when its turn comes.

        It is refused before a byte is fetched if the installed bundles would exceed `quota` bytes.
        One that was stopped and has not ended yet goes on after its end.
        """
        with self._lock:
            if not self._runs(offer.bundle_id):
                transfer = Transfer(_Teller(offer.bundle_id, self._told))
                job = self._thread.submit(self._run, offer, address, quota, transfer)
                self._running[offer.bundle_id] = transfer, job

    def runs(self, bundle_id: str) -> bool:
        """Whether it runs or waits for its turn, and was not stopped."""
        with self._lock:
            return self._runs(bundle_id)

    def stop(self, bundle_id: str) -> bool:
        """Stop it, waiting or running; it ends as an `Ended` without path and error, unless it was
        finished just then. False if there is none.
        """
        with self._lock:
            transfer, job = self._running.get(bundle_id, (None, None))
        if transfer is None or job is None:
            return False
        transfer.stop()
        if job.cancel():
            self._end(bundle_id, transfer, None, None)
        return True

    def close(self, *, timeout_s: float = 5.0) -> bool:
        """Stop all; False if one is still running then. What has come can be gone on with."""
        with self._lock:
            running = dict(self._running)
        self._thread.shutdown(wait=False, cancel_futures=True)
        for transfer, _ in running.values():
            transfer.stop()
        jobs = [job for _, job in running.values() if not job.cancelled()]
        return not wait(jobs, timeout_s).not_done

    def _run(self, offer: Offer, address: str, quota: int, transfer: Transfer) -> None:
        path, problem = None, None
        try:
            path = self._fetch(offer, address, quota, transfer)
        except DownloadStopped:
            pass
        except Exception as error:  # whatever it was, the next download must run
            dropped = transfer.stopped and isinstance(error, ServerUnreachable)
            problem = None if dropped else error
        self._end(offer.bundle_id, transfer, path, problem)

    def _fetch(self, offer: Offer, address: str, quota: int, transfer: Transfer) -> Path:
        library = self._library
        destination = library.destination(offer.name, offer.bundle_id)
        shelf = library.look()
        held = sum(part.held for part in shelf.parts if part.digest == offer.sha256)
        library.check_room(offer.bytes, used=shelf.used, quota=quota, held=held)
        with contextlib.closing(self._companion(address)) as companion:
            transfer.begin(companion.abort)
            return companion.download(offer.bundle_id, destination, transfer=transfer).path

    def _runs(self, bundle_id: str) -> bool:
        return bundle_id in self._running and not self._running[bundle_id][0].stopped

    def _end(
        self, bundle_id: str, transfer: Transfer, path: Path | None, error: Exception | None
    ) -> None:
        with self._lock:
            latest, job = self._running.get(bundle_id, (None, None))
            if latest is transfer:
                del self._running[bundle_id]
            elif path is not None and job is not None:  # it was finished before it could stop
                job.cancel()
                del self._running[bundle_id]
        self._told(Ended(bundle_id, path, error))


class _Teller:
    """Passes on how far one download is: ten times a second, and what says that it has begun to
    come or is complete."""

    def __init__(self, bundle_id: str, told: Callable[[Progress | Ended], None]) -> None:
        self._bundle_id = bundle_id
        self._told = told
        self._pace = Pace()
        self._calls = 0
        self._last_s = float("-inf")

    def __call__(self, held: int, size: int) -> None:
        now = time.monotonic()
        self._calls += 1
        if now - self._last_s < TOLD_EVERY_S and held < size and self._calls > 2:
            return
        self._last_s = now
        self._pace.note(now, held)
        speed, left = self._pace.mbit_s(), self._pace.remaining_s(size)
        self._told(Progress(self._bundle_id, held, size, speed, left))
