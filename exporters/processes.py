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

from exporters.worker import ConvertRequest, RunRequest
from headtail.errors import ConversionFailed
from headtail.strictjson import canonical_bytes, to_json

__all__ = ["run_worker"]

_LOG_LINES = 12
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
    names the signal. Failures carry the last lines of the library's output as `log`.
    """
    kind = "convert" if isinstance(request, ConvertRequest) else "run"
    folder.mkdir(parents=True, exist_ok=True)
    body, log = folder / f"{kind}.json", folder / f"{kind}.log"
    body.write_bytes(canonical_bytes({"kind": kind, **to_json(request)}))
    events: list[dict[str, Any]] = []
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "exporters.worker", str(body)],
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **_ENVIRONMENT},
        )
        with process:
            for line in process.stdout or ():
                event = json.loads(line)
                events.append(event)
                on_event(event)
    if process.returncode != 0:
        events.append({"event": "error", **_crash(process.returncode).to_json()})
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
    for event in events:
        if event["event"] in ("failed", "error"):
            event["log"] = tail
    return events


def _crash(code: int) -> ConversionFailed:
    cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return ConversionFailed(
        f"The library's process ended with {cause}.",
        expected="A library reports what it cannot do instead of crashing.",
        remedy="Read the log below; leave this format out, or report the crash to its makers.",
    )
