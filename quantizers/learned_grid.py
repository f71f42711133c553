"""A weight on its grid as tensors that gradients can move: codes, scales and tables.

Codes are rounded on the way forward and left alone on the way back (straight-through estimator,
https://arxiv.org/abs/1308.3432); a scale is learned as in LSQ, https://arxiv.org/abs/1902.08153,
but by its logarithm, so that it stays positive. Latent codes count in steps of the grid, or in
places of the table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from quantizers.plan import Grid

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LearnedGrid"]

# Of a step: how near to the next code a latent one may begin. The code is the solver's; the rest
# says on which side of it the original weight lies.
_NEAR = 0.4


@dataclass(frozen=True)
class LearnedGrid:
    """`latent`: codes with fractions; `gain`: logarithm of the factor on every scale; `table`: of
    a palette. Leaves, those without gradients stay; empty where the grid has no such part."""

    start: Grid
    latent: Tensor
    gain: Tensor
    table: Tensor

    @classmethod
    def of(cls, grid: Grid, weight: Tensor, *, codes: bool) -> LearnedGrid:
        """At `grid`, whose values are the first ones; `weight` is the original, float32.

        Without `codes` they stay, and only scales and tables are learned.
        """
        import torch

        scale, table = torch.from_numpy(grid.scale), torch.from_numpy(grid.table.copy())
        latent = torch.from_numpy(grid.levels).to(torch.float32)
        even = weight / _wide(scale, grid) if scale.numel() else weight
        if codes:
            away = _places(even, latent, table) if grid.storage.palette else even - latent
            latent += away.clamp(-_NEAR, _NEAR)
        if latent.ndim == 4:
            latent = latent.contiguous(memory_format=torch.channels_last)
        gain = torch.zeros_like(scale)
        return cls(
            grid,
            latent.requires_grad_(codes),
            gain.requires_grad_(bool(gain.numel())),
            table.requires_grad_(bool(table.numel())),
        )

    def value(self) -> Tensor:
        """The weight, rounded, with its gradients."""
        import torch

        codes = torch.fake_quantize_per_tensor_affine(self.latent, 1.0, 0, *self._limits)
        if self.start.storage.palette:
            codes = _looked_up(codes, self.table)
        return codes * _wide(self._scale(), self.start) if self.gain.numel() else codes

    def grid(self) -> Grid:
        """What the values are now, to be stored; a table is in ascending order again."""
        import torch

        with torch.no_grad():
            codes = self.latent.round().clamp(*self._limits).contiguous()
            scale = self._scale().numpy() if self.gain.numel() else self.start.scale
            table = self.table
            if self.start.storage.palette:
                table, order = self.table.sort(-1)
                rows = codes.reshape(len(table), -1).to(torch.int64)
                codes = order.argsort(-1).gather(1, rows).reshape(codes.shape)
        dtype = self.start.levels.dtype
        return replace(
            self.start, levels=codes.numpy().astype(dtype), scale=scale, table=table.numpy()
        )

    @property
    def _limits(self) -> tuple[int, int]:
        bits = self.start.storage.bits
        if self.start.storage.palette:
            return 0, (1 << bits) - 1
        top = (1 << (bits - 1)) - 1
        return -top, top

    def _scale(self) -> Tensor:
        import torch

        return torch.from_numpy(self.start.scale) * self.gain.exp()


def _wide(scale: Tensor, grid: Grid) -> Tensor:
    """A scale for every element, or one that broadcasts."""
    block = grid.storage.block
    return scale.repeat_interleave(block, 1) if block else scale


def _rows(codes: Tensor, table: Tensor) -> Any:
    """Places in the table, (groups, elements)."""
    import torch

    return codes.detach().contiguous().reshape(len(table), -1).to(torch.int64)


def _looked_up(codes: Tensor, table: Tensor) -> Tensor:
    """Entries at these places; straight through to the places by how far apart entries are."""
    rows = _rows(codes, table)
    entries = table.gather(1, rows).reshape(codes.shape)
    slope = _spacing(rows, table.detach()).reshape(codes.shape)
    return entries + slope * (codes - codes.detach())


def _spacing(rows: Tensor, table: Tensor) -> Tensor:
    """Mean distance of entries to their neighbours."""
    last = table.shape[1] - 1
    low, high = (rows - 1).clamp_min(0), (rows + 1).clamp_max(last)
    found: Tensor = (table.gather(1, high) - table.gather(1, low)) / (high - low)
    return found


def _places(even: Tensor, codes: Tensor, table: Tensor) -> Tensor:
    """How many places away from `codes` a value is."""
    rows = _rows(codes, table)
    away = even.contiguous().reshape(rows.shape) - table.detach().gather(1, rows)
    return (away / _spacing(rows, table.detach()).clamp_min(1e-12)).reshape(even.shape)
