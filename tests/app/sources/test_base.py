"""Rotation and mirror against a picture of which every corner is known."""

import numpy as np
import pytest

from app.sources.base import SourceFrame, upright

# what a person sees:   A B
#                       C D
#                       E F
PERSON = np.arange(6, dtype=np.uint8).reshape(3, 2, 1).repeat(3, axis=2)


def sensor(rotation, mirror):
    """The same scene as a sensor gives it that is turned, and sees no mirror image."""
    scene = PERSON[:, ::-1] if mirror else PERSON
    return np.rot90(scene, rotation // 90)  # turned back, counter-clockwise


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_whatever_the_sensor_gives_the_person_sees_the_same(rotation, mirror):
    frame = SourceFrame(sensor(rotation, mirror), 0.0, 0, rotation, mirror)
    seen = upright(frame)
    np.testing.assert_array_equal(seen, PERSON)
    assert seen.flags.c_contiguous


def test_a_quarter_turn_by_hand():
    lying = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)[..., None].repeat(3, axis=2)
    seen = upright(SourceFrame(lying, 0.0, 0, rotation=90))[..., 0]
    np.testing.assert_array_equal(seen, [[4, 1], [5, 2], [6, 3]])  # clockwise


def test_a_front_camera_shows_a_mirror_image_by_hand():
    row = np.array([[1, 2, 3]], np.uint8)[..., None].repeat(3, axis=2)
    np.testing.assert_array_equal(
        upright(SourceFrame(row, 0.0, 0, mirror=True))[..., 0], [[3, 2, 1]]
    )
