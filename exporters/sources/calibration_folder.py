"""The user's photos, or noise by name, in place of the calibration inputs that a source brings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from exporters.capture import narrowed
from exporters.sources.model import SourceModel
from exporters.sources.photos import CALIBRATION_COUNT, loaded
from headtail.errors import UsageFault
from quantizers.calibration import crops, from_arrays, require_alike, require_disjoint
from quantizers.calibration_synthetic import WORD, synthetic

__all__ = ["calibrated_with"]

_SEED = 0
_STAMP = (
    "Calibrated with synthetic inputs: ranges and weights are fitted to noise, and the figures of "
    "what was quantized say little about the model on real inputs."
)
_SINGLE = (
    "All calibration inputs are crops of one photo: what its halves say is about that scene only. "
    "Take some dozens of photos."
)


def calibrated_with(source: SourceModel, folder: Path) -> SourceModel:
    """The source with crops of the folder's photos as calibration inputs, preprocessed as its own;
    or with noise, if `folder` is the word `synthetic`, and a remark that says so.

    Raises `UsageFault` for a folder without photos, for a model that takes no photos, for a photo
    that the model is also judged with, and for a folder that is called `synthetic`.
    """
    if str(folder) == WORD:
        return _with_noise(source, folder)
    if source.preprocess is None:
        raise UsageFault(
            f"{source.name} does not say how photos become its inputs.",
            expected="Photos calibrate a model that has a get_preprocess().",
            remedy="Define it, or get_calibration_data(), in the model's script.",
        )
    photos = loaded(folder)
    if not photos:
        raise UsageFault(
            f"There are no photos in {str(folder)!r}.",
            expected="At least one picture; the ranges are those of what the model is for.",
            remedy=f"Name a folder with real photos of what the model is for, or {WORD} for noise.",
        )
    judged = {f"evaluation photo {i}": frame for i, frame in enumerate(source.frames)}
    require_disjoint(photos, judged)
    made = crops(photos, count=CALIBRATION_COUNT, seed=_SEED, preprocess=source.preprocess)
    samples = [(source.preprocess(frame),) for frame in made]
    said = f"crops of {len(photos)} photos in {folder.name}"
    calibration = from_arrays(samples, source=said, seed=_SEED)
    require_alike(calibration, source.evaluation)
    remarks = source.remarks if len(photos) > 1 else (*source.remarks, _SINGLE)
    return replace(source, calibration=calibration, remarks=remarks)


def _with_noise(source: SourceModel, folder: Path) -> SourceModel:
    if folder.exists():
        raise UsageFault(
            f"There is a folder called {WORD} here, and {WORD} is the word for noise.",
            expected="Either noise or the photos of a folder calibrate.",
            remedy="Name the folder by its whole path, or ask for noise from another folder.",
        )
    example = [narrowed(value.detach().numpy()) for value in source.example]
    noise = synthetic(example, source.preprocess, count=CALIBRATION_COUNT, seed=_SEED)
    return replace(source, calibration=noise, remarks=(*source.remarks, _STAMP))
