import pytest

from app.platforms import PLATFORMS, find_platform
from headtail.errors import UnknownName


def test_a_desk_has_the_desk_runtimes():
    desk = find_platform("linux")
    assert desk.device == "this computer"
    assert [runtime.format for runtime in desk.runtimes()] == ["litert", "executorch"]


@pytest.mark.parametrize("phone", ["android", "ios"])
def test_a_phone_has_no_desk_runtime(phone):
    assert PLATFORMS[phone].device == "this phone"
    assert not PLATFORMS[phone].runtimes()


def test_an_unknown_platform_lists_the_known_ones():
    with pytest.raises(UnknownName, match="android, ios, linux, macosx, win"):
        find_platform("unknown")
