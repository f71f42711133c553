"""The part of `benchmarks.runtimes` that needs a JVM, in a process of its own: one JSON line.

`python -m benchmarks.runtimes_java executorch|litert FOLDER`, started by `tests.java.toolchain`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from headtail.runtimes import executorch_java
from headtail.runtimes.executorch_java import ExecuTorchJava
from headtail.runtimes.litert_ctypes import LiteRTCtypes
from headtail.runtimes.litert_java import LiteRTJava
from headtail.tensors import Array, TensorSpec
from tests.headtail.runtimes.java_process import Stored
from tests.java.toolchain import start_jvm

ROUNDS = 20
RUNS = 15  # of each in a round
FRAME = TensorSpec("frame", "f32", (1, 3, 224, 224))


def executorch(folder: Path) -> dict[str, Any]:
    """A frame into a tensor and out of one, as bytes (the adapter's way) and as lists."""
    from jnius import autoclass

    from benchmarks.runtimes import in_turns

    tensors = autoclass("org.pytorch.executorch.Tensor")
    values = autoclass("org.pytorch.executorch.EValue")
    frame: Array = np.random.default_rng(0).normal(size=FRAME.shape).astype(np.float32)
    plug, sink = executorch_java._plug(FRAME), executorch_java._sink(FRAME)
    filled = plug.value.toTensor()

    def bytes_in() -> None:
        plug.buffer.clear()
        plug.buffer.put(frame.tobytes())

    def list_in() -> None:
        getattr(values, "from")(tensors.fromBlob(frame.ravel().tolist(), list(FRAME.shape)))

    bytes_in()
    out = executorch_java._read(filled, sink, FRAME)
    assert out.tobytes() == frame.tobytes()
    figures = in_turns(
        {
            "frame_in_as_bytes": bytes_in,
            "frame_in_as_list_and_wrong": list_in,
            "frame_out_as_bytes": lambda: executorch_java._read(filled, sink, FRAME),
            "frame_out_as_list": filled.getDataAsFloatArray,
        },
        rounds=ROUNDS,
        runs=RUNS,
    )
    made = Stored(folder)
    session = ExecuTorchJava(timing_kind="host").load(made.path, entries=made.entries)
    inputs = made.inputs
    figures |= in_turns({"run": lambda: session.run("forward", inputs)}, rounds=ROUNDS, runs=RUNS)
    session.close()
    return figures


def litert(folder: Path) -> dict[str, Any]:
    """The same file by the stand-in of LiteRT's Java classes and by ctypes, in turns."""
    from benchmarks.runtimes import in_turns

    made = Stored(folder)
    inputs = made.inputs
    java = LiteRTJava(timing_kind="host").load(made.path, entries=made.entries)
    direct = LiteRTCtypes().load(made.path, entries=made.entries)
    figures = in_turns(
        {
            "litert-java": lambda: java.run("forward", inputs),
            "litert-ctypes": lambda: direct.run("forward", inputs),
        },
        rounds=ROUNDS,
        runs=RUNS,
    )
    java.close()
    direct.close()
    return figures


def main(runtime: str, folder: str) -> None:
    """Measure and print."""
    start_jvm()
    figures = {"executorch": executorch, "litert": litert}[runtime](Path(folder))
    print(json.dumps({name: dataclasses.asdict(timing) for name, timing in figures.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
