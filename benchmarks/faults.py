"""Single-operator faults put into a saved Core ML program: what a broken converter might write.

    for kind, package in Faults(Path("net.mlpackage"), folder, seed=0, per_kind=4):
        ...     # each is the program with one operator changed; the folder is used again

A new constant has the type of the one it replaces, so that no fault gives itself away by that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from exporters.mil.package import Package
from exporters.mil.values import MIL_TYPES, constant, value_type

__all__ = ["FAULTS", "Fault", "Faults", "Site"]

MODEL = Path("Data/com.apple.CoreML/model.mlmodel")
NUMBERS = {kind.name: number for number, kind in MIL_TYPES.items()}
WIDENED = {"fp16": np.float16, "int8": np.int8, "uint8": np.uint8, "uint16": np.uint16}


class Site:
    """One operator of a program: its constants read and replaced, its inputs bound anew."""

    def __init__(self, package: Package, block: Any, place: int) -> None:
        self._package, self._block, self._place = package, block, place
        self.operator = block.operations[place]

    def read(self, key: str) -> Any:
        """The constant that an input reads: an array, a str, or None if it is none."""
        literal = self._literal(key)
        if literal is None:
            return None
        value = constant(literal, self._package)[0]
        return value.numpy().copy() if isinstance(value, torch.Tensor) else value

    def write(self, key: str, value: Any) -> None:
        """Let the input read `value` instead, in the type of what it read, if that is another."""
        binding = self.operator.inputs[key].arguments[0]
        literal = self._literal(key)
        kind = type(literal.type).FromString(literal.type.SerializeToString())
        name = MIL_TYPES[kind.tensorType.dataType].name
        if name in WIDENED and np.array_equal(np.asarray(value, WIDENED[name]), self.read(key)):
            return  # rounded to the same
        binding.ClearField("name")
        binding.value.Clear()
        binding.value.type.CopyFrom(kind)
        tensor = binding.value.immediateValue.tensor
        if isinstance(value, str):
            tensor.strings.values.append(value)
            return
        array = np.asarray(value)
        del binding.value.type.tensorType.dimensions[:]
        for size in array.shape:
            binding.value.type.tensorType.dimensions.add().constant.size = size
        binding.value.type.tensorType.rank = array.ndim
        if name in WIDENED:
            tensor.bytes.values = array.astype(WIDENED[name]).tobytes()
        else:
            fields = {"fp32": tensor.floats, "bool": tensor.bools}
            fields.get(name, tensor.ints).values.extend(array.flatten().tolist())

    def swap(self, key: str, other: str) -> None:
        """Exchange what two inputs read."""
        inputs = self.operator.inputs
        if key in inputs and other in inputs:
            kept = inputs[key].SerializeToString()
            inputs[key].CopyFrom(inputs[other])
            inputs[other].ParseFromString(kept)

    def like(self, key: str) -> list[str]:
        """Names of earlier results of the same type as the one that an input reads."""
        name = self.operator.inputs[key].arguments[0].name
        made: dict[str, str] = {}
        for operator in self._block.operations[: self._place]:
            if operator.type != "const" and not operator.type.startswith("constexpr_"):
                kinds = {o.name: str(value_type(o.type, self._package)) for o in operator.outputs}
                made |= kinds
        return [n for n, kind in made.items() if kind == made.get(name) and n != name]

    def sizes(self, key: str) -> list[int]:
        """The declared shape of what an input reads, however it is made; empty if unknown."""
        name = self.operator.inputs[key].arguments[0].name
        results = (o for operator in self._block.operations for o in operator.outputs)
        kind = next((o.type for o in results if o.name == name), None)
        literal = self._literal(key)
        kind = literal.type if literal is not None else kind
        return [d.constant.size for d in kind.tensorType.dimensions] if kind is not None else []

    def _literal(self, key: str) -> Any:
        if key not in self.operator.inputs or len(self.operator.inputs[key].arguments) != 1:
            return None
        binding = self.operator.inputs[key].arguments[0]
        if binding.WhichOneof("binding") == "value":
            return binding.value
        makers = (o for o in self._block.operations if o.type == "const")
        found = next((o for o in makers if o.outputs[0].name == binding.name), None)
        return found.attributes["val"] if found is not None else None


Fault = Callable[[Site, Random], None]  # one that does not apply changes nothing


def edit(key: str, change: Callable[[Any, Random], Any]) -> Fault:
    """A fault that replaces the constant of one input; `change` may give None."""

    def fault(site: Site, random: Random) -> None:
        value = site.read(key)
        changed = None if value is None else change(value, random)
        if changed is not None:
            site.write(key, changed)

    return fault


def _negate_one(value: Any, random: Random) -> Any:
    """The first axis' slice number n with its sign changed."""
    if value.ndim == 0:
        return -value
    value[random.randrange(len(value))] *= -1
    return value


def _halve_largest(value: Any, random: Random) -> Any:
    flat = value.reshape(-1)
    place = int(np.abs(flat.astype(np.float64)).argmax())
    flat[place] = flat[place] * 0.5
    return flat.reshape(value.shape)


