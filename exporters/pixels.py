"""A model whose normalisation is part of its program, so that phones feed it pixels of 0 to 255.

The preprocessing's scale, mean and standard deviation become the first three calls of the graph,
in the arithmetic of `headtail.preprocess`; everything made of it (reference, heads, tail) then
takes pixels, and the rewrite `fold_normalisation` moves the calls into the first convolution. The
manifest's preprocessing ends with the pixels.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from typing import Any

import numpy as np
import torch

from exporters.sources.model import SourceModel
from exporters.sources.savedmodel import ForeignModel
from headtail.errors import UsageFault
from headtail.preprocess import Preprocess
from headtail.tensors import Array
from quantizers.calibration import CalibrationSet, from_arrays

__all__ = ["takes_pixels"]

# Inputs that were made of pixels come back as whole numbers, but for the rounding of float32.
_WHOLE = 0.01


def takes_pixels(source: SourceModel | ForeignModel) -> SourceModel:
    """`source` from pixels: float32 of 0 to 255 in the layout and colour order of its input.

    Raises `UsageFault` for a source without preprocessing or with other inputs than one picture.
    The model itself is left alone.
    """
    if isinstance(source, ForeignModel):
        raise UsageFault(
            f"The preprocessing of {source.name} is to be folded, and it is a SavedModel.",
            expected="Folding edits a PyTorch program, which a SavedModel does not hold.",
            remedy="Leave --fold-preprocess out, or normalise inside the SavedModel.",
        )
    recipe = source.preprocess
    if recipe is None:
        raise UsageFault(
            f"The preprocessing of {source.name} is to be folded, and there is none.",
            expected="get_preprocess() says how pixels become the model's input.",
            remedy="Define get_preprocess(), or leave --fold-preprocess out.",
        )
    channels = {"NCHW": 1, "NHWC": 3}[recipe.layout]
    if [v.shape[channels] if v.ndim == 4 else None for v in source.example] != [3]:
        shapes = ", ".join(str(list(value.shape)) for value in source.example)
        raise UsageFault(
            f"The preprocessing of {source.name} is to be folded, and its inputs are {shapes}.",
            expected=f"One picture of three channels, {recipe.layout}.",
            remedy="Correct get_preprocess(), or leave --fold-preprocess out.",
        )
    example = _pixels(source.example[0].detach().numpy(), recipe)
    return dataclasses.replace(
        source,
        module=_normalising(source.module, recipe),
        example=(torch.from_numpy(example),),
        preprocess=dataclasses.replace(recipe, scale=1.0, mean=(0.0,) * 3, std=(1.0,) * 3),
        calibration=_set(source.calibration, recipe) if source.calibration else None,
        evaluation=_set(source.evaluation, recipe),
        remarks=(*source.remarks, f"normalisation is in the files: {_told(recipe)}"),
    )


def _told(recipe: Preprocess) -> str:
    mean, std = (", ".join(f"{v:.4g}" for v in values) for values in (recipe.mean, recipe.std))
    return f"they take pixels of 0 to 255, and do (x * {recipe.scale:.4g} - ({mean})) / ({std})"


def _set(samples: CalibrationSet, recipe: Preprocess) -> CalibrationSet:
    made = [(_pixels(array, recipe),) for (array,) in samples.samples]
    was = samples.provenance
    return from_arrays(made, source=f"{was.source}, as pixels", seed=was.seed)


def _pixels(value: Array, recipe: Preprocess) -> Array:
    """What `normalise` made `value` of; not rounded where that was no picture."""
    mean, std = (t.double().numpy() for t in _statistics(recipe))
    pixels = (value.astype(np.float64) * std + mean) / recipe.scale
    whole = np.rint(pixels)
    if np.abs(pixels - whole).max() < _WHOLE and whole.min() >= 0 and whole.max() <= 255:
        pixels = whole
    return np.asarray(pixels, np.float32)


def _statistics(recipe: Preprocess) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation, float32, shaped to meet the input's channels."""
    shape = (1, -1, 1, 1) if recipe.layout == "NCHW" else (1, 1, 1, -1)
    mean, std = (torch.tensor(v, dtype=torch.float32) for v in (recipe.mean, recipe.std))
    return mean.reshape(shape), std.reshape(shape)


def _normalising(module: torch.nn.Module, recipe: Preprocess) -> torch.nn.Module:
    """The same module (weights, submodules, names) behind another `forward`."""
    mean, std = _statistics(recipe)
    scale, forward = recipe.scale, module.forward

    @functools.wraps(forward)
    def from_pixels(pixels: torch.Tensor, *others: Any) -> Any:
        # the order of headtail.preprocess, so that both give the same bits
        return forward((pixels * scale - mean) / std, *others)

    twin = copy.copy(module)
    twin.forward = from_pixels
    return twin
