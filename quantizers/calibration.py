"""Real inputs from which activation ranges are taken, with their provenance.

`crops` makes many inputs of a few photos: random-resized crops as in Szegedy et al., "Going deeper
with convolutions", section 6, https://arxiv.org/abs/1409.4842, here with 35 to 100 % of the area
and without flips. Same photos and seed, same crops.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headtail.errors import UsageFault
from headtail.manifest import SampleSet
from headtail.preprocess import Frame, Preprocess, check_frame
from headtail.tensors import Array, TensorSpec
from quantizers.recipe import Recipe

__all__ = [
    "CalibrationSet",
    "crops",
    "from_arrays",
    "require_alike",
    "require_calibration",
    "require_disjoint",
]

AREA = (0.35, 1.0)  # of the photo
ASPECT = (3 / 4, 4 / 3)  # width / height
_TRIES = 10
# Between the ranges of two sets of the same kind of input. What is preprocessed in another way is
# further apart: bytes and (byte - 127) / 128 are by 128, bytes and their ImageNet units by 54.
_ALIKE = 8.0


@dataclass(frozen=True)
class CalibrationSet:
    """Samples, each one array per model input in order, and where they came from."""

    samples: tuple[tuple[Array, ...], ...]
    provenance: SampleSet


def from_arrays(samples: Iterable[Sequence[Array]], *, source: str, seed: int) -> CalibrationSet:
    """Check the samples and hash the exact stream: dtype, shape and bytes of every array in order.

    Raises `UsageFault` for no samples, for a value that is not finite, and for samples whose
    number of arrays, dtypes or shapes differ from the first's.
    """
    kept = tuple(tuple(np.ascontiguousarray(array) for array in sample) for sample in samples)
    if not kept or not kept[0]:
        raise UsageFault(
            f"The calibration set {source!r} is empty.",
            expected="At least one sample, with one array per model input.",
            remedy="Return real inputs from get_calibration_data(); 64 or more are usual.",
        )
    digest = hashlib.sha256()
    expected = _specs(kept[0])
    for index, sample in enumerate(kept):
        _check_sample(index, sample, expected, source)
        for spec, array in zip(expected, sample, strict=True):
            digest.update(f"{spec};".encode())
            digest.update(array.tobytes())
    provenance = SampleSet(source, len(kept), seed, digest.hexdigest())
    return CalibrationSet(kept, provenance)


def _specs(sample: Sequence[Array]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec.of(f"input {i}", array) for i, array in enumerate(sample))


def _check_sample(
    index: int, sample: tuple[Array, ...], expected: tuple[TensorSpec, ...], source: str
) -> None:
    if _specs(sample) != expected:
        raise UsageFault(
            f"Calibration sample {index} of {source!r} is {', '.join(map(str, _specs(sample)))}.",
            expected=f"Like sample 0 it must be {', '.join(map(str, expected))}.",
            remedy="Preprocess every sample in the same way.",
        )
    for spec, array in zip(expected, sample, strict=True):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise UsageFault(
                f"Calibration sample {index} of {source!r} has a NaN or infinite value in "
                f"{spec.name}.",
                expected="Every value is finite: one infinity would set the whole range.",
                remedy="Check the file that the sample came from and its preprocessing.",
            )


def require_calibration(recipe: Recipe, calibration: CalibrationSet | None) -> None:
    """Raise `UsageFault` if `recipe` needs a calibration set and there is none."""
    if recipe.needs_calibration and calibration is None:
        raise UsageFault(
            f"{recipe.name} was asked for without a calibration set.",
            expected="Static activation ranges and weights of few bits are fitted to real inputs; "
            "none are made up.",
            remedy="Add get_calibration_data() to the model's script, pass calibration=... or "
            "--calibration-data (a folder of photos, or the word synthetic for noise), or choose "
            "a precision that needs none, such as w8 or fp16.",
        )


def require_alike(calibration: CalibrationSet, evaluation: CalibrationSet) -> None:
    """Raise `UsageFault` if an input is in other units in one set than in the other.

    Told by the widths of their ranges, so shifts are not found; inputs that are integers, or one
    value throughout the evaluation set, say nothing about units.
    """
    pairs = zip(_extremes(calibration), _extremes(evaluation), strict=True)
    for place, (found, judged) in enumerate(pairs):
        if found is None or judged is None or judged[0] == judged[1]:
            continue
        ratio = (found[1] - found[0]) / (judged[1] - judged[0])
        if not 1 / _ALIKE <= ratio <= _ALIKE:
            raise UsageFault(
                f"Input {place} reaches from {found[0]:g} to {found[1]:g} in the calibration set "
                f"and from {judged[0]:g} to {judged[1]:g} in the evaluation set.",
                expected="Both sets are preprocessed in the same way.",
                remedy="Preprocess the calibration inputs as the evaluation inputs are; or return "
                "photos (uint8) and let get_preprocess() do it for both.",
            )


def _extremes(given: CalibrationSet) -> list[tuple[float, float] | None]:
    """Lowest and highest value of each input over all samples; None for what is not a float.

    Adding 0.0 takes the sign off a zero.
    """
    return [
        (min(float(a.min()) for a in arrays) + 0.0, max(float(a.max()) for a in arrays) + 0.0)
        if arrays[0].dtype.kind == "f" and arrays[0].size
        else None
        for arrays in zip(*given.samples, strict=True)
    ]


def require_disjoint(calibration: Mapping[str, Frame], evaluation: Mapping[str, Frame]) -> None:
    """Raise `UsageFault` if a photo is in both sets, by name or by content."""
    by_content = {_digest(frame): name for name, frame in evaluation.items()}
    for name, frame in calibration.items():
        twin = name if name in evaluation else by_content.get(_digest(frame))
        if twin is not None:
            raise UsageFault(
                f"Photo {name!r} calibrates and, as {twin!r}, evaluates.",
                expected="A model is judged on photos that its ranges were not taken from.",
                remedy="Take the photo out of one of the two sets.",
            )


def _digest(frame: Frame) -> bytes:
    return hashlib.sha256(f"{frame.shape}".encode() + frame.tobytes()).digest()


def crops(
    frames: Mapping[str, Frame], *, count: int, seed: int, preprocess: Preprocess
) -> list[Frame]:
    """`count` random-resized crops of the photos in turn, names in sorted order.

    Every second crop shows other photos than those between, so that the halves of the set can be
    held against each other (`quantizers.halves`). Each photo is shown equally often, but for an odd
    number of them, of which one half has fewer. A single photo is in both.

    Every crop is resized to the size of which `preprocess` then takes its window,
    round(side / crop_fraction), so that preprocessing does not resample it once more: uint8
    (height, width, 3), RGB.
    """
    if not frames or count < 1:
        raise UsageFault(
            f"{count} crops of {len(frames)} photos were asked for.",
            expected="At least one crop of at least one photo.",
            remedy="Pass photos and a positive count.",
        )
    from PIL import Image

    generator = np.random.default_rng(seed)
    names = sorted(frames)
    halves = names[::2], names[1::2] or names
    fraction = preprocess.crop_fraction if preprocess.fit == "crop" else 1.0
    size = (round(preprocess.width / fraction), round(preprocess.height / fraction))
    mode = Image.Resampling[preprocess.resize.upper()]
    made = []
    for index in range(count):
        half = halves[index % 2]
        frame = frames[half[index // 2 % len(half)]]
        check_frame(frame)
        box = _window(frame.shape[1], frame.shape[0], generator)
        image = Image.fromarray(frame).resize(size, mode, box=box)
        made.append(np.asarray(image, np.uint8))
    return made


def _window(width: int, height: int, generator: np.random.Generator) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a random window; the largest allowed one if none fits."""
    low, high = (math.log(ratio) for ratio in ASPECT)
    for _ in range(_TRIES):
        area = width * height * generator.uniform(*AREA)
        aspect = math.exp(generator.uniform(low, high))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left = int(generator.integers(0, width - w + 1))
            top = int(generator.integers(0, height - h + 1))
            return left, top, left + w, top + h
    w = min(width, max(1, int(height * ASPECT[1])))
    h = min(height, max(1, int(width / ASPECT[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
