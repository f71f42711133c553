"""A folder of the user's photos in place of the calibration inputs that a source brings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from exporters.sources.model import SourceModel
from exporters.sources.photos import CALIBRATION_COUNT, loaded
from headtail.errors import UsageFault
from quantizers.calibration import crops, from_arrays, require_disjoint

__all__ = ["calibrated_with"]

_SEED = 0


def calibrated_with(source: SourceModel, folder: Path) -> SourceModel:
    """The source with crops of the folder's photos as calibration inputs, preprocessed as its own.

    Raises `UsageFault` for a folder without photos, for a model that takes no photos, and for a
    photo that the model is also judged with.
    """
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
            remedy="Name a folder with real photos of what the model is for.",
        )
    judged = {f"evaluation photo {i}": frame for i, frame in enumerate(source.frames)}
    require_disjoint(photos, judged)
    made = crops(photos, count=CALIBRATION_COUNT, seed=_SEED, preprocess=source.preprocess)
    samples = [(source.preprocess(frame),) for frame in made]
    said = f"crops of {len(photos)} photos in {folder.name}"
    return replace(source, calibration=from_arrays(samples, source=said, seed=_SEED))
