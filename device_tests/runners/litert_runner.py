"""LiteRT by the ai-edge-litert wheel: signatures of one `.tflite`.

Arrays go in and out as the file declares them; nothing is converted on the way.
https://ai.google.dev/edge/litert/inference
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

Details = list[tuple[str, dict[str, Any]]]


def version() -> str:
    """Version of the runtime."""
    return metadata.version("ai-edge-litert")


def load(path: Path) -> Model:
    """Open a `.tflite`; XNNPACK takes what it can, on one thread."""
    return Model(Interpreter(model_path=str(path), num_threads=1))


class Model:
    """One loaded file with its signatures."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter

    def prepare(
        self, entry: str, arrays: list[Any]
    ) -> tuple[Callable[[], Any], Callable[[Any], list[Any]]]:
        """What to time, and what makes arrays of its result."""
        known = sorted(self._interpreter.get_signature_list())
        if entry not in known:
            raise ValueError(f"no signature {entry!r}; the file has {known}")
        signature = self._interpreter.get_signature_runner(entry)
        inputs = _in_order(signature.get_input_details())
        outputs = _in_order(signature.get_output_details())
        if len(arrays) != len(inputs):
            raise ValueError(f"{len(arrays)} inputs were given, {entry!r} takes {len(inputs)}")
        pairs = zip(inputs, arrays, strict=True)
        feed = {}
        for (name, detail), array in pairs:
            _check(name, array, detail)
            feed[name] = array
        return (
            lambda: signature(**feed),
            lambda result: [np.array(result[name]) for name, _ in outputs],
        )


def _in_order(details: dict[str, dict[str, Any]]) -> Details:
    # a signature is a dict; the position is the number that ends the name, and args_10 comes after
    # args_2
    return sorted(details.items(), key=lambda item: int(re.findall(r"\d+", f"0 {item[0]}")[-1]))


def _check(name: str, array: Any, detail: dict[str, Any]) -> None:
    # LiteRT resizes the graph to any shape that comes, in silence; a device test must not
    shape = [int(size) for size in detail["shape"]]
    if list(array.shape) != shape or array.dtype != detail["dtype"]:
        raise ValueError(
            f"{name} has shape {shape} of {np.dtype(detail['dtype'])},"
            f" {list(array.shape)} of {array.dtype} was given"
        )
