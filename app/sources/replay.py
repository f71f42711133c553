"""Pictures that play by themselves: a folder of them, an animated image, a video, or any photos.

Animations (GIF, WebP, APNG) are Pillow's. Other videos need OpenCV, which no phone and not every
desk has; without it they are refused with a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from app.figures import drawable
from app.sources.camera_opencv import Capture, video_capture
from app.sources.photo import SUFFIXES, Photo, folder_photos, shrunk
from app.sources.stream import Stream, Timed
from headtail.errors import HeadtailError, ImageFault, UsageFault
from headtail.preprocess import MAX_PIXELS

__all__ = ["AnimationReplay", "PhotoReplay", "VideoReplay", "is_replay", "open_replay"]

SLIDE_S = 0.5  # a photo of a folder
LEAST_S = 0.02  # browsers, too, slow animations that claim to have no time between frames
LEAST_RATE, USUAL_RATE, MOST_RATE = 0.1, 30.0, 1000.0  # frames a second; files claim anything
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
ANIMATED = ("GIF", "WEBP", "PNG")
POSITION, FRAMES_PER_S = 1, 5  # cv2.CAP_PROP_POS_FRAMES, cv2.CAP_PROP_FPS


def is_replay(path: Path) -> bool:
    """Whether a file moves: a video by its name, or an image with more than one frame."""
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return True
    from PIL import Image

    try:
        # not n_frames, for which a GIF is read to its end
        with Image.open(path, formats=ANIMATED) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # Pillow's decoders raise what their bytes make them
        return False


def open_replay(path: Path) -> Stream:
    """The folder, animation or video at `path`; raises `UsageFault` for a folder without photos."""
    if path.is_dir():
        photos = folder_photos(path)
        if not photos:
            raise UsageFault(
                f"{path} holds no photos.",
                expected=f"A folder with files that end in {', '.join(SUFFIXES)}.",
                remedy="Choose another folder.",
            )
        return PhotoReplay(drawable(path.name), photos)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoReplay(path)
    return AnimationReplay(path)


class PhotoReplay(Stream):
    """One photo after the other, two a second, over and over; one that cannot be read is left out
    unless none can.
    """

    def __init__(self, name: str, photos: Sequence[Photo]) -> None:
        super().__init__(name)
        self._photos = tuple(photos)

    def frames(self) -> Iterator[Timed]:
        """Without end."""
        while True:
            fault: HeadtailError | None = None
            readable = 0
            for photo in self._photos:
                try:
                    frame = shrunk(photo.load())
                except ImageFault as error:
                    fault = error
                    continue
                readable += 1
                yield Timed(frame, SLIDE_S)
            if fault is not None and not readable:
                raise fault


class AnimationReplay(Stream):
    """An animated image with its own times, over and over."""

    def __init__(self, path: Path) -> None:
        super().__init__(drawable(path.name))
        self._path = path

    def frames(self) -> Iterator[Timed]:
        """Without end."""
        from PIL import Image

        try:
            with Image.open(self._path, formats=ANIMATED) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError("too large")
                while True:
                    for index in range(getattr(image, "n_frames", 1)):
                        image.seek(index)
                        frame = np.array(image.convert("RGB"), np.uint8)
                        shown_s = float(image.info.get("duration", 0)) / 1e3
                        yield Timed(shrunk(frame), max(shown_s, LEAST_S))
        except Exception as error:  # Pillow's decoders raise what their bytes make them
            raise ImageFault(
                f"{self._path.name} cannot be played ({type(error).__name__}).",
                expected="A complete animated GIF, WebP or PNG.",
                remedy="Choose another file, or save it again.",
            ) from error


class VideoReplay(Stream):
    """A video file, over and over; `capture` is `cv2.VideoCapture`, found when it is needed."""

    def __init__(self, path: Path, *, capture: Capture | None = None) -> None:
        super().__init__(drawable(path.name))
        self._path = path
        self._capture = capture

    def frames(self) -> Iterator[Timed]:
        """Without end."""
        needed_for = "videos other than animated GIF, WebP and PNG"
        capture = (self._capture or video_capture(needed_for))(str(self._path))
        try:
            rate = capture.get(FRAMES_PER_S)
            shown_s = 1 / (rate if LEAST_RATE <= rate <= MOST_RATE else USUAL_RATE)
            there, bgr = capture.read()
            while there:
                yield Timed(shrunk(np.ascontiguousarray(bgr[..., ::-1])), shown_s)
                there, bgr = capture.read()
                if not there:  # from the beginning
                    capture.set(POSITION, 0)
                    there, bgr = capture.read()
        finally:
            capture.release()
        raise ImageFault(
            f"{self._path.name} has no frame that can be read.",
            expected="A complete video in a format that OpenCV knows here.",
            remedy="Convert it, for example to an animated WebP.",
        )
