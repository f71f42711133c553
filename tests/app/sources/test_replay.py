import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.sources.photo import folder_photos
from app.sources.replay import PhotoReplay, VideoReplay, is_replay, open_replay
from headtail.errors import ImageFault, MissingDependency, UsageFault
from tests.app.sources.collecting import Collected

SHADES = (10, 120, 250)


def plain(shade):
    return Image.new("RGB", (24, 16), (shade, 0, 255 - shade))


@pytest.fixture(params=["gif", "webp", "png"])
def animation(tmp_path, request):
    path = tmp_path / f"moving.{request.param}"
    first, *rest = [plain(shade) for shade in SHADES]
    options = {"lossless": True} if request.param == "webp" else {}
    first.save(path, save_all=True, append_images=rest, duration=20, loop=0, **options)
    return path


def shades(collected, count):
    return [int(collected.frame().pixels[8, 12, 0]) for _ in range(count)]


def test_an_animation_plays_in_order_and_over_and_over(animation):
    assert is_replay(animation)
    collected = Collected(open_replay(animation))
    assert shades(collected, 5) == pytest.approx([*SHADES, *SHADES[:2]], abs=2)
    collected.source.stop()


def test_frames_are_numbered_and_come_at_their_times(animation):
    collected = Collected(open_replay(animation))
    frames = [collected.frame() for _ in range(4)]
    collected.source.stop()
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert frames[3].time_s - frames[0].time_s >= 0.059
    assert frames[0].pixels.shape == (16, 24, 3)


def test_a_photo_is_no_replay(tmp_path):
    plain(3).save(tmp_path / "still.gif")
    (tmp_path / "text.gif").write_text("no image")
    assert not is_replay(tmp_path / "still.gif")
    assert not is_replay(tmp_path / "text.gif")
    assert is_replay(tmp_path / "holiday.mp4")  # by its name; it is opened when it plays


def test_a_folder_plays_by_name_and_leaves_out_what_is_no_photo(tmp_path):
    for name, shade in zip("abc", SHADES, strict=True):
        plain(shade).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    collected = Collected(open_replay(tmp_path))
    assert shades(collected, 3) == [SHADES[0], SHADES[2], SHADES[0]]
    collected.source.stop()


def test_a_folder_without_photos_is_refused(tmp_path):
    with pytest.raises(UsageFault, match="holds no photos"):
        open_replay(tmp_path)


def test_where_no_photo_can_be_read_that_is_said(tmp_path):
    (tmp_path / "a.png").write_bytes(b"broken")
    collected = Collected(PhotoReplay("photos", folder_photos(tmp_path)))
    assert isinstance(collected.fault(), ImageFault)


@settings(deadline=None, max_examples=60)
@given(cut=st.integers(1, 600), place=st.integers(0, 599), byte=st.integers(0, 255))
def test_attack_whatever_is_dropped_on_the_window_is_a_replay_or_none(
    tmp_path_factory, cut, place, byte
):
    path = tmp_path_factory.getbasetemp() / "moving.gif"
    data = bytearray(DAMAGED[:cut])
    data[place % len(data)] = byte
    path.write_bytes(data)
    assert is_replay(path) in (True, False)  # asked on the UI thread: it must not raise


def damaged():
    held = io.BytesIO()
    first, *rest = [plain(shade) for shade in SHADES]
    first.save(held, "GIF", save_all=True, append_images=rest, duration=20)
    return held.getvalue()


DAMAGED = damaged()


@pytest.mark.parametrize("length", range(30, 60, 3))
def test_an_animation_cut_anywhere_is_an_image_fault(tmp_path, length):
    path = tmp_path / "moving.gif"
    path.write_bytes(DAMAGED[:length])
    assert isinstance(Collected(open_replay(path)).fault(), ImageFault)


def test_an_animation_that_ends_too_soon_is_said(tmp_path):
    path = tmp_path / "moving.gif"
    first, *rest = [plain(shade) for shade in SHADES]
    first.save(path, save_all=True, append_images=rest, duration=20)
    path.write_bytes(b"GIF89a" + path.read_bytes()[6:20])
    assert isinstance(Collected(open_replay(path)).fault(), ImageFault)


class Tape:
    """`cv2.VideoCapture` of two frames, BGR, as it is used: get, read, set and release."""

    def __init__(self, path):
        assert path.endswith(".mp4")
        self.position, self.released = 0, False

    def get(self, what):
        assert what == 5  # CAP_PROP_FPS
        return 100.0

    def read(self):
        if self.position >= 2:
            return False, None
        self.position += 1
        return True, np.full((4, 6, 3), (10 * self.position, 0, 200), np.uint8)

    def set(self, what, value):
        assert what == 1  # CAP_PROP_POS_FRAMES
        self.position = value

    def release(self):
        self.released = True


def test_a_video_plays_over_and_over_in_rgb_and_is_closed(tmp_path):
    tapes = []

    def capture(path):
        tapes.append(Tape(path))
        return tapes[-1]

    replay = VideoReplay(tmp_path / "x.mp4", capture=capture)
    collected = Collected(replay)
    colours = [collected.frame().pixels[0, 0].tolist() for _ in range(3)]
    assert colours == [[200, 0, 10], [200, 0, 20], [200, 0, 10]]
    replay.stop()
    replay.start(collected.frames.put, collected.faults.put)  # waits for the first to be closed
    collected.frame()
    while len(tapes) < 2:
        collected.frame()
    assert tapes[0].released
    replay.stop()


def test_a_video_without_a_frame_is_said(tmp_path):
    class Empty(Tape):
        def read(self):
            return False, None

    fault = Collected(VideoReplay(tmp_path / "x.mp4", capture=Empty)).fault()
    assert "no frame that can be read" in str(fault)


def test_without_opencv_a_video_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fault = Collected(open_replay(tmp_path / "x.mp4")).fault()
    assert isinstance(fault, MissingDependency)
    assert "pip install opencv-python-headless" in str(fault)
