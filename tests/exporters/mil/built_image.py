"""Image sampling, resizing and blocks, for packages built by `building`, against torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads at once

from .building import Array, Case
from .built_gather import floats

IMAGE = (2, 3, 5, 4)


def small(*shape: int) -> Array:
    """Values up to about 3."""
    return floats(*shape) / np.float32(max(4, int(np.prod(shape)) / 12))


def torched(function: Any) -> Any:
    """An oracle on numpy arrays from one on tensors."""
    return lambda *arrays: function(*(torch.from_numpy(a) for a in arrays)).numpy()


def sampling() -> list[Case]:
    """affine and resample; torch knows three of the paddings, at both corner conventions."""
    cases = []
    places = np.random.default_rng(7).uniform(-2.3, 2.3, (2, 3, 6, 2)).astype(np.float32)
    torch_words = {"constant": "zeros", "border": "border", "reflection": "reflection"}
    for (padding, word), align, kind in [
        (p, a, k)
        for p in torch_words.items()
        for a in (True, False)
        for k in ("bilinear", "nearest")
    ]:
        if padding == "reflection" and not align:
            padding = "symmetric"  # what torch's reflection then is  # noqa: PLW2901
        cases.append(
            Case(
                f"resample-{padding}-{align}-{kind}",
                (small(*IMAGE), places),
                lambda mb, x, c, p=padding, a=align, k=kind: mb.resample(
                    x=x,
                    coordinates=c,
                    sampling_mode=k,
                    padding_mode=p,
                    padding_value=0.0,
                    coordinates_mode="normalized_minus_one_to_one",
                    align_corners=a,
                ),
                torched(
                    lambda x, c, w=word, a=align, k=kind: F.grid_sample(
                        x, c, mode=k, padding_mode=w, align_corners=a
                    )
                ),
                atol=1e-4,
            )
        )
    matrix = np.array([[0.7, -0.2, 0.1, 0.3, 0.9, -0.2], [1, 0, 0.5, 0, 1, 0]], np.float32)
    cases.append(
        Case(
            "affine",
            (small(*IMAGE), matrix),
            lambda mb, x, m: mb.affine(
                x=x,
                transform_matrix=m,
                output_height=4,
                output_width=7,
                sampling_mode="bilinear",
                padding_mode="constant",
                padding_value=0.0,
                coordinates_mode="normalized_minus_one_to_one",
                align_corners=True,
            ),
            torched(
                lambda x, m: F.grid_sample(
                    x, F.affine_grid(m.reshape(-1, 2, 3), [2, 3, 4, 7], True), align_corners=True
                )
            ),
            atol=1e-4,
        )
    )
    return cases


def blocks() -> list[Case]:
    """Blocks in and out; crops; windows of upsampling."""
    return [
        Case(
            "pixel_shuffle",
            (small(2, 12, 2, 3),),
            lambda mb, x: mb.pixel_shuffle(x=x, upscale_factor=2),
            torched(lambda x: F.pixel_shuffle(x, 2)),
        ),
        Case(
            "depth_to_space",
            (small(2, 12, 2, 3),),
            lambda mb, x: mb.depth_to_space(x=x, block_size=2),
            slow_depth_to_space,
        ),
        Case(
            "space_to_depth",
            (small(2, 3, 4, 6),),
            lambda mb, x: mb.space_to_depth(x=x, block_size=2),
            lambda x: np.concatenate([x[:, :, i::2, j::2] for i in range(2) for j in range(2)], 1),
        ),
        Case(
            "space_to_batch",
            (small(2, 3, 4, 5),),
            lambda mb, x: mb.space_to_batch(x=x, block_shape=[2, 3], paddings=[[1, 1], [0, 1]]),
            lambda x: np.concatenate(
                [
                    np.pad(x, [(0, 0), (0, 0), (1, 1), (0, 1)])[:, :, i::2, j::3]
                    for i in range(2)
                    for j in range(3)
                ],
                0,
            ),
        ),
        Case(
            "batch_to_space",
            (small(8, 3, 2, 3),),
            lambda mb, x: mb.batch_to_space(x=x, block_shape=[2, 2], crops=[[1, 0], [0, 2]]),
            lambda x: slow_depth_to_space(
                x.reshape(4, 2, 3, 2, 3).transpose(1, 0, 2, 3, 4).reshape(2, 12, 2, 3)
            )[:, :, 1:, :-2],
        ),
        Case(
            "crop",
            (small(2, 3, 5, 4),),
            lambda mb, x: mb.crop(x=x, crop_height=[1, 2], crop_width=[0, 1]),
            lambda x: x[:, :, 1:3, :3],
        ),
        Case(
            "resize_bilinear",
            (small(*IMAGE),),
            lambda mb, x: mb.resize_bilinear(
                x=x, target_size_height=7, target_size_width=3, sampling_mode="UNALIGN_CORNERS"
            ),
            torched(lambda x: F.interpolate(x, (7, 3), mode="bilinear")),
        ),
        Case(
            "resize_bilinear-aligned",
            (small(*IMAGE),),
            lambda mb, x: mb.resize_bilinear(
                x=x, target_size_height=7, target_size_width=3, sampling_mode="STRICT_ALIGN_CORNERS"
            ),
            torched(lambda x: F.interpolate(x, (7, 3), mode="bilinear", align_corners=True)),
        ),
        Case(
            "upsample_bilinear",
            (small(*IMAGE),),
            lambda mb, x: mb.upsample_bilinear(
                x=x, scale_factor_height=2, scale_factor_width=3, align_corners=False
            ),
            torched(lambda x: F.interpolate(x, scale_factor=(2, 3), mode="bilinear")),
        ),
        Case(
            "resize_nearest_neighbor",
            (small(*IMAGE),),
            lambda mb, x: mb.resize_nearest_neighbor(
                x=x, target_size_height=7, target_size_width=9
            ),
            torched(lambda x: F.interpolate(x, (7, 9))),
        ),
    ]


def slow_depth_to_space(x: Array) -> Array:
    n, channels, h, w = x.shape
    result = np.zeros((n, channels // 4, 2 * h, 2 * w), x.dtype)
    for i in range(2):
        for j in range(2):
            part = (2 * i + j) * (channels // 4)
            result[:, :, i::2, j::2] = x[:, part : part + channels // 4]
    return result