def _exchange(value: Any, random: Random) -> Any:
    """Two slices of the first axis exchanged."""
    if value.ndim == 0 or len(value) < 2:
        return None
    a, b = random.sample(range(len(value)), 2)
    value[[a, b]] = value[[b, a]]
    return value


def _shift_padding(value: Any, random: Random) -> Any:
    if not value.any():
        return None
    value[0], value[1] = value[0] + 1, value[1] - 1
    return value


def _change_strides(site: Site, random: Random) -> None:
    """Not where one pixel is left: there the stride changes nothing."""
    strides = site.read("strides")
    if strides is not None and max(site.sizes("x")[2:], default=2) > 1:
        site.write("strides", strides * 2 if strides.max() == 1 else strides // 2)


def _double_dilations(site: Site, random: Random) -> None:
    """Not of a kernel of one pixel: there the dilation changes nothing."""
    dilations = site.read("dilations")
    if dilations is not None and max(site.sizes("weight")[2:]) > 1:
        site.write("dilations", dilations * 2)


def _permute(value: Any, random: Random) -> Any:
    a, b = random.sample(range(len(value)), 2)
    value[[a, b]] = value[[b, a]]
    return value


def _exchange_values(site: Site, random: Random) -> None:
    arguments = site.operator.inputs["values"].arguments
    if len(arguments) > 1:
        first, second = (arguments[i].SerializeToString() for i in (0, 1))
        arguments[0].ParseFromString(second)
        arguments[1].ParseFromString(first)


def _become(pairs: dict[str, str]) -> Fault:
    def fault(site: Site, random: Random) -> None:
        site.operator.type = pairs[site.operator.type]

    return fault


def _rewire(site: Site, random: Random) -> None:
    keys = [k for k in ("x", "y", "query", "key", "value", "values") if k in site.operator.inputs]
    key = random.choice(keys) if keys else ""
    others = site.like(key) if key else []
    if others:
        site.operator.inputs[key].arguments[0].name = random.choice(others)


def _declare_shape(site: Site, random: Random) -> None:
    dimensions = site.operator.outputs[0].type.tensorType.dimensions
    if dimensions:
        random.choice(list(dimensions)).constant.size += 1


def _declare_dtype(site: Site, random: Random) -> None:
    kind = site.operator.outputs[0].type.tensorType
    other = {"fp32": "fp16", "fp16": "fp32", "int32": "fp32", "bool": "int32"}
    name = MIL_TYPES[kind.dataType].name
    if name in other:
        kind.dataType = NUMBERS[other[name]]


ARITHMETIC = {"add": "mul", "mul": "add", "sub": "add", "real_div": "mul", "maximum": "minimum"}
REDUCTIONS = {"reduce_mean": "reduce_max", "reduce_sum": "reduce_mean", "reduce_max": "reduce_mean"}
ACTIVATIONS = {
    "relu": "tanh", "sigmoid": "tanh", "silu": "sigmoid", "tanh": "sigmoid", "relu6": "relu",
    "exp": "square", "sqrt": "abs", "rsqrt": "inverse", "square": "abs", "softplus": "relu",
}  # fmt: skip
CONVOLUTIONS = {"conv", "conv_transpose"}
WEIGHTED = {*CONVOLUTIONS, "linear"}
NORMS = {"batch_norm", "instance_norm", "layer_norm", "l2_norm"}
WINDOWED = {*CONVOLUTIONS, "avg_pool", "max_pool"}
CURVES = {"elu", "leaky_relu", "linear_activation", "scaled_tanh", "sigmoid_hard"}
CODES = {"constexpr_blockwise_shift_scale"}
SAMPLED = {"upsample_bilinear", "resize_bilinear"}
ALL: set[str] = set()  # any operator that computes

FAULTS: dict[str, tuple[set[str], Fault]] = {
    "weight: a channel negated": (WEIGHTED, edit("weight", _negate_one)),
    "weight: two channels exchanged": (WEIGHTED, edit("weight", _exchange)),
    "weight: one element halved": (WEIGHTED, edit("weight", _halve_largest)),
    "bias: zeroed": (WEIGHTED, edit("bias", lambda v, r: v * 0 if v.any() else None)),
    "bias: one element halved": (WEIGHTED, edit("bias", _halve_largest)),
    "codes: a channel negated": (CODES, edit("data", _negate_one)),
    "codes: two channels exchanged": (CODES, edit("data", _exchange)),
    "scale: one halved": (CODES, edit("scale", _halve_largest)),
    "scale: two exchanged": (CODES, edit("scale", _exchange)),
    "padding: shifted by one": (WINDOWED, edit("pad", _shift_padding)),
    "strides: doubled or halved": (WINDOWED, _change_strides),
    "dilations: doubled": (CONVOLUTIONS, _double_dilations),
    "groups: halved or doubled": (
        CONVOLUTIONS, edit("groups", lambda v, r: v * 2 if v == 1 else v // 2)
    ),
    "clip: maximum 8 % lower": ({"clip"}, edit("beta", lambda v, r: v * 0.92)),
    "clip: minimum higher": ({"clip"}, edit("alpha", lambda v, r: v + 0.1)),
    "activation: constant 5 % off": (
        {*CURVES, "thresholded_relu"},
        edit("alpha", lambda v, r: v * 0.95 if v.any() else v + 0.05),
    ),
    "activation: another one": (set(ACTIVATIONS), _become(ACTIVATIONS)),
    "arithmetic: another operator": (set(ARITHMETIC), _become(ARITHMETIC)),
    "arithmetic: constant 1 % off": (
        {*ARITHMETIC, "pow"}, edit("y", lambda v, r: v * 1.01 if v.dtype.kind == "f" else None)
    ),
    "reduction: another operator": (set(REDUCTIONS), _become(REDUCTIONS)),
    "operands: exchanged": ({"sub", "real_div", "matmul"}, lambda s, r: s.swap("x", "y")),
    "attention: query and key exchanged": (
        {"scaled_dot_product_attention"}, lambda s, r: s.swap("value", "key")
    ),
    "matmul: transposed": ({"matmul"}, edit("transpose_y", lambda v, r: ~v)),
    "axis: another one": (
        {"softmax", "concat", "gather", "split", "stack"},
        edit("axis", lambda v, r: v - 1 if v not in (0,) else v + 1),
    ),
    "axes: another one": (
        {"reduce_mean", "reduce_sum", "reduce_max", "layer_norm"},
        edit("axes", lambda v, r: np.where(v == v.max(), v.max() - 1, v) if v.max() else v + 1),
    ),
    "permutation: two axes exchanged": ({"transpose"}, edit("perm", _permute)),
    "shape: two sizes exchanged": ({"reshape"}, edit("shape", _permute)),
    "slice: begins one later": ({"slice_by_index"}, edit("begin", lambda v, r: v + 1)),
    "order of what is joined": ({"concat", "stack"}, _exchange_values),
    "norm: epsilon x 100": (NORMS, edit("epsilon", lambda v, r: v * 100)),
    "norm: epsilon x 10": (NORMS, edit("epsilon", lambda v, r: v * 10)),
    "norm: a gain negated": (NORMS, edit("gamma", _negate_one)),
    "norm: an offset halved": (NORMS, edit("beta", _halve_largest)),
    "norm: a variance halved": ({"batch_norm"}, edit("variance", _halve_largest)),
    "epsilon of log, rsqrt or inverse x 100": (
        {"log", "rsqrt", "inverse"}, edit("epsilon", lambda v, r: v * 100)
    ),
    "gelu: approximated by tanh": ({"gelu"}, edit("mode", lambda v, r: "TANH_APPROXIMATION")),
    "gelu: approximated by sigmoid": ({"gelu"}, edit("mode", lambda v, r: "SIGMOID_APPROXIMATION")),
    "resize: corners": (SAMPLED, edit("align_corners", lambda v, r: ~v)),
    "resize: sampling mode": (SAMPLED, edit("sampling_mode", lambda v, r: "ALIGN_CORNERS")),
    "resize: factor": (
        {"upsample_bilinear", "upsample_nearest_neighbor"},
        edit("scale_factor_height", lambda v, r: v * 1.02),
    ),
    "another value is read": (ALL, _rewire),
    "declared shape": (ALL, _declare_shape),
    "declared type": (ALL, _declare_dtype),
}  # fmt: skip


class Faults:
    """Up to `per_kind` faults of every kind in the default function of one package."""

    def __init__(self, package: Path, folder: Path, *, seed: int, per_kind: int) -> None:
        self._package, self._folder = package, folder
        self._seed, self._per_kind = seed, per_kind

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        """Pairs of a kind of fault and the package that has it, valid until the next one."""
        whole = Package(self._package)
        kinds = [operator.type for operator in _block(whole).operations]
        for kind, (types, fault) in FAULTS.items():
            random = Random(f"{self._seed} {kind}")
            places = [p for p, t in enumerate(kinds) if t in types or (not types and _computes(t))]
            random.shuffle(places)
            found = 0
            for place in places:
                path = self._write(whole, place, fault, random) if found < self._per_kind else None
                if path is not None:
                    found += 1
                    yield kind, path

    def _write(self, whole: Package, place: int, fault: Fault, random: Random) -> Path | None:
        """The package with the fault, or None where it changes nothing."""
        untouched = whole.model.SerializeToString(deterministic=True)
        fault(Site(whole, _block(whole), place), random)
        changed = whole.model.SerializeToString(deterministic=True)
        whole.model.ParseFromString(untouched)
        if changed == untouched:
            return None
        path = self._folder / "faulty.mlpackage"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(self._package, path, copy_function=os.link)
        (path / MODEL).unlink()
        (path / MODEL).write_bytes(changed)
        return path


def _block(package: Package) -> Any:
    program = package.model.mlProgram
    name = package.model.description.defaultFunctionName or "main"
    function = program.functions[name]
    return function.block_specializations[function.opset]


def _computes(kind: str) -> bool:
    return kind != "const" and not kind.startswith("constexpr_")
