"""Starts builders, one at a time, and says when nothing more will come of them."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from companion_server.tails.builder import ANOTHER_BUILDS
from companion_server.tails.built import MOST_ATTEMPTS, BuiltFiles

__all__ = ["Workshop"]

log = logging.getLogger(__name__)
LONGEST_S = 1800.0  # of one builder; then it is ended, and the file it was at counts as tried
LOOK_AGAIN_S = 5.0  # after another process was found building
_SOURCE = Path(__file__).resolve().parents[2]
_MOST_STARTS = 2 * MOST_ATTEMPTS  # of builders for one bundle


@dataclass
class _Order:
    bundle_id: str
    bundle: Path
    keys: tuple[str, ...]
    starts: int = 0


class Workshop:
    """All methods belong to one thread; `tend` is to be called now and then."""

    def __init__(self, built: BuiltFiles, *, threads: int) -> None:
        self._built = built
        self._threads = threads
        self._orders: deque[_Order] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._not_before = 0.0

    def order(self, bundle_id: str, bundle: Path, keys: Sequence[str]) -> None:
        """Have these files built."""
        self._orders.append(_Order(bundle_id, bundle, tuple(keys)))

    def cancel(self, bundle_id: str) -> None:
        """They are not wanted any more."""
        if self._orders and self._orders[0].bundle_id == bundle_id:
            self._end()
        self._orders = deque(order for order in self._orders if order.bundle_id != bundle_id)

    def over(self, bundle_id: str) -> bool:
        """Will nothing more be built for this bundle?"""
        return all(order.bundle_id != bundle_id for order in self._orders)

    def close(self) -> None:
        """End the builder."""
        self._end()
        self._orders.clear()

    def tend(self) -> None:
        """Look after the running builder, start the next; returns at once."""
        if self._process is not None:
            status = self._process.poll()
            if status is None:
                if time.monotonic() - self._started > LONGEST_S:
                    log.warning("a builder ran for %g s and is ended", LONGEST_S)
                    self._kill()
                return
            self._process = None
            self._ended(status)
        if self._orders and time.monotonic() >= self._not_before:
            try:
                self._start(self._orders[0])
            except OSError as error:  # no memory, no disk: what is built already is used
                log.warning("no builder can be started: %s", error)
                self._orders.popleft()

    def _ended(self, status: int) -> None:
        order = self._orders[0]
        if status == ANOTHER_BUILDS:
            order.starts -= 1
            self._not_before = time.monotonic() + LOOK_AGAIN_S
        elif status == 0 or order.starts >= _MOST_STARTS:
            self._orders.popleft()
        else:
            log.warning("a builder ended with status %d; see %s", status, self._log)

    def _start(self, order: _Order) -> None:
        order.starts += 1
        self._started = time.monotonic()
        # -P and the path: the builder imports what this process imports, whatever the folder holds
        path = os.pathsep.join(filter(None, [str(_SOURCE), os.environ.get("PYTHONPATH")]))
        quiet = {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "companion_server.tails.builder"]
        arguments = [order.bundle, self._built.folder, "--threads", self._threads]
        arguments += ["--parent", os.getpid()]
        with self._log.open("ab") as said:
            self._process = subprocess.Popen(
                [*command, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, **quiet, "TORCHINDUCTOR_COMPILE_THREADS": "1"},
                start_new_session=True,
            )

    @property
    def _log(self) -> Path:
        return self._built.folder / "builder.log"

    def _end(self) -> None:
        if self._process is None:
            return
        self._kill()
        self._process.wait()
        self._process = None
        for key in self._orders[0].keys:
            if self._built.record(key).get("state") == "building":
                self._built.remove(key)  # ended by us: no attempt that failed

    def _kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # its compiler too
