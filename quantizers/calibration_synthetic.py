"""Calibration inputs that are noise: made only for the word `synthetic`, and stamped as such.

Pictures are noise with the spectrum of natural ones, amplitude 1 / frequency (Field, 1987,
https://doi.org/10.1364/JOSAA.4.002379): white noise has no edges or areas, and the ranges it gives
fit no photo. Other inputs are noise like the model's example input. Ranges of noise are those of
nothing that the model is for: they show that a recipe works, not how good it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headtail.manifest import SYNTHETIC
from headtail.preprocess import Frame, Preprocess
from headtail.tensors import Array
from quantizers.calibration import CalibrationSet, from_arrays

__all__ = ["WORD", "synthetic", "synthetic_pictures"]

WORD = "synthetic"
_SOURCE = f"{SYNTHETIC}noise, no real inputs"


def synthetic(
    example: Sequence[Array], preprocess: Preprocess | None, *, count: int, seed: int
) -> CalibrationSet:
    """`count` samples like `example`, one array per input; pictures if there is a `preprocess`.

    Integers and booleans lie within the example's own, which are known to be valid; floats are
    normal with its mean and standard deviation, 1 if all of it is one value.
    """
    if preprocess is not None:
        pictures = synthetic_pictures(preprocess, count=count, seed=seed)
        return from_arrays([(preprocess(p),) for p in pictures], source=_SOURCE, seed=seed)
    generator = np.random.default_rng(seed)
    samples = [tuple(_like(array, generator) for array in example) for _ in range(count)]
    return from_arrays(samples, source=_SOURCE, seed=seed)


def synthetic_pictures(preprocess: Preprocess, *, count: int, seed: int) -> list[Frame]:
    """Noise with the spectrum of photos, uint8 (height, width, 3), each of its own contrast."""
    generator = np.random.default_rng(seed)
    height, width = preprocess.height, preprocess.width
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf  # brightness is drawn below
    pictures = []
    for _ in range(count):
        shape = (3, height, width)
        spectrum = np.fft.rfft2(generator.standard_normal(shape)) / frequency
        waves = np.fft.irfft2(spectrum, s=(height, width))
        waves *= generator.uniform(20, 70) / max(float(waves.std()), 1e-9)
        waves += generator.uniform(64, 192) + generator.uniform(-24, 24, (3, 1, 1))
        pictures.append(np.clip(np.rint(waves), 0, 255).astype(np.uint8).transpose(1, 2, 0))
    return pictures


def _like(array: Array, generator: np.random.Generator) -> Array:
    if array.dtype.kind == "b":
        return generator.integers(0, 2, array.shape).astype(np.bool_)
    if array.dtype.kind in "iu":
        low, high = int(array.min()), int(array.max())
        return generator.integers(low, high, array.shape, endpoint=True).astype(array.dtype)
    spread = float(array.std()) or 1.0
    noise = float(array.mean()) + spread * generator.standard_normal(array.shape)
    return np.asarray(noise).astype(array.dtype)
