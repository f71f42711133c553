"""iOS's reader through the real bridge, against a stand-in for Vision that reads with zxing-cpp."""

import importlib.util

import numpy as np
import pytest

from app.scanning.vision import VisionReader
from app.scanning.zxing_desk import ZXingDesk
from headtail.errors import RuntimeUnavailable
from tests.app.scanning.qr_pictures import LINK, terminal_picture
from tests.app.scanning.reader_contract import CHECKS
from tests.pictures_fake.framework import FakePictures, built
from tests.support.capabilities import require


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return built(tmp_path_factory.getbasetemp())


@pytest.fixture
def fake(library):
    fake = FakePictures(library)
    yield fake
    assert fake.held() == 0  # Core Graphics' objects are given back, whatever happened


@pytest.fixture
def reader(library):
    reader = VisionReader(library)
    assert reader.probe().available
    return reader


@pytest.mark.parametrize("check", CHECKS)
def test_it_keeps_the_contract(fake, reader, check):
    require(importlib.util.find_spec("zxingcpp") is not None, "pip install zxing-cpp")
    fake.read_with(ZXingDesk().decode)
    check(reader)


def test_light_on_dark_and_mirrored_codes_are_turned_for_a_reader_that_knows_neither(fake, reader):
    picture = terminal_picture()[..., 0]
    seen = []

    def only_as_printed(luma):
        seen.append(luma)
        return [LINK] if np.array_equal(luma, picture) else []

    fake.read_with(only_as_printed)
    assert reader.decode(picture) == [LINK]
    assert reader.decode(np.invert(picture)) == [LINK]
    assert reader.decode(picture[:, ::-1]) == [LINK]
    assert len(seen) == 6


def test_a_code_that_is_no_text_is_left_out(fake, reader):
    fake.read_with(lambda _luma: [None, "\u4f60\u597d \0 \U0001f600"])
    assert reader.decode(np.zeros((8, 8), np.uint8)) == ["\u4f60\u597d \0 \U0001f600"]


@pytest.mark.parametrize("error", [OSError("out of memory"), RuntimeError("bad state")])
def test_what_vision_says_is_told(fake, reader, error):
    def fails(_luma):
        raise error

    fake.read_with(fails)
    with pytest.raises(RuntimeUnavailable, match=f"iOS could not do it: .*{error}"):
        reader.decode(np.zeros((8, 8), np.uint8))


def test_more_text_than_there_is_room_for_is_an_error(fake, reader):
    fake.read_with(lambda _luma: ["x" * 2900] * 22)
    assert len(reader.decode(np.zeros((8, 8), np.uint8))[0]) == 2900
    fake.read_with(lambda _luma: ['"' * 2900] * 22)  # each is written as two
    with pytest.raises(RuntimeUnavailable, match="iOS could not do it"):
        reader.decode(np.zeros((8, 8), np.uint8))


@pytest.mark.parametrize("shape", [(0, 8), (8, 0), (1, 20_000)])
def test_a_picture_of_no_size_or_a_huge_one_is_refused(fake, reader, shape):
    with pytest.raises(RuntimeUnavailable, match="1 to 16384 pixels a side"):
        reader.decode(np.zeros(shape, np.uint8))


def test_absent_it_says_what_to_add():
    capability = VisionReader().probe()
    assert not capability.available
    assert "ios/pictures/" in capability.reason
    assert "Vision.framework" in capability.reason
