"""Image to tensor: the only implementation, used by calibration, parity, server, app and devices.

A declarative recipe in the manifest (colour order, resize mode, antialias, crop, dtype, scale,
mean, std, layout) and one function that applies it with numpy and Pillow. Resizing is Pillow's
(https://pillow.readthedocs.io/en/stable/handbook/concepts.html#filters), which always antialiases
when it shrinks; a recipe that asks for no antialiasing gets nearest-neighbour only.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headtail.errors import ImageFault, UnknownName, UsageFault
from headtail.strictjson import canonical_bytes

__all__ = ["Frame", "Preprocess", "load_image"]

Frame = npt.NDArray[np.uint8]  # (height, width, 3), RGB, camera bytes

RESIZE_MODES = ("nearest", "bilinear", "bicubic", "lanczos")
FITS = ("crop", "squash")
LAYOUTS = ("NCHW", "NHWC")
COLOURS = ("RGB", "BGR")
MAX_PIXELS = 64_000_000  # a 64-megapixel camera; more is a decompression bomb


@dataclass(frozen=True)
class Preprocess:
    """How camera bytes become the model's float32 input.

    `fit` `crop`: resize so that the shorter side is round(min(height, width) / crop_fraction), then
    take the centre; `squash`: resize to (height, width) whatever the proportions.
    Value = (byte * scale - mean[c]) / std[c], with `mean` and `std` in the order of `colour`.
    """

    height: int
    width: int
    colour: str
    fit: str
    crop_fraction: float
    resize: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: str

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("resize mode", self.resize, RESIZE_MODES),
            ("fit", self.fit, FITS),
            ("layout", self.layout, LAYOUTS),
            ("colour order", self.colour, COLOURS),
        ):
            if value not in known:
                raise UnknownName(kind, value, known)
        sane = 0 < self.height <= 8192 and 0 < self.width <= 8192 and 0 < self.crop_fraction <= 1
        if not sane or len(self.mean) != 3 or len(self.std) != 3 or 0.0 in self.std:
            raise UsageFault(
                f"Preprocessing {self} is out of range.",
                expected="Sides to 8192, crop_fraction in (0, 1], three means, three stds not 0.",
                remedy="Correct get_preprocess() or the manifest.",
            )

    @property
    def id(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical recipe."""
        return hashlib.sha256(canonical_bytes(self)).hexdigest()[:16]

    def view(self, frame: Frame) -> Frame:
        """Camera bytes to the (height, width, 3) bytes that the model will see, RGB."""
        from PIL import Image

        check_frame(frame)
        image = Image.fromarray(frame)
        mode = Image.Resampling[self.resize.upper()]
        if self.fit == "squash":
            return np.asarray(image.resize((self.width, self.height), mode), np.uint8)
        # The window of the source that survives the centre crop, resized in one step: the same
        # pixels as resize-then-crop up to rounding, without resampling what is thrown away.
        box = self._window(image.width, image.height)
        return np.asarray(image.resize((self.width, self.height), mode, box=box), np.uint8)

    def _window(self, width: int, height: int) -> tuple[float, float, float, float]:
        target = min(self.height, self.width) / self.crop_fraction
        ratio = min(width, height) / target
        w, h = min(self.width * ratio, width), min(self.height * ratio, height)
        left, top = (width - w) / 2, (height - h) / 2
        return left, top, left + w, top + h

    def __call__(self, frame: Frame) -> npt.NDArray[np.float32]:
        """(H, W, 3) uint8 RGB of any size -> float32 (1, 3, height, width), or NHWC."""
        return self.normalise(self.view(frame))

    def normalise(self, view: Frame) -> npt.NDArray[np.float32]:
        """What `view` gave, (height, width, 3) uint8 -> the float32 input; no resizing."""
        pixels = view.astype(np.float32)
        if self.colour == "BGR":
            pixels = pixels[..., ::-1]
        value = (pixels * np.float32(self.scale) - np.asarray(self.mean, np.float32)) / np.asarray(
            self.std, np.float32
        )
        if self.layout == "NCHW":
            value = value.transpose(2, 0, 1)
        return np.ascontiguousarray(value[None], np.float32)


def check_frame(frame: Frame) -> None:
    """Raise `ImageFault` unless `frame` is uint8 (H, W, 3) and not empty."""
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
        raise ImageFault(
            f"The frame is {frame.dtype.name}{list(frame.shape)}.",
            expected="A frame is uint8[height, width, 3], RGB.",
            remedy="Convert it, for example with headtail.preprocess.load_image.",
        )


def load_image(source: Path | bytes) -> Frame:
    """Decode an image file to (H, W, 3) uint8 RGB, upright by its EXIF tag, alpha dropped.

    Raises `ImageFault` for bytes that are not an image and for images over 64 megapixels.
    """
    from PIL import Image, ImageOps

    name = "The bytes" if isinstance(source, bytes) else str(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageFault(
                    f"{name} is {image.width}x{image.height} pixels.",
                    expected=f"At most {MAX_PIXELS} pixels are read.",
                    remedy="Shrink the image first.",
                )
            upright = ImageOps.exif_transpose(image) or image
            return np.asarray(upright.convert("RGB"), np.uint8).copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageFault(
            f"{name} cannot be read as an image ({type(error).__name__}).",
            expected="A complete JPEG, PNG, WebP, BMP, GIF or TIFF image.",
            remedy="Check the path, or open and save the picture again.",
        ) from None
