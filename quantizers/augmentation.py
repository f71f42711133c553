"""Inputs like the given ones, for training without labels: the teacher answers them as well.

Only for images (one float array, (1, 1 or 3, H, W)): mirrored, shifted by up to a tenth of their
size, mixed with another (https://arxiv.org/abs/1710.09412), and with other brightness, contrast and
colours, all within the values that the given images have. Other inputs are taken as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from headtail.tensors import Array

_Image = npt.NDArray[np.float32]

__all__ = ["Draws", "widened"]


SHIFT = 0.1  # of the size
CONTRAST = 0.25  # standard deviation of the logarithm
BRIGHTNESS = 0.15  # standard deviation, of the values' span
VARIED = 0.5  # of the images, the others are taken as they are
MIXED = 0.3  # of the varied ones


def widened(samples: Sequence[tuple[Array, ...]], *, seed: int) -> list[tuple[Array, ...]]:
    """The samples, and a variation of each if they are images: to solve for more than a few photos
    show."""
    draws = Draws(samples, np.random.default_rng(seed), augment=True)
    return [*samples, *draws.variations()]


class Draws:
    """Samples in a new order every round; images varied if `augment`."""

    def __init__(
        self,
        samples: Sequence[Sequence[Array]],
        generator: np.random.Generator,
        *,
        augment: bool,
    ) -> None:
        self._samples = samples
        self._generator = generator
        self._left: list[int] = []
        self._images: list[_Image] = []
        if augment and all(_is_image(sample) for sample in samples):
            self._images = [np.asarray(sample[0], np.float32) for sample in samples]
            self._low = min(float(image.min()) for image in self._images)
            self._high = max(float(image.max()) for image in self._images)

    def next(self) -> Sequence[Array]:
        """One sample."""
        if not self._left:
            self._left = self._generator.permutation(len(self._samples)).tolist()
        index = self._left.pop()
        if self._images and self._generator.random() < VARIED:
            return [self._varied(self._images[index])]
        return self._samples[index]

    def variations(self) -> list[tuple[Array, ...]]:
        """One of each image, in order; of other samples none."""
        return [(self._varied(image),) for image in self._images]

    def _varied(self, image: _Image) -> _Image:
        if self._generator.random() < MIXED:
            other = self._images[int(self._generator.integers(len(self._images)))]
            share = np.float32(self._generator.uniform(0.3, 0.7))
            image = share * image + (1 - share) * other
        if self._generator.random() < 0.5:
            image = image[..., ::-1]
        changed = _coloured(
            _shifted(image, self._generator), self._low, self._high, self._generator
        )
        return np.ascontiguousarray(changed)


def _is_image(sample: Sequence[Array]) -> bool:
    """Can it be varied and still be an image?"""
    if len(sample) != 1 or sample[0].dtype != np.float32 or sample[0].ndim != 4:
        return False
    return sample[0].shape[0] == 1 and sample[0].shape[1] in (1, 3)


def _shifted(image: _Image, generator: np.random.Generator) -> _Image:
    """Moved, with what moves in mirrored at the border."""
    for axis in (2, 3):
        size = image.shape[axis]
        most = int(size * SHIFT)
        start = int(generator.integers(0, 2 * most + 1))
        widths = [(most, most) if one == axis else (0, 0) for one in range(4)]
        padded = np.pad(image, widths, mode="symmetric")
        image = np.take(padded, np.arange(start, start + size), axis)
    return image


def _coloured(image: _Image, low: float, high: float, generator: np.random.Generator) -> _Image:
    shape = (1, image.shape[1], 1, 1)
    gain = np.exp(generator.normal(0, CONTRAST, shape) + generator.normal(0, CONTRAST))
    lift = generator.normal(0, BRIGHTNESS, shape) + generator.normal(0, BRIGHTNESS)
    middle = (low + high) / 2
    changed = (image - middle) * gain + middle + lift * (high - low) / 2
    return np.clip(changed, low, high).astype(np.float32, copy=False)
