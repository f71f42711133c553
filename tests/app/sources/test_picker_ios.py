"""iOS's photo picker through the real bridge, against a stand-in for UIKit and PhotosUI.

The stand-in is no iOS: it shows what is asked of the system and what comes of each answer.
"""

import queue
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.platforms import find_platform
from app.sources.picker_ios import PhotosPicker
from app.sources.pictures_bridge import Status, open_pictures
from headtail.errors import EnvironmentFault, ImageFault, RuntimeUnavailable
from tests.pictures_fake.framework import FakePictures, built

SOON_S = 5.0
FULL_SCREEN_IMAGES_COMPATIBLE_ONE = 1000 + 100 + 20 + 1


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture
def fake(library, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    fake = FakePictures(library)
    yield fake
    assert fake.shown() == -1  # the picker is gone, whatever was chosen
    fake.set_window()


class Asked:
    """One press on the button."""

    def __init__(self, library):
        self.chosen: queue.Queue[Any] = queue.Queue()
        self.faults: queue.Queue[Exception] = queue.Queue()
        PhotosPicker(library).pick(self.chosen.put, self.faults.put)

    def photo(self):
        return self.chosen.get(timeout=SOON_S)

    def fault(self):
        return self.faults.get(timeout=SOON_S)


def photo_file(folder, *, orientation=1):
    """2 x 1: black, white; turned as its EXIF says."""
    pixels = np.array([[[0] * 3] * 16 + [[255] * 3] * 16] * 16, np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = folder / "IMG_0001.jpeg"
    Image.fromarray(pixels).save(file, exif=exif, quality=95)
    return file


def test_one_picture_is_asked_for_as_jpeg_where_it_can_be_and_over_the_whole_screen(fake, library):
    Asked(library)
    assert fake.shown() == FULL_SCREEN_IMAGES_COMPATIBLE_ONE
    fake.choose_nothing()


def test_the_chosen_photo_comes_upright_and_its_copy_is_removed(fake, library, tmp_path):
    asked = Asked(library)
    fake.choose(photo_file(tmp_path, orientation=6))  # to be turned by 90 degrees clockwise
    pixels = asked.photo().load()
    assert pixels.shape == (32, 16, 3)
    assert pixels[:14].max() < 30
    assert pixels[18:].min() > 225
    assert list((tmp_path / "own").iterdir()) == []


def test_who_chooses_nothing_hears_nothing(fake, library):
    bridge = open_pictures(library)
    ticket = bridge.pick()
    assert bridge.wait(ticket, 0) == (Status.WAITING, None)
    fake.choose_nothing()
    assert bridge.wait(ticket, 1000) == (Status.NOTHING, None)


def test_what_the_system_cannot_give_is_said(fake, library, tmp_path):
    asked = Asked(library)
    fake.choose(photo_file(tmp_path), fault="The photo is in iCloud.")
    assert "The photo is in iCloud." in str(asked.fault())
    asked = Asked(library)
    fake.choose(photo_file(tmp_path), kind="")
    assert "no picture" in str(asked.fault())
    asked = Asked(library)
    fake.choose(tmp_path / "gone.jpeg")
    assert isinstance(asked.fault(), EnvironmentFault)


def test_a_file_that_pillow_cannot_read_is_said_when_it_is_looked_at(fake, library, tmp_path):
    (tmp_path / "IMG.heic").write_bytes(b"\0\0\0\x18ftypheic")
    asked = Asked(library)
    fake.choose(tmp_path / "IMG.heic", kind="public.heic")
    with pytest.raises(ImageFault, match="cannot be read as an image"):
        asked.photo().load()


def test_a_photo_beyond_memory_is_refused_and_removed(fake, library, tmp_path):
    file = tmp_path / "huge.jpeg"
    with file.open("wb") as out:
        out.truncate(65 << 20)
    asked = Asked(library)
    fake.choose(file)
    assert "has 65 MB" in str(asked.fault())
    assert list((tmp_path / "own").iterdir()) == []


def test_a_second_press_and_a_foreign_ticket_are_refused(fake, library):
    bridge = open_pictures(library)
    ticket = bridge.pick()
    assert "shown already" in str(Asked(library).fault())
    with pytest.raises(EnvironmentFault, match="Nobody waits with that ticket"):
        bridge.wait(ticket + 1, 0)
    fake.choose_nothing()
    assert bridge.wait(ticket, 1000)[0] is Status.NOTHING
    again = bridge.pick()
    assert again != ticket
    fake.choose_nothing()


@pytest.mark.parametrize(
    ("there", "raises", "why"), [(False, False, "no window"), (True, True, "cannot present")]
)
def test_without_a_window_nothing_is_shown_and_it_can_be_tried_again(
    fake, library, there, raises, why
):
    fake.set_window(there=there, raises=raises)
    assert why in str(Asked(library).fault())
    fake.set_window()
    asked = Asked(library)
    assert asked.faults.empty()
    fake.choose_nothing()


def test_photos_are_shown_from_the_main_thread_only(fake, library):
    bridge = open_pictures(library)
    faults: queue.Queue[Exception] = queue.Queue()

    def press():
        try:
            bridge.pick()
        except EnvironmentFault as fault:
            faults.put(fault)

    thread = threading.Thread(target=press)
    thread.start()
    thread.join(SOON_S)
    assert "from the main thread" in str(faults.get(timeout=SOON_S))


def test_on_a_desk_it_says_what_to_add():
    make = find_platform("ios").picker
    assert make is not None
    faults: list[Exception] = []
    make().pick(lambda _photo: None, faults.append)
    assert isinstance(faults[0], RuntimeUnavailable)
    assert "PhotosUI.framework" in str(faults[0])
