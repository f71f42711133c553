"""The contract of a session, kept by an adapter that needs a JVM, in a process of its own.

`python -m tests.headtail.runtimes.java_process ADAPTER FOLDER`, started by
`tests.java.toolchain.Jvm.run`: `FOLDER` holds an artifact as `stored` writes it. The last line is
JSON: check -> what went wrong, or nothing.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from headtail.runtimes import Runtime
from headtail.runtimes.base import Entries
from headtail.strictjson import from_json, to_json
from headtail.tensors import Array, TensorSpec
from tests.headtail.runtimes import java_checks
from tests.headtail.runtimes import session_contract as contract
from tests.java.toolchain import start_jvm


class Stored:
    """An artifact in a folder, as `session_contract.Made`."""

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / "made.json").read_text())
        self.path = folder / facts["file"]
        self.entries: Entries = {
            name: (_specs(inputs), _specs(outputs))
            for name, (inputs, outputs) in facts["entries"].items()
        }
        self._folder = folder

    @property
    def inputs(self) -> list[Array]:
        return [
            np.load(self._folder / f"in.{i}.npy") for i in range(len(self.entries["forward"][0]))
        ]

    def expected(self, entry: str) -> list[Array]:
        return [
            np.load(self._folder / f"{entry}.{i}.npy") for i in range(len(self.entries[entry][1]))
        ]


def stored(made: contract.Made, folder: Path) -> Path:
    """Write an artifact, its inputs and what PyTorch says of them for `Stored`."""
    folder.mkdir()
    (folder / made.path.name).write_bytes(made.path.read_bytes())
    entries = {
        name: [[to_json(spec) for spec in side] for side in sides]
        for name, sides in made.entries.items()
    }
    facts = {"file": made.path.name, "entries": entries}
    (folder / "made.json").write_text(json.dumps(facts))
    for i, array in enumerate(made.inputs):
        np.save(folder / f"in.{i}.npy", array)
    for entry in made.entries:
        for i, array in enumerate(made.expected(entry)):
            np.save(folder / f"{entry}.{i}.npy", array)
    return folder


def main(adapter: str, folder: str) -> None:
    """See the module."""
    start_jvm()
    runtime, extra = java_checks.ADAPTERS[adapter]()
    made = Stored(Path(folder))
    checks = contract.CHECKS if len(made.entries) > 1 else (contract.check_right_results,)
    told = {check.__name__: _tried(check, runtime, made) for check in (*checks, *extra)}
    with tempfile.TemporaryDirectory() as scratch:

        def check_broken_files(runtime: Runtime, made: Stored) -> None:
            contract.check_broken_files(runtime, made, Path(scratch))

        told["check_broken_files"] = _tried(check_broken_files, runtime, made)
    print(json.dumps(told))


def _tried(check: Callable[[Runtime, Stored], None], runtime: Runtime, made: Stored) -> str:
    try:
        check(runtime, made)
    except BaseException:  # pytest's own failures are no Exception
        return traceback.format_exc()
    return ""


def _specs(items: list[object]) -> list[TensorSpec]:
    return [from_json(TensorSpec, item) for item in items]


if __name__ == "__main__":
    main(*sys.argv[1:])
