"""Real photos to calibrate and judge with: a folder of the user's, or those that packages ship."""

from __future__ import annotations

import importlib.util
import random
from dataclasses import dataclass
from pathlib import Path

from headtail.errors import HeadtailError, MissingDependency, UsageFault
from headtail.preprocess import Frame, Preprocess, load_image
from quantizers.calibration import crops, require_disjoint

__all__ = [
    "CALIBRATION_PHOTOS",
    "EVALUATION_PHOTOS",
    "PhotoSets",
    "loaded",
    "package_folder",
    "photos",
]

# Calibration and evaluation never share a photo. The stereo pair stays on one side.
CALIBRATION_PHOTOS = (
    "skimage:brick.png",
    "skimage:cell.png",
    "skimage:clock_motion.png",
    "skimage:coffee.png",
    "skimage:coins.png",
    "skimage:grass.png",
    "skimage:ihc.png",
    "skimage:motorcycle_left.png",
)
EVALUATION_PHOTOS = (
    "skimage:astronaut.png",
    "skimage:camera.png",
    "skimage:chelsea.png",
    "skimage:gravel.png",
    "skimage:hubble_deep_field.jpg",
    "skimage:moon.png",
    "skimage:retina.jpg",
    "skimage:rocket.jpg",
    "sklearn:china.jpg",
    "sklearn:flower.jpg",
)
CALIBRATION_COUNT = 64
MOST_PHOTOS = 50  # judged; more change the figures little and take long in the interpreter
_SEED = 0
_FOLDERS = {"skimage": ("data", "scikit-image"), "sklearn": ("datasets/images", "scikit-learn")}
_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")


def package_folder(name: str, distribution: str) -> Path:
    """Where an installed package lies; raises `MissingDependency`."""
    # find_spec instead of import: reading a picture does not need scikit-image's libraries
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise MissingDependency(
            distribution,
            needed_for="photos to judge with, unless --images names a folder of them",
            install="pip install 'headtail[demo]'",
        )
    return Path(spec.origin).parent


def photos(names: tuple[str, ...]) -> dict[str, Frame]:
    """`package:file` -> uint8 (height, width, 3)."""
    found = {}
    for name in names:
        package, _, file = name.partition(":")
        folder, distribution = _FOLDERS[package]
        found[name] = load_image(package_folder(package, distribution) / folder / file)
    return found


@dataclass(frozen=True)
class PhotoSets:
    """Disjoint photos: crops to calibrate with, whole photos to judge with."""

    calibration: list[Frame]
    evaluation: list[Frame]
    source: str

    @classmethod
    def load(cls, images: Path | None, preprocess: Preprocess) -> PhotoSets:
        """The photos of a folder, or of scikit-image and scikit-learn."""
        if images is None:
            chosen, judged = photos(CALIBRATION_PHOTOS), photos(EVALUATION_PHOTOS)
            source = "photos of scikit-image and scikit-learn"
        else:
            chosen, judged = _divided(images)
            source = f"photos in {images.name}"
        require_disjoint(chosen, judged)
        made = crops(chosen, count=CALIBRATION_COUNT, seed=_SEED, preprocess=preprocess)
        return cls(made, list(judged.values())[:MOST_PHOTOS], source)


def _divided(folder: Path) -> tuple[dict[str, Frame], dict[str, Frame]]:
    """A seeded half of the photos calibrates, the other half judges."""
    paths = _paths(folder)
    if len(paths) < 2:  # one for each side
        raise UsageFault(
            f"There are {len(paths)} photos in {str(folder)!r}.",
            expected=f"At least 2 files of {', '.join(_SUFFIXES)}: some calibrate, others judge.",
            remedy="Name a folder with real photos of what the model is for.",
        )
    random.Random(_SEED).shuffle(paths)
    half = len(paths) // 2
    return _loaded(paths[:half], folder), _loaded(paths[half:], folder)


def loaded(folder: Path) -> dict[str, Frame]:
    """Every photo in a folder and the folders below it, by its path from there."""
    return _loaded(_paths(folder), folder)


def _paths(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)


def _loaded(paths: list[Path], folder: Path) -> dict[str, Frame]:
    found = {}
    for path in paths:
        try:
            found[path.relative_to(folder).as_posix()] = load_image(path)
        except HeadtailError as error:
            raise UsageFault(
                f"{path} cannot be read: {error.what}",
                expected="Every picture in the folder is a whole photo.",
                remedy="Take the file out of the folder.",
            ) from error
    return found
