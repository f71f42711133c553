"""MIL scattering: iOS15 and iOS17.scatter_gather.scatter*.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
Where an element is addressed several times the updates are applied one after the other, in the
order they have in `updates`. Indices are those of `ops_gather`. The pages say in one place that
`mode` of scatter defaults to `update`; the definition they are made from, and so this, has `add`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from exporters.mil.ops_gather import checked
from exporters.mil.optable import Arguments, Default, operation

Array = npt.NDArray[Any]
SCATTER: dict[str, Default] = {"axis": 0, "mode": "add", "validate_indices": False}


def _divide(data: Array, index: tuple[Array, ...], updates: Array) -> None:
    """Quotients of integers drop the fraction, as `real_div` does here."""
    if data.dtype.kind == "f":
        np.divide.at(data, index, updates)
        return
    exact = data.astype(np.float64)
    np.divide.at(exact, index, updates)
    data[...] = np.trunc(exact)


def _update(data: Array, index: tuple[Array, ...], updates: Array) -> None:
    data[index] = updates


MODES: dict[str, Callable[[Array, tuple[Array, ...], Array], None]] = {
    "add": np.add.at,
    "div": _divide,
    "max": np.maximum.at,
    "min": np.minimum.at,
    "mul": np.multiply.at,
    "sub": np.subtract.at,
    "update": _update,
}


def _scattered(a: Arguments, index: tuple[torch.Tensor, ...], updates: torch.Tensor) -> Array:
    mode = a.text("mode")
    if mode not in MODES:
        raise ValueError(f"mode {mode!r} is not one of {sorted(MODES)}")
    data: Array = a.tensor("data").numpy().copy()
    MODES[mode](data, tuple(i.numpy() for i in index), updates.numpy())
    return data


@operation("scatter", required="data indices updates", optional=SCATTER)
def scatter(a: Arguments) -> torch.Tensor:
    """iOS17.scatter_gather.scatter of slices: data.shape[:axis] + indices.shape + the rest."""
    data, updates = a.tensor("data"), a.tensor("updates")
    axis = a.integer("axis") % data.dim()
    indices = checked(a.tensor("indices"), data.shape[axis], a.opset)
    shape = [*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]]
    if list(updates.shape) != shape:
        raise ValueError(f"updates {list(updates.shape)} are not {shape}")
    flat = updates.reshape(*data.shape[:axis], indices.numel(), *data.shape[axis + 1 :])
    before = [torch.arange(size) for size in data.shape[:axis]]
    after = [torch.arange(size) for size in data.shape[axis + 1 :]]
    index = torch.meshgrid(*before, indices.flatten(), *after, indexing="ij")
    return torch.from_numpy(_scattered(a, index, flat))


@operation("scatter_along_axis", required="data indices updates", optional=SCATTER)
def scatter_along_axis(a: Arguments) -> torch.Tensor:
    """iOS17.scatter_gather.scatter_along_axis: the inverse addressing of gather_along_axis."""
    data, axis = a.tensor("data"), a.integer("axis")
    indices = checked(a.tensor("indices"), data.shape[axis], a.opset)
    index = list(torch.meshgrid(*map(torch.arange, indices.shape), indexing="ij"))
    index[axis] = indices
    return torch.from_numpy(_scattered(a, tuple(index), a.tensor("updates")))


@operation(
    "scatter_nd",
    required="data indices updates",
    optional={"mode": "add", "validate_indices": False},
)
def scatter_nd(a: Arguments) -> torch.Tensor:
    """iOS17.scatter_gather.scatter_nd: the last axis of indices addresses axes of data."""
    data, indices = a.tensor("data"), a.tensor("indices")
    addressed = torch.tensor(data.shape[: indices.shape[-1]])
    index = checked(indices, addressed, a.opset).unbind(-1)
    return torch.from_numpy(_scattered(a, index, a.tensor("updates")))
