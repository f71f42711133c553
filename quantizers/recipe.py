"""What to quantize, as data. The names decode: `w8` = 8-bit weights, `a8` = 8-bit activations.

All 8-bit integers here are affine, q = round(x / scale) + zero_point, weights symmetric per output
channel (zero point 0), activations asymmetric per tensor with static ranges: Krishnamoorthi,
"Quantizing deep convolutional networks for efficient inference", https://arxiv.org/abs/1806.08342.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from headtail.errors import UnknownName

__all__ = ["RECIPES", "Recipe", "recipe"]

Precision = Literal["f32", "f16", "i8"]


@dataclass(frozen=True)
class Recipe:
    """One way to store weights and to compute activations, independent of the file format.

    `weights` and `activations` are keys of `headtail.tensors.DTYPES`. `weight_granularity`: one
    scale per tensor or per output channel. `activation_mode` `static`: ranges are fixed by
    calibration; `none`: activations stay floating point.
    """

    name: str
    weights: Precision
    activations: Precision
    weight_granularity: Literal["tensor", "channel"]
    activation_mode: Literal["none", "static"]

    @property
    def needs_calibration(self) -> bool:
        """Whether real inputs are needed to fix the activations' ranges."""
        return self.activation_mode == "static"


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("fp32", "f32", "f32", "tensor", "none"),
        Recipe("fp16", "f16", "f16", "tensor", "none"),
        Recipe("w8", "i8", "f32", "channel", "none"),
        Recipe("w8a8", "i8", "i8", "channel", "static"),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe called `name`; raises `UnknownName`, which lists what exists."""
    if name not in RECIPES:
        raise UnknownName("precision", name, RECIPES)
    return RECIPES[name]
