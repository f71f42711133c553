"""Crops of photos: four to calibrate with, three others to judge by."""

import pytest

from exporters.sources.photos import CALIBRATION_PHOTOS, EVALUATION_PHOTOS
from tests.exporters.prepare.quantizing import inputs


@pytest.fixture(scope="session")
def calibration():
    return inputs(CALIBRATION_PHOTOS[2:6], 16)


@pytest.fixture(scope="session")
def judged():
    return inputs(EVALUATION_PHOTOS[-3:], 12)
