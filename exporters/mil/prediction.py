"""Predicting by names, as Core ML's own `MLModel.predict` does on a Mac.

    model = Model(Path("net.mlpackage"))
    model.predict({"image": photo})  # {"classLabel": "cat", "classLabel_probs": {"cat": 0.9, ...}}

Images are PIL images, tensors are arrays, a classifier answers with its label and a dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporters.mil.evaluation import Mode, Program, State
from exporters.mil.features import features
from headtail.errors import TensorMismatch, UnknownName

__all__ = ["Model"]


class Model:
    """A package and the description of its inputs and outputs."""

    def __init__(self, path: Path, *, mode: Mode = Mode.DECLARED) -> None:
        self.program = Program(path)
        self._mode = mode

    def new_state(self, function: str = "") -> State:
        """The states of a function, zero; given to every `predict` they live in."""
        return self.program.function(self._named(function)).new_state()

    def predict(
        self, given: Mapping[str, Any], *, function: str = "", state: State | None = None
    ) -> dict[str, Any]:
        """Outputs by name. `function` is the default function of the package unless it is named.

        Raises `UnknownName` for an input the model has not, `TensorMismatch` and `ImageFault` for
        values that do not fit the description.
        """
        name = self._named(function)
        target = self.program.function(name)
        inputs, outputs = features(self.program.package.model, name)
        declared = dict(target.code.inputs)
        for key in given:
            if key not in declared:
                raise UnknownName("input", key, declared)
        lacking = sorted(set(declared) - set(inputs)) + sorted(
            set(target.code.outputs) - set(outputs)
        )
        if lacking:
            raise TensorMismatch(
                f"The description of {self.program.package.path} lacks {', '.join(lacking)}.",
                expected="It describes every input and output of the program.",
                remedy="Export the model again.",
            )
        tensors = [inputs[key].tensor(given.get(key), kind) for key, kind in declared.items()]
        values = target.values(tensors, mode=self._mode, state=state)
        pairs = zip(target.code.outputs, values, strict=True)
        return {key: outputs[key].answer(value) for key, value in pairs}

    def _named(self, function: str) -> str:
        return function or next(iter(self.program.functions))
