"""Run every entry point of a `.tflite` by `LiteRTCtypes`, in a process and on a machine of its own.

`python -m tests.headtail.runtimes.litert_process LIBRARY MODEL FOLDER`: `FOLDER/in.<i>.npy` are the
inputs of every entry point; `FOLDER/<entry>.<i>.npy` are written; LIBRARY `-` is the machine's own.
The last line says the library's version and what this machine is.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headtail.runtimes.litert_ctypes import LiteRTCtypes
from headtail.runtimes.tflite_file import TfliteTensor, read_tflite
from headtail.tensors import TensorSpec, short_dtype


def main(library: str, model: str, folder: str) -> None:
    """See the module."""
    runtime = LiteRTCtypes(None if library == "-" else library)
    entries = {
        name: (_specs(found.inputs), _specs(found.outputs))
        for name, found in read_tflite(Path(model)).items()
    }
    session = runtime.load(Path(model), entries=entries)
    for entry, (inputs, _) in entries.items():
        arrays = [np.load(Path(folder, f"in.{i}.npy")) for i in range(len(inputs))]
        for i, array in enumerate(session.run(entry, arrays)):
            np.save(Path(folder, f"{entry}.{i}.npy"), array)
    session.close()
    print(runtime.probe().version, platform.machine())


def _specs(tensors: Sequence[TfliteTensor]) -> list[TensorSpec]:
    return [TensorSpec(one.name, short_dtype(one.affine.dtype), one.shape) for one in tensors]


if __name__ == "__main__":
    main(*sys.argv[1:])
