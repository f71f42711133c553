"""Pictures with their channels last, as TensorFlow's and Android's code holds them.

A `.tflite` computes channels last inside, so one that takes NCHW begins with a transpose of the
picture, and an app made for a TensorFlow model feeds NHWC. What is made here is the same model with
every four-dimensional input and output NHWC; what crosses a cut stays as the tail takes it.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map

from exporters.sources.model import SourceModel
from exporters.sources.savedmodel import ForeignModel
from headtail.errors import UsageFault
from headtail.tensors import Array
from quantizers.calibration import CalibrationSet, from_arrays

__all__ = ["FORMATS", "takes_channels_last"]

FORMATS = ("litert",)  # coremltools and XNNPACK take pictures channels first
_LAST, _FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def takes_channels_last(source: SourceModel | ForeignModel) -> SourceModel:
    """`source` with NHWC instead of NCHW; the model itself is left alone.

    Raises `UsageFault` if there is no NCHW picture among its inputs.
    """
    if isinstance(source, ForeignModel):
        raise _refused(source.name, "is a SavedModel, whose pictures are channels last already")
    if source.preprocess is not None and source.preprocess.layout == "NHWC":
        raise _refused(source.name, "has preprocessing that gives NHWC already")
    pictures = [index for index, value in enumerate(source.example) if value.ndim == 4]
    if not pictures:
        shapes = ", ".join(str(list(value.shape)) for value in source.example)
        raise _refused(source.name, f"takes no picture; its inputs are {shapes}")
    moved = source.preprocess and dataclasses.replace(source.preprocess, layout="NHWC")
    return dataclasses.replace(
        source,
        module=_permuting(source.module),
        example=tuple(torch.from_numpy(_last(v.detach().numpy())) for v in source.example),
        preprocess=moved,
        calibration=_set(source.calibration) if source.calibration else None,
        evaluation=_set(source.evaluation),
        remarks=(*source.remarks, _told(pictures)),
    )


def _told(pictures: Sequence[int]) -> str:
    which = f"input{'s' if len(pictures) > 1 else ''} {', '.join(map(str, pictures))}"
    return f"pictures have their channels last ({which}), which {', '.join(FORMATS)} alone takes"


def _refused(name: str, why: str) -> UsageFault:
    return UsageFault(
        f"Channels last were asked for, and {name} {why}.",
        expected="A PyTorch model with an input of four dimensions, NCHW.",
        remedy="Leave --channels-last out.",
    )


def _set(samples: CalibrationSet) -> CalibrationSet:
    made: list[Sequence[Array]] = [tuple(map(_last, sample)) for sample in samples.samples]
    return from_arrays(made, source=samples.provenance.source, seed=samples.provenance.seed)


def _last(value: Array) -> Array:
    return np.ascontiguousarray(value.transpose(_LAST)) if value.ndim == 4 else value


def _permuting(module: torch.nn.Module) -> torch.nn.Module:
    """The same module (weights, submodules, names) behind another `forward`."""
    forward = module.forward

    @functools.wraps(forward)
    def with_channels_last(*inputs: torch.Tensor) -> Any:
        return tree_map(_to_last, forward(*map(_to_first, inputs)))

    twin = copy.copy(module)
    twin.forward = with_channels_last
    return twin


def _to_first(value: torch.Tensor) -> torch.Tensor:
    # contiguous, for torch's kernels follow the strides, and the tail's input has no others
    return value.permute(_FIRST).contiguous() if value.ndim == 4 else value


def _to_last(value: Any) -> Any:
    is_picture = isinstance(value, torch.Tensor) and value.ndim == 4
    return value.permute(_LAST) if is_picture else value
