"""What was asked for decides what counts as failed."""

import pytest

from exporters.conversion import Failure
from exporters.options import missed

FP32 = Failure("coreml", "fp32", "no cdist", "a log")
W8A8 = Failure("executorch", "w8a8", "half of it is float", "")


@pytest.mark.parametrize(
    ("precisions", "asked", "remarks"),
    [
        ((), (FP32,), ["executorch w8a8 is left out: half of it is float"]),
        (("fp32", "w8a8"), (FP32, W8A8), []),
        (("w8a8",), (W8A8,), ["coreml fp32 is left out: no cdist"]),
    ],
)
def test_what_nobody_asked_for_is_told_and_not_missed(precisions, asked, remarks):
    assert missed([FP32, W8A8], precisions) == (asked, remarks)
