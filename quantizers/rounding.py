"""A weight matrix onto its grid, with the least error in what it computes.

For one operator y = W x the squared error of the output over the calibration inputs is
sum_o e_o^T H e_o with e = W - Wq and H = sum x x^T. `scales` chooses a scale for every output
channel (or block of it) by that error; `path_following` rounds column by column and lets those
still to come make up for each error (GPTQ, https://arxiv.org/abs/2210.17323, after OBQ,
https://arxiv.org/abs/2208.11580). Nothing here needs labels or gradients.

Matrices: W (groups, outputs, columns) and H (groups, columns, columns), float64; a group is that of
a grouped convolution, a column one input of the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Codes", "Levels", "Palette", "nearest", "path_following", "scales"]

# Candidates for a scale, as parts of the one that reaches the largest weight.
_FINE = (0.90, 1.02, 41)  # 8 bits: hardly clipped, but the grid may shift under small kernels
_COARSE = (0.45, 1.05, 41)  # 4 bits and less: clipping pays
_BLOCK = 128  # columns rounded before the others are updated at once
_EXACT_COLUMNS = 640  # up to here scales are chosen by all of H, beyond by its diagonal


class Codes(Protocol):
    """What a weight can be stored as: codes, and what each stands for."""

    def of(self, values: Tensor, column: int) -> Tensor:
        """Nearest codes of (groups, outputs), which stand in that column of the matrix."""

    def value(self, codes: Tensor, column: int) -> Tensor:
        """What the codes stand for."""


@dataclass(frozen=True)
class Levels:
    """Integers of `bits` bits, symmetric, times a scale (groups, outputs, columns or 1)."""

    scale: Tensor
    bits: int

    @property
    def top(self) -> int:
        """The largest level."""
        return (1 << (self.bits - 1)) - 1

    def at(self, column: int) -> Tensor:
        """Scales (groups, outputs) of a column."""
        return self.scale[..., column if self.scale.shape[-1] > 1 else 0]

    def of(self, values: Tensor, column: int) -> Tensor:
        """Nearest levels."""
        return (values / self.at(column)).round().clamp(-self.top, self.top)

    def value(self, codes: Tensor, column: int) -> Tensor:
        """Level times scale."""
        return codes * self.at(column)


@dataclass(frozen=True)
class Palette:
    """Indices into ascending values: `table` (groups, outputs, entries), the row of each output."""

    table: Tensor

    def of(self, values: Tensor, column: int) -> Tensor:
        """Indices of the nearest entries."""
        import torch

        bounds = (self.table[..., 1:] + self.table[..., :-1]) / 2
        return torch.searchsorted(bounds, values[..., None].contiguous())[..., 0].to(values.dtype)

    def value(self, codes: Tensor, column: int) -> Tensor:
        """Entries at these indices."""
        return self.table.gather(-1, codes.long()[..., None])[..., 0]


def scales(
    weight: Tensor, gram: Tensor, bits: int, *, blocks: int = 1, search: bool = True
) -> Tensor:
    """Scale (groups, outputs, blocks): the candidate with the least output error for each.

    `blocks` equal parts of the columns have scales of their own. Without `search`: the one that
    reaches the largest weight.
    """
    import torch

    groups, outputs, columns = weight.shape
    parts = weight.reshape(groups, outputs, blocks, columns // blocks)
    top = (1 << (bits - 1)) - 1
    largest = parts.abs().amax(-1)
    base = torch.where(largest > 0, largest, torch.ones_like(largest)) / top
    if not search:
        return base
    low, high, count = _FINE if bits >= 8 else _COARSE
    best, least = base.clone(), torch.full_like(base, torch.inf)
    for ratio in torch.linspace(low, high, count).tolist():
        scale = base * ratio
        error = (parts / scale[..., None]).round().clamp(-top, top) * scale[..., None] - parts
        cost = _cost(error, gram, blocks)
        better = cost < least
        best, least = torch.where(better, scale, best), torch.where(better, cost, least)
    return best


def _cost(error: Tensor, gram: Tensor, blocks: int) -> Tensor:
    """Output error of (groups, outputs, blocks, columns), each block as if alone."""
    import torch

    found: Tensor
    columns = gram.shape[-1]
    if columns > _EXACT_COLUMNS:
        weights = torch.diagonal(gram, dim1=1, dim2=2).reshape(gram.shape[0], 1, blocks, -1)
        found = (error.square() * weights).sum(-1)
        return found
    size = columns // blocks
    inner = torch.stack(
        [gram[:, i * size : (i + 1) * size, i * size : (i + 1) * size] for i in range(blocks)], 1
    )
    found = (torch.einsum("gobc,gbcd->gobd", error, inner) * error).sum(-1)
    return found


def nearest(weight: Tensor, codes: Codes) -> Tensor:
    """Each weight's nearest code."""
    import torch

    return torch.stack([codes.of(weight[..., c], c) for c in range(weight.shape[-1])], -1)


def path_following(weight: Tensor, gram: Tensor, codes: Codes) -> Tensor:
    """Codes by GPTQ: the error of each column is made up for by those after it.

    Columns go from the one whose input has the most power to the least, so that the errors that
    nothing makes up for are the cheapest.
    """
    import torch

    columns = weight.shape[-1]
    order = torch.diagonal(gram, dim1=1, dim2=2).sum(0).argsort(descending=True)
    left = weight[..., order]
    factor = _factor(gram[:, order][:, :, order])
    chosen = torch.zeros_like(weight)
    for start in range(0, columns, _BLOCK):
        stop = min(start + _BLOCK, columns)
        errors = torch.zeros_like(left[..., start:stop])
        for column in range(start, stop):
            own = int(order[column])
            chosen[..., own] = codes.of(left[..., column], own)
            value = codes.value(chosen[..., own], own)
            error = (left[..., column] - value) / factor[:, column, column, None]
            errors[..., column - start] = error
            row = factor[:, None, column, column + 1 : stop]
            left[..., column + 1 : stop] -= error[..., None] * row
        left[..., stop:] -= errors @ factor[:, start:stop, stop:]
    return chosen


def _factor(gram: Tensor) -> Tensor:
    """Upper Cholesky factor of the inverse of H, per group."""
    import torch

    diagonal = torch.diagonal(gram, dim1=1, dim2=2)
    # an input that is always zero says nothing: its weights are rounded to the nearest
    damped = gram + torch.diag_embed(torch.where(diagonal == 0, 1.0, 0.0))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor
