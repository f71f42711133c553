"""MIL lists of tensors: iOS15.control_flow (make_list, list_*).

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
A list is a value: writing gives a new list. An element that was never written reads as zeros.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from exporters.mil.optable import Arguments, operation
from exporters.mil.values import MIL_TYPES, TensorList, Value

MAX_LENGTH = 1 << 24  # a list of more elements is a damaged file
ELEMENT_TYPES = {t.name: t for t in MIL_TYPES.values() if t.name in {"bool", "fp16", "fp32"}} | {
    t.name: t for t in MIL_TYPES.values() if t.name == "int32"
}


@operation(
    "make_list",
    required="elem_shape",
    optional={"init_length": 1, "dynamic_length": True, "dtype": "fp32"},
)
def make_list(a: Arguments) -> TensorList:
    """iOS15.control_flow.make_list; a size given as a word is open."""
    word = a.text("dtype")
    if word not in ELEMENT_TYPES:
        raise ValueError(f"dtype {word!r} is not one of {sorted(ELEMENT_TYPES)}")
    length = a.integer("init_length")
    if not 0 <= length <= MAX_LENGTH:
        raise ValueError(f"a list of {length} elements")
    shape = tuple(size for value in a.values("elem_shape") for size in _sizes(value))
    return TensorList((None,) * length, shape, ELEMENT_TYPES[word], a.flag("dynamic_length"))


def _sizes(value: Value) -> list[int | None]:
    if isinstance(value, str):
        return [None]
    if not isinstance(value, torch.Tensor) or value.is_floating_point():
        raise TypeError("a size of elem_shape is neither an integer nor a word")
    return [int(size) for size in value.flatten().tolist()]


@operation("list_length", required="ls")
def list_length(a: Arguments) -> torch.Tensor:
    """iOS15.control_flow.list_length as int32."""
    return torch.tensor(len(a.tensor_list("ls").items), dtype=torch.int32)


@operation("list_read", required="ls index")
def list_read(a: Arguments) -> torch.Tensor:
    """iOS15.control_flow.list_read."""
    return _read(a.tensor_list("ls"), a.integer("index"))


@operation("list_gather", required="ls indices")
def list_gather(a: Arguments) -> torch.Tensor:
    """iOS15.control_flow.list_gather: the elements stacked along a new first axis."""
    elements, indices = a.tensor_list("ls"), a.integers("indices")
    if not indices:
        shape = [size or 0 for size in elements.shape]
        return torch.zeros([0, *shape], dtype=elements.dtype.carried)
    return torch.stack([_read(elements, index) for index in indices])


@operation("list_write", required="ls index value")
def list_write(a: Arguments) -> TensorList:
    """iOS15.control_flow.list_write; a list of dynamic length grows up to the index."""
    return _written(a.tensor_list("ls"), [a.integer("index")], [a.tensor("value")])


@operation("list_scatter", required="ls indices value")
def list_scatter(a: Arguments) -> TensorList:
    """iOS15.control_flow.list_scatter: value[i] to indices[i], the last of equal ones stays."""
    values, indices = a.tensor("value"), a.integers("indices")
    if values.dim() == 0 or values.shape[0] != len(indices):
        raise ValueError(f"{list(values.shape)} for {len(indices)} indices")
    return _written(a.tensor_list("ls"), indices, list(values.unbind()))


def _read(elements: TensorList, index: int) -> torch.Tensor:
    if not 0 <= index < len(elements.items):
        raise IndexError(f"element {index} of a list of {len(elements.items)}")
    item = elements.items[index]
    if item is not None:
        return item
    known = [size for size in elements.shape if size is not None]
    if len(known) != len(elements.shape):
        raise ValueError(f"element {index} was never written and its shape is open")
    return torch.zeros(known, dtype=elements.dtype.carried)


def _written(elements: TensorList, indices: list[int], values: list[torch.Tensor]) -> TensorList:
    items = list(elements.items)
    for index, value in zip(indices, values, strict=True):
        if not 0 <= index < (MAX_LENGTH if elements.grows else len(items)):
            raise IndexError(f"element {index} of a list of {len(items)}")
        pairs = zip(value.shape, elements.shape, strict=False)
        fits = value.dim() == len(elements.shape) and all(w in {None, g} for g, w in pairs)
        if not fits or value.dtype != elements.dtype.carried:
            raise ValueError(
                f"{value.dtype}{list(value.shape)} is not an element of a list of "
                f"{elements.dtype.name}{list(elements.shape)}"
            )
        items.extend([None] * (index + 1 - len(items)))
        items[index] = value
    return replace(elements, items=tuple(items))
