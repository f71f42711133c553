"""Many operators in one package: written with coremltools' builder, saved, read from disk.

No pass of coremltools runs on them (`PassPipeline.EMPTY`) and their data are inputs, not
constants, so nothing is folded or rewritten before it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from exporters.mil import Mode, Program

from .conftest import quiet

Array = Any  # a numpy array
# What Core ML takes and gives; other types are cast from and to int32 inside the program.
PORTS = {"float32", "int32"}
NAMES = {"float32": "fp32", "float16": "fp16"}


@dataclass(frozen=True)
class Case:
    """One operator on data. `build(mb, *variables)` calls it; `expect(*arrays)` is the oracle."""

    name: str
    inputs: Sequence[Array]
    build: Callable[..., Any]
    expect: Callable[..., Any]
    rtol: float = 1e-5
    atol: float = 1e-6

    def expected(self, *, half: bool) -> list[Array]:
        """The oracle's results, of inputs rounded to float16 if `half`."""
        given = [rounded(x) if half else x for x in self.inputs]
        results = self.expect(*given)
        return [
            np.asarray(r) for r in (results if isinstance(results, tuple | list) else [results])
        ]


def rounded(x: Array) -> Array:
    """Floats as float16 holds them."""
    return x.astype(np.float16).astype(np.float32) if x.dtype == np.float32 else x


def write(cases: Sequence[Case], target: str, path: Path, *, half: bool = False) -> Path:
    """One package with the results of all cases in turn; floats are float16 inside if `half`."""
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb  # noqa: N813 - its own examples' name
    from coremltools.converters.mil import mil
    from coremltools.converters.mil.mil import types

    kinds = {"float32": types.fp32, "int32": types.int32}
    ports = {
        f"i{n}_{k}": mb.placeholder(x.shape, kinds[port(x)])
        for n, case in enumerate(cases)
        for k, x in enumerate(case.inputs)
    }
    program = mil.Program()
    with quiet(), mil.Function(ports, opset_version=getattr(ct.target, target)) as function:
        outputs = []
        for n, case in enumerate(cases):
            variables = [
                inner(mb, function.inputs[f"i{n}_{k}"], x, half=half)
                for k, x in enumerate(case.inputs)
            ]
            made = case.build(mb, *variables)
            for j, var in enumerate(made if isinstance(made, tuple | list) else [made]):
                outputs.append(outer(mb, var, f"o{n}_{j}"))
        function.set_outputs(outputs)
        program.add_function("main", function)
    with quiet():
        model = ct.convert(
            program,
            source="milinternal",
            convert_to="mlprogram",
            minimum_deployment_target=getattr(ct.target, target),
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )
        model.save(str(path))
    return path


def port(x: Array) -> str:
    """The type of the model's own input for `x`."""
    return x.dtype.name if x.dtype.name in PORTS else "int32"


def inner(mb: Any, variable: Any, x: Array, *, half: bool) -> Any:
    """The input as the type that the operator gets."""
    wanted = "float16" if half and x.dtype == np.float32 else x.dtype.name
    if wanted == port(x):
        return variable
    return mb.cast(x=variable, dtype=NAMES.get(wanted, wanted))


def outer(mb: Any, variable: Any, name: str) -> Any:
    """The result as a model may give it."""
    from coremltools.converters.mil.mil import types

    kind = types.builtin_to_string(variable.dtype)
    port_type = "fp32" if kind in {"fp16", "fp32"} else "int32"
    if kind == port_type:
        return mb.identity(x=variable, name=name)
    return mb.cast(x=variable, dtype=port_type, name=name)


def results(path: Path, cases: Sequence[Case], mode: Mode) -> dict[str, list[Array]]:
    """case -> what the interpreter computes from the package on disk."""
    function = Program(path).function("main")
    given = [torch.from_numpy(feed(x)) for case in cases for x in case.inputs]
    got: dict[str, list[Array]] = {case.name: [] for case in cases}
    names = [case.name for case in cases]
    computed = function.run(given, mode=mode)
    for output, value in zip(function.code.outputs, computed, strict=True):
        got[names[int(output[1:].split("_")[0])]].append(value.numpy())
    return got


def feed(x: Array) -> Array:
    """The array as the model's own input takes it."""
    return np.ascontiguousarray(x.astype(port(x)))


def same(got: Array, wanted: Array, case: Case, *, half: bool) -> None:
    """Compare values and shape; NaN equals NaN and an infinity itself."""
    wanted = wanted.astype(np.float64 if wanted.dtype.kind == "f" else np.int64)
    assert got.shape == wanted.shape
    rtol, atol = (4e-3, 2e-3) if half else (0.0, 0.0)
    np.testing.assert_allclose(got, wanted, rtol=max(case.rtol, rtol), atol=max(case.atol, atol))
