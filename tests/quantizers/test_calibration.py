import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.errors import ImageFault, UsageFault
from quantizers import calibration
from quantizers.calibration import (
    crops,
    from_arrays,
    require_alike,
    require_calibration,
    require_disjoint,
)
from quantizers.recipe import recipe


def one(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_the_hash_is_that_of_specs_and_bytes_in_order():
    made = from_arrays([(one(1, 2), one(3))], source="two photos", seed=5)
    stream = b"input 0:f32[2];" + one(1, 2).tobytes() + b"input 1:f32[1];" + one(3).tobytes()
    assert made.provenance.sha256 == hashlib.sha256(stream).hexdigest()
    assert (made.provenance.source, made.provenance.count, made.provenance.seed) == (
        "two photos",
        1,
        5,
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=12), st.data())
def test_any_changed_value_changes_the_hash(values, data):
    index = data.draw(st.integers(0, len(values) - 1))
    changed = list(values)
    changed[index] = values[index] + max(1.0, abs(values[index]))
    hashes = {
        from_arrays([(one(*v),)], source="s", seed=0).provenance.sha256 for v in (values, changed)
    }
    assert len(hashes) == 2


def test_the_same_bytes_in_another_shape_are_another_set():
    flat, square = np.zeros(4, np.float32), np.zeros((2, 2), np.float32)
    first, second = (from_arrays([(a,)], source="s", seed=0) for a in (flat, square))
    assert first.provenance.sha256 != second.provenance.sha256


@pytest.mark.parametrize("samples", [[], [()]])
def test_an_empty_set_is_refused(samples):
    with pytest.raises(UsageFault, match="is empty"):
        from_arrays(samples, source="s", seed=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_by_sample(bad):
    with pytest.raises(UsageFault, match="sample 1 of 'photos' has a NaN or infinite value"):
        from_arrays([(one(1),), (one(bad),)], source="photos", seed=0)


@pytest.mark.parametrize("other", [(one(1, 2),), (np.zeros(1, np.int32),), (one(1), one(1))])
def test_samples_must_be_alike(other):
    with pytest.raises(UsageFault, match="Like sample 0 it must be"):
        from_arrays([(one(1),), other], source="s", seed=0)


def test_static_activations_without_a_set_are_refused_with_a_remedy():
    with pytest.raises(UsageFault, match=r"get_calibration_data\(\)"):
        require_calibration(recipe("w8a8"), None)
    for name in ("fp32", "fp16", "w8"):
        require_calibration(recipe(name), None)
    require_calibration(recipe("w8a8"), from_arrays([(one(1),)], source="s", seed=0))


def test_a_photo_in_both_sets_is_found_by_name_and_by_content():
    grey, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    require_disjoint({"a": grey}, {"b": white})
    with pytest.raises(UsageFault, match="'a' calibrates and, as 'a', evaluates"):
        require_disjoint({"a": grey}, {"a": white})
    with pytest.raises(UsageFault, match="'a' calibrates and, as 'b', evaluates"):
        require_disjoint({"a": grey}, {"b": grey.copy()})


def test_crops_are_repeatable_and_of_the_size_preprocessing_crops_from(photos, preprocess):
    made = [crops(photos, count=7, seed=1, preprocess=preprocess) for _ in range(2)]
    assert all(np.array_equal(a, b) for a, b in zip(*made, strict=True))
    assert {(frame.dtype.name, frame.shape) for frame in made[0]} == {("uint8", (37, 37, 3))}
    other = crops(photos, count=7, seed=2, preprocess=preprocess)
    assert not any(np.array_equal(a, b) for a, b in zip(made[0], other, strict=True))


@pytest.mark.parametrize(
    ("names", "order"),
    [("abcd", "abcdabcd"), ("ab", "abababab"), ("abc", "abcbabcb"), ("a", "aaaaaaaa")],
)
def test_photos_take_turns_and_halves_share_none(preprocess, names, order):
    colours = {name: np.full((40, 60, 3), ord(name), np.uint8) for name in names}
    made = crops(dict(reversed(colours.items())), count=8, seed=0, preprocess=preprocess)
    assert "".join(chr(frame[0, 0, 0]) for frame in made) == order
    assert len(names) == 1 or not set(order[::2]) & set(order[1::2])


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(0, 2**32 - 1))
def test_a_window_lies_inside_the_photo_and_keeps_area_and_aspect(width, height, seed):
    left, top, right, bottom = calibration._window(width, height, np.random.default_rng(seed))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    if min(width, height) > 100 and max(width, height) < 2 * min(width, height):
        area = (right - left) * (bottom - top) / (width * height)
        assert 0.34 <= area <= 1
        assert 0.74 <= (right - left) / (bottom - top) <= 1.35


def test_no_photos_and_frames_that_are_none_are_refused(preprocess):
    with pytest.raises(UsageFault, match="0 photos"):
        crops({}, count=1, seed=0, preprocess=preprocess)
    with pytest.raises(UsageFault, match="0 crops"):
        crops({"a": np.zeros((4, 4, 3), np.uint8)}, count=0, seed=0, preprocess=preprocess)
    with pytest.raises(ImageFault):
        crops({"a": np.zeros((4, 4), np.uint8)}, count=1, seed=0, preprocess=preprocess)


@pytest.mark.parametrize(("scale", "fits"), [(1, True), (0.2, True), (6, True), (64, False)])
def test_sets_in_other_units_are_told_by_their_ranges(scale, fits):
    values = np.linspace(-1, 1, 8, dtype=np.float32)
    judged = from_arrays([(values, np.arange(3))], source="e", seed=0)
    given = from_arrays([(values * scale, np.arange(3) * 999)], source="c", seed=0)
    if fits:
        require_alike(given, judged)
        return
    for one, other in ((given, judged), (judged, given)):
        with pytest.raises(UsageFault, match="Input 0 reaches from"):
            require_alike(one, other)


def test_an_evaluation_set_of_one_value_says_nothing_about_units():
    judged = from_arrays([(one(0, 0),)], source="e", seed=0)
    require_alike(from_arrays([(one(-128, 127),)], source="c", seed=0), judged)
