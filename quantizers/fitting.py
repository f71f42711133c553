"""One layer's weight fitted to its grid, given the inputs that the layer will see."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headtail.tensors import Array
from quantizers import rounding
from quantizers.palette import fit_scaled_palette
from quantizers.plan import Grid
from quantizers.recipe import Storage
from quantizers.sites import Site

if TYPE_CHECKING:
    from torch import Tensor, fx

__all__ = ["Methods", "fitted"]

# Rows of inputs that H is summed over: enough for its rank, and no more than a minute of work.
_ROWS = 16384
_ROWS_PER_COLUMN = 4
_SEED = 0
# Of the mean power of a layer's inputs, added to each: other photos have what these had not. GPTQ
# adds 0.01, for text of many more tokens than there are places in some dozens of photos. Chosen
# between 0.05 and 0.3 by `w8` of EfficientNet-Lite0 (30.0 and 30.7 dB) on 112 crops of 7 photos
# that neither calibrate nor are judged with in benchmarks/quant.py.
_UNSEEN = 0.3
# Of an input's mean square: a variance below this is taken for rounding errors of float32.
_CONSTANT = 1e-6


@dataclass(frozen=True)
class Methods:
    """Which of the methods are used; all of them unless something is being compared.

    `search_scales`: else a scale reaches the largest weight. `follow_path`: else every weight goes
    to its nearest code. `correct_bias`: else biases stay, and codes are chosen for inputs with
    their mean.
    """

    search_scales: bool = True
    follow_path: bool = True
    correct_bias: bool = True


def fitted(
    node: fx.Node,
    weight: Tensor,
    inputs: Sequence[Tensor],
    site: Site,
    storage: Storage,
    methods: Methods,
) -> Grid:
    """The grid for `weight`, float32 (O, I / groups, ...) or (O, I).

    `node` calls the layer; `inputs` are the float32 activations that it reads, one tensor per
    sample: (1, I, H, W), (1, I, L) or (..., I), and indices for an embedding.
    """
    matrix = weight.double().reshape(site.groups, weight.shape[0] // site.groups, -1)
    gram = _gram(node, inputs, site, matrix.shape[-1], centred=methods.correct_bias)
    if storage.palette:
        return _palette(weight, matrix, gram, storage, methods)
    blocks = weight.shape[1] // storage.block if storage.block else 1
    scale = rounding.scales(
        matrix, gram, storage.bits, blocks=blocks, search=methods.search_scales
    ).float()
    wide = scale.double()
    if blocks > 1:
        wide = wide.repeat_interleave(storage.block * math.prod(weight.shape[2:]), -1)
    grid = rounding.Levels(wide, storage.bits)
    levels = _coded(matrix, gram, grid, methods)
    shape = (weight.shape[0], blocks, *[1] * (weight.ndim - 2))
    return Grid(storage, _array(levels, weight, np.int8), scale.reshape(shape).numpy())


def _palette(
    weight: Tensor, matrix: Tensor, gram: Tensor, storage: Storage, methods: Methods
) -> Grid:
    import torch

    table, scale = fit_scaled_palette(weight.numpy(), storage.bits)
    rows = torch.from_numpy(table).double()
    each = rows.repeat_interleave(weight.shape[0] // len(rows), 0)
    each *= torch.from_numpy(scale).double().reshape(-1, 1)
    indices = _coded(matrix, gram, rounding.Palette(each.reshape(*matrix.shape[:2], -1)), methods)
    return Grid(storage, _array(indices, weight, np.uint8), scale, table)


def _coded(matrix: Tensor, gram: Tensor, codes: rounding.Codes, methods: Methods) -> Tensor:
    if methods.follow_path:
        return rounding.path_following(matrix, gram, codes)
    return rounding.nearest(matrix, codes)


def _array(codes: Tensor, weight: Tensor, dtype: Any) -> Array:
    found: Array = codes.reshape(weight.shape).numpy().astype(dtype)
    return found


def _gram(
    node: fx.Node, inputs: Sequence[Tensor], site: Site, columns: int, *, centred: bool
) -> Tensor:
    """H (groups, columns, columns): second moments of what each weight is multiplied with."""
    import torch

    if "embedding" in site.kinds:  # rows are looked up, not summed: any weights will do
        return torch.eye(columns, dtype=torch.double)[None]
    total = torch.zeros(site.groups, columns, columns, dtype=torch.double)
    first = torch.zeros(site.groups, columns, dtype=torch.double)
    count, middle = 0, None
    each = math.ceil(max(_ROWS, _ROWS_PER_COLUMN * columns) / len(inputs))
    for rows in _rows(node, inputs, site, columns):
        chosen = rows
        if rows.shape[-1] > each:
            generator = torch.Generator().manual_seed(_SEED)
            chosen = rows[..., torch.randperm(rows.shape[-1], generator=generator)[:each]]
        if middle is None:  # around it float32 sums keep a spread that is small beside the mean
            middle = chosen.mean(-1, keepdim=True)
        chosen = chosen - middle
        total += (chosen @ chosen.transpose(1, 2)).double()
        first += chosen.double().sum(-1)
        count += chosen.shape[-1]
    assert middle is not None  # there is a sample
    first /= count
    spread = total / count - first[:, :, None] * first[:, None]
    mean = first + middle[..., 0].double()
    return _for_others(spread, mean, centred=centred)


def _for_others(spread: Tensor, mean: Tensor, *, centred: bool) -> Tensor:
    """H of inputs like these, which have something of what these had not.

    Inputs that never changed, or were always zero, say nothing: then each weight counts alike.
    """
    import torch

    moments = spread + mean[:, :, None] * mean[:, None]
    both = [torch.diagonal(one, dim1=1, dim2=2).mean(1) for one in (spread, moments)]
    least = torch.where(both[1] > 0, both[1] * _CONSTANT, torch.ones_like(both[1]))
    power = torch.maximum(both[0] if centred else both[1], least)
    diagonal = torch.diag_embed(power[:, None].expand(mean.shape))
    return (spread if centred else moments) + _UNSEEN * diagonal


def _rows(node: fx.Node, inputs: Sequence[Tensor], site: Site, columns: int) -> Iterator[Tensor]:
    """What is multiplied with the weights, (groups, columns, positions) per sample."""
    from torch.nn import functional

    for value in inputs:
        if "linear" in site.kinds:
            yield value.reshape(1, -1, columns).transpose(1, 2)
            continue
        stride, padding, dilation = (_pair(node, position) for position in (3, 4, 5))
        kernel = (*[1] * (4 - len(site.shape)), *site.shape[2:])
        picture = value if value.ndim == 4 else value[:, :, None]
        unfolded = functional.unfold(picture, kernel, dilation, padding, stride)
        batch, _, positions = unfolded.shape
        parts = unfolded.reshape(batch, site.groups, columns, positions)
        yield parts.permute(1, 2, 0, 3).reshape(site.groups, columns, -1)


def _pair(node: fx.Node, position: int) -> tuple[int, int]:
    """Stride, padding or dilation of a convolution over one or two axes, as of two."""
    neutral = 0 if position == 4 else 1
    given: Any = node.args[position] if len(node.args) > position else [neutral]
    sizes = [int(size) for size in given]
    rank = 2 if "conv2d" in str(node.target) else 1
    sizes = sizes * rank if len(sizes) == 1 else sizes
    return (sizes[0], sizes[1]) if rank == 2 else (neutral, sizes[0])
