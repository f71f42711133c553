"""Words for heat and battery, and when two runs are those of one machine."""

import pytest

from app.machine import PLATFORMS, find_machine, platform_name
from app.machine.android import AndroidMachine
from app.machine.desk import DeskMachine
from app.machine.facts import Condition, MachineFacts, heat_note, in_words
from app.machine.ios import AppleMachine
from headtail.errors import UnknownName

NOTHING = Condition(None, None, None, None)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (NOTHING, "heat and battery are not told here"),
        (
            Condition("light", 41.4, 80, True),
            "thermal status light, 41 °C, battery 80 %, charging",
        ),
        (Condition(None, None, 7, False), "battery 7 %, not charging"),
    ],
)
def test_words(condition, words):
    assert in_words(condition) == words


def test_the_worst_moment_is_noted_and_coolness_is_not():
    moments = [Condition(name, None, None, None) for name in ("none", "severe", "light")]
    assert heat_note(moments).startswith("It got hot (thermal status severe)")
    assert heat_note([moments[0], NOTHING]) == ""


def test_an_unknown_thermal_status_is_refused():
    with pytest.raises(UnknownName, match="Known: critical, emergency, light"):
        Condition("lukewarm", None, None, None)


def test_an_updated_system_is_the_same_machine_and_another_model_is_not():
    facts = MachineFacts("Phone 1", "OS 1", "chip", 8, 1, "aarch64", "3.14.2")
    updated = MachineFacts("Phone 1", "OS 2", "chip", 8, 2, "aarch64", "3.15.0")
    other = MachineFacts("Phone 2", "OS 1", "chip", 8, 1, "aarch64", "3.14.2")
    assert facts.identity == updated.identity != other.identity


@pytest.mark.parametrize(
    ("environment", "system", "name"),
    [
        ({}, "linux", "linux"),
        ({}, "darwin", "macosx"),
        ({}, "win32", "win"),
        ({}, "android", "android"),
        ({"ANDROID_ARGUMENT": "/data"}, "linux", "android"),
        ({"P4A_BOOTSTRAP": "SDL2"}, "linux", "android"),
        ({"KIVY_BUILD": "ios"}, "darwin", "ios"),
    ],
)
def test_the_platform_is_found_without_kivy(monkeypatch, environment, system, name):
    for key in ("KIVY_BUILD", "P4A_BOOTSTRAP", "ANDROID_ARGUMENT"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("sys.platform", system)
    assert platform_name() == name
    assert name in PLATFORMS


def test_every_platform_has_a_machine():
    found = {name: type(find_machine(name)) for name in PLATFORMS}
    phones = {"android": AndroidMachine, "ios": AppleMachine}
    assert found == dict.fromkeys(PLATFORMS, DeskMachine) | phones
    with pytest.raises(UnknownName, match="Known: android, ios, linux, macosx, win"):
        find_machine("beos")
