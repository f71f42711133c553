"""Elementwise and activation operators, for packages built by `building`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .building import Array, Case
from .built_gather import floats, ints

EDGES = np.array([-np.inf, -70000, -3.5, -2.5, -1, -0.5, -0.0, 0, 0.5, 1.5, 2, 9e4, np.inf, np.nan])
EDGES = EDGES.astype(np.float32)
SHAPES = [(6,), (2, 3), (2, 1, 4), (1, 2, 3, 2), (2, 1, 2, 1, 3)]
ERF = np.vectorize(math.erf, otypes=[np.float64])
SAFE = np.linspace(-0.95, 0.95, 12, dtype=np.float32)
Oracle = Callable[..., Array]

# Operators on the whole line, edges included, and those that are tried on [-0.95, 0.95].
EVERYWHERE: dict[str, Oracle] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "round": np.rint,
    "sign": np.sign,
    "square": np.square,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "atan": np.arctan,
    "relu6": lambda x: np.clip(x, 0, 6),
    "exp": np.exp,
    "exp2": np.exp2,
    "identity": lambda x: x,
}
INSIDE: dict[str, Oracle] = {
    "acos": np.arccos,
    "asin": np.arcsin,
    "atanh": np.arctanh,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": ERF,
    "sin": np.sin,
    "sinh": np.sinh,
    "tan": np.tan,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "gelu": lambda x: x * 0.5 * (1 + ERF(x / math.sqrt(2))),
}
WITH_NUMBERS: list[tuple[str, dict[str, float], Oracle]] = [
    ("clip", {"alpha": -1.0, "beta": 2.5}, lambda x: np.clip(x, -1, 2.5)),
    ("threshold", {"alpha": 0.25}, lambda x: np.maximum(x, 0.25)),
    ("thresholded_relu", {"alpha": 0.5}, lambda x: np.where(x >= 0.5, x, 0)),
    ("leaky_relu", {"alpha": 0.25}, lambda x: np.where(x >= 0, x, 0.25 * x)),
    (
        "clamped_relu",
        {"alpha": 0.25, "beta": 1.0},
        lambda x: np.minimum(np.where(x >= 0, x, 0.25 * x), 1),
    ),
    ("elu", {"alpha": 0.5}, lambda x: np.where(x >= 0, x, 0.5 * np.expm1(np.minimum(x, 0)))),
    ("linear_activation", {"alpha": 0.5, "beta": -2.0}, lambda x: 0.5 * x - 2),
    ("scaled_tanh", {"alpha": 2.0, "beta": 0.5}, lambda x: 2 * np.tanh(0.5 * x)),
    ("sigmoid_hard", {"alpha": 0.25, "beta": 0.5}, lambda x: np.clip(0.25 * x + 0.5, 0, 1)),
]
ARITHMETIC: dict[str, Oracle] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "floor_div": np.floor_divide,
    "mod": np.mod,
}
COMPARISON: dict[str, Oracle] = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "greater": np.greater,
    "less_equal": np.less_equal,
    "greater_equal": np.greater_equal,
}
LOGIC: dict[str, Oracle] = {
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}


def apply(op: str, **fixed: Any) -> Callable[..., Any]:
    """A builder of an operator with one tensor."""
    return lambda mb, x: getattr(mb, op)(x=x, **fixed)


def apply_two(op: str) -> Callable[..., Any]:
    """A builder of an operator with two tensors."""
    return lambda mb, x, y: getattr(mb, op)(x=x, y=y)


def quiet(function: Oracle) -> Oracle:
    """Edges overflow, on purpose."""

    def run(*arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            return function(*arrays)

    return run


def unary() -> list[Case]:
    """Every value that may go wrong, every rank from 1 to 5."""
    cases = [Case(f"{op}-edges", (EDGES,), apply(op), quiet(f)) for op, f in EVERYWHERE.items()]
    cases += [Case(op, (SAFE,), apply(op), f) for op, f in INSIDE.items()]
    cases += [
        Case(f"{op}-numbers", (EDGES,), apply(op, **n), quiet(f)) for op, n, f in WITH_NUMBERS
    ]
    for op, shape in itertools.product(("abs", "exp", "relu", "sign"), SHAPES):
        cases.append(Case(f"{op}-{shape}", (floats(*shape) / 8,), apply(op), EVERYWHERE[op]))
    for op in ("abs", "sign", "square"):
        cases.append(Case(f"{op}-int", (ints(9, 5, low=-9),), apply(op), EVERYWHERE[op]))
    cases += [
        Case(
            "threshold-int",
            (ints(9, 5, low=-9),),
            apply("threshold", alpha=np.int32(2)),
            lambda x: np.maximum(x, 2),
        ),
        Case("logical_not", (ints(2, 5).astype(bool),), apply("logical_not"), np.logical_not),
        Case("sqrt", (np.abs(SAFE),), apply("sqrt"), np.sqrt),
        Case("log", (np.abs(SAFE),), apply("log", epsilon=0.5), lambda x: np.log(x + 0.5)),
        Case("rsqrt", (np.abs(SAFE),), apply("rsqrt", epsilon=0.5), lambda x: 1 / np.sqrt(x + 0.5)),
        Case("inverse", (np.abs(SAFE),), apply("inverse"), lambda x: 1 / (x + 1e-4)),
    ]
    return cases


def binary() -> list[Case]:
    """Broadcasting at every rank, integers of both signs, comparison and logic."""
    cases = []
    for shape, other in [
        ((6,), (1,)),
        ((2, 3), (3,)),
        ((2, 1, 4), (3, 1)),
        ((1, 2, 3, 2), (2, 1, 2)),
    ]:
        for op, f in {**ARITHMETIC, **COMPARISON}.items():
            cases.append(Case(f"{op}-{shape}", (floats(*shape), floats(*other)), apply_two(op), f))
        for op, f in {**ARITHMETIC, **COMPARISON}.items():
            pair = (ints(9, *shape, low=-9), ints(5, *other, low=1) * -1)
            cases.append(Case(f"{op}-{shape}-int", pair, apply_two(op), f))
        for op, f in LOGIC.items():
            flags = (ints(2, *shape).astype(bool), ints(2, *other).astype(bool))
            cases.append(Case(f"{op}-{shape}", flags, apply_two(op), f))
    x, y = ints(40, 12, low=-40), ints(7, 12, low=1) * np.array([1, -1] * 6, np.int32)
    cases += [
        Case("real_div", (floats(2, 3), floats(3)), apply_two("real_div"), np.divide),
        Case(
            "real_div-int", (x, y), apply_two("real_div"), lambda x, y: np.trunc(x / y).astype(int)
        ),
        Case("pow", (np.abs(SAFE), SAFE), apply_two("pow"), np.power),
        Case("pow-int", (ints(5, 6), ints(4, 6)), apply_two("pow"), np.power),
        Case("maximum-nan", (EDGES, EDGES[::-1].copy()), apply_two("maximum"), np.maximum),
        Case(
            "select",
            (ints(2, 2, 3).astype(bool), floats(2, 3), floats(2, 3)),
            lambda mb, c, a, b: mb.select(cond=c, a=a, b=b),
            np.where,
        ),
    ]
    return cases


def casting() -> list[Case]:
    """From each type of the opset to each."""
    kinds = ("float32", "int32", "bool", "float16", "int8", "uint8", "int16", "uint16")
    words = {"float32": "fp32", "float16": "fp16"}
    cases = []
    for source, target in itertools.product(kinds, kinds):
        data = np.array([0, 1, 2, 5, 100]).astype(source)
        if source == "float32":
            data = data + np.float32(0.75)
        cases.append(
            Case(
                f"{source}-{target}",
                (data,),
                lambda mb, x, t=target: mb.cast(x=x, dtype=words.get(t, t)),
                lambda x, t=target: x.astype(t).astype(np.float32 if t == "float16" else t),
                rtol=1e-3,
            )
        )
    return cases
