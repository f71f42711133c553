"""Starts `exporters.worker` processes and turns their events back into values and errors.

Each process is watched: one that takes more memory or time than its limits allow, or that nobody
waits for any more, is killed, and the error says which.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from exporters.worker import FINAL_EVENT, ConvertRequest, ForeignRequest, RunRequest
from headtail.errors import ConversionFailed
from headtail.strictjson import canonical_bytes, to_json

__all__ = ["Limits", "run_worker"]

_KINDS = {ConvertRequest: "convert", ForeignRequest: "foreign", RunRequest: "run"}
_LOG_LINES = 30
_WATCH_SECONDS = 0.1
_MEMORY_SHARE = 0.8
_SOURCE = Path(__file__).resolve().parents[1]
# A converter that asks for a second thread pool makes every other process of the export slower.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONWARNINGS": "ignore"}


def _most_memory() -> int:
    return int(psutil.virtual_memory().total * _MEMORY_SHARE)


@dataclass(frozen=True)
class Limits:
    """What one worker process may take: wall-clock seconds, and resident bytes of memory.

    The defaults end what is stuck or would bring the machine down, nothing else.
    """

    seconds: float = 3600.0
    memory_bytes: int = field(default_factory=_most_memory)

    @classmethod
    def of(cls, *, seconds: float | None, gigabytes: float | None) -> Limits:
        """The defaults, but for what is given."""
        usual = cls()
        held = usual.memory_bytes if gigabytes is None else int(gigabytes * 1e9)
        return cls(usual.seconds if seconds is None else seconds, held)


class _Watch:
    """Looks at a process until it ends; kills it if it breaks a limit. `peak` is in bytes."""

    def __init__(
        self, process: subprocess.Popen[str], limits: Limits, cancel: threading.Event
    ) -> None:
        self.peak = 0
        self.broken: ConversionFailed | None = None
        self._process, self._limits, self._cancel = process, limits, cancel
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """The process is over."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        started = time.monotonic()
        while not self._ended.wait(_WATCH_SECONDS):
            try:
                used = psutil.Process(self._process.pid).memory_info().rss
            except psutil.Error:  # it ended meanwhile
                return
            self.peak = max(self.peak, used)
            self.broken = self._judge(used, time.monotonic() - started)
            if self.broken or self._cancel.is_set():
                _end(self._process)
                return

    def _judge(self, used: int, seconds: float) -> ConversionFailed | None:
        if used > self._limits.memory_bytes:
            return ConversionFailed(
                f"The library's process took {used / 1e9:.1f} GB of memory and was ended.",
                expected=f"It stays under {self._limits.memory_bytes / 1e9:.1f} GB.",
                remedy="Raise --memory-limit, or export on a machine with more memory.",
            )
        if seconds > self._limits.seconds:
            return ConversionFailed(
                f"The library's process ran for {seconds:.0f} s and was ended.",
                expected=f"It is done within {self._limits.seconds:.0f} s.",
                remedy="Raise --time-limit, or leave this format out.",
            )
        return None


def run_worker(
    request: ConvertRequest | ForeignRequest | RunRequest,
    folder: Path,
    *,
    on_event: Callable[[dict[str, Any]], None] = lambda event: None,
    limits: Limits | None = None,
    cancel: threading.Event | None = None,
) -> list[dict[str, Any]]:
    """Run one request to its end and return its events, `failed` and `error` ones included.

    A process that dies without a word (a crash inside a library) becomes an `error` event that
    names the signal; one that crashes after its last event, while libraries are unloaded, did its
    work. Failures carry the last lines of the library's output until then as `log`, `converted`
    events the most memory seen until then as `peak_rss_bytes`. `cancel` ends the process early.
    """
    kind = _KINDS[type(request)]
    folder.mkdir(parents=True, exist_ok=True)
    body, log = folder / f"{kind}.json", folder / f"{kind}.log"
    body.write_bytes(canonical_bytes({"kind": kind, **to_json(request)}))
    events: list[dict[str, Any]] = []

    def take(event: dict[str, Any]) -> None:
        if event["event"] == "converted":
            event["peak_rss_bytes"] = watch.peak
        if event["event"] in ("failed", "error"):
            event["log"] = _last_lines(log)
        events.append(event)
        on_event(event)

    with log.open("wb") as errors, _start(body, errors) as process:
        watch = _Watch(process, limits or Limits(), cancel or threading.Event())
        try:
            # a process killed while it writes leaves half a line, which says nothing
            lines = (line for line in process.stdout or () if line.endswith("\n"))
            finished = any(_ends(json.loads(line), take) for line in lines)
        except BaseException:
            _end(process)  # nobody listens any more
            raise
        finally:
            watch.stop()
    if not finished:
        take({"event": "error", **(watch.broken or _crash(process.returncode)).to_json()})
    return events


def _start(body: Path, errors: Any) -> subprocess.Popen[str]:
    # -P and the path: the worker imports what this process imports, whatever lies in the folder
    # where the user stands
    path = os.pathsep.join(filter(None, [str(_SOURCE), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "exporters.worker", str(body)],
        stdout=subprocess.PIPE,
        stderr=errors,
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": path},
        start_new_session=True,
    )


def _end(process: subprocess.Popen[str]) -> None:
    """Kill it and what it started: a diagnosis runs in a process of its own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _ends(event: dict[str, Any], take: Callable[[dict[str, Any]], None]) -> bool:
    if event["event"] == FINAL_EVENT:
        return True
    take(event)
    return False


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])


def _crash(code: int) -> ConversionFailed:
    return ConversionFailed(
        f"The library's process ended with {_cause(code)}.",
        expected="A library reports what it cannot do instead of crashing.",
        remedy="Read the log below; leave this format out, or report the crash to its makers.",
    )


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        return f"signal {-code}"
    if name == "SIGKILL":
        return f"{name} (out of memory, if nobody stopped it)"
    return name
