"""Image to tensor: the only implementation, used by calibration, parity, server, app and devices.

A declarative recipe in the manifest (colour order, resize mode, antialias, crop, dtype, scale,
mean, std, layout) and one function that applies it with numpy and Pillow. Resizing is Pillow's
(https://pillow.readthedocs.io/en/stable/handbook/concepts.html#filters), which always antialiases
when it shrinks; a recipe that asks for no antialiasing gets nearest-neighbour only.
"""

from __future__ import annotations

import hashlib
import io
import operator
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from headtail.errors import HeadtailError, ImageFault, UnknownName, UsageFault
from headtail.strictjson import canonical_bytes

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

__all__ = ["Frame", "Preprocess", "load_image"]

Frame = npt.NDArray[np.uint8]  # (height, width, 3), RGB, camera bytes

_ORIENTATION = 0x0112  # Exif
RESIZE_MODES = ("nearest", "bilinear", "bicubic", "lanczos")
FITS = ("crop", "squash")
LAYOUTS = ("NCHW", "NHWC")
COLOURS = ("RGB", "BGR")
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # not EPS: it would run Ghostscript
MAX_PIXELS = 64_000_000  # a 64-megapixel camera; more is a decompression bomb


@dataclass(frozen=True)
class Preprocess:
    """How camera bytes become the model's float32 input.

    `fit` `crop`: resize in proportion until the picture just covers (height, width) /
    crop_fraction, then take the centre; `squash`: resize to (height, width), out of proportion.
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
        self._check_names()
        try:
            self._plain_numbers()
            sane = 0 < self.height <= 8192 and 0 < self.width <= 8192 and self._gives_numbers()
        except (TypeError, ValueError, OverflowError):  # not numbers, or no floats
            sane = False
        if not sane or not 0 < self.crop_fraction <= 1:
            raise UsageFault(
                f"Preprocessing {self} is out of range.",
                expected="Sides to 8192, crop_fraction in (0, 1], three means and three stds with "
                "which every byte becomes a finite float32.",
                remedy="Correct get_preprocess() or the manifest.",
            )

    def _check_names(self) -> None:
        for kind, value, known in (
            ("resize mode", self.resize, RESIZE_MODES),
            ("fit", self.fit, FITS),
            ("layout", self.layout, LAYOUTS),
            ("colour order", self.colour, COLOURS),
        ):
            if value not in known:
                raise UnknownName(kind, value, known)

    def _plain_numbers(self) -> None:
        # people write lists and numpy's numbers; the manifest holds neither
        for field, plain in _PLAIN.items():
            object.__setattr__(self, field, plain(getattr(self, field)))

    def _gives_numbers(self) -> bool:
        if len(self.mean) != 3 or len(self.std) != 3:
            return False
        with np.errstate(all="ignore"):
            ends = self._scaled(np.array([[0] * 3, [255] * 3], np.float32), (3,))
        return bool(np.isfinite(ends).all())

    @property
    def id(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical recipe."""
        return hashlib.sha256(canonical_bytes(self)).hexdigest()[:16]

    def view(self, frame: Frame) -> Frame:
        """Camera bytes to the (height, width, 3) bytes that the model will see, RGB."""
        from PIL import Image

        check_frame(frame)
        image = Image.fromarray(frame)
        mode = getattr(Image, self.resize.upper())  # Pillow 8 of kivy-ios has no Image.Resampling
        # The window of the source that survives the centre crop, resized in one step: the same
        # pixels as resize-then-crop up to rounding, without resampling what is thrown away.
        box = self.window(image.width, image.height)
        return np.asarray(image.resize((self.width, self.height), mode, box=box), np.uint8)

    def window(self, width: int, height: int) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of what `view` sees of a width x height frame, in its pixels.

        A point (x, y) of the view lies in the frame at (left + x * (right - left) / self.width,
        top + y * (bottom - top) / self.height).
        """
        if self.fit == "squash":
            return 0.0, 0.0, float(width), float(height)
        ratio = min(width / self.width, height / self.height) * self.crop_fraction
        w, h = min(self.width * ratio, width), min(self.height * ratio, height)
        left, top = (width - w) / 2, (height - h) / 2
        return left, top, left + w, top + h

    def __call__(self, frame: Frame) -> npt.NDArray[np.float32]:
        """(H, W, 3) uint8 RGB of any size -> float32 (1, 3, height, width), or NHWC."""
        return self.normalise(self.view(frame))

    def normalise(self, view: Frame) -> npt.NDArray[np.float32]:
        """What `view` gave, (height, width, 3) uint8 -> the float32 input; no resizing."""
        pixels = view[..., ::-1] if self.colour == "BGR" else view
        shape: tuple[int, ...] = (3,)
        if self.layout == "NCHW":
            pixels, shape = pixels.transpose(2, 0, 1), (3, 1, 1)
        # put in order as bytes: they are a quarter of what floats would move
        return self._scaled(np.ascontiguousarray(pixels).astype(np.float32), shape)[None]

    def _scaled(
        self, pixels: npt.NDArray[np.float32], shape: tuple[int, ...]
    ) -> npt.NDArray[np.float32]:
        """`pixels`, changed in place; `shape` is that of the channels in it."""
        pixels *= np.float32(self.scale)
        pixels -= np.asarray(self.mean, np.float32).reshape(shape)
        pixels /= np.asarray(self.std, np.float32).reshape(shape)
        return pixels


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "height": operator.index,
    "width": operator.index,
    "crop_fraction": float,
    "scale": float,
    "mean": _floats,
    "std": _floats,
}


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

    The first frame of an animation; the high byte of 16-bit samples. Raises `ImageFault` for bytes
    that are not an image, for images over 64 megapixels and for samples without a known range.
    """
    from PIL import Image

    name = "The picture" if isinstance(source, bytes) else str(source)
    try:
        with warnings.catch_warnings():
            # oddities of a file are no news to the user; what matters is whether it decodes
            warnings.filterwarnings("ignore", module=r"PIL\.")
            opened = io.BytesIO(source) if isinstance(source, bytes) else source
            with Image.open(opened, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise _too_large(name, f"{image.width}x{image.height}")
                return _upright_rgb(image, name)
    except HeadtailError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(name, f"over {2 * (Image.MAX_IMAGE_PIXELS or 0)}") from None
    except Exception as error:  # Pillow's decoders raise what their bytes make them
        raise ImageFault(
            f"{name} cannot be read as an image ({type(error).__name__}).",
            expected="A complete JPEG, PNG, WebP, BMP, GIF or TIFF image.",
            remedy="Check the path, or open and save the picture again.",
        ) from None


def _upright_rgb(image: PillowImage, name: str) -> Frame:
    from PIL import Image, ImageOps

    kind = image.format  # a transposed copy has none
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image) or image  # Pillow 8 cannot do it in place
    if image.mode == "F" or (image.mode == "I" and kind != "PNG"):
        raise ImageFault(
            f"{name} has 32-bit samples (mode {image.mode}).",
            expected="Samples of 8 or 16 bits, whose range is known.",
            remedy="Save it with 8 bits per channel.",
        )
    if image.mode.startswith("I"):  # Pillow's own conversion would make all above 255 white
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return np.array(image.convert("RGB"), np.uint8)


def _too_large(name: str, size: str) -> ImageFault:
    return ImageFault(
        f"{name} is {size} pixels.",
        expected=f"At most {MAX_PIXELS} pixels are read.",
        remedy="Shrink the image first.",
    )
