"""Starts `exporters.worker` processes and turns their events back into values and errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exporters.worker import FINAL_EVENT, ConvertRequest, RunRequest
from headtail.errors import ConversionFailed
from headtail.strictjson import canonical_bytes, to_json

__all__ = ["run_worker"]

_LOG_LINES = 30
_SOURCE = Path(__file__).resolve().parents[1]
# A converter that asks for a second thread pool makes every other process of the export slower.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONWARNINGS": "ignore"}


def run_worker(
    request: ConvertRequest | RunRequest,
    folder: Path,
    *,
    on_event: Callable[[dict[str, Any]], None] = lambda event: None,
) -> list[dict[str, Any]]:
    """Run one request to its end and return its events, `failed` and `error` ones included.

    A process that dies without a word (a crash inside a library) becomes an `error` event that
    names the signal; one that crashes after its last event, while libraries are unloaded, did its
    work. Failures carry the last lines of the library's output until then as `log`.
    """
    kind = "convert" if isinstance(request, ConvertRequest) else "run"
    folder.mkdir(parents=True, exist_ok=True)
    body, log = folder / f"{kind}.json", folder / f"{kind}.log"
    body.write_bytes(canonical_bytes({"kind": kind, **to_json(request)}))
    events: list[dict[str, Any]] = []

    def take(event: dict[str, Any]) -> None:
        if event["event"] in ("failed", "error"):
            event["log"] = _last_lines(log)
        events.append(event)
        on_event(event)

    with log.open("wb") as errors, _start(body, errors) as process:
        try:
            # a process killed while it writes leaves half a line, which says nothing
            lines = (line for line in process.stdout or () if line.endswith("\n"))
            finished = any(_ends(json.loads(line), take) for line in lines)
        except BaseException:
            process.kill()  # nobody listens any more
            raise
    if not finished:
        take({"event": "error", **_crash(process.returncode).to_json()})
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
    )


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
