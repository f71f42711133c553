"""The scanner without a window: cameras and readers that the test plays, a UI thread that it is."""

import dataclasses
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.platforms import find_platform
from app.scanning.presenter import ScanPresenter
from app.sources.base import SourceFrame
from app.sources.photo import photo_file
from headtail.errors import EnvironmentFault, RuntimeUnavailable
from headtail.runtimes.base import Capability
from tests.app.scanning.test_codes import LINK

SOON_S = 5.0


class Camera:
    """Gives the frames that the test hands in."""

    name, still = "camera", False

    def __init__(self):
        self.running = 0
        self.deliver: Any = None
        self.failed: Any = None

    def start(self, deliver, failed):
        self.running += 1
        self.deliver, self.failed = deliver, failed

    def stop(self):
        self.running -= 1

    def see(self, shade, number=0):
        self.deliver(SourceFrame(np.full((4, 6, 3), shade, np.uint8), 0.0, number))


class Reader:
    """Reads what is written in `says` for a shade; waits in `decode` while `held`."""

    name = "played"

    def __init__(self, reason=""):
        self.reason = reason
        self.says, self.seen = {}, []
        self.threads, self.left = set(), threading.Event()
        self.may, self.began = threading.Event(), threading.Event()
        self.may.set()

    def probe(self):
        return Capability(not self.reason, reason=self.reason)

    def decode(self, luma):
        self.threads.add(threading.current_thread())
        self.seen.append(int(luma[0, 0]))
        self.began.set()
        assert self.may.wait(SOON_S)
        said = self.says.get(int(luma[0, 0]), [])
        if isinstance(said, Exception):
            raise said
        return said

    def leave_thread(self):
        assert threading.current_thread() in self.threads
        self.left.set()


class Picker:
    def pick(self, chosen, failed):
        self.chosen, self.failed = chosen, failed


@pytest.fixture
def made(ui):
    """A scanner with its parts: `made(reader=...)`."""
    running = []

    def make(reader=None, picker=None):
        camera, reader = Camera(), reader or Reader()
        found: list[str] = []
        platform = dataclasses.replace(
            find_platform("linux"),
            camera=lambda: camera,
            code_reader=lambda: reader,
            picker=None if picker is None else lambda: picker,
            chooser=None,
        )
        scanner = ScanPresenter(platform, found=found.append, hand_over=ui.hand_over)
        scanner.subscribe(ui.listen)
        running.append(scanner)
        return scanner, camera, reader, found

    yield make
    assert all(scanner.shut() for scanner in running)


def test_a_link_closes_the_scanner_gives_the_camera_back_and_is_handed_on(made, ui):
    scanner, camera, reader, found = made()
    reader.says[9] = ["https://example.org", LINK]
    scanner.open()
    assert camera.running == 1
    camera.see(3)
    state = ui.until(lambda s: s.picture is not None)
    assert (state.picture.pixels == 3).all()
    camera.see(9, 1)
    ui.until(lambda s: not s.opened)
    assert (found, camera.running) == ([LINK], 0)
    assert reader.left.wait(SOON_S)  # its thread is let go
    camera.see(9, 2)  # one that was on its way
    assert scanner.shut()
    while not ui.calls.empty():
        ui.calls.get()()
    assert found == [LINK]


def test_of_frames_that_come_faster_than_they_are_read_the_newest_is_read(made, ui):
    scanner, camera, reader, _ = made()
    reader.may.clear()
    reader.says[9] = ["x"]
    scanner.open()
    camera.see(1)
    assert reader.began.wait(SOON_S)
    for shade in (2, 3, 4, 9):
        camera.see(shade)
    reader.may.set()
    ui.until(lambda s: s.note)
    assert reader.seen == [1, 9]
    assert len(ui.states) < 8  # pictures, too: several wait for one turn of the loop


def test_reading_is_never_done_on_the_ui_thread(made, ui):
    scanner, camera, reader, _ = made()
    reader.says[9] = ["x"]
    scanner.open()
    camera.see(9)
    ui.until(lambda s: s.note)
    assert threading.current_thread() not in reader.threads
    assert len(reader.threads) == 1


