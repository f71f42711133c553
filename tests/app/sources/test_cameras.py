"""Cameras against doubles of what they stand on: kivy's provider, OpenCV, Android's own classes."""

import os
import sys
import types
from typing import Any

import numpy as np
import pytest

from app.sources.camera_android import AndroidPicker, ask_for_camera, back_camera
from app.sources.camera_kivy import PhoneCamera
from app.sources.camera_opencv import DeskCamera
from app.sources.photo import Photo
from headtail.errors import EnvironmentFault, ImageFault, MissingDependency
from tests.app.sources.collecting import Collected


class Provider:
    """Kivy's camera as far as it is used: `CameraAndroid` with `grab_frame`, others without."""

    made: list["Provider"]

    def __init__(self, *, resolution, stopped):
        assert stopped  # it is bound before it starts
        self.resolution, self.texture = resolution, None
        self.bound, self.state = [], "made"
        type(self).made.append(self)

    def bind(self, *, on_texture):
        self.bound.append(on_texture)

    def unbind(self, *, on_texture):
        self.bound.remove(on_texture)

    def start(self):
        self.state = "started"

    def stop(self):
        self.state = "stopped"

    def picture(self, shade):
        width, height = 8, 4
        pixels = np.full((height, width, 4), shade, np.uint8).tobytes()
        self.texture = types.SimpleNamespace(pixels=pixels, size=(width, height))
        for listen in self.bound:
            listen(self)


@pytest.fixture
def provider():
    return type("Fresh", (Provider,), {"made": []})


def camera(provider, *, granted=True):
    asked = []
    source = PhoneCamera(
        ask=lambda tell: asked.append(tell) if granted is None else tell(granted),
        facing=lambda: (90, True),
        provider=provider,
        later=lambda call: call(),
    )
    return source, asked


def test_pictures_of_the_provider_arrive_with_how_they_are_turned(provider):
    source, _ = camera(provider)
    collected = Collected(source)
    (made,) = provider.made
    assert made.state == "started"
    made.picture(7)
    frame = collected.frame()
    assert (frame.pixels == 7).all()
    assert (frame.pixels.shape, frame.rotation, frame.mirror) == ((4, 8, 3), 90, True)


def test_stop_gives_the_camera_back_and_start_takes_a_new_one(provider):
    source, _ = camera(provider)
    Collected(source)
    source.stop()
    assert (provider.made[0].state, provider.made[0].bound) == ("stopped", [])
    collected = Collected(source)
    provider.made[1].picture(9)
    assert (collected.frame().pixels == 9).all()
    source.stop()


def test_a_refused_permission_is_said_and_no_camera_is_opened(provider):
    source, _ = camera(provider, granted=False)
    fault = Collected(source).fault()
    assert isinstance(fault, EnvironmentFault)
    assert "The camera may not be used" in str(fault)
    assert provider.made == []


def test_an_answer_that_comes_after_the_page_was_left_opens_nothing(provider):
    source, asked = camera(provider, granted=None)
    collected = Collected(source)
    source.stop()
    asked[0](True)
    assert provider.made == []
    assert collected.faults.empty()


def test_a_provider_that_fails_is_said(provider):
    def broken(**_options):
        raise RuntimeError("Fail to connect to camera service")

    source, _ = camera(broken)
    assert "Fail to connect to camera service" in str(Collected(source).fault())


