"""Faults put into a saved program, one operator at a time: what a broken converter might write."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from exporters.mil.evaluation import Program
from exporters.mil.package import Package

from .handmade import MODEL, set_type

Constants = dict[str, Any]  # name -> value in the untouched program
Fault = Callable[[Any, Any, Constants], None]


class Faults:
    """All faults of one package, each written as a package of its own."""

    def __init__(self, package: Path, folder: Path) -> None:
        self._package, self._folder = package, folder
        function = Program(package).function("main")
        self._constants: Constants = dict(function.code.constants)
        self._kinds = [s.operation.name for s in function.code.steps]

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        """Pairs of a kind of fault and the package that has it."""
        for kind, (types, fault) in FAULTS.items():
            for number in range(len(self._kinds)):
                if self._kinds[number] in types:
                    path = self._write(number, fault)
                    if path is not None:
                        yield kind, path

    def _write(self, number: int, fault: Fault) -> Path | None:
        model = Package(self._package).model
        function = model.mlProgram.functions["main"]
        block = function.block_specializations[function.opset]
        operators = [op for op in block.operations if op.type != "const"]
        untouched = operators[number].SerializeToString(deterministic=True)
        fault(block, operators[number], self._constants)
        if operators[number].SerializeToString(deterministic=True) == untouched:
            return None
        fresh = [op for op in block.operations if op.outputs[0].name.startswith("fault_")]
        ordered = fresh + [op for op in block.operations if op not in fresh]
        block_copy = [type(op).FromString(op.SerializeToString()) for op in ordered]
        del block.operations[:]
        block.operations.extend(block_copy)
        path = self._folder / "mutant.mlpackage"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self._package, path)
        (path / "Data" / MODEL).write_bytes(model.SerializeToString())
        return path


def rebind(block: Any, operator: Any, key: str, value: Any) -> None:
    """Let input `key` of `operator` read a new constant: a string, an int list or float array."""
    name = f"fault_{key}"
    const = block.operations.add(type="const")
    output, literal = const.outputs.add(name=name), const.attributes["val"]
    tensor = literal.immediateValue.tensor
    if isinstance(value, str):
        set_type(output.type, "string", [])
        tensor.strings.values.append(value)
    else:
        array = np.asarray(value)
        whole = array.dtype.kind == "i"
        set_type(output.type, "int32" if whole else "fp32", array.shape)
        (tensor.ints if whole else tensor.floats).values.extend(array.flatten().tolist())
    literal.type.CopyFrom(output.type)
    operator.inputs[key].arguments[0].name = name


def read(operator: Any, key: str, constants: Constants) -> Any:
    """The constant an input reads, as numpy, a string, or None if the operator lacks it."""
    if key not in operator.inputs:
        return None
    value = constants[operator.inputs[key].arguments[0].name]
    return value if isinstance(value, str) else value.numpy().copy()


def negate_channel(block: Any, operator: Any, constants: Constants) -> None:
    weight = read(operator, "weight", constants)
    weight[len(weight) // 2] *= -1
    rebind(block, operator, "weight", weight)


def zero_bias(block: Any, operator: Any, constants: Constants) -> None:
    bias = read(operator, "bias", constants)
    if bias is not None:
        rebind(block, operator, "bias", bias * 0)


def shift_padding(block: Any, operator: Any, constants: Constants) -> None:
    pad = read(operator, "pad", constants)
    if pad is not None and pad.any():
        pad[0], pad[1] = pad[0] + 1, pad[1] - 1
        rebind(block, operator, "pad", pad)


def lower_clip(block: Any, operator: Any, constants: Constants) -> None:
    rebind(block, operator, "beta", np.float32(read(operator, "beta", constants) - 0.5))


def swap_type(block: Any, operator: Any, constants: Constants) -> None:
    operator.type = {"add": "mul", "mul": "add"}[operator.type]


def other_axis(block: Any, operator: Any, constants: Constants) -> None:
    axis = int(read(operator, "axis", constants))
    rebind(block, operator, "axis", np.int32(2 if axis != 2 else 1))


def larger_epsilon(block: Any, operator: Any, constants: Constants) -> None:
    rebind(block, operator, "epsilon", np.float32(read(operator, "epsilon", constants) * 100))


def approximate_gelu(block: Any, operator: Any, constants: Constants) -> None:
    rebind(block, operator, "mode", "TANH_APPROXIMATION")


def corners(block: Any, operator: Any, constants: Constants) -> None:
    aligned = block.operations.add(type="const")
    output, literal = aligned.outputs.add(name="fault_corners"), aligned.attributes["val"]
    set_type(output.type, "bool", [])
    literal.immediateValue.tensor.bools.values.append(True)
    literal.type.CopyFrom(output.type)
    operator.inputs["align_corners"].arguments[0].name = "fault_corners"
    if "half_pixel_centers" in operator.inputs:
        del operator.inputs["half_pixel_centers"]


FAULTS: dict[str, tuple[set[str], Fault]] = {
    "conv weight: one channel negated": ({"conv", "conv_transpose"}, negate_channel),
    "linear weight: one row negated": ({"linear"}, negate_channel),
    "bias zeroed": ({"conv", "conv_transpose", "linear"}, zero_bias),
    "padding shifted by one": ({"conv", "max_pool"}, shift_padding),
    "clip maximum 0.5 lower": ({"clip"}, lower_clip),
    "add and mul swapped": ({"add", "mul"}, swap_type),
    "softmax axis": ({"softmax"}, other_axis),
    "bilinear corners aligned": ({"upsample_bilinear"}, corners),
    "batch_norm epsilon x 100": ({"batch_norm"}, larger_epsilon),
    "layer_norm epsilon x 100": ({"layer_norm"}, larger_epsilon),
    "gelu approximated by tanh": ({"gelu"}, approximate_gelu),
}
