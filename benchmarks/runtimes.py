"""What does each way to a phone runtime cost beside the computing? Side by side, on this host.

    python -m benchmarks.runtimes [--rounds N]

`libLiteRt.so` by ctypes against the ai-edge-litert wheel's own interpreter, A B A B in one process,
on a net that computes next to nothing (what is left is the way there) and on a 224x224 frame. A
224x224 frame into ExecuTorch by pyjnius, as bytes and as a list, on ExecuTorch's real Java classes
of both API generations, and at the phone's pyjnius and the newest. Every time is a host's; on a
busy host the smallest say most. The last line is JSON; results/runtimes.json keeps it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headtail.timing import Timing, summarize

RESULT = Path(__file__).parent / "results" / "runtimes.json"
WARMUP = 10
RUNS = 20  # of each in a round
Ways = Mapping[str, Callable[[], object]]


def in_turns(ways: Ways, *, rounds: int, runs: int) -> dict[str, Timing]:
    """`runs` of each way in turn, `rounds` times: what else the host does hits all alike."""
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for call in ways.values():
        for _ in range(WARMUP):
            call()
    for _ in range(rounds):
        for name, call in ways.items():
            for _ in range(runs):
                start = time.perf_counter_ns()
                call()
                samples[name].append((time.perf_counter_ns() - start) / 1e6)
    return {name: summarize(found, kind="host", warmup=WARMUP) for name, found in samples.items()}


def main() -> int:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = {
            "commit": _commit(),
            "versions": _versions(),
            "machine": platform.machine(),
            "litert": _litert(Path(name), options.rounds),
            "java": _java(Path(name)),
            "load_average": [round(load, 1) for load in os.getloadavg()],  # what else ran
        }
    RESULT.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(json.dumps(found, sort_keys=True))
    return 0


def _litert(folder: Path, rounds: int) -> dict[str, Any]:
    from headtail.runtimes.litert_ctypes import LiteRTCtypes
    from headtail.runtimes.litert_desk import LiteRTDesk

    figures = {}
    for name in ("nothing", "frame"):
        made = _converted("litert", name, folder)
        desk, direct = (
            runtime.load(made.path, entries=made.entries)
            for runtime in (LiteRTDesk(), LiteRTCtypes())
        )
        inputs = made.inputs
        ways: Ways = {
            "ai_edge_litert": lambda desk=desk, inputs=inputs: desk.run("forward", inputs),  # type: ignore[misc]
            "litert-ctypes": lambda direct=direct, inputs=inputs: direct.run("forward", inputs),  # type: ignore[misc]
        }
        right, seen = (call() for call in ways.values())
        for one, other in zip(right, seen, strict=True):  # type: ignore[call-overload]
            np.testing.assert_array_equal(one, other)
        found = in_turns(ways, rounds=rounds, runs=RUNS)
        figures[name] = _rounded(found)
        desk.close()
        direct.close()
    return figures


def _java(folder: Path) -> dict[str, Any]:
    from tests.headtail.runtimes.java_process import stored
    from tests.java.toolchain import (
        PYJNIUS,
        REACT_NATIVE_EXECUTORCH,
        executorch_jvm,
        litert_jvm,
    )

    figures: dict[str, Any] = {}
    executorch = stored(_converted("executorch", "frame", folder), folder / "executorch")
    litert = stored(_converted("litert", "frame", folder / "again"), folder / "litert")
    for pyjnius in PYJNIUS:
        for classes in REACT_NATIVE_EXECUTORCH:
            jvm = executorch_jvm(pyjnius=pyjnius, classes=classes)
            said = jvm.run("benchmarks.runtimes_java", "executorch", str(executorch))
            key = f"executorch, pyjnius {pyjnius}, react-native-executorch {classes}"
            figures[key] = _last_line(said)
        said = litert_jvm(pyjnius=pyjnius).run("benchmarks.runtimes_java", "litert", str(litert))
        figures[f"litert (stand-in classes), pyjnius {pyjnius}"] = _last_line(said)
    return figures


def _converted(format: str, name: str, folder: Path) -> Any:  # noqa: A002  # the field's word
    import torch
    from torch import nn

    from tests.exporters.converted import convert

    torch.set_num_threads(1)
    torch.manual_seed(0)
    nets = {
        "nothing": (nn.Sequential(nn.Linear(8, 4), nn.ReLU()), (1, 8)),
        "frame": (
            nn.Sequential(
                nn.Conv2d(3, 16, 3, 2, 1),
                nn.ReLU(),
                nn.Conv2d(16, 16, 3, 2, 1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(16, 10),
            ),
            (1, 3, 224, 224),
        ),
    }
    net, shape = nets[name]
    example = (torch.randn(*shape),)
    return convert(net.eval(), example, format=format, cuts=(), folder=folder / f"{format}-{name}")


def _last_line(said: str) -> dict[str, Any]:
    figures = json.loads(said.splitlines()[-1])
    return _rounded({name: Timing(**timing) for name, timing in figures.items()})


def _rounded(found: Mapping[str, Timing]) -> dict[str, Any]:
    return {
        name: {
            key: round(value, 4) if isinstance(value, float) else value
            for key, value in dataclasses.asdict(timing).items()
        }
        for name, timing in found.items()
    }


def _versions() -> dict[str, str]:
    packages = ("ai-edge-litert", "executorch", "numpy", "torch")
    return {"python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in packages
    }


def _commit() -> str:
    said = subprocess.run(
        ["git", "rev-parse", "--short=8", "HEAD"], capture_output=True, text=True, check=False
    )
    return said.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
