"""What Settings says of this machine: accelerators, versions, the system's theme."""

import sys
import types

import pytest

import headtail
from app.settings.about import parts
from app.settings.accelerators import Offered, offered_accelerators
from app.settings.system_theme import system_theme
from headtail.runtimes.base import Capability


class StandInRuntime:
    """What is asked of a runtime here, without one."""

    timing_kind = "host"

    def __init__(self, name, accelerators=("cpu",), reason="", version="1.2"):
        self.name = self.format = name
        self.accelerators = accelerators
        self.capability = Capability(not reason, version, reason)

    def probe(self):
        return self.capability

    def load(self, path, *, entries, threads=1, accelerator="cpu"):
        raise NotImplementedError


RUNTIMES = (
    StandInRuntime("litert", ("cpu", "gpu")),
    StandInRuntime("coreml", ("cpu", "npu"), reason="It is on Apple's systems only."),
    StandInRuntime("executorch"),
)


def test_only_what_a_runtime_here_offers_can_be_chosen_and_the_rest_says_why_not():
    assert offered_accelerators(RUNTIMES) == Offered(
        ("cpu", "gpu"),
        (
            "cpu: litert, executorch",
            "gpu: litert",
            "coreml: It is on Apple's systems only.",
        ),
    )
    assert offered_accelerators(()) == Offered(("cpu",), ())


def test_versions_and_licences_of_what_is_here():
    told = {part.name: part for part in parts(RUNTIMES)}
    assert (told["Headtail"].version, told["Headtail"].licence) == (
        headtail.__version__,
        "Apache-2.0",
    )
    assert told["NumPy"].licence == "BSD-3-Clause"
    assert told["litert"].version == "1.2"
    assert "coreml" not in told


@pytest.fixture
def gsettings(tmp_path, monkeypatch):
    """`says(text, status)` puts a program of that name on the path."""

    def says(text, status=0):
        program = tmp_path / "gsettings"
        program.write_text(f'#!/bin/sh\necho "{text}"\nexit {status}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return says


def test_linux_tells_by_its_desktop(gsettings):
    gsettings("'prefer-dark'")
    assert system_theme("linux") == "dark"
    gsettings("'default'")
    assert system_theme("linux") == "light"
    gsettings("No such schema", status=1)
    assert system_theme("linux") is None


def test_where_nobody_tells(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system_theme("linux") is None
    assert system_theme("ios") is None


@pytest.mark.parametrize(("mode", "theme"), [(0x21, "dark"), (0x11, "light"), (0x01, None)])
def test_android_tells_by_its_configuration(monkeypatch, mode, theme):
    configuration = types.SimpleNamespace(uiMode=mode)
    resources = types.SimpleNamespace(getConfiguration=lambda: configuration)
    activity = types.SimpleNamespace(getResources=lambda: resources)
    python_activity = types.SimpleNamespace(mActivity=activity)
    jnius = types.SimpleNamespace(autoclass=lambda _name: python_activity)
    monkeypatch.setitem(sys.modules, "jnius", jnius)
    assert system_theme("android") == theme
