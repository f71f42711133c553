"""ExecuTorch by its Python binding: methods of one `.pte`.

The binding needs torch, so this runs where torch does; emulated cores and phones need a C++ runner.
https://docs.pytorch.org/executorch/stable/runtime-python-api-reference.html
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from executorch.runtime import Runtime, Verification


def version() -> str:
    """Version of the runtime."""
    return metadata.version("executorch")


def load(path: Path) -> Model:
    """Open a `.pte`, structure verified, on one thread."""
    torch.set_num_threads(1)
    return Model(Runtime.get().load_program(path, verification=Verification.InternalConsistency))


class Model:
    """One loaded program with its methods."""

    def __init__(self, program: Any) -> None:
        self._program = program

    def prepare(
        self, entry: str, arrays: list[Any]
    ) -> tuple[Callable[[], Any], Callable[[Any], list[Any]]]:
        """What to time, and what makes arrays of its result."""
        known = sorted(self._program.method_names)
        if entry not in known:
            raise ValueError(f"no method {entry!r}; the file has {known}")
        method = self._program.load_method(entry)
        _check(method.metadata, arrays)
        feed = [torch.from_numpy(array) for array in arrays]
        return (
            lambda: method.execute(feed),
            lambda result: [tensor.clone().contiguous().numpy() for tensor in result],
        )


def _check(described: Any, arrays: list[Any]) -> None:
    # the runtime's own words are "set_inputs() failed with error 0x10"; a person needs the shapes
    if len(arrays) != described.num_inputs():
        raise ValueError(f"{len(arrays)} inputs were given, {described.num_inputs()} are taken")
    for i, array in enumerate(arrays):
        shape = list(described.input_tensor_meta(i).sizes())
        if list(array.shape) != shape:
            raise ValueError(f"input {i} has shape {shape}, {list(array.shape)} was given")
