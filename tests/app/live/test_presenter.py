"""The app without a screen: real bundle, real LiteRT, real server; the test is the UI thread."""

import dataclasses
import shutil
import socket

import numpy as np
import pytest

from app.live.presenter import LivePresenter
from app.live.readings import Counts
from app.live.state import Place, Result, SourceKind
from app.platforms import find_platform
from app.servers import Servers
from app.settings.preferences import PreferenceStore
from app.sources.base import SourceFrame
from app.sources.photo import folder_photos, photo_file
from headtail.errors import UsageFault
from headtail.offload.pairing import PairingCode, build_uri
from headtail.preprocess import load_image

pytestmark = pytest.mark.slow
DEADLINE_MS = 1000.0
COLOURS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 1),
    "green": (0, 1, 0),
    "grey": (0.5, 0.5, 0.5),
}
SAMPLES = ["black", "blue", "green", "grey"]  # what the photos in the bundle show, in order


@pytest.fixture
def controller(ui):
    controller = made(find_platform("linux"), ui)
    yield controller
    assert controller.close()


def made(platform, ui):
    preferences = PreferenceStore(None)
    controller = LivePresenter(platform, preferences, Servers(None), hand_over=ui.hand_over)
    controller.subscribe(ui.listen)
    ui.preferences = preferences
    return controller


def settled(state):
    return not state.busy and (state.result is not None or state.problem is not None)


def answered(state):
    return not state.busy and state.result is not None


def failed(state):
    return not state.busy and state.problem is not None


def test_opening_a_bundle_shows_it_and_answers_its_first_photo(controller, ui, colour_bundle):
    controller.open_bundle(colour_bundle)
    state = ui.until(lambda s: answered(s) and all(card.thumbnail for card in s.photos))
    assert (state.bundle.name, state.bundle.format, state.bundle.precision) == (
        "nearest_colour",
        "litert",
        "fp32",
    )
    assert state.bundle.agreement == 1.0
    assert state.chosen is state.photos[0].photo
    assert state.result.ranked[0].label == SAMPLES[0]
    assert len(state.result.ranked) == 5


def test_a_photo_file_is_classified_here_and_says_so(controller, ui, colour_bundle, red_photo):
    controller.add_photos([photo_file(red_photo)])
    controller.open_bundle(colour_bundle)
    state = ui.until(answered)
    assert state.photos[0].photo.name == "tomato"
    assert state.result.ranked[0].label == "red"
    assert (state.result.place, state.result.badge) == (Place.DEVICE, "local")
    assert (state.result.bytes_up, state.result.tail_ms) == (0, 0)
    assert 0 < state.result.total_ms < DEADLINE_MS
    np.testing.assert_array_equal(state.picture.pixels, load_image(red_photo))


def test_the_newest_choice_is_the_one_that_is_answered(controller, ui, colour_bundle):
    controller.open_bundle(colour_bundle)
    photos = [card.photo for card in ui.until(answered).photos]
    assert len(photos) == len(SAMPLES)
    for photo in photos * 5:
        controller.choose(photo)
    ui.until(lambda s: answered(s) and s.chosen is photos[-1])
    shown = [(s.chosen, s.result.ranked[0].label) for s in ui.states if s.result]
    assert shown[-1] == (photos[-1], SAMPLES[-1])
    right = dict(zip(photos, SAMPLES, strict=True))
    assert all(right[photo] == label for photo, label in shown)  # none stood under another photo


def test_split_with_a_server_and_on_without_it(controller, ui, colour_bundle, red_photo, server):
    controller.add_photos([photo_file(red_photo)])
    controller.open_bundle(colour_bundle)
    local = ui.until(answered).result
    ui.preferences.change(server=server.url, mode="force", cut="shrink", codec="aq8t+deflate")
    split = ui.until(lambda s: answered(s) and s.result is not local).result
    assert (split.place, split.badge) == (Place.SPLIT, "split at shrink, aq8t+deflate")
    assert split.ranked[0].label == local.ranked[0].label == "red"
    assert split.ranked[0].probability == pytest.approx(local.ranked[0].probability, abs=0.01)
    assert 0 < split.bytes_up < 3 * 32 * 32 * 4
    server.kill()
    for _ in range(3):
        controller.choose(controller.state.chosen)
        lost = ui.until(answered).result
        assert (lost.place, lost.badge) == (Place.FALLBACK, "local (server lost)")
        assert lost.ranked == local.ranked
        assert lost.reason
        assert lost.total_ms < DEADLINE_MS + 500
    controller.set_mode("off")
    state = ui.until(lambda s: answered(s) and s.choices.mode == "off")
    assert state.result.badge == "local"
    assert ui.preferences.state.mode == "off"


def test_an_address_that_is_none_is_refused_and_the_photo_still_answered(
    controller, ui, colour_bundle
):
    controller.open_bundle(colour_bundle)
    ui.until(answered)
    ui.preferences.change(server="ftp://example", mode="force")
    state = ui.until(lambda s: answered(s) and s.problem)
    assert "ftp://example" in state.problem.full_text
    assert state.result.badge == "local"
    controller.dismiss()
    assert controller.state.problem is None