def test_a_foreign_code_is_said_and_looking_goes_on(made, ui):
    scanner, camera, reader, found = made()
    reader.says[9] = ["https://example.org/menu"]
    scanner.open()
    camera.see(9)
    state = ui.until(lambda s: s.note)
    assert 'it says "https://example.org/menu". It was not opened.' in state.note
    assert (state.opened, camera.running, found) == (True, 1, [])


def test_where_nothing_can_read_codes_no_camera_is_opened(made):
    scanner, camera, _, _ = made(Reader("zxing-cpp is not installed. Install it."))
    scanner.open()
    assert scanner.state.unable.remedy == "zxing-cpp is not installed. Install it."
    assert "camera app" in scanner.state.hint
    scanner.enter()
    assert camera.running == 0


def test_a_pause_gives_the_camera_back_and_back_closes(made):
    scanner, camera, _, _ = made()
    scanner.enter()
    assert (camera.running, scanner.back()) == (0, False)
    scanner.open()
    scanner.open()
    assert camera.running == 1
    scanner.leave()
    assert (camera.running, scanner.state.opened) == (0, True)
    scanner.enter()
    scanner.enter()
    assert camera.running == 1
    assert scanner.back()
    assert (camera.running, scanner.state.opened) == (0, False)


def test_without_a_camera_a_picture_is_read_and_what_is_wrong_with_it_said(made, ui, tmp_path):
    scanner, camera, reader, found = made()
    for shade in (9, 5):
        Image.new("RGB", (30, 20), (shade,) * 3).save(tmp_path / f"shot{shade}.png")
    reader.says[9] = [LINK]
    assert not scanner.drop(tmp_path / "shot9.png")  # not open: somebody else's
    scanner.open()
    camera.failed(EnvironmentFault("No camera.", expected="One.", remedy="Connect one."))
    state = ui.until(lambda s: s.obstacle)
    assert "drop a picture" in state.hint
    assert scanner.drop(tmp_path / "shot5.png")
    assert scanner.state.reading == "shot5"
    assert ui.until(lambda s: s.note).note == "There is no QR code in shot5."
    assert scanner.drop(tmp_path / "absent.png")
    assert "cannot be read as an image" in ui.until(lambda s: "absent" in s.note).note
    assert scanner.state.reading == ""
    assert scanner.drop(tmp_path / "shot9.png")
    ui.until(lambda s: not s.opened)
    assert found == [LINK]


def test_a_picture_comes_from_the_systems_list_though_that_takes_the_window_away(
    made, ui, tmp_path
):
    picker = Picker()
    scanner, camera, reader, found = made(picker=picker)
    Image.new("RGB", (30, 20), (9, 9, 9)).save(tmp_path / "shot.png")
    reader.says[9] = [LINK]
    scanner.pick()
    assert not hasattr(picker, "chosen")
    scanner.open()
    assert "choose a picture" in scanner.state.hint
    scanner.pick()
    scanner.leave()
    picker.failed(EnvironmentFault("It broke.", expected="A photo.", remedy="Try again."))
    assert ui.until(lambda s: s.note).note == "It broke. A photo. Try again."
    picker.chosen(photo_file(tmp_path / "shot.png"))
    ui.until(lambda s: not s.opened)
    assert (found, camera.running) == ([LINK], 0)


def test_a_small_code_in_a_large_photo_is_looked_for_at_two_sizes(made, ui, tmp_path):
    scanner, _, reader, _ = made()
    Image.new("RGB", (2000, 40), (5, 5, 5)).save(tmp_path / "wide.png")
    scanner.open()
    scanner.drop(tmp_path / "wide.png")
    ui.until(lambda s: s.note)
    assert reader.seen == [5, 5]


def test_a_reader_that_fails_says_so_and_is_asked_again(made, ui):
    scanner, camera, reader, _ = made()
    reader.says[9] = RuntimeUnavailable("It broke.", expected="It reads.", remedy="Try again.")
    scanner.open()
    camera.see(9)
    assert ui.until(lambda s: s.note).note == "It broke. It reads. Try again."
    reader.says[4] = ["x"]
    camera.see(4)
    ui.until(lambda s: "no pairing code" in s.note)
