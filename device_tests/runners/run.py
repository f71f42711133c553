"""The program that a target runs: one model, some calls of its entry points, one JSON line out.

This folder is all that gets pushed; it needs Python 3.11, numpy and the runtime's own package, and
nothing of Headtail. The last line on stdout is a reply or a refusal, as `device_tests.protocol`
reads it; outputs are `.npy` files. The model's hash is checked before the runtime sees a byte of
it, so that a push cut short ends in a sentence and not in a crash.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA_VERSION = 1
RUNTIMES = {"litert": "litert_runner", "executorch": "executorch_runner"}


def main(arguments: list[str]) -> int:
    """Run the calls; 0 with a reply line, 1 with a refusal line."""
    options = _options(arguments)
    try:
        reply = _serve(options)
    except Exception as error:  # whatever the runtime raises becomes the one line that is sent back
        reply = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps({"schema_version": SCHEMA_VERSION, **reply}), flush=True)
    return 1 if "error" in reply else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run calls of one model and print one JSON line.")
    parser.add_argument("runtime", choices=RUNTIMES)
    parser.add_argument("model", type=Path)
    parser.add_argument("destination", type=Path, help="folder for <call>.<output>.npy")
    parser.add_argument("--sha256", required=True, help="what the model file must hash to")
    parser.add_argument("--timing-kind", required=True, choices=["host", "emulated", "device"])
    parser.add_argument("--warmup", type=int, required=True, help="untimed runs of each call")
    parser.add_argument("--runs", type=int, required=True, help="timed runs of each call")
    parser.add_argument("--call", nargs="+", action="append", default=[], metavar="ENTRY FILE.npy")
    return parser.parse_args(arguments)


def _serve(options: argparse.Namespace) -> dict[str, Any]:
    data = options.model.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != options.sha256:
        raise ValueError(
            f"the model has {len(data)} bytes and SHA-256 {digest}, not {options.sha256}"
        )
    runtime = importlib.import_module(RUNTIMES[options.runtime])
    start = time.perf_counter()
    model = runtime.load(options.model)
    load_ms = _since_ms(start)
    calls = [_call(model, i, call, options) for i, call in enumerate(options.call)]
    return {
        "runtime": options.runtime,
        "runtime_version": runtime.version(),
        "machine": platform.machine(),
        "model_sha256": digest,
        "timing_kind": options.timing_kind,
        "load_ms": load_ms,
        "calls": calls,
        "peak_rss_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def _call(model: Any, number: int, call: list[str], options: argparse.Namespace) -> dict[str, Any]:
    entry, *files = call
    arrays = [np.load(file, allow_pickle=False) for file in files]
    run, collect = model.prepare(entry, arrays)
    for _ in range(options.warmup):
        run()
    runs_ms: list[float] = []
    outputs: list[Any] = []
    for i in range(options.runs):
        start = time.perf_counter()
        result = run()
        runs_ms.append(_since_ms(start))
        # outputs may live in planned memory that the next run writes over
        outputs = collect(result) if i == 0 else outputs
    names = [f"{number}.{i}.npy" for i in range(len(outputs))]
    for name, array in zip(names, outputs, strict=True):
        np.save(options.destination / name, array, allow_pickle=False)
    return {"outputs": names, "runs_ms": runs_ms}


def _since_ms(start: float) -> float:
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