def test_android_bytes_are_taken_from_the_buffer_not_from_the_graphics_memory():
    class Buffered(Provider):
        made: list[Provider] = []  # noqa: RUF012  # of this class alone

        def grab_frame(self):
            return b"\x80" * (640 * 480 * 3 // 2)

    source, _ = camera(Buffered)
    collected = Collected(source)
    Buffered.made[0].picture(0)
    frame = collected.frame()
    assert frame.pixels.shape == (480, 640, 3)
    assert np.abs(frame.pixels.astype(int) - 128).max() <= 1


def test_bytes_that_are_no_picture_are_said_and_not_left_standing():
    class Short(Provider):
        made: list[Provider] = []  # noqa: RUF012  # of this class alone

        def grab_frame(self):
            return b"\x80" * 100

    source, _ = camera(Short)
    collected = Collected(source)
    Short.made[0].picture(0)
    assert "The camera gives no picture" in str(collected.fault())
    source.stop()


def test_what_a_provider_raises_while_it_plays_is_said(provider):
    source, _ = camera(provider)
    collected = Collected(source)
    (made,) = provider.made
    made.bound[0](types.SimpleNamespace(texture=object()))  # nothing of a texture is there
    assert "The camera gives no picture" in str(collected.fault())
    source.stop()


class Webcam:
    """`cv2.VideoCapture` that gives two frames and is then pulled out."""

    def __init__(self, index):
        assert index == 0
        self.left = 2

    def read(self):
        self.left -= 1
        return (True, np.full((4, 6, 3), (1, 2, 3), np.uint8)) if self.left >= 0 else (False, None)

    def release(self):
        self.left = 0


def test_a_desk_camera_gives_rgb_and_says_when_it_is_gone():
    collected = Collected(DeskCamera(capture=Webcam))
    assert collected.frame().pixels[0, 0].tolist() == [3, 2, 1]
    collected.frame()
    assert "No camera gives pictures here" in str(collected.fault())


def test_a_desk_without_opencv_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert isinstance(Collected(DeskCamera()).fault(), MissingDependency)


class Android:
    """The Java classes and python-for-android modules that are touched, and nothing else."""

    def __init__(self, monkeypatch, *, sdk=34, granted=True):
        self.started: list[Any] = []
        self.listeners: list[Any] = []
        self.asked: list[Any] = []
        self.granted = granted
        activity = types.SimpleNamespace(
            getWindowManager=lambda: types.SimpleNamespace(
                getDefaultDisplay=lambda: types.SimpleNamespace(getRotation=lambda: 1)
            ),
            startActivityForResult=lambda intent, code: self.started.append((intent, code)),
            getContentResolver=lambda: types.SimpleNamespace(openFileDescriptor=self.opened),
        )
        self.classes = {
            "org.kivy.android.PythonActivity": types.SimpleNamespace(mActivity=activity),
            "android.hardware.Camera$CameraInfo": lambda: types.SimpleNamespace(
                orientation=0, facing=0
            ),
            "android.hardware.Camera": types.SimpleNamespace(getCameraInfo=self.info),
            "android.os.Build$VERSION": types.SimpleNamespace(SDK_INT=sdk),
            "android.provider.MediaStore": types.SimpleNamespace(ACTION_PICK_IMAGES="pick"),
            "android.content.Intent": Intent,
        }
        jnius = types.SimpleNamespace(autoclass=self.classes.__getitem__)
        permissions = types.SimpleNamespace(
            Permission=types.SimpleNamespace(CAMERA="camera"),
            check_permission=lambda name: self.granted and not self.asked,
            request_permissions=lambda names, tell: self.asked.append((names, tell)),
        )
        results = types.SimpleNamespace(
            bind=lambda *, on_activity_result: self.listeners.append(on_activity_result),
            unbind=lambda *, on_activity_result: self.listeners.remove(on_activity_result),
        )
        for name, module in (
            ("jnius", jnius),
            ("android", types.ModuleType("android")),
            ("android.permissions", permissions),
            ("android.activity", results),
        ):
            monkeypatch.setitem(sys.modules, name, module)
        self.file = None

    @staticmethod
    def info(number, info):
        assert number == 0
        info.orientation, info.facing = 90, 0

    def opened(self, uri, mode):
        assert (uri, mode) == ("content://photo", "r")
        return types.SimpleNamespace(detachFd=lambda: self.file)


class Intent:
    ACTION_GET_CONTENT, CATEGORY_OPENABLE = "content", "openable"

    def __init__(self, action):
        self.action, self.kind, self.category = action, "", ""

    def setType(self, kind):  # noqa: N802  # Java's name
        self.kind = kind

    def addCategory(self, category):  # noqa: N802  # Java's name
        self.category = category


def test_android_is_asked_once_and_tells_what_the_person_said(monkeypatch):
    answers: list[bool] = []
    Android(monkeypatch)
    ask_for_camera(answers.append)
    android = Android(monkeypatch, granted=False)
    ask_for_camera(answers.append)
    ((names, tell),) = android.asked
    assert names == ["camera"]
    tell(names, [False])
    assert answers == [True, False]


def test_android_pictures_are_turned_by_sensor_and_display(monkeypatch):
    Android(monkeypatch)
    assert back_camera() == (0, False)


def picked(monkeypatch, tmp_path, content, *, sdk=34):
    (tmp_path / "photo").write_bytes(content)
    android = Android(monkeypatch, sdk=sdk)
    android.file = os.open(tmp_path / "photo", os.O_RDONLY)
    chosen: list[Photo] = []
    failed: list[Exception] = []
    AndroidPicker().pick(chosen.append, failed.append)
    (answer,) = android.listeners
    ((intent, code),) = android.started
    answer(code + 1, -1, None)  # somebody else's
    answer(code, -1, types.SimpleNamespace(getData=lambda: "content://photo"))
    assert android.listeners == []
    return intent, chosen, failed


def test_the_chosen_photo_comes_through_its_descriptor(monkeypatch, tmp_path, red_photo):
    intent, (photo,), failed = picked(monkeypatch, tmp_path, red_photo.read_bytes())
    assert (intent.action, intent.kind, failed) == ("pick", "image/*", [])
    assert photo.load().shape == (480, 640, 3)


def test_before_android_13_the_file_chooser_is_asked(monkeypatch, tmp_path, red_photo):
    intent, chosen, _ = picked(monkeypatch, tmp_path, red_photo.read_bytes(), sdk=30)
    assert (intent.action, intent.category, len(chosen)) == ("content", "openable", 1)


def test_what_is_no_photo_is_said_when_it_is_shown(monkeypatch, tmp_path):
    _, (photo,), _ = picked(monkeypatch, tmp_path, b"not a photo")
    with pytest.raises(ImageFault):
        photo.load()


def test_a_person_who_chooses_none_is_not_bothered(monkeypatch, tmp_path):
    (tmp_path / "photo").write_bytes(b"")
    android = Android(monkeypatch)
    chosen: list[Photo] = []
    failed: list[Exception] = []
    AndroidPicker().pick(chosen.append, failed.append)
    (answer,) = android.listeners
    answer(android.started[0][1], 0, None)
    assert (chosen, failed, android.listeners) == ([], [], [])
