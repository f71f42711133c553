"""Variations of images: seeded, within their values, and of nothing but images."""

from __future__ import annotations

import numpy as np
import pytest

from quantizers.augmentation import Draws, widened


def images(channels=3):
    generator = np.random.default_rng(0)
    return [(generator.uniform(-1, 1, (1, channels, 20, 30)).astype(np.float32),) for _ in range(4)]


def drawn(samples, seed, *, augment=True, count=40):
    draws = Draws(samples, np.random.default_rng(seed), augment=augment)
    return [draws.next()[0] for _ in range(count)]


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_varied_within_their_values(channels):
    samples = images(channels)
    given = {sample[0].tobytes() for sample in samples}
    made = drawn(samples, 1)
    varied = [array for array in made if array.tobytes() not in given]
    assert 10 < len(varied) < 30  # half
    assert len({array.tobytes() for array in varied}) == len(varied)
    low = min(array.min() for (array,) in samples)
    high = max(array.max() for (array,) in samples)
    for array in varied:
        assert (array.shape, array.dtype) == (samples[0][0].shape, np.float32)
        assert low <= array.min() < array.max() <= high
        assert array.flags.c_contiguous


def test_same_seed_same_images():
    first, second, other = (drawn(images(), seed) for seed in (1, 1, 2))
    assert all(np.array_equal(*pair) for pair in zip(first, second, strict=True))
    assert not all(np.array_equal(*pair) for pair in zip(first, other, strict=True))


def test_every_sample_is_drawn_once_a_round():
    samples = images()
    made = drawn(samples, 3, augment=False, count=12)
    for start in (0, 4, 8):
        seen = {array.tobytes() for array in made[start : start + 4]}
        assert seen == {array.tobytes() for (array,) in samples}


def test_the_given_images_stay():
    samples = images()
    before = [array.copy() for (array,) in samples]
    drawn(samples, 4)
    assert all(np.array_equal(b, array) for b, (array,) in zip(before, samples, strict=True))


@pytest.mark.parametrize(
    "sample",
    [
        (np.arange(12, dtype=np.int32).reshape(1, 12),),
        (np.zeros((1, 8, 6, 6), np.float32),),
        (np.zeros((1, 3, 6, 6), np.float32), np.zeros((1, 3, 6, 6), np.float32)),
        (np.zeros((1, 12), np.float32),),
    ],
)
def test_what_is_no_image_is_taken_as_it_is(sample):
    draws = Draws([sample] * 3, np.random.default_rng(0), augment=True)
    for _ in range(20):
        assert draws.next() is sample


def test_a_set_is_widened_by_a_variation_of_each_image():
    samples = images()
    made = widened(samples, seed=1)
    assert made[:4] == samples
    assert len({sample[0].tobytes() for sample in made}) == 8
    again = widened(samples, seed=1)
    assert all(np.array_equal(*pair) for pair in zip(made[-1], again[-1], strict=True))


def test_a_set_of_anything_else_stays():
    samples = [(np.zeros((1, 12), np.float32),)] * 3
    assert widened(samples, seed=1) == samples
