"""MIL operators that work element by element: iOS15.elementwise_unary, .elementwise_binary, cast.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
Binary operators broadcast as numpy does and never mix integers, floats and bools.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from exporters.mil.optable import Arguments, operation

# iOS15.elementwise_unary: results in the type of x, no attribute.
UNARY: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "abs": torch.abs,
    "acos": torch.acos,
    "asin": torch.asin,
    "atan": torch.atan,
    "atanh": torch.atanh,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "cosh": torch.cosh,
    "erf": torch.erf,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "floor": torch.floor,
    "identity": torch.clone,
    "logical_not": torch.logical_not,
    "round": torch.round,  # halves to even
    "sign": lambda x: torch.where(x.isnan(), x, torch.sign(x)),  # NaN stays NaN
    "sin": torch.sin,
    "sinh": torch.sinh,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tan": torch.tan,
    "tanh": torch.tanh,
}


def _quotient(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Of integers the fraction is dropped: the result is declared as an integer."""
    return torch.div(x, y, rounding_mode=None if x.is_floating_point() else "trunc")


# iOS15.elementwise_binary: (x, y). mod and floor_div round towards minus infinity.
BINARY: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "add": torch.add,
    "equal": torch.eq,
    "floor_div": torch.floor_divide,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "mod": torch.remainder,
    "mul": torch.mul,
    "not_equal": torch.ne,
    "pow": torch.pow,
    "real_div": _quotient,
    "sub": torch.sub,
}

# The words `cast` and `constexpr_cast` know, and how such values are carried.
CAST_TYPES = {
    "fp16": torch.float32,  # rounded afterwards, to the declared type of the result
    "fp32": torch.float32,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "uint8": torch.uint8,
    "uint16": torch.int32,
    "bool": torch.bool,
}


UINT16_MASK = 0xFFFF


def _register_unary(name: str, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    @operation(name, required="x")
    def unary(a: Arguments) -> torch.Tensor:
        return function(a.tensor("x"))


def _register_binary(
    name: str, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> None:
    @operation(name, required="x y")
    def binary(a: Arguments) -> torch.Tensor:
        x, y = a.tensor("x"), a.tensor("y")
        if x.dtype != y.dtype and (x.is_floating_point() or y.is_floating_point()):
            raise TypeError(f"x is {x.dtype} and y is {y.dtype}")
        return function(x, y)


for _name, _unary in UNARY.items():
    _register_unary(_name, _unary)
for _name, _binary in BINARY.items():
    _register_binary(_name, _binary)


@operation("log", required="x", optional={"epsilon": 1e-45})
def log(a: Arguments) -> torch.Tensor:
    """iOS15.elementwise_unary.log: log(x + epsilon)."""
    return torch.log(a.tensor("x") + a.number("epsilon"))


@operation("rsqrt", required="x", optional={"epsilon": 1e-12})
def rsqrt(a: Arguments) -> torch.Tensor:
    """iOS15.elementwise_unary.rsqrt: 1 / sqrt(x + epsilon)."""
    return torch.rsqrt(a.tensor("x") + a.number("epsilon"))


@operation("inverse", required="x", optional={"epsilon": 1e-4})
def inverse(a: Arguments) -> torch.Tensor:
    """iOS15.elementwise_unary.inverse: 1 / (x + epsilon)."""
    return torch.reciprocal(a.tensor("x") + a.number("epsilon"))


@operation("clip", required="x alpha beta")
def clip(a: Arguments) -> torch.Tensor:
    """iOS15.elementwise_unary.clip: into [alpha, beta]."""
    return a.tensor("x").clamp(a.number("alpha"), a.number("beta"))


@operation("threshold", required="x alpha")
def threshold(a: Arguments) -> torch.Tensor:
    """iOS15.elementwise_unary.threshold: max(x, alpha)."""
    return torch.maximum(a.tensor("x"), a.tensor("alpha"))


@operation("cast", required="x dtype")
def cast(a: Arguments) -> torch.Tensor:
    """iOS17.elementwise_unary.cast: floats become integers by dropping the fraction."""
    word = a.text("dtype")
    if word not in CAST_TYPES:
        raise ValueError(f"dtype {word!r} is not one of {sorted(CAST_TYPES)}")
    x, carried = a.tensor("x"), CAST_TYPES[word]
    if carried in {torch.int8, torch.uint8, torch.int16}:
        x = x.to(torch.int64)  # a float out of range then wraps round as an integer does
    return x.to(torch.int64) & UINT16_MASK if word == "uint16" else x.to(carried)


@operation("select", required="cond a b")
def select(a: Arguments) -> torch.Tensor:
    """iOS15.control_flow.select: a where cond, else b."""
    return torch.where(a.tensor("cond"), a.tensor("a"), a.tensor("b"))
