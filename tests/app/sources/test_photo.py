import numpy as np
import pytest
from PIL import Image

from app.sources.photo import (
    PhotoSource,
    bundled_photos,
    folder_photos,
    photo_bytes,
    photo_file,
    shrunk,
    square,
)
from headtail.errors import ImageFault, UsageFault
from tests.app.sources.collecting import Collected


def frame(height, width):
    return np.arange(height * width * 3, dtype=np.uint32).reshape(height, width, 3).astype(np.uint8)


def test_a_folder_lists_its_images_by_name_and_opens_none(tmp_path):
    Image.fromarray(frame(4, 6)).save(tmp_path / "b.png")
    (tmp_path / "a.JPG").write_bytes(b"not an image, which nobody notices yet")
    (tmp_path / "notes.txt").write_text("no")
    photos = folder_photos(tmp_path)
    assert [photo.name for photo in photos] == ["a", "b"]
    np.testing.assert_array_equal(photos[1].load(), frame(4, 6))
    with pytest.raises(ImageFault, match=r"a\.JPG cannot be read"):
        photos[0].load()


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageFault, match="is not a folder"):
        folder_photos(tmp_path / "nowhere")


def test_a_photo_is_upright_by_its_exif_tag(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(frame(4, 6)).save(tmp_path / "turned.png", exif=exif)
    assert photo_file(tmp_path / "turned.png").load().shape == (6, 4, 3)


def test_the_frames_of_a_bundle_come_in_numeric_order():
    golden = {f"frame.{i}": np.full((2, 2, 3), i, np.uint8) for i in (10, 2, 0)}
    golden["input.0.x"] = np.zeros((1, 3, 2, 2), np.float32)
    photos = bundled_photos(golden)
    assert [photo.name for photo in photos] == ["Sample 1", "Sample 3", "Sample 11"]
    assert [int(photo.load()[0, 0, 0]) for photo in photos] == [0, 2, 10]
    assert len({photo.key for photo in photos}) == 3


def test_shrunk_keeps_proportions_and_never_enlarges():
    assert shrunk(frame(300, 600), side=100).shape == (50, 100, 3)
    assert shrunk(frame(1, 600), side=100).shape == (1, 100, 3)
    small = frame(30, 60)
    assert shrunk(small, side=100) is small


def test_square_shows_the_centre():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    thumbnail = square(wide, side=8)
    assert thumbnail.shape == (8, 8, 3)
    assert (thumbnail == 200).all()


def test_a_photo_gives_one_frame_for_each_start(red_photo):
    source = PhotoSource(photo_file(red_photo))
    for _ in range(2):
        collected = Collected(source)
        frame = collected.frame()
        assert (frame.number, frame.rotation, frame.pixels.shape) == (0, 0, (480, 640, 3))
    assert collected.frames.empty()


def test_a_photo_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no")
    assert isinstance(Collected(PhotoSource(photo_file(tmp_path / "a.jpg"))).fault(), ImageFault)


def test_bytes_of_a_photo_are_known_again(red_photo):
    data = red_photo.read_bytes()
    one, again = photo_bytes(data, "Chosen photo"), photo_bytes(data, "Chosen photo")
    assert one.key == again.key
    assert one.load().shape == (480, 640, 3)


def test_a_photo_whose_name_is_no_text_can_be_drawn(tmp_path):
    assert photo_file(tmp_path / "caf\udce9.png").name == "caf?"
