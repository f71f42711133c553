"""`keras:FILE.keras` or `keras:package.module:factory`: Keras 3 models on the torch backend.

On that backend a Keras layer is a torch module, so the model goes the way of every other one. The
backend is chosen when keras is imported: https://keras.io/getting_started/#configuring-your-backend.
A factory returns the model, or (model, example inputs); inputs keep Keras's channels-last layout.
"""

from __future__ import annotations

import importlib
import os
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from exporters.sources.model import SourceModel, from_module, plain_name
from exporters.sources.photos import PhotoSets
from headtail.errors import HeadtailError, MissingDependency, SourceFault, UsageFault
from headtail.preprocess import Preprocess
from headtail.tensors import Array

__all__ = ["load"]

_CHANNELS = 3
_IMAGE_RANK = 4


def load(text: str, *, name: str = "", images: Path | None = None) -> SourceModel:
    """Image models are judged on photos scaled to 0..1; others need their example inputs."""
    keras = _keras()
    model, example = _made(keras, text)
    shape = _shape(model)
    module = (_Keras if len(model.inputs) == 1 else _KerasOfMany)(model).eval()
    label = name or plain_name(Path(text.partition(":")[2] or text).stem)
    if example is not None:
        return from_module(module, example, name=label, origin=f"keras:{text}")
    if shape is None or len(shape) != _IMAGE_RANK or shape[-1] != _CHANNELS or None in shape[1:]:
        raise SourceFault(
            f"The Keras model takes {shape}.",
            expected="One photo of a known size, channels last, or a factory that returns (model, "
            "example inputs).",
            remedy="Write a factory and name it: keras:package.module:factory.",
        )
    _, height, width, _ = (side or 0 for side in shape)
    preprocess = _unit_range(height, width)
    sets = PhotoSets.load(images, preprocess)
    return from_module(
        module,
        (torch.from_numpy(preprocess(sets.evaluation[0])),),
        name=label,
        preprocess=preprocess,
        calibration=sets.calibration,
        evaluation=sets.evaluation,
        origin=f"keras:{text}",
        judged_on=sets.source,
        remarks=["photos are scaled to 0..1: a Keras file does not say what its model expects"],
    )


class _Keras(torch.nn.Module):
    """A Keras model of one input as torch calls modules, at inference."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        _name_layers(self, model)

    def forward(self, x: torch.Tensor) -> Any:
        """The model's outputs as it returns them."""
        return self.model(x, training=False)


class _KerasOfMany(_Keras):
    """The same for several inputs, in the order of the model's own list."""

    def forward(self, *inputs: torch.Tensor) -> Any:
        """The model's outputs as it returns them."""
        return self.model(list(inputs), training=False)


def _name_layers(owner: torch.nn.Module, model: Any) -> None:
    """Make the layers children by their names: Keras keeps them in a list that torch does not see.

    Without names no module ends anywhere, so that a model cannot be cut at one.
    """
    for layer in getattr(model, "layers", ()):
        name = plain_name(layer.name).replace(".", "_")
        if isinstance(layer, torch.nn.Module) and not hasattr(owner, name):
            owner.add_module(name, layer)
            _name_layers(layer, layer)


def _keras() -> Any:
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "torch"
    try:
        keras = importlib.import_module("keras")
    except ImportError as error:
        raise MissingDependency(
            "keras", needed_for="sources keras:...", install="pip install 'headtail[sources]'"
        ) from error
    if keras.backend.backend() != "torch":
        raise UsageFault(
            f"Keras is already imported with the backend {keras.backend.backend()}.",
            expected="A Keras model is captured through its torch backend.",
            remedy="Set KERAS_BACKEND=torch before keras is imported.",
        )
    return keras


def _made(keras: Any, text: str) -> tuple[Any, tuple[torch.Tensor, ...] | None]:
    if text.endswith(".keras"):
        if not Path(text).is_file():
            raise SourceFault(
                f"There is no file {text!r}.",
                expected="A model written by model.save('NAME.keras').",
                remedy="Check the path.",
            )
        return _read(keras, text), None
    module_name, _, factory = text.partition(":")
    try:
        made = getattr(importlib.import_module(module_name), factory)()
    except HeadtailError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise SourceFault(
            f"keras:{text} cannot be called: {type(error).__name__}: {str(error)[:300]}",
            expected="keras:FILE.keras or keras:package.module:factory.",
            remedy="Check the spelling; the factory takes no arguments.",
        ) from error
    if isinstance(made, tuple):
        return made[0], _tensors(made[1])
    return made, None


def _read(keras: Any, path: str) -> Any:
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise SourceFault(
            f"{path} cannot be read: {type(error).__name__}: {str(error).strip()[:200]}",
            expected="A model written by model.save('NAME.keras'), of layers that Keras knows.",
            remedy="Load it in Python first; for layers of your own write a factory.",
        ) from error


def _tensors(value: Any) -> tuple[torch.Tensor, ...]:
    given: Sequence[Any] = value if isinstance(value, (tuple, list)) else (value,)
    return tuple(v if isinstance(v, torch.Tensor) else torch.from_numpy(_plain(v)) for v in given)


def _plain(value: Any) -> Array:
    return np.asarray(value)


def _shape(model: Any) -> tuple[int | None, ...] | None:
    shape = getattr(model, "input_shape", None)
    return tuple(shape) if isinstance(shape, (tuple, list)) else None


def _unit_range(height: int, width: int) -> Preprocess:
    return Preprocess(
        height=height,
        width=width,
        colour="RGB",
        fit="crop",
        crop_fraction=1.0,
        resize="bilinear",
        scale=1 / 255,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        layout="NHWC",
    )
