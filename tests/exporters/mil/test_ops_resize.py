"""Sampling modes against the grid points the MIL page lists for the interval [0, 1]."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from .calling import call

EDGE = torch.tensor([[[0.0, 1.0]]])
GRID = {
    ("STRICT_ALIGN_CORNERS", 5): [0, 0.25, 0.5, 0.75, 1],
    ("ALIGN_CORNERS", 5): [0, 0.25, 0.5, 0.75, 1],
    ("ALIGN_CORNERS", 1): [0.5],
    ("STRICT_ALIGN_CORNERS", 1): [0],
    ("DEFAULT", 5): [0, 0.4, 0.8, 1, 1],
    ("OFFSET_CORNERS", 5): [0.1, 0.3, 0.5, 0.7, 0.9],
    ("UNALIGN_CORNERS", 5): [0, 0.1, 0.5, 0.9, 1],
    ("DEFAULT", 6): [0, 1 / 3, 2 / 3, 1, 1, 1],
    ("OFFSET_CORNERS", 6): [1 / 12, 3 / 12, 5 / 12, 7 / 12, 9 / 12, 11 / 12],
}


@pytest.mark.parametrize(("mode", "count"), GRID)
def test_resize_samples_the_documented_grid(mode: str, count: int) -> None:
    y = call("resize_bilinear", x=EDGE, target_size_width=count, sampling_mode=mode)
    assert y.flatten().tolist() == pytest.approx(GRID[mode, count])
    z = call("resize", x=EDGE, shape=[0, count], resized_dims=2, sampling_mode=mode)
    assert torch.equal(y, z)


def test_nearest_resize_rounds_and_nearest_upsampling_floors() -> None:
    x = torch.tensor([[[10.0, 20.0, 30.0]]])
    nearest: dict[str, Any] = {"interpolation_mode": "NEAREST_NEIGHBOR", "sampling_mode": "DEFAULT"}
    y = call("resize", x=x, shape=[5], resized_dims=1, **nearest)  # at 0 0.6 1.2 1.8 2.4
    assert y.flatten().tolist() == [10, 20, 20, 30, 30]
    z = call("upsample_nearest_neighbor", x=x, scale_factor_width=5 / 3 + 1e-6)
    assert z.flatten().tolist() == [10, 10, 20, 20, 30]


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ({"align_corners": True}, [0, 1 / 3, 2 / 3, 1]),
        ({"align_corners": False}, [0, 0.25, 0.75, 1]),
        ({"align_corners": False, "half_pixel_centers": True}, [0, 0.25, 0.75, 1]),
        ({"align_corners": False, "half_pixel_centers": False}, [0, 0.5, 1, 1]),
    ],
)
def test_upsample_corners(corners: dict[str, Any], expected: list[float]) -> None:
    y = call("upsample_bilinear", x=EDGE, scale_factor_width=2, **corners)
    assert y.flatten().tolist() == pytest.approx(expected)


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="both true"):
        call("upsample_bilinear", x=EDGE, align_corners=True, half_pixel_centers=True)
    with pytest.raises(ValueError, match="sampling_mode 'MIDDLE' is unknown"):
        call("resize_bilinear", x=EDGE, sampling_mode="MIDDLE")
    with pytest.raises(ValueError, match="interpolation_mode 'CUBIC'"):
        call("resize", x=EDGE, shape=[2], resized_dims=1, interpolation_mode="CUBIC")
