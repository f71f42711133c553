import pytest

from app.platforms import PLATFORMS, find_platform
from headtail.errors import UnknownName

NAMES = {
    "android": ["litert-ctypes", "litert-java", "executorch-java"],
    "ios": ["coreml"],
    "linux": ["litert", "litert-ctypes", "executorch"],
    "macosx": ["litert", "litert-ctypes", "executorch", "coreml-desk"],
    "win": ["litert", "litert-ctypes", "executorch"],
}


@pytest.mark.parametrize("name", PLATFORMS)
def test_each_platform_lists_its_runtimes_by_preference(name):
    assert [runtime.name for runtime in PLATFORMS[name].runtimes()] == NAMES[name]


@pytest.mark.parametrize("phone", ["android", "ios"])
def test_on_a_desk_the_runtimes_of_phones_say_why_they_are_not_there(phone):
    machine = find_platform(phone)
    assert machine.device == "this phone"
    absent = [r.probe() for r in machine.runtimes() if r.name != "litert-ctypes"]
    assert absent
    assert all(not probe.available and probe.reason.count(" ") > 5 for probe in absent)


def test_a_phones_times_are_a_devices():
    kinds = {r.name: r.timing_kind for r in find_platform("android").runtimes()}
    assert set(kinds.values()) == {"device"}
    assert find_platform("linux").runtimes()[0].timing_kind == "host"


def test_an_unknown_platform_lists_the_known_ones():
    with pytest.raises(UnknownName, match="android, ios, linux, macosx, win"):
        find_platform("unknown")
