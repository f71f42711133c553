"""Holding a computed value against its declared type, and rounding it to that type."""

from __future__ import annotations

import torch

from exporters.mil.values import (
    DictionaryType,
    ListType,
    MilType,
    StateCell,
    TensorList,
    TensorType,
    Value,
    ValueType,
)

__all__ = ["described", "fits", "is_a", "rounded"]

FLOAT16_BITS = 16
# Integer results have this type unless an operator makes a narrower one on purpose.
WIDE = frozenset({torch.int32, torch.int64})


def is_a(value: Value, declared: ValueType) -> bool:
    """Is `value`, which is no tensor, of the declared type?"""
    if isinstance(declared, ListType):
        return (
            isinstance(value, TensorList)
            and value.dtype == declared.element.dtype
            and _compatible(value.shape, declared.element)
        )
    if isinstance(declared, DictionaryType):
        wanted = str if declared.key == "string" else int
        return isinstance(value, dict) and all(isinstance(key, wanted) for key in value)
    return isinstance(value, StateCell)


def _compatible(shape: tuple[int | None, ...], declared: TensorType) -> bool:
    """Can elements of `shape`, where None is any size, be what is declared?"""
    if declared.shape is None:
        return True
    pairs = zip(shape, declared.shape, strict=False)
    return len(shape) == len(declared.shape) and all(None in p or p[0] == p[1] for p in pairs)


def fits(tensor: torch.Tensor, declared: TensorType) -> bool:
    """Shape and category, and the width of integers that are narrow on purpose."""
    dtype = tensor.dtype
    if _category(tensor) != declared.dtype.category or not declared.accepts(tuple(tensor.shape)):
        return False
    return declared.dtype.category != "int" or dtype in WIDE or dtype == declared.dtype.carried


def described(tensor: torch.Tensor, declared: TensorType) -> str:
    """What an error calls `tensor`: category and shape, or the dtype where only that differs."""
    category, shape = _category(tensor), tuple(tensor.shape)
    if category == "int" == declared.dtype.category and declared.accepts(shape):
        category = str(tensor.dtype).removeprefix("torch.")
    return f"{category}{list(shape)}"


def rounded(tensor: torch.Tensor, declared: MilType, rounds: bool) -> torch.Tensor:
    """`tensor` as values of the declared type are carried."""
    assert declared.carried is not None
    if rounds and declared.category == "float" and declared.bits == FLOAT16_BITS:
        tensor = tensor.to(torch.float16)
    return tensor.to(declared.carried)


def _category(tensor: torch.Tensor) -> str:
    dtype = tensor.dtype
    if dtype.is_floating_point:
        return "float"
    return "bool" if dtype == torch.bool else "int"