def test_a_changed_byte_is_named_and_the_open_bundle_gives_way(
    controller, ui, colour_bundle, tmp_path
):
    broken = tmp_path / "nearest_colour.bundle"
    shutil.copytree(colour_bundle, broken)
    artifact = next((broken / "artifacts").glob("*.tflite"))
    data = bytearray(artifact.read_bytes())
    data[len(data) // 2] ^= 1
    artifact.write_bytes(data)
    controller.open_bundle(broken)
    state = ui.until(failed)
    assert artifact.name in state.problem.what
    assert (state.bundle, state.result) == (None, None)
    controller.open_bundle(colour_bundle)  # the app goes on
    assert ui.until(answered).problem is None


def test_something_that_is_no_image_is_said_when_it_is_chosen(
    controller, ui, colour_bundle, tmp_path
):
    fake = tmp_path / "holiday.jpg"
    fake.write_text("not a photo")
    controller.open_bundle(colour_bundle)
    ui.until(answered)
    controller.drop(fake)
    state = ui.until(failed)
    assert "holiday.jpg cannot be read as an image" in state.problem.what
    assert state.result is None
    controller.choose(state.photos[1].photo)
    assert ui.until(answered).result.ranked[0].label == "black"


def test_dropping_a_bundle_opens_it_and_a_folder_of_photos_keeps_its_order(
    controller, ui, colour_bundle, red_photo
):
    controller.add_photos(folder_photos(red_photo.parent))
    assert controller.state.chosen.name == "tomato"
    assert not controller.state.busy  # there is no model yet
    controller.drop(colour_bundle)
    assert ui.until(answered).result.ranked[0].label == "red"
    controller.add_photos(folder_photos(red_photo.parent))  # known already
    assert [card.photo.name for card in controller.state.own] == ["tomato"]


def test_a_phone_without_runtimes_says_so(ui, colour_bundle):
    bare = dataclasses.replace(find_platform("linux"), device="this phone", runtimes=tuple)
    controller = made(bare, ui)
    controller.open_bundle(colour_bundle)
    state = ui.until(failed)
    assert state.problem.what == "No artifact of nearest_colour can run here."
    assert "LiteRT fp32: no runtime for this format here" in state.problem.remedy
    assert controller.close()


class FakeCamera:
    """A source whose frames the test hands in itself."""

    name, still = "camera", False

    def __init__(self):
        self.running = False
        self.starts = 0

    def start(self, deliver, failed):
        self.deliver, self.failed = deliver, failed
        self.running = True
        self.starts += 1

    def stop(self):
        self.running = False


@pytest.fixture
def filmed(ui):
    """A controller with such a camera."""
    camera = FakeCamera()
    platform = dataclasses.replace(find_platform("linux"), camera=lambda: camera)
    controller = made(platform, ui)
    controller.camera = camera
    yield controller
    assert controller.close()


def shade(colour, number=0):
    return SourceFrame(np.full((48, 64, 3), colour, np.uint8), 0.0, number)


def test_frames_of_a_camera_are_answered_and_counted(filmed, ui, colour_bundle):
    filmed.open_bundle(colour_bundle)
    filmed.choose_source(SourceKind.CAMERA)
    ui.until(lambda s: s.bundle is not None)
    for number, colour in enumerate([(255, 0, 0), (0, 0, 255)]):
        filmed.camera.deliver(shade(colour, number))
        state = ui.until(lambda s, n=number: s.readings.counts.answered == n + 1)
    assert state.result.ranked[0].label == "blue"
    assert (state.picture.pixels == (0, 0, 255)).all()
    assert state.readings.counts == Counts(handed=2, answered=2)


def test_a_code_with_no_server_there_is_said_and_the_camera_goes_on(filmed, ui, colour_bundle):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and it does not listen
        url = f"https://127.0.0.1:{nobody.getsockname()[1]}"
        code = build_uri(PairingCode(url, "0" * 64, "t" * 22))
        ui.preferences.change(server=code, mode="force")  # as the command line does
        filmed.open_bundle(colour_bundle)
        filmed.choose_source(SourceKind.CAMERA)
        state = ui.until(lambda s: s.bundle is not None and s.problem is not None)
        assert url.removeprefix("https://") in state.problem.full_text
        assert (state.playing, filmed.camera.running) == (True, True)
        filmed.camera.deliver(shade((0, 0, 255)))
        state = ui.until(answered)
    assert (state.result.badge, state.result.ranked[0].label) == ("local", "blue")
    assert state.playing


def test_leaving_gives_the_camera_back_and_coming_again_takes_it(filmed, ui):
    filmed.choose_source(SourceKind.CAMERA)
    assert filmed.camera.running
    filmed.leave()
    assert not filmed.camera.running
    filmed.enter()
    filmed.enter()  # it is here already
    assert (filmed.camera.running, filmed.camera.starts) == (True, 2)
    filmed.play(playing=False)
    filmed.leave()
    filmed.enter()
    assert not filmed.camera.running  # it was paused, and still is
    filmed.play(playing=True)
    assert filmed.camera.running


def test_while_another_page_holds_the_device_it_says_so_and_goes_on_afterwards(filmed, ui):
    filmed.choose_source(SourceKind.CAMERA)
    filmed.hold("Benchmark")
    assert (filmed.camera.running, filmed.state.held, filmed.state.waits) == (
        False,
        "Benchmark",
        True,
    )
    filmed.choose_source(SourceKind.CAMERA)  # a gesture takes it no more than the page did
    assert (filmed.camera.running, filmed.state.waits) == (False, True)
    filmed.release()
    assert (filmed.camera.running, ui.states[-1].held, ui.states[-1].waits) == (True, "", False)


def test_nothing_is_taken_while_nobody_looks(filmed, ui):
    filmed.leave()
    filmed.choose_source(SourceKind.CAMERA)
    assert not filmed.camera.running
    filmed.enter()
    assert filmed.camera.running


def test_a_camera_that_is_refused_is_said_in_its_place_and_can_be_tried_again(filmed, ui):
    filmed.choose_source(SourceKind.CAMERA)
    filmed.camera.failed(UsageFault("No.", expected="Yes.", remedy="Ask."))
    state = ui.until(lambda s: s.obstacle)
    assert (state.obstacle.what, state.playing, state.problem) == ("No.", False, None)
    filmed.choose_source(SourceKind.CAMERA)
    assert filmed.camera.running
    assert filmed.state.obstacle is None


def test_the_demo_pattern_runs_through_a_real_model_until_it_is_paused(
    controller, ui, colour_bundle
):
    controller.open_bundle(colour_bundle)
    controller.choose_source(SourceKind.DEMO)
    state = ui.until(lambda s: s.readings.counts.answered >= 5 and s.readings.fps)
    assert state.readings.p50_ms <= state.readings.p95_ms
    controller.play(playing=False)
    assert not controller.state.playing
    counts = controller.state.readings.counts
    assert counts.answered + counts.skipped + counts.failed <= counts.handed
    controller.play(playing=True)
    ui.until(lambda s: s.readings.counts.answered > counts.answered + 3)


def test_the_samples_of_a_bundle_can_be_replayed_without_anything_dropped(
    controller, ui, colour_bundle
):
    controller.open_bundle(colour_bundle)
    ui.until(answered)
    controller.choose_source(SourceKind.REPLAY)
    seen: list[Result] = []
    while len(seen) < 3:
        state = ui.until(lambda s: s.result is not None and s.result not in seen)
        seen.append(state.result)
        # a picture never stands over the answer to another
        colour = state.picture.pixels.mean((0, 1)).round()
        assert state.result.ranked[0].label == nearest(colour)
    assert {result.ranked[0].label for result in seen} <= set(SAMPLES)


def nearest(colour):
    return min(COLOURS, key=lambda name: np.abs(np.array(COLOURS[name]) * 255 - colour).sum())


def test_with_nothing_to_replay_the_page_says_what_could_be(controller, ui):
    controller.choose_source(SourceKind.REPLAY)
    state = ui.until(lambda s: s.obstacle)
    assert "nothing to replay" in state.obstacle.what


def test_a_dropped_folder_of_photos_plays_and_a_dropped_file_of_none_is_said(
    controller, ui, colour_bundle, red_photo, tmp_path
):
    controller.open_bundle(colour_bundle)
    controller.drop(red_photo.parent)
    state = ui.until(lambda s: s.result is not None and s.source is SourceKind.REPLAY)
    assert (state.replay, state.result.ranked[0].label) == (red_photo.parent.name, "red")
    controller.drop(tmp_path)  # a folder without photos
    assert "holds no photos" in controller.state.problem.what


def test_threads_and_accelerator_are_those_of_the_preferences(controller, ui, colour_bundle):
    controller.open_bundle(colour_bundle)
    assert ui.until(answered).bundle.threads == 1
    ui.preferences.change(threads=2, accelerator="npu")
    state = ui.until(lambda s: answered(s) and s.bundle.threads == 2)
    # whichever runtimes this desk has, none runs on an npu, and the page says so
    assert state.bundle.accelerator == "cpu"
    assert any("npu" in note for note in state.bundle.notes)
    assert ui.preferences.state.bundle == str(colour_bundle)


def test_a_bundle_can_be_let_go(controller, ui, colour_bundle):
    controller.open_bundle(colour_bundle)
    ui.until(answered)
    controller.close_bundle()
    state = controller.state
    assert (state.bundle_path, state.bundle, state.result, state.photos) == (None, None, None, ())
    controller.open_bundle(colour_bundle)
    assert ui.until(answered).result.ranked[0].label == SAMPLES[0]
