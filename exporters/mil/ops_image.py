"""MIL image sampling: affine, resample, crop, crop_resize of iOS15 to iOS17.image_resizing.

https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
Images are (b, c, h, w). A position between pixels is interpolated between its four neighbours.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from exporters.mil.ops_resize import grid
from exporters.mil.optable import Arguments, Default, operation

Fold = Callable[[torch.Tensor, int], torch.Tensor]


def _clamped(at: torch.Tensor, size: int) -> torch.Tensor:
    return at.clamp(0, size - 1)


def _mirrored(at: torch.Tensor, low: float, span: float, size: int) -> torch.Tensor:
    """`at` reflected at `low` and at `low + span` as often as needed, then put on the image."""
    if span == 0:
        return torch.zeros_like(at)
    phase = torch.remainder(at - low, 2 * span)
    return (low + torch.where(phase > span, 2 * span - phase, phase)).clamp(0, size - 1)


# Where the positions outside an image of `size` are found inside it; None: they are not.
PADDINGS: dict[str, Fold | None] = {
    "constant": None,
    "border": _clamped,
    "reflection": lambda at, size: _mirrored(at, 0.0, size - 1.0, size),
    "symmetric": lambda at, size: _mirrored(at, -0.5, float(size), size),
}


def _pixels(
    x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, outside: float
) -> torch.Tensor:
    """x (b, c, h, w) at whole rows, columns (b, h', w'); `outside` where there is no pixel."""
    inside = (rows >= 0) & (rows < x.shape[2]) & (columns >= 0) & (columns < x.shape[3])
    flat = rows.clamp(0, x.shape[2] - 1) * x.shape[3] + columns.clamp(0, x.shape[3] - 1)
    at = flat.long().flatten(1).unsqueeze(1).expand(-1, x.shape[1], -1)
    found = x.flatten(2).gather(2, at).reshape(*x.shape[:2], *rows.shape[1:])
    return torch.where(inside.unsqueeze(1), found, outside)


def _bilinear(
    x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, outside: float
) -> torch.Tensor:
    """x (b, c, h, w) at any rows, columns (b, h', w'), interpolated."""
    top, left = rows.floor(), columns.floor()
    down, right = (rows - top).unsqueeze(1), (columns - left).unsqueeze(1)
    total = _pixels(x, top, left, outside) * ((1 - down) * (1 - right))
    total = total + _pixels(x, top, left + 1, outside) * ((1 - down) * right)
    total = total + _pixels(x, top + 1, left, outside) * (down * (1 - right))
    return total + _pixels(x, top + 1, left + 1, outside) * (down * right)


def _sampled(a: Arguments, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """x at `places` (b, h', w', 2) as (column, row), by the modes that affine and resample have."""
    padding, sampling = a.text("padding_mode").lower(), a.text("sampling_mode").lower()
    if padding not in PADDINGS or sampling not in {"bilinear", "nearest"}:
        raise ValueError(f"padding_mode {padding!r}, sampling_mode {sampling!r}")
    columns, rows = (_denormalized(a, places[..., i].to(x.dtype), x.shape[3 - i]) for i in range(2))
    fold = PADDINGS[padding]
    if fold is not None:
        rows, columns = fold(rows, x.shape[2]), fold(columns, x.shape[3])
    outside = a.number("padding_value")
    if sampling == "nearest":  # halves to even
        return _pixels(x, rows.round(), columns.round(), outside)
    return _bilinear(x, rows, columns, outside)


def _denormalized(a: Arguments, at: torch.Tensor, size: int) -> torch.Tensor:
    """Coordinates as positions on [0, size - 1]."""
    mode = a.text("coordinates_mode").lower()
    if mode == "unnormalized":
        return at
    if mode == "normalized_minus_one_to_one":
        at = (at + 1) / 2
    elif mode != "normalized_zero_to_one":
        raise ValueError(f"coordinates_mode {mode!r} is unknown")
    return at * (size - 1) if a.flag("align_corners") else at * size - 0.5


SAMPLING = "sampling_mode padding_mode padding_value coordinates_mode align_corners"


@operation("resample", required=f"x coordinates {SAMPLING}")
def resample(a: Arguments) -> torch.Tensor:
    """iOS17.image_resizing.resample of x (b, c, h, w) at coordinates (b, h', w', 2) as (x, y)."""
    return _sampled(a, a.tensor("x"), a.tensor("coordinates"))


@operation("affine", required=f"x transform_matrix output_height output_width {SAMPLING}")
def affine(a: Arguments) -> torch.Tensor:
    """iOS15.image_resizing.affine; transform_matrix (b or 1, 6) as [a0, a1, a2, b0, b1, b2].

    The page gives the equations but no grid: output coordinates run from -1 to 1 over both axes.
    """
    x, matrix = a.tensor("x"), a.tensor("transform_matrix")
    if not a.flag("align_corners") or a.text("sampling_mode").lower() != "bilinear":
        raise ValueError("only bilinear sampling with align_corners is defined")
    sizes = (a.integer("output_height"), a.integer("output_width"))
    rows, columns = (torch.linspace(-1, 1, n) if n > 1 else torch.zeros(1) for n in sizes)
    grid_y, grid_x = torch.meshgrid(rows, columns, indexing="ij")
    points = torch.stack([grid_x, grid_y, torch.ones_like(grid_x)], -1)
    places = points @ matrix.reshape(-1, 1, 2, 3).transpose(-1, -2)
    return _sampled(a, x, places.expand(x.shape[0], -1, -1, -1))


@operation("crop", required="x crop_height crop_width")
def crop(a: Arguments) -> torch.Tensor:
    """iOS15.image_resizing.crop: what to cut off before and after the last two axes."""
    (top, bottom), (left, right) = a.integers("crop_height"), a.integers("crop_width")
    x = a.tensor("x")
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


CROP_RESIZE: dict[str, Default] = {
    "roi": None,
    "boxes": None,
    "box_indices": None,
    "target_height": 1,
    "target_width": 1,
    "normalized_coordinates": False,
    "spatial_scale": 1.0,
    "box_coordinate_mode": "CORNERS_HEIGHT_FIRST",
    "sampling_mode": "DEFAULT",
    "pad_value": 0.0,
}


@operation("crop_resize", required="x", optional=CROP_RESIZE)
def crop_resize(a: Arguments) -> torch.Tensor:
    """iOS15, iOS16 and iOS17.image_resizing.crop_resize of x (b, c, h, w).

    iOS17: boxes (n, 4), box_indices (n), result (n, c, h', w'). Before: roi (n, 1, 4, 1, 1) crops
    every image, result (n, b, c, h', w'); roi (n, 1, 5, 1, 1) has the image's index first, result
    (n, 1, c, h', w'). A sample outside the image is pad_value.
    """
    x, boxes, roi = a.tensor("x"), a.optional_tensor("boxes"), a.optional_tensor("roi")
    if boxes is not None:
        images = a.optional_integers("box_indices", list(range(boxes.shape[0])))
        corners = [_corners(a, box, x.shape) for box in boxes.to(x.dtype)]
        crops = [_crop(a, x[i : i + 1], c) for i, c in zip(images, corners, strict=True)]
        return torch.cat(crops)
    if roi is None:
        raise ValueError("neither boxes nor roi is given")
    rows = roi.flatten(1)
    whole = rows.shape[1] == 4
    corners = [_corners(a, box, x.shape) for box in rows[:, -4:]]
    if whole:
        return torch.stack([_crop(a, x, c) for c in corners])
    images = [int(index) for index in rows[:, 0].tolist()]
    return torch.stack([_crop(a, x[i : i + 1], c) for i, c in zip(images, corners, strict=True)])


def _corners(
    a: Arguments, box: torch.Tensor, shape: torch.Size
) -> tuple[tuple[float, float], tuple[float, float]]:
    """First and last row, first and last column of one box [4]."""
    kind, sides = a.text("box_coordinate_mode"), [float(side) for side in box.tolist()]
    if kind not in {f"{k}_{o}_FIRST" for k in ("CORNERS", "CENTER_SIZE") for o in HEIGHT_OR_WIDTH}:
        raise ValueError(f"box_coordinate_mode {kind!r} is unknown")
    if kind.endswith("WIDTH_FIRST"):
        sides = [sides[1], sides[0], sides[3], sides[2]]
    pairs = [(sides[0], sides[2]), (sides[1], sides[3])]
    if kind.startswith("CENTER_SIZE"):
        pairs = [(centre - size / 2, centre + size / 2) for centre, size in pairs]
    scale = a.number("spatial_scale")
    factors = [scale * (n - 1 if a.flag("normalized_coordinates") else 1) for n in shape[2:]]
    (top, bottom), (left, right) = pairs
    return (top * factors[0], bottom * factors[0]), (left * factors[1], right * factors[1])


HEIGHT_OR_WIDTH = ("HEIGHT", "WIDTH")


def _crop(
    a: Arguments, x: torch.Tensor, corners: tuple[tuple[float, float], tuple[float, float]]
) -> torch.Tensor:
    """x (k, c, h, w) sampled between `corners`; (k, c, target_height, target_width)."""
    mode = a.text("sampling_mode")
    lines = []
    for (first, last), name, size in zip(corners, TARGETS, x.shape[2:], strict=True):
        along = grid(mode, abs(last - first), a.integer(name))
        at = first + (along if last >= first else -along)
        # Rounding must not push a box that ends on the last pixel out of the image.
        near = at.round()
        at = torch.where((at - near).abs() < 1e-5 * size, near, at)
        lines.append(at)
    rows, columns = torch.meshgrid(lines[0], lines[1], indexing="ij")
    inside = (rows >= 0) & (rows <= x.shape[2] - 1) & (columns >= 0) & (columns <= x.shape[3] - 1)
    shape = [x.shape[0], *rows.shape]
    found = _bilinear(x, rows.to(x.dtype).expand(shape), columns.to(x.dtype).expand(shape), 0.0)
    return torch.where(inside, found, a.number("pad_value"))


TARGETS = ("target_height", "target_width")
