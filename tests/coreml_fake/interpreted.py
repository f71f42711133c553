"""Real Core ML files on the stand-in: the reference interpreter of MIL programs does the sums."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from exporters.mil.package import Package
from exporters.mil.runtime import MilRuntime
from headtail.errors import HeadtailError
from headtail.runtimes import Session
from headtail.tensors import TensorSpec
from tests.coreml_fake.framework import CODES
from tests.coreml_fake.packages import feature

__all__ = ["compute", "describe"]

_NAMES = {code: name for name, code in CODES.items()}  # the file uses Apple's constants as well


def describe(path: Path, function: str | None) -> dict[str, Any]:
    """The `describe` callback: what the package says of a function."""
    said = _said(path, function)
    return {
        "inputs": [_feature(one) for one in said.input],
        "outputs": [_feature(one) for one in said.output],
    }


def compute(path: Path, function: str | None, inputs: dict[str, Any]) -> list[Any]:
    """The `compute` callback."""
    said = _said(path, function)
    session = _session(path, said.name)
    try:
        return list(session.run(said.name, [inputs[one.name] for one in said.input]))
    except HeadtailError as error:
        raise OSError(str(error)) from error


@cache
def _said(path: Path, function: str | None) -> Any:
    try:
        description = Package(path).model.description
    except HeadtailError as error:
        raise OSError(str(error)) from error
    wanted = function or description.defaultFunctionName
    for said in description.functions:
        if said.name == wanted:
            return said
    raise OSError(f"The model has no function {wanted}.")


@cache
def _session(path: Path, function: str) -> Session:
    said = _said(path, function)
    entry = (tuple(map(_spec, said.input)), tuple(map(_spec, said.output)))
    return MilRuntime().load(path, entries={function: entry})


def _array_type(one: Any) -> tuple[str, tuple[int, ...]]:
    said = one.type.multiArrayType
    return _NAMES[said.dataType], tuple(said.shape)


def _feature(one: Any) -> dict[str, Any]:
    dtype, shape = _array_type(one)
    return feature(one.name, *shape, dtype=dtype)


def _spec(one: Any) -> TensorSpec:
    dtype, shape = _array_type(one)
    short = {"float32": "f32", "float16": "f16", "float64": "f64", "int32": "i32"}[dtype]
    return TensorSpec(one.name, short, shape)
