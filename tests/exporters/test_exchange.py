"""Arrays between our own processes come back as they went."""

import numpy as np
import pytest

from exporters.exchange import read_samples, write_samples
from headtail.errors import UsageFault
from headtail.tensors import TensorSpec

SPECS = (TensorSpec("zeta", "f32", (1, 2)), TensorSpec("alpha", "i32", (1, 3)))


def samples(count):
    return [
        [np.full((1, 2), i, np.float32), np.full((1, 3), 100 + i, np.int32)] for i in range(count)
    ]


@pytest.mark.parametrize("count", [1, 3, 12])  # ten and more: numbers, not strings, are sorted
def test_samples_come_back_in_order(tmp_path, count):
    path = tmp_path / "samples.safetensors"
    write_samples(path, samples(count), SPECS)
    again = read_samples(path, SPECS)
    assert len(again) == count
    for right, seen in zip(samples(count), again, strict=True):
        for a, b in zip(right, seen, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


def test_a_missing_calibration_set_is_told():
    with pytest.raises(UsageFault, match=r"needs calibration inputs.*get_calibration_data"):
        read_samples(None, SPECS)
