"""The `split.*` parameters."""

import zlib

import numpy as np
import pytest

from headtail.errors import UnknownName, WireFault
from headtail.wire.split import SplitParameters, checksum, server_times

GOOD = {"split.bundle": "b" * 64, "split.cut": "blocks_5", "split.codec": "aq8t+deflate"}


@pytest.mark.parametrize("deadline", [None, 0, 250])
def test_round_trip(deadline):
    made = SplitParameters("b" * 64, "blocks_5", "aq8t+deflate", deadline)
    expected = GOOD if deadline is None else {**GOOD, "split.deadline_ms": deadline}
    assert made.to_parameters() == expected
    assert SplitParameters.from_parameters({**expected, "priority": 3}) == made


def test_none_of_them():
    assert SplitParameters.from_parameters({}) is None
    assert SplitParameters.from_parameters({"priority": 3, "splitting": "x"}) is None


@pytest.mark.parametrize("key", GOOD)
@pytest.mark.parametrize("value", [None, "", "x" * 257, 7, True])
def test_a_missing_or_wrong_text(key, value):
    parameters = {k: v for k, v in GOOD.items() if k != key}
    if value is not None:
        parameters[key] = value
    with pytest.raises(WireFault, match=rf"{key} is .*1 to 256 characters"):
        SplitParameters.from_parameters(parameters)


@pytest.mark.parametrize("value", ["250", 2.5, True, -1])
def test_a_wrong_deadline(value):
    with pytest.raises(WireFault, match=r"split\.deadline_ms is"):
        SplitParameters.from_parameters({**GOOD, "split.deadline_ms": value})


def test_an_unknown_parameter():
    with pytest.raises(UnknownName, match=r"'split\.deadline'.*Did you mean 'split\.deadline_ms'"):
        SplitParameters.from_parameters({**GOOD, "split.deadline": 5})


def test_server_times():
    told = {"split.decode_ms": 0.25, "split.queue_ms": 0, "split.compute_ms": 7.5, "other": 1}
    assert server_times(told) == {"decode_ms": 0.25, "queue_ms": 0.0, "compute_ms": 7.5}
    assert server_times({}) == {}


@pytest.mark.parametrize("value", ["7", -1.0, 10**400, float("inf"), float("nan")])
def test_what_is_no_time_is_left_out(value):
    assert server_times({"split.compute_ms": value, "split.queue_ms": 1}) == {"queue_ms": 1.0}


def test_the_checksum_covers_every_output_whatever_its_shape():
    scalar, row = np.array(1.5, np.float32), np.arange(6, dtype=np.int64).reshape(2, 3)
    empty = np.zeros((0, 4), np.float32)
    told = checksum([scalar, row, empty])
    assert told == zlib.crc32(scalar.tobytes() + row.tobytes())
    assert told == checksum([scalar, np.asfortranarray(row), empty])
    assert told != checksum([row, scalar, empty])
