"""IDX files: what was written is read, and nothing else is."""

from __future__ import annotations

import gzip
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fashion_data import normalised, parse_idx, read_set
from headtail.errors import IntegrityFault, MissingDependency


def written(array, kind=0x08):
    """The array as an IDX file."""
    return (
        bytes([0, 0, kind, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.tobytes()
    )


def folder_with(folder, pictures, labels):
    for name, array in (("images-idx3", pictures), ("labels-idx1", labels)):
        (folder / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(written(array)))
    return folder


arrays = st.lists(st.integers(0, 5), min_size=1, max_size=3).map(
    lambda shape: np.arange(math.prod(shape), dtype=np.uint8).reshape(shape)
)


@given(arrays)
@settings(deadline=None, max_examples=50)
def test_what_was_written_is_read(array):
    read = parse_idx(written(array), name="x", rank=array.ndim)
    assert read.shape == array.shape
    assert np.array_equal(read, array)


@given(arrays, st.data())
@settings(deadline=None, max_examples=100)
def test_a_file_cut_short_or_with_more_behind_it_is_refused(array, data):
    whole = written(array)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for bad in (whole[:cut], whole + b"\0"):
        with pytest.raises(IntegrityFault, match=r"^images .*dataset-fashion-mnist"):
            parse_idx(bad, name="images", rank=array.ndim)


@given(st.binary(max_size=40), st.integers(1, 3))
@settings(deadline=None, max_examples=200)
def test_no_bytes_end_in_anything_but_an_array_or_a_refusal(data, rank):
    try:
        read = parse_idx(data, name="x", rank=rank)
    except IntegrityFault:
        return
    assert data == written(read)


@pytest.mark.parametrize("kind", [0x09, 0x0D, 0x00])
def test_other_elements_than_bytes_are_refused(kind):
    with pytest.raises(IntegrityFault, match=f"begins with 0000{kind:02x}01.*be 00000801"):
        parse_idx(written(np.zeros(3, np.uint8), kind), name="x", rank=1)


def test_lengths_that_overflow_nothing_are_counted_exactly():
    data = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1)
    with pytest.raises(IntegrityFault, match=r"has 0 elements.*4294967295 x 4294967295"):
        parse_idx(data, name="x", rank=3)


def test_a_set_is_pictures_and_their_labels(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    labels = np.array([0, 9, 3, 3, 1], np.uint8)
    read = read_set("train", folder_with(tmp_path, pictures, labels))
    assert np.array_equal(read[0], pictures)
    assert np.array_equal(read[1], labels)


@pytest.mark.parametrize(
    ("shape", "labels", "words"),
    [
        ((2, 28, 27), [0, 1], "pictures 2 x 28 x 27 and 2 labels"),
        ((2, 28, 28), [0], "pictures 2 x 28 x 28 and 1 labels"),
        ((2, 28, 28), [0, 10], "the label 10.*at most 9"),
    ],
)
def test_a_set_that_does_not_fit_together_is_refused(tmp_path, shape, labels, words):
    folder_with(tmp_path, np.zeros(shape, np.uint8), np.array(labels, np.uint8))
    with pytest.raises(IntegrityFault, match=words):
        read_set("train", tmp_path)


def test_a_file_that_is_missing_or_broken_is_named(tmp_path):
    with pytest.raises(MissingDependency, match="apt-get install dataset-fashion-mnist"):
        read_set("train", tmp_path)
    folder_with(tmp_path, np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.uint8))
    path = tmp_path / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    for bad in (b"no gzip", whole[:-9], whole[:12] + b"\xff" + whole[13:]):
        path.write_bytes(bad)
        with pytest.raises(IntegrityFault, match=r"^train-images-idx3-ubyte\.gz"):
            read_set("train", tmp_path)


def test_bytes_become_what_the_networks_take():
    values = normalised(np.array([[[0, 255]]], np.uint8))
    assert values.dtype == np.float32
    assert values.shape == (1, 1, 1, 2)
    assert np.allclose(values.ravel(), [-0.286 / 0.353, 0.714 / 0.353])
