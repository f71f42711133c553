"""A model's inputs and outputs as `ModelDescription` words them, and their values in the program.

Images are given as PIL images: RGB and BGR as [1,3,height,width], GRAYSCALE as [1,1,...], values 0
to 255; scale and bias are part of the program. An optional input that is not given has its default.
https://apple.github.io/coremltools/mlmodel/Format/FeatureTypes.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from exporters.mil.values import TensorType, Value
from headtail.errors import ImageFault, TensorMismatch

__all__ = ["Feature", "features"]

# ImageFeatureType.ColorSpace: its name, PIL's mode, and the order of channels in the program
COLORS = {
    10: ("GRAYSCALE", "L", (0,)),
    20: ("RGB", "RGB", (0, 1, 2)),
    30: ("BGR", "RGB", (2, 1, 0)),
    40: ("GRAYSCALE_FLOAT16", "F", (0,)),
}
WHITE = 255
DEFAULTS = ("intDefaultValue", "floatDefaultValue", "doubleDefaultValue")


@dataclass(frozen=True)
class Feature:
    """One input or output; `proto` is its `FeatureDescription`."""

    name: str
    proto: Any

    @property
    def kind(self) -> str:
        """multiArrayType, imageType, stateType, dictionaryType, stringType, int64Type ..."""
        return str(self.proto.type.WhichOneof("Type"))

    def tensor(self, given: Any, declared: TensorType) -> torch.Tensor:
        """What the program takes for the value a caller gave; None is the default."""
        if given is None:
            return self._default(declared)
        if self.kind == "imageType":
            array = self._pixels(given)
        else:
            array = np.asarray(given)
            if array.dtype.kind not in "fiub":
                self._refuse(f"is {array.dtype}", "Tensors hold floats, integers or bools.")
        self._check_shape(array.shape, declared)
        narrow = array.astype(np.float32 if array.dtype.kind == "f" else _integers(array))
        return torch.from_numpy(narrow.copy())

    def answer(self, value: Value) -> Any:
        """What a caller gets: an array (a scalar as shape (1,)), a label, a dict or a PIL image."""
        if not isinstance(value, torch.Tensor):
            return value
        if self.kind == "int64Type":
            return int(value.item())
        array = value.numpy()
        return self._image(array) if self.kind == "imageType" else np.atleast_1d(array).copy()

    def _refuse(self, what: str, expected: str) -> None:
        raise TensorMismatch(
            f"{self.name!r} {what}.",
            expected=expected,
            remedy="Give what the model's description says.",
        )

    def _default(self, declared: TensorType) -> torch.Tensor:
        array = self.proto.type.multiArrayType
        field = array.WhichOneof("defaultOptionalValue")
        if not self.proto.type.isOptional or field not in DEFAULTS:
            self._refuse("is not given", "It has no default value.")
        shape = [int(size) for size in array.shape]
        assert declared.dtype.carried is not None
        return torch.full(shape, getattr(array, field), dtype=declared.dtype.carried)

    def _pixels(self, image: Any) -> np.ndarray[Any, Any]:
        name, mode, order = COLORS.get(self.proto.type.imageType.colorSpace, ("?", None, ()))
        if getattr(image, "mode", None) != mode or mode is None:
            raise ImageFault(
                f"{self.name!r} is {getattr(image, 'mode', type(image).__name__)}.",
                expected=f"It takes a PIL image of mode {mode} ({name}).",
                remedy=f"Use image.convert({mode!r}).",
            )
        pixels = np.asarray(image, np.float32).reshape(image.height, image.width, len(order))
        return pixels[None, :, :, list(order)].transpose(0, 3, 1, 2)

    def _image(self, array: np.ndarray[Any, Any]) -> Any:
        from PIL import Image

        name, mode, order = COLORS.get(self.proto.type.imageType.colorSpace, ("?", None, ()))
        if mode is None or array.ndim != 4 or array.shape[:2] != (1, len(order)):
            self._refuse(f"has shape {list(array.shape)}", f"It is a {name} image.")
        pixels = array[0][list(order)].transpose(1, 2, 0)
        if mode == "F":
            return Image.fromarray(pixels[:, :, 0].astype(np.float32))
        rounded = pixels.round().clip(0, WHITE).astype(np.uint8)
        return Image.fromarray(rounded[:, :, 0] if mode == "L" else rounded)

    def _check_shape(self, shape: tuple[int, ...], declared: TensorType) -> None:
        """The program's own sizes, and the sizes and ranges the description allows."""
        if not declared.accepts(shape):
            self._refuse(f"has shape {list(shape)}", f"The program declares {declared}.")
        if self.kind == "imageType":
            allowed, ranges = _image_sizes(self.proto.type.imageType)
            shape = shape[-2:]
        else:
            allowed, ranges = _array_sizes(self.proto.type.multiArrayType)
        if allowed and shape not in allowed:
            self._refuse(f"has sizes {list(shape)}", f"Allowed are {sorted(allowed)}.")
        fits = (
            [
                low <= size and (high < 0 or size <= high)
                for size, (low, high) in zip(shape, ranges, strict=len(ranges) > 0)
            ]
            if ranges
            else []
        )
        if not all(fits):
            self._refuse(f"has sizes {list(shape)}", f"Allowed are the ranges {ranges}.")


Sizes = tuple[set[tuple[int, ...]], list[tuple[int, int]]]


def _array_sizes(proto: Any) -> Sizes:
    kind = proto.WhichOneof("ShapeFlexibility")
    if kind == "enumeratedShapes":
        return {tuple(int(n) for n in s.shape) for s in proto.enumeratedShapes.shapes}, []
    return set(), [_range(r) for r in proto.shapeRange.sizeRanges]


def _image_sizes(proto: Any) -> Sizes:
    """(height, width), as shapes have it."""
    kind = proto.WhichOneof("SizeFlexibility")
    if kind == "enumeratedSizes":
        return {(int(s.height), int(s.width)) for s in proto.enumeratedSizes.sizes}, []
    if kind == "imageSizeRange":
        sizes = proto.imageSizeRange
        return set(), [_range(sizes.heightRange), _range(sizes.widthRange)]
    return {(int(proto.height), int(proto.width))}, []


def _range(proto: Any) -> tuple[int, int]:
    return int(proto.lowerBound), int(proto.upperBound)


def _integers(array: np.ndarray[Any, Any]) -> type[Any]:
    return np.bool_ if array.dtype.kind == "b" else np.int32


def features(model: Any, function: str) -> tuple[Mapping[str, Feature], Mapping[str, Feature]]:
    """Inputs and outputs of `function` by name; a single-function model has them at the top."""
    described = next((f for f in model.description.functions if f.name == function), None)
    source = model.description if described is None else described
    inputs = {f.name: Feature(f.name, f) for f in source.input}
    return inputs, {f.name: Feature(f.name, f) for f in source.output}
